//! Legacy interrupt pins.

use bus::IrqLine;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// An interrupt controller input that several functions drive: it is high
/// while any of them asserts it (PCI 3.0, section 2.2.6).
#[derive(Clone, Debug)]
pub struct SharedLine {
    line: IrqLine,
    /// How many drivers are high.
    high: Arc<Mutex<u32>>,
}

impl SharedLine {
    /// Shares `line`, which nothing else may drive.
    pub fn new(line: IrqLine) -> Self {
        Self {
            line,
            high: Arc::default(),
        }
    }
    /// A further driver, low at first.
    pub fn driver(&self) -> IrqLine {
        let shared = self.clone();
        // It is called on changes of this driver alone.
        IrqLine::from_fn(move |level| {
            let mut high = shared.high.lock().unwrap_or_else(PoisonError::into_inner);
            *high = if level { *high + 1 } else { *high - 1 };
            shared.line.set_level(*high > 0);
        })
    }
}
