//! Wakes a producer that waits for room, and never loses the wake-up.
//!
//! The producer arms the gate, *then* looks at the credits once more. The
//! consumer publishes credits, *then* looks at the gate. A full fence on each
//! side between its two steps makes it impossible that both miss the other.

// A model checker builds this file with its own atomics in `super::sync`.
use super::sync::{AtomicBool, Ordering, fence};

/// Whether a producer waits for room.
#[derive(Debug, Default)]
pub struct SpaceGate {
    armed: AtomicBool,
}

impl SpaceGate {
    /// Producer: asks for a wake-up. Look for room again after this call.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
    /// Producer: room was found after all.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }
    /// Consumer: after credits were published. Whether the producer is to be
    /// woken.
    #[must_use]
    pub fn fire(&self) -> bool {
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::Relaxed)
    }
}
