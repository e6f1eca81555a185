//! Legacy interrupt pins.

use bus::IrqLine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The INTx pin of one function: asserted by the device, gated by the Interrupt
/// Disable bit of the command register.
#[derive(Debug)]
pub struct Intx {
    line: IrqLine,
    asserted: AtomicBool,
    disabled: AtomicBool,
}

impl Intx {
    /// A pin which drives `line`.
    pub fn new(line: IrqLine) -> Self {
        Self {
            line,
            asserted: AtomicBool::new(false),
            disabled: AtomicBool::new(false),
        }
    }
    /// Asserts or deasserts the pin.
    pub fn set(&self, asserted: bool) {
        self.asserted.store(asserted, Ordering::Release);
        self.drive();
    }
    /// Whether the device asserts the pin, whatever the command register says
    /// (the Interrupt Status bit).
    pub fn asserted(&self) -> bool {
        self.asserted.load(Ordering::Acquire)
    }
    pub(crate) fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Release);
        self.drive();
    }
    fn drive(&self) {
        self.line
            .set_level(self.asserted() && !self.disabled.load(Ordering::Acquire));
    }
}

/// `count` lines which are wired together: `line` is high while any of them is.
/// For functions that share an interrupt controller input.
pub fn shared_line(line: IrqLine, count: usize) -> Vec<IrqLine> {
    let high = Arc::new(AtomicU32::new(0));
    (0..count)
        .map(|_| {
            let (line, high) = (line.clone(), high.clone());
            IrqLine::from_fn(move |level| {
                let now = if level {
                    high.fetch_add(1, Ordering::AcqRel) + 1
                } else {
                    high.fetch_sub(1, Ordering::AcqRel) - 1
                };
                line.set_level(now > 0);
            })
        })
        .collect()
}
