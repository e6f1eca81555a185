//! The one place that reads the host's clock.

use bus::SimTime;
use cpu::TimeSource;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A jump of the host clock of more than this between two looks is a stall of
/// the whole machine (a suspended laptop, a stopped process), which guests must
/// not see: their watchdogs would fire.
const STALL: u64 = 2_000_000_000;

/// Nanoseconds between two notes of the time.
const NOTED: u64 = 1_000_000;

/// Virtual time of a `free` run: the host's monotonic clock since the start of
/// the run, without stalls. All guests of a run share one.
#[derive(Debug)]
pub struct HostClock {
    start: Instant,
    last: AtomicU64,
    skipped: AtomicU64,
}

impl HostClock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self {
            start: now(),
            last: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }
}

impl TimeSource for HostClock {
    fn now(&self) -> SimTime {
        let host = self.start.elapsed().as_nanos() as u64;
        let mut last = self.last.load(Ordering::Relaxed);
        // All guests ask all the time: the word is written now and then only.
        if host > last.saturating_add(NOTED) {
            last = self.last.fetch_max(host, Ordering::Relaxed);
            if host > last.saturating_add(STALL) {
                self.skipped.fetch_add(host - last, Ordering::Relaxed);
            }
        }
        SimTime::from_ns(
            host.max(last)
                .saturating_sub(self.skipped.load(Ordering::Relaxed)),
        )
    }
}

/// The host's monotonic clock.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970 by the host's clock.
#[allow(clippy::disallowed_methods)]
pub fn epoch() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// `time` as a span for the host's sleep calls; `None` for never.
pub fn span(time: SimTime) -> Option<Duration> {
    (time != SimTime::MAX).then(|| Duration::from_nanos(time.0.div_ceil(1000)))
}
