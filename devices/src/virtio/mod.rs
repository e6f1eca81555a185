//! virtio: split rings, the PCI transport and the network device.

mod device;
pub mod driver;
pub mod net;
mod pci;
pub mod ring;

pub use device::{DeviceEvents, QueueIrq, VirtioDevice};
pub use pci::VirtioPci;

/// Feature bits that belong to no device type (virtio 1.2, section 6).
pub mod feature {
    /// Legacy: the device bears any descriptor layout.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Notify when the ring is empty (legacy only; never offered).
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    /// Indirect descriptor tables.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Event indexes.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Not a legacy device.
    pub const VERSION_1: u64 = 1 << 32;
    /// Single queues can be reset.
    pub const RING_RESET: u64 = 1 << 40;
    /// What this transport offers with every device.
    pub const TRANSPORT: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1 | RING_RESET;
}
