//! Messages from other threads.

use crate::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where MSI, MSI-X and IOAPIC messages for one vCPU arrive. Any thread may
/// deliver; the vCPU takes what has come at a block head.
#[derive(Debug)]
pub struct LapicInbox {
    edge: [AtomicU64; 4],
    level: [AtomicU64; 4],
    nmi: AtomicBool,
    signal: Arc<Signal>,
}

impl LapicInbox {
    /// An empty inbox of the vCPU that looks at `signal`.
    pub fn new(signal: Arc<Signal>) -> Self {
        Self {
            edge: Default::default(),
            level: Default::default(),
            nmi: AtomicBool::new(false),
            signal,
        }
    }
    /// Delivers an interrupt.
    pub fn deliver(&self, vector: u8, level: bool) {
        let words = if level { &self.level } else { &self.edge };
        words[(vector >> 6) as usize].fetch_or(1 << (vector & 63), Ordering::Release);
        self.signal.raise(Signal::MESSAGE);
    }
    /// Delivers a non-maskable interrupt.
    pub fn deliver_nmi(&self) {
        self.nmi.store(true, Ordering::Release);
        self.signal.raise(Signal::FIQ);
    }
    /// Delivers a message-signalled interrupt: a write of `data` to `address`
    /// (Intel SDM volume 3, section 11.11). There is one vCPU, so the
    /// destination is not looked at.
    pub fn deliver_msi(&self, _address: u64, data: u32) {
        let level = data & 1 << 15 != 0;
        match data >> 8 & 7 {
            // Fixed, lowest priority.
            0 | 1 => self.deliver(data as u8, level),
            4 => self.deliver_nmi(),
            _ => {}
        }
    }
    /// Whether an interrupt has come that was not taken yet.
    pub fn is_empty(&self) -> bool {
        let none = |w: &AtomicU64| w.load(Ordering::Acquire) == 0;
        self.edge.iter().all(none)
            && self.level.iter().all(none)
            && !self.nmi.load(Ordering::Acquire)
    }
    /// Takes all that has come: edge-triggered vectors, level-triggered ones, NMI.
    pub(super) fn take(&self) -> ([u64; 4], [u64; 4], bool) {
        let take = |words: &[AtomicU64; 4]| {
            std::array::from_fn(|n| match words[n].load(Ordering::Acquire) {
                0 => 0,
                _ => words[n].swap(0, Ordering::AcqRel),
            })
        };
        (
            take(&self.edge),
            take(&self.level),
            self.nmi.swap(false, Ordering::AcqRel),
        )
    }
}
