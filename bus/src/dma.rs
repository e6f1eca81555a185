//! What a PCI function may do to the machine: read and write guest memory and
//! send MSIs, under one identity, and only while Bus Master Enable is set.

use crate::{GuestRam, Interrupt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// Bus, device and function number of a PCI function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Bdf(pub u16);

impl Bdf {
    /// From bus (0 to 255), device (0 to 31) and function (0 to 7) numbers.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self(((bus as u16) << 8) | (((device & 31) as u16) << 3) | (function & 7) as u16)
    }
    /// Bus number.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }
    /// Device number.
    pub const fn device(self) -> u8 {
        ((self.0 >> 3) & 31) as u8
    }
    /// Function number.
    pub const fn function(self) -> u8 {
        (self.0 & 7) as u8
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{}",
            self.bus(),
            self.device(),
            self.function()
        )
    }
}

/// A message-signalled interrupt as the function writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsiMessage {
    /// Address of the memory write.
    pub address: u64,
    /// Data of the memory write.
    pub data: u32,
}

/// A piece of guest memory, by guest physical address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address of the first byte.
    pub address: u64,
    /// Bytes.
    pub len: u32,
}

/// Where MSIs go: the interrupt controller of the machine.
pub trait MsiSink: Send + Sync {
    /// Delivers `message` once. An address that no controller decodes is ignored.
    fn send(&self, message: MsiMessage);
    /// An [`Interrupt`] for `message` which may take a faster way (an irqfd
    /// under KVM). `None`: use [`MsiSink::send`].
    fn bind(&self, _message: MsiMessage) -> Option<Interrupt> {
        None
    }
}

/// A sink that drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMsi;

impl MsiSink for NoMsi {
    fn send(&self, _message: MsiMessage) {}
}

/// Guest memory and MSIs under one BDF. Cloning gives the same identity.
#[derive(Clone)]
pub struct DmaTarget {
    bdf: Bdf,
    ram: Arc<GuestRam>,
    msi: Arc<dyn MsiSink>,
    bus_master: Arc<AtomicBool>,
}

impl DmaTarget {
    /// A target which is off until [`DmaTarget::set_bus_master`].
    pub fn new(bdf: Bdf, ram: Arc<GuestRam>, msi: Arc<dyn MsiSink>) -> Self {
        Self {
            bdf,
            ram,
            msi,
            bus_master: Arc::new(AtomicBool::new(false)),
        }
    }
    /// The function's identity.
    pub fn bdf(&self) -> Bdf {
        self.bdf
    }
    /// Turns DMA and MSIs on or off (bit 2 of the PCI command register).
    pub fn set_bus_master(&self, on: bool) {
        self.bus_master.store(on, Ordering::Release);
    }
    /// Whether DMA and MSIs are on.
    pub fn bus_master(&self) -> bool {
        self.bus_master.load(Ordering::Acquire)
    }
    /// Guest memory, or `None` while Bus Master Enable is 0.
    pub fn memory(&self) -> Option<&GuestRam> {
        self.bus_master().then(|| &*self.ram)
    }
    /// Guest memory whatever Bus Master Enable says; for set-up and tests.
    pub fn raw_memory(&self) -> &Arc<GuestRam> {
        &self.ram
    }
    /// Reads guest memory. `false` when off or when any byte is not RAM.
    #[must_use]
    pub fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.memory()
            .is_some_and(|ram| ram.read_slice(into, GuestAddress(address)).is_ok())
    }
    /// Writes guest memory. `false` when off, or when any byte is not RAM; then
    /// nothing was written.
    #[must_use]
    pub fn write(&self, address: u64, from: &[u8]) -> bool {
        self.memory().is_some_and(|ram| {
            ram.check_range(GuestAddress(address), from.len())
                && ram.write_slice(from, GuestAddress(address)).is_ok()
        })
    }
    /// Sends an MSI unless Bus Master Enable is 0.
    pub fn send_msi(&self, message: MsiMessage) {
        if self.bus_master() {
            self.msi.send(message);
        }
    }
    /// The machine's MSI sink.
    pub fn msi(&self) -> &Arc<dyn MsiSink> {
        &self.msi
    }
}

impl fmt::Debug for DmaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaTarget")
            .field("bdf", &self.bdf)
            .field("bus_master", &self.bus_master())
            .finish()
    }
}
