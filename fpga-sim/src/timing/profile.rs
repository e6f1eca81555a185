//! Devices that were measured, by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How long DMA transfers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Transfers take no time; only the link's latency remains.
    #[default]
    Ideal,
    /// Netronome NFP-6000: many small transfers in flight.
    Nfp6000Gen3x8,
    /// XDMA with interrupts: one transfer in flight on a channel, 10 us each.
    XdmaGen3x8Irq,
    /// XDMA with polling: one transfer in flight on a channel, 5 us each.
    XdmaGen3x8Poll,
    /// The NFP-6000 in a host whose memory answers late, now and then very late.
    BadHost,
}

/// A profile that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no profile '{0}'; there are ideal, nfp6000-gen3x8, xdma-gen3x8-irq, xdma-gen3x8-poll and bad-host"
)]
pub struct ProfileError(String);

/// Quantiles of a bad host's read latency in ns: half of all reads take 1213 ns
/// or less, 95 % 3.5 us, 99.9 % 12 us, and the worst 2 ms.
const BAD_HOST: [(f64, f64); 6] = [
    (0.0, 900.0),
    (0.5, 1_213.0),
    (0.95, 3_500.0),
    (0.999, 12_000.0),
    (0.9999, 120_000.0),
    (1.0, 2_000_000.0),
];

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 5] = [
        Self::Ideal,
        Self::Nfp6000Gen3x8,
        Self::XdmaGen3x8Irq,
        Self::XdmaGen3x8Poll,
        Self::BadHost,
    ];
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ideal => "ideal",
            Self::Nfp6000Gen3x8 => "nfp6000-gen3x8",
            Self::XdmaGen3x8Irq => "xdma-gen3x8-irq",
            Self::XdmaGen3x8Poll => "xdma-gen3x8-poll",
            Self::BadHost => "bad-host",
        }
    }
    /// Fixed cost in ns of a transfer on a channel that has one in flight:
    /// submit, doorbell, descriptor fetch, DMA, interrupt and wake-up.
    pub const fn fixed_ns(self) -> Option<f64> {
        match self {
            Self::XdmaGen3x8Irq => Some(10_000.0),
            Self::XdmaGen3x8Poll => Some(5_000.0),
            _ => None,
        }
    }
    /// Read latency in ns, as `a + b * bytes`.
    pub const fn read_ns(self) -> Option<(f64, f64)> {
        match self {
            Self::Nfp6000Gen3x8 => Some((545.0, 0.29)),
            Self::BadHost => Some((1_213.0, 0.29)),
            _ => None,
        }
    }
    /// Posted write latency in ns, as `a + b * bytes`: a write followed by a
    /// read takes 740 + 0.54 * bytes, the read 545 + 0.29 * bytes.
    pub const fn write_ns(self) -> Option<(f64, f64)> {
        match self {
            Self::Nfp6000Gen3x8 | Self::BadHost => Some((195.0, 0.25)),
            _ => None,
        }
    }
    /// Outstanding reads.
    pub const fn tags(self) -> Option<u32> {
        match self {
            Self::Nfp6000Gen3x8 | Self::BadHost => Some(32),
            _ => None,
        }
    }
    /// Writes per second that the engine starts at most.
    pub const fn write_rate(self) -> Option<f64> {
        match self {
            Self::Nfp6000Gen3x8 | Self::BadHost => Some(47.4e6),
            _ => None,
        }
    }
    /// What jitter adds to the latency in ns, for `share` from 0 to 1 of all
    /// transfers that are quicker.
    pub fn jitter_ns(self, share: f64) -> f64 {
        if self != Self::BadHost {
            return 0.0;
        }
        let at = BAD_HOST.iter().position(|point| share <= point.0);
        let at = at.unwrap_or(BAD_HOST.len() - 1).max(1);
        let ((x0, y0), (x1, y1)) = (BAD_HOST[at - 1], BAD_HOST[at]);
        y0 + (y1 - y0) * (share - x0) / (x1 - x0) - BAD_HOST[1].1
    }
}

/// Entries of the NFP measurements' IOTLB.
pub const IOTLB_ENTRIES: u64 = 64;
/// What a miss in it costs, in ns.
pub const IOTLB_MISS_NS: f64 = 253.0;
/// Page walks that an IOMMU does at once: with it, random 64-byte reads lose
/// the 70 % that were measured.
const WALKERS: f64 = 4.0;

/// Gb/s of reads of `size` bytes at random places of a window of `pages` 4 KiB
/// pages behind an IOMMU, of a device that reaches `free` Gb/s without one.
pub fn behind_iommu(free: f64, size: u64, pages: u64) -> f64 {
    if pages <= IOTLB_ENTRIES {
        return free;
    }
    let misses = 1.0 - IOTLB_ENTRIES as f64 / pages as f64;
    free.min(WALKERS * size as f64 * 8.0 / (IOTLB_MISS_NS * misses))
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| ProfileError(text.to_owned()))
    }
}
