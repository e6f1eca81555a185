//! Interrupt outputs and wake-ups: values that a device holds and fires.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vmm_sys_util::eventfd::EventFd;

type Fire = Arc<dyn Fn() + Send + Sync>;

/// A message-like interrupt: each delivery is one event. Cloning gives another
/// handle of the same interrupt.
#[derive(Clone)]
pub struct Interrupt(Kind);

#[derive(Clone)]
enum Kind {
    Null,
    Fn(Fire),
    Event(Arc<EventFd>),
}

impl Interrupt {
    /// An interrupt that goes nowhere.
    pub fn null() -> Self {
        Self(Kind::Null)
    }
    /// Calls `fire` on every delivery, on the delivering thread.
    pub fn from_fn(fire: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Kind::Fn(Arc::new(fire)))
    }
    /// Writes to `event` on every delivery (an irqfd under KVM).
    pub fn from_eventfd(event: Arc<EventFd>) -> Self {
        Self(Kind::Event(event))
    }
    /// The eventfd behind this interrupt, for a back end outside the process.
    pub fn eventfd(&self) -> Option<&Arc<EventFd>> {
        match &self.0 {
            Kind::Event(event) => Some(event),
            _ => None,
        }
    }
    /// Delivers the interrupt once. Never blocks.
    pub fn deliver(&self) {
        match &self.0 {
            Kind::Null => {}
            Kind::Fn(fire) => fire(),
            // The counter of an eventfd is full only after 2^64 - 2 unread
            // deliveries, and then the reader is already due.
            Kind::Event(event) => drop(event.write(1)),
        }
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Null => "Interrupt::null",
            Kind::Fn(_) => "Interrupt::from_fn",
            Kind::Event(_) => "Interrupt::from_eventfd",
        })
    }
}

/// A level-triggered line (a legacy PCI INTx pin, a UART, a timer output).
///
/// The line remembers its level and tells its controller changes only.
#[derive(Clone)]
pub struct IrqLine {
    level: Arc<AtomicBool>,
    set: Arc<dyn Fn(bool) + Send + Sync>,
}

impl IrqLine {
    /// A line that goes nowhere.
    pub fn null() -> Self {
        Self::from_fn(|_| {})
    }
    /// Calls `set` with the new level on every change, on the calling thread.
    pub fn from_fn(set: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self {
            level: Arc::new(AtomicBool::new(false)),
            set: Arc::new(set),
        }
    }
    /// Drives the line.
    pub fn set_level(&self, level: bool) {
        if self.level.swap(level, Ordering::AcqRel) != level {
            (self.set)(level);
        }
    }
    /// The level that was driven last.
    pub fn level(&self) -> bool {
        self.level.load(Ordering::Acquire)
    }
}

impl fmt::Debug for IrqLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqLine")
            .field("level", &self.level())
            .finish()
    }
}

/// Tells a machine that one of its devices has something to do: sets a pending
/// word, and wakes the machine's thread when it idles.
#[derive(Clone)]
pub struct Wake(Option<Fire>);

impl Wake {
    /// Wakes nobody.
    pub fn null() -> Self {
        Self(None)
    }
    /// Calls `wake`, which must be cheap and must not block.
    pub fn from_fn(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wake)))
    }
    /// Wakes the machine. Idempotent until the machine has serviced.
    pub fn wake(&self) {
        if let Some(wake) = &self.0 {
            wake();
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Wake"
        } else {
            "Wake::null"
        })
    }
}
