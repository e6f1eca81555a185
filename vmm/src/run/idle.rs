//! How a guest's thread idles: first awake, where that has paid.
//!
//! Waking a sleeping thread takes tens of microseconds, as long as a guest needs
//! for a good part of an answer. So a thread that was woken soon after it had
//! fallen asleep looks for work a little longer the next time, as Linux's KVM
//! does for halted vCPUs (`halt_poll_ns`); one that slept long does not.

use crate::clock;
use cpu::Signal;
use std::time::Duration;

/// Longest time awake without work.
const MOST: Duration = Duration::from_micros(200);
/// Shortest time awake that is worth it.
const LEAST: Duration = Duration::from_micros(10);
/// Looks at the signal between two looks at the clock. Then another thread of
/// the host that waits for this processor gets it.
const LOOKS: u32 = 32;

/// What one guest's thread has learnt.
#[derive(Debug)]
pub(super) struct Idle {
    window: Duration,
    most: Duration,
}

impl Idle {
    /// Starts with sleeping at once. On a single processor it stays so: whoever
    /// is waited for needs it.
    pub fn new() -> Self {
        let alone = std::thread::available_parallelism().map_or(1, usize::from) < 2;
        Self::with_most(if alone { Duration::ZERO } else { MOST })
    }
    fn with_most(most: Duration) -> Self {
        Self {
            window: Duration::ZERO,
            most,
        }
    }

    /// Returns when `signal` has a bit set, or after `limit`.
    pub fn wait(&mut self, signal: &Signal, limit: Option<Duration>) {
        let start = clock::now();
        let window = limit.map_or(self.window, |limit| limit.min(self.window));
        while start.elapsed() < window {
            for _ in 0..LOOKS {
                if signal.word() != 0 {
                    return;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
        signal.wait(limit.map(|limit| limit.saturating_sub(start.elapsed())));
        self.learn(start.elapsed());
    }

    /// Sleep was needed, and all of the wait took `took`.
    fn learn(&mut self, took: Duration) {
        self.window = if took > self.most {
            Duration::ZERO
        } else {
            (self.window * 2).max(LEAST).min(self.most)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_lengthen_the_window_and_long_ones_end_it() {
        let mut idle = Idle::with_most(MOST);
        for _ in 0..10 {
            idle.learn(Duration::from_micros(50));
        }
        assert_eq!(idle.window, MOST);
        idle.learn(Duration::from_millis(3));
        assert_eq!(idle.window, Duration::ZERO);
    }

    #[test]
    fn a_single_processor_is_never_kept_busy() {
        let mut idle = Idle::with_most(Duration::ZERO);
        idle.learn(Duration::from_micros(1));
        assert_eq!(idle.window, Duration::ZERO);
    }

    #[test]
    fn a_raised_signal_and_a_limit_end_the_wait() {
        let signal = Signal::default();
        let mut idle = Idle::with_most(MOST);
        let limit = Duration::from_micros(20);
        for _ in 0..20 {
            let start = clock::now();
            idle.wait(&signal, Some(limit));
            assert!(start.elapsed() >= limit, "nothing else ended it");
        }
        signal.raise(Signal::DEVICE);
        idle.wait(&signal, None);
    }
}
