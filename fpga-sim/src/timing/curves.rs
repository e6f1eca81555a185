//! Predicted throughput and latency of a card, without running anything.

use super::Profile;
use super::clock::{LinkClock, Way};
use super::link::{LinkError, PcieLink, concurrency, with_fixed_cost};
use crate::card::{DmaSpec, LinkSpec};
use bus::SimTime;
use serde::Serialize;

/// What a card makes of frames of one size, with one frame per transfer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Bytes of a frame.
    pub size: u64,
    /// Gb/s card to host.
    pub gbps_write: f64,
    /// Gb/s host to card.
    pub gbps_read: f64,
    /// Gb/s each way with both at once.
    pub gbps_both: f64,
    /// How long one frame takes from the host to the board, in us.
    pub us_read: f64,
    /// How long one frame takes from the board to the host, in us.
    pub us_write: f64,
}

/// Sizes of a default curve: powers of two, what falls beside them, and frames.
pub const SIZES: [u64; 20] = [
    64, 128, 192, 256, 257, 384, 512, 513, 768, 1024, 1500, 2048, 3000, 4096, 6000, 9000, 16_384,
    32_768, 49_152, 65_536,
];

/// Predicts for each of `sizes`. For [`Profile::Ideal`] the bandwidths are the
/// link's own, which such a card does not enforce.
pub fn curves(link: &LinkSpec, dma: &DmaSpec, sizes: &[u64]) -> Result<Vec<Prediction>, LinkError> {
    let pcie = PcieLink::new(link)?;
    let profile = dma.profile;
    sizes
        .iter()
        .map(|&size| {
            let limit = |way, on_link: f64| limited(&pcie, link, profile, way, size, on_link);
            let (write, read) = (pcie.write(size), pcie.read(size));
            let both = pcie.both(size);
            let us = |way| -> Result<f64, LinkError> {
                // Jitter is left out: a bad host's median.
                let quiet = match profile {
                    Profile::BadHost => Profile::Nfp6000Gen3x8,
                    other => other,
                };
                let more = match (profile, way) {
                    (Profile::BadHost, Way::H2c) => 1_213.0 - 545.0,
                    _ => 0.0,
                };
                let mut clock = LinkClock::new(link, quiet, 0)?;
                let at = match way {
                    Way::H2c => SimTime::ZERO,
                    Way::C2h => link.latency,
                };
                let ready = clock.begin(way, at, 1, size).ready;
                Ok(ready.0 as f64 * 1e-6 + more * 1e-3)
            };
            Ok(Prediction {
                size,
                gbps_write: limit(Way::C2h, write),
                gbps_read: limit(Way::H2c, read),
                gbps_both: limit(Way::C2h, both).min(limit(Way::H2c, both)),
                us_read: us(Way::H2c)?,
                us_write: us(Way::C2h)?,
            })
        })
        .collect()
}

fn limited(
    pcie: &PcieLink,
    spec: &LinkSpec,
    profile: Profile,
    way: Way,
    size: u64,
    on_link: f64,
) -> f64 {
    let mut gbps = on_link;
    if let Some(fixed) = profile.fixed_ns() {
        gbps = with_fixed_cost(fixed, 1, size, on_link);
    }
    if let (Way::C2h, Some(rate)) = (way, profile.write_rate()) {
        gbps = gbps.min(rate * size as f64 * 8e-9);
    }
    if let (Way::H2c, Some(tags), Some((a, b))) = (way, profile.tags(), profile.read_ns()) {
        let request = size.min(pcie.max_read_request());
        let round_trip = a + b * request as f64 + 2e-3 * spec.latency.0 as f64;
        gbps = gbps.min(concurrency(tags, request, round_trip));
    }
    gbps
}
