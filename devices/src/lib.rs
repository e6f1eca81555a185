//! PCI, virtio, interrupt controllers, serial ports and network back ends.

pub mod irqchip;
pub mod net;
pub mod pci;
pub mod rtc;
pub mod serial;
pub mod virtio;
pub mod xdma;
