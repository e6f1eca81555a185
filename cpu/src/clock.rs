//! Where a CPU's time comes from.

use bus::SimTime;
use std::fmt;
use std::sync::Arc;

/// A source of virtual time outside the CPU (`free` run mode).
pub trait TimeSource: Send + Sync {
    /// Virtual time now. Never goes back.
    fn now(&self) -> SimTime;
}

/// The clock of one CPU.
#[derive(Clone)]
pub enum Clock {
    /// Every instruction takes a fixed time (`lockstep`).
    Instructions {
        /// Time at instruction count `at`.
        base: SimTime,
        /// Instruction count at `base`.
        at: u64,
        /// Picoseconds for each instruction.
        ps: u64,
    },
    /// Time follows a source outside.
    Source(Arc<dyn TimeSource>),
}

impl Clock {
    /// A clock that starts at zero and takes `ps` for each instruction.
    pub fn instructions(ps: u64) -> Self {
        Self::Instructions {
            base: SimTime::ZERO,
            at: 0,
            ps: ps.max(1),
        }
    }
    /// Time when `icount` instructions have run.
    pub fn now(&self, icount: u64) -> SimTime {
        match self {
            Self::Instructions { base, at, ps } => {
                *base + SimTime(icount.saturating_sub(*at).saturating_mul(*ps))
            }
            Self::Source(source) => source.now(),
        }
    }
    /// Moves an instruction clock forward to `to` at count `icount` (an idle
    /// CPU skips to the next event). Never moves back; a sourced clock ignores it.
    pub fn advance(&mut self, to: SimTime, icount: u64) {
        if let Self::Instructions { base, at, ps } = self {
            let now = *base + SimTime(icount.saturating_sub(*at).saturating_mul(*ps));
            *base = now.max(to);
            *at = icount;
        }
    }
    /// Instruction count at which time `deadline` is reached; `None` when only
    /// the outside source knows.
    pub fn count_at(&self, deadline: SimTime) -> Option<u64> {
        match self {
            Self::Instructions { base, at, ps } => {
                let wait = deadline.saturating_sub(*base).0.div_ceil(*ps);
                Some(at.saturating_add(wait))
            }
            Self::Source(_) => None,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions { base, at, ps } => write!(f, "Clock({base} at {at}, {ps} ps each)"),
            Self::Source(_) => f.write_str("Clock(source)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_clock() {
        let mut clock = Clock::instructions(1000);
        assert_eq!(clock.now(5), SimTime(5000));
        assert_eq!(clock.count_at(SimTime(5001)), Some(6));
        clock.advance(SimTime(1_000_000), 5);
        assert_eq!(clock.now(6), SimTime(1_001_000));
        assert_eq!(clock.count_at(SimTime(1_001_000)), Some(6));
        clock.advance(SimTime(0), 7);
        assert_eq!(clock.now(7), SimTime(1_002_000), "never back");
    }
}
