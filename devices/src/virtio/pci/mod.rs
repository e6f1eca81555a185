//! virtio over PCI (virtio 1.2, section 4.1).

mod common;
mod function;
mod interrupts;
mod legacy;

#[cfg(test)]
mod tests;

pub use function::VirtioPci;

/// Layout of the modern BAR.
pub(crate) mod layout {
    /// BAR with the legacy registers.
    pub const LEGACY_BAR: u8 = 0;
    pub const LEGACY_SIZE: u64 = 0x40;
    /// Bytes before device configuration, with MSI-X.
    pub const LEGACY_HEADER: usize = 0x18;
    /// BAR with the MSI-X table.
    pub const MSIX_BAR: u8 = 1;
    /// BAR with the register structures.
    pub const BAR: u8 = 4;
    pub const BAR_SIZE: u64 = 0x4000;
    pub const COMMON: u64 = 0;
    pub const COMMON_LEN: u64 = 0x40;
    pub const ISR: u64 = 0x1000;
    pub const ISR_LEN: u64 = 4;
    pub const DEVICE: u64 = 0x2000;
    pub const DEVICE_LEN: u64 = 0x1000;
    pub const NOTIFY: u64 = 0x3000;
    pub const NOTIFY_LEN: u64 = 0x1000;
    /// Bytes between the notification registers of two queues.
    pub const NOTIFY_STEP: u64 = 4;
}
