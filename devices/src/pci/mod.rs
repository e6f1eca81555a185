//! PCI: root complex, configuration space, capabilities and MSI-X.
//!
//! [`Root`] is the root complex of a machine: one bus, functions on it, and the
//! windows through which a CPU reaches them. A device implements
//! [`PciFunction`] over a [`FunctionState`]; BAR decode, capabilities, MSI-X
//! and function reset are done here.
//!
//! Register layouts: PCI Local Bus Specification 3.0 chapter 6, PCI Express
//! Base Specification 4.0 chapter 7.

mod bridge;
mod config;
mod express;
mod function;
mod intx;
mod msi;
mod msix;
mod root;
mod windows;

#[cfg(test)]
mod tests;

pub use bridge::host_bridge;
pub use config::{ConfigSpace, Identity};
pub use function::{BarKind, FunctionState, PciFunction};
pub use intx::{Intx, SharedLine};
pub use msi::Msi;
pub use msix::Msix;
pub use root::{Doorbell, PciError, Root};
pub use windows::Windows;
