//! How long things take on the link and in the DMA engine.
//!
//! [`link`] holds the formulas (pure, in bytes and Gb/s), [`nic`] what whole
//! NICs make of a link, [`Profile`] the measured devices, [`LinkClock`] turns
//! transfers into delays, and [`curves`] predicts throughput and latency
//! without running anything.
//!
//! The formulas are those of pcie-bench (Neugebauer et al., "Understanding PCIe
//! performance for end host networking", SIGCOMM 2018).

mod clock;
mod curves;
pub mod link;
pub mod nic;
mod profile;
#[cfg(test)]
mod tests;

pub use clock::{LinkClock, Transfer, Way};
pub use curves::{Prediction, SIZES, curves};
pub use link::{LinkError, PcieLink};
pub use profile::{IOTLB_ENTRIES, IOTLB_MISS_NS, Profile, ProfileError, behind_iommu};
