//! Virtual time in picoseconds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// A point in virtual time, or a span of it, in picoseconds.
///
/// Sixty-four bits hold 213 days. Arithmetic saturates: a guest that programs a
/// timer at the end of time gets the end of time, not an overflow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SimTime(pub u64);

impl SimTime {
    /// The start of a run.
    pub const ZERO: Self = Self(0);
    /// A time that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// `n` picoseconds.
    pub const fn from_ps(n: u64) -> Self {
        Self(n)
    }
    /// `n` nanoseconds.
    pub const fn from_ns(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }
    /// `n` microseconds.
    pub const fn from_us(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }
    /// `n` milliseconds.
    pub const fn from_ms(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000_000))
    }
    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000_000_000))
    }
    /// Picoseconds.
    pub const fn as_ps(self) -> u64 {
        self.0
    }
    /// Whole nanoseconds, rounded down.
    pub const fn as_ns(self) -> u64 {
        self.0 / 1_000
    }
    /// Whole microseconds, rounded down.
    pub const fn as_us(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-12
    }
    /// `self - other`, or zero when `other` is later.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// Ticks of a counter of `hz` that have passed at this time, rounded down.
    pub const fn ticks(self, hz: u64) -> u64 {
        ((self.0 as u128 * hz as u128) / 1_000_000_000_000) as u64
    }
    /// The first time at which a counter of `hz` reads at least `ticks`.
    /// [`SimTime::MAX`] when that is beyond the end of time or `hz` is zero.
    pub const fn from_ticks(ticks: u64, hz: u64) -> Self {
        if hz == 0 {
            return Self::MAX;
        }
        let ps = (ticks as u128 * 1_000_000_000_000).div_ceil(hz as u128);
        if ps > u64::MAX as u128 {
            Self::MAX
        } else {
            Self(ps as u64)
        }
    }
}

impl Add for SimTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for SimTime {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for SimTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1_000_000_000_000, "s"),
            (1_000_000_000, "ms"),
            (1_000_000, "us"),
            (1_000, "ns"),
        ];
        for (scale, unit) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}ps", self.0)
    }
}

/// A duration that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a duration; write a number and ps, ns, us, ms or s, such as 500ns")]
pub struct SimTimeParseError(String);

impl FromStr for SimTime {
    type Err = SimTimeParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let bad = || SimTimeParseError(text.to_owned());
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(bad)?;
        let (number, unit) = text.split_at(split);
        let scale: u64 = match unit {
            "ps" => 1,
            "ns" => 1_000,
            "us" => 1_000_000,
            "ms" => 1_000_000_000,
            "s" => 1_000_000_000_000,
            _ => return Err(bad()),
        };
        let number = number.trim();
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or_else(bad);
        }
        let value: f64 = number.parse().map_err(|_| bad())?;
        let ps = value * scale as f64;
        if !(0.0..1.8e19).contains(&ps) {
            return Err(bad());
        }
        Ok(Self(ps.round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_round_trip() {
        for hz in [1, 62_500_000, 1_000_000_000, 2_600_000_000] {
            for ticks in [0, 1, 2, 999, 62_500_001, 1 << 33] {
                let t = SimTime::from_ticks(ticks, hz);
                if t != SimTime::MAX {
                    assert_eq!(t.ticks(hz), ticks, "{ticks} ticks at {hz} Hz");
                    assert!(t == SimTime::ZERO || SimTime(t.0 - 1).ticks(hz) < ticks);
                }
            }
        }
        assert_eq!(SimTime::from_ticks(u64::MAX, 1), SimTime::MAX);
    }

    #[test]
    fn parse_and_print() {
        for (text, ps) in [
            ("500ns", 500_000),
            ("10ms", 10_000_000_000),
            ("1.5us", 1_500_000),
            ("0s", 0),
            ("7ps", 7),
        ] {
            assert_eq!(text.parse::<SimTime>().unwrap(), SimTime(ps));
        }
        for text in ["", "5", "ns", "-1ns", "5 parsec", "99999999999s"] {
            assert!(text.parse::<SimTime>().is_err(), "{text}");
        }
        assert_eq!(SimTime::from_ns(500).to_string(), "500ns");
        assert_eq!(SimTime::from_secs(2).to_string(), "2s");
    }
}
