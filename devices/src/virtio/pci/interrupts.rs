//! From device events to MSI-X vectors, or to the ISR register and INTx.

use crate::pci::{Intx, Msix};
use bus::Interrupt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};

/// `VIRTIO_MSI_NO_VECTOR`.
pub(super) const NO_VECTOR: u16 = 0xffff;
/// ISR bits (virtio 1.2, section 4.1.4.5).
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// The interrupts of one function, shared with the device's queues.
#[derive(Debug)]
pub(super) struct Interrupts {
    msix: Arc<Msix>,
    intx: Arc<Intx>,
    isr: AtomicU8,
    config: AtomicU16,
    queues: Box<[AtomicU16]>,
    config_sent: AtomicU64,
}

impl Interrupts {
    pub fn new(msix: Arc<Msix>, intx: Arc<Intx>, queues: usize) -> Self {
        Self {
            msix,
            intx,
            isr: AtomicU8::new(0),
            config: AtomicU16::new(NO_VECTOR),
            queues: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            config_sent: AtomicU64::new(0),
        }
    }
    /// The interrupt of queue `index`.
    pub fn queue(self: &Arc<Self>, index: u16) -> Interrupt {
        let this = Arc::clone(self);
        Interrupt::from_fn(move || this.raise(this.queue_vector(index), ISR_QUEUE))
    }
    /// A configuration change.
    pub fn config_changed(&self) {
        self.config_sent.fetch_add(1, Ordering::Relaxed);
        self.raise(self.config.load(Ordering::Acquire), ISR_CONFIG);
    }
    fn raise(&self, vector: u16, bit: u8) {
        if self.msix.enabled() {
            self.msix.trigger(vector);
        } else {
            self.isr.fetch_or(bit, Ordering::AcqRel);
            self.intx.set(true);
        }
    }
    /// Interrupts for configuration changes so far.
    pub fn config_sent(&self) -> u64 {
        self.config_sent.load(Ordering::Relaxed)
    }
    /// Reads and clears the ISR register.
    pub fn take_isr(&self) -> u8 {
        let isr = self.isr.swap(0, Ordering::AcqRel);
        self.intx.set(false);
        isr
    }
    pub fn config_vector(&self) -> u16 {
        self.config.load(Ordering::Acquire)
    }
    pub fn queue_vector(&self, index: u16) -> u16 {
        self.queues
            .get(usize::from(index))
            .map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }
    /// A vector that does not exist becomes [`NO_VECTOR`].
    pub fn set_config_vector(&self, vector: u16) {
        self.config.store(self.check(vector), Ordering::Release);
    }
    pub fn set_queue_vector(&self, index: u16, vector: u16) {
        if let Some(slot) = self.queues.get(usize::from(index)) {
            slot.store(self.check(vector), Ordering::Release);
        }
    }
    pub fn reset(&self) {
        self.isr.store(0, Ordering::Release);
        self.intx.set(false);
        self.config.store(NO_VECTOR, Ordering::Release);
        for queue in &self.queues {
            queue.store(NO_VECTOR, Ordering::Release);
        }
    }
    fn check(&self, vector: u16) -> u16 {
        if vector < self.msix.count() {
            vector
        } else {
            NO_VECTOR
        }
    }
}
