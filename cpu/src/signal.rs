//! How other threads and devices reach a vCPU.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The pending word of one vCPU. A vCPU polls it at block heads; a thread that
/// idles in [`Signal::wait`] is woken by [`Signal::raise`].
#[derive(Debug, Default)]
pub struct Signal {
    word: AtomicU32,
    limit: AtomicU64,
    sleeping: Mutex<bool>,
    wake: Condvar,
    handoffs: AtomicU64,
}

impl Signal {
    /// An interrupt line into the CPU is high (level; the controller clears it).
    pub const IRQ: u32 = 1;
    /// As [`Self::IRQ`], for a fast or non-maskable interrupt.
    pub const FIQ: u32 = 2;
    /// Messages wait in the CPU's own interrupt controller (x86 local APIC).
    pub const MESSAGE: u32 = 4;
    /// A device of this machine wants service.
    pub const DEVICE: u32 = 8;
    /// The machine is to stop.
    pub const STOP: u32 = 16;
    /// Bits that make a vCPU come back to its machine.
    pub const ATTENTION: u32 = Self::DEVICE | Self::STOP;

    /// Sets bits, and wakes the vCPU's thread if it idles. Any thread may call.
    pub fn raise(&self, bits: u32) {
        let before = self.word.fetch_or(bits | SLEEPY, Ordering::SeqCst);
        self.cut();
        // SLEEPY is clear while the owner sleeps or is about to: whoever sets
        // it has to wake.
        if before & SLEEPY == 0 {
            // Taken and given back: the owner waits by now, and does not wake only
            // to wait for the lock.
            drop(self.sleeping.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_one();
        }
    }
    /// Clears bits.
    pub fn clear(&self, bits: u32) {
        self.word.fetch_and(!(bits & !SLEEPY), Ordering::AcqRel);
    }
    /// The bits that are set, in a way cheap enough for every block head.
    #[inline(always)]
    pub fn word(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & !SLEEPY
    }
    /// Offset of the word, for compiled code.
    #[cfg(feature = "jit")]
    pub(crate) const WORD: i32 = std::mem::offset_of!(Signal, word) as i32;
    /// Offset of the limit, for compiled code.
    #[cfg(feature = "jit")]
    pub(crate) const LIMIT: i32 = std::mem::offset_of!(Signal, limit) as i32;
    /// Instruction count that compiled code may get to. Only the owner sets it;
    /// whatever may have to be looked at before sets it to zero, so that a block
    /// head looks at one number. Says whether a bit of `mask` is set: the limit
    /// may be gone by then.
    #[cfg(feature = "jit")]
    #[inline(always)]
    pub(crate) fn limit(&self, limit: u64, mask: u32) -> bool {
        if self.limit.load(Ordering::Relaxed) != limit {
            // In this order, where `raise` has the other.
            self.limit.store(limit, Ordering::SeqCst);
            return self.word.load(Ordering::SeqCst) & mask & !SLEEPY != 0;
        }
        false
    }
    /// Has compiled code come back at the next block head.
    pub(crate) fn cut(&self) {
        self.limit.store(0, Ordering::SeqCst);
    }
    /// Takes those of `bits` that are set.
    pub fn take(&self, bits: u32) -> u32 {
        self.word.fetch_and(!(bits & !SLEEPY), Ordering::AcqRel) & bits
    }
    /// Times that another thread has woken the owner from its sleep; the rest
    /// of its sleeps ended at their limit.
    pub fn handoffs(&self) -> u64 {
        self.handoffs.load(Ordering::Relaxed)
    }
    /// Sleeps until a bit is set, at most for `limit`. Only the owner calls.
    pub fn wait(&self, limit: Option<Duration>) {
        let mut guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.word.fetch_and(!SLEEPY, Ordering::AcqRel);
        if before & !SLEEPY == 0 {
            *guard = true;
            let awake = |_: &mut bool| self.word.load(Ordering::Acquire) == 0;
            match limit {
                Some(limit) => drop(self.wake.wait_timeout_while(guard, limit, awake)),
                None => drop(self.wake.wait_while(guard, awake)),
            }
            if self.word.load(Ordering::Relaxed) & !SLEEPY != 0 {
                self.handoffs.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.word.fetch_or(SLEEPY, Ordering::AcqRel);
    }
}

/// Set while the owner is awake.
const SLEEPY: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_raise_is_never_slept_through() {
        let signal = Arc::new(Signal::default());
        let other = signal.clone();
        let thread = std::thread::spawn(move || {
            for _ in 0..2000 {
                while other.take(Signal::DEVICE) == 0 {
                    other.wait(None);
                }
                other.raise(Signal::IRQ);
            }
        });
        for _ in 0..2000 {
            signal.raise(Signal::DEVICE);
            while signal.take(Signal::IRQ) == 0 {
                std::thread::yield_now();
            }
        }
        thread.join().unwrap();
        assert!(signal.handoffs() <= 2000, "one for each raise at most");
    }

    #[test]
    fn wait_ends_at_its_limit() {
        let signal = Signal::default();
        signal.wait(Some(Duration::from_millis(1)));
        assert_eq!(signal.handoffs(), 0, "nobody woke it");
    }
}
