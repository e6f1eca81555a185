//! What every machine has before it has a character of its own: memory, a PCI
//! bus, address maps, and devices with work to do.

use super::ServiceFn;
use bus::{
    AddressSpace, Bdf, BusDevice, BusError, DeviceHandle, DmaTarget, GuestRam, IrqLine,
    MemoryError, MsiSink, Next, Service, SimTime, Wake, create_ram, create_shared_ram,
};
use cpu::Signal;
use devices::pci::{self, PciError};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The INTx line of a pin, 0 for INTA to 3 for INTD.
pub(super) type IntxFn = Box<dyn Fn(u8) -> IrqLine + Send>;

/// The common part of a machine that is being put together.
pub struct Base {
    pub(super) signal: Arc<Signal>,
    pub(super) ram: Arc<GuestRam>,
    /// Start and length of each piece of memory.
    pub(super) layout: Vec<(u64, u64)>,
    pub(super) mmio: AddressSpace,
    pub(super) pio: AddressSpace,
    pub(super) services: Vec<ServiceFn>,
    root: pci::Root,
    msi: Arc<dyn MsiSink>,
    /// INTA to INTD.
    intx: [pci::SharedLine; 4],
    slot: u8,
}

/// Where a machine's PCI bus lies.
pub(super) struct PciMap {
    /// Configuration space.
    pub ecam: Range<u64>,
    /// 32-bit memory BARs.
    pub memory: Range<u64>,
    /// 64-bit memory BARs.
    pub memory64: Range<u64>,
    /// I/O BARs as the bus sees them.
    pub ports: Range<u64>,
}

/// What memory a machine has.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// Other processes work on it: vhost-user back ends.
    pub shared: bool,
}

impl From<u64> for Memory {
    fn from(bytes: u64) -> Self {
        Self {
            bytes,
            shared: false,
        }
    }
}

impl Memory {
    /// Maps it in the pieces of `layout`. With it comes the pending word of the
    /// vCPU.
    pub(super) fn map(
        self,
        layout: &[(u64, u64)],
    ) -> Result<(Arc<GuestRam>, Arc<Signal>), MemoryError> {
        let ram = if self.shared {
            create_shared_ram(layout)?
        } else {
            create_ram(layout)?
        };
        Ok((Arc::new(ram), Arc::new(Signal::default())))
    }
}

impl Base {
    /// A PCI bus with nothing but the host bridge.
    pub(super) fn new(
        layout: Vec<(u64, u64)>,
        (ram, signal): (Arc<GuestRam>, Arc<Signal>),
        msi: Arc<dyn MsiSink>,
        intx: IntxFn,
    ) -> Result<Self, PciError> {
        let base = Self {
            signal,
            ram,
            layout,
            mmio: AddressSpace::new(),
            pio: AddressSpace::new(),
            services: Vec::new(),
            root: pci::Root::new(),
            msi,
            intx: [0, 1, 2, 3].map(|pin| pci::SharedLine::new(intx(pin))),
            slot: 1,
        };
        base.root.set_wake(base.wake());
        let bridge = Bdf::new(0, 0, 0);
        base.root.add(bridge, pci::host_bridge(base.dma(bridge)))?;
        Ok(base)
    }
    /// The guest's memory.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }
    /// The PCI bus.
    pub fn root(&self) -> &pci::Root {
        &self.root
    }
    /// Asks for service of the machine's devices; any thread may call it.
    pub fn wake(&self) -> Wake {
        let signal = self.signal.clone();
        Wake::from_fn(move || signal.raise(Signal::DEVICE))
    }
    /// DMA identity for a function.
    pub fn dma(&self, bdf: Bdf) -> DmaTarget {
        DmaTarget::new(bdf, self.ram.clone(), self.msi.clone())
    }
    /// The next free PCI slot, and the INTx line of its pin A, which it shares
    /// with every fourth slot.
    pub fn next_slot(&mut self) -> (Bdf, IrqLine) {
        let slot = self.slot;
        self.slot += 1;
        (
            Bdf::new(0, slot, 0),
            self.intx[usize::from(slot % 4)].driver(),
        )
    }
    /// Adds a device that only has work, no registers of its own.
    pub fn add_service(&mut self, service: ServiceFn) {
        self.services.push(service);
    }
    /// Maps memory-mapped registers, such as the card's programmable logic.
    pub fn map(&mut self, start: u64, len: u64, device: DeviceHandle) -> Result<(), BusError> {
        self.mmio.map(start, len, device)
    }

    /// A device with memory-mapped registers and work.
    pub(super) fn add<D: BusDevice + Service + 'static>(
        &mut self,
        start: u64,
        len: u64,
        device: D,
    ) -> Result<(), BusError> {
        let device = self.served(device);
        self.mmio.map(start, len, device)
    }
    /// A device with ports and work.
    pub(super) fn add_port<D: BusDevice + Service + 'static>(
        &mut self,
        start: u64,
        len: u64,
        device: D,
    ) -> Result<(), BusError> {
        let device = self.served(device);
        self.pio.map(start, len, device)
    }

    fn served<D: BusDevice + Service + 'static>(&mut self, device: D) -> DeviceHandle {
        let device = Arc::new(Mutex::new(device));
        let served = device.clone();
        self.services.push(Box::new(move |now: SimTime| -> Next {
            let mut device = served.lock().unwrap_or_else(PoisonError::into_inner);
            device.service(now)
        }));
        device
    }

    /// Maps the PCI bus, gives every BAR an address, and has the functions
    /// served. The caller maps the ports of the windows it gets.
    pub(super) fn map_pci(&mut self, map: PciMap) -> Result<pci::Windows, MapError> {
        let len = |range: &Range<u64>| range.end - range.start;
        let windows = pci::Windows::new(&self.root);
        self.mmio
            .map(map.ecam.start, len(&map.ecam), windows.ecam())?;
        for range in [&map.memory, &map.memory64] {
            self.mmio
                .map(range.start, len(range), windows.memory(range.start))?;
        }
        self.root.assign_bars(map.memory, map.memory64, map.ports)?;
        let root = self.root.clone();
        self.services.push(Box::new(move |now| root.service(now)));
        Ok(windows)
    }
}

/// The PCI bus cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum MapError {
    /// A window overlaps another one.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A BAR has no room.
    #[error(transparent)]
    Pci(#[from] PciError),
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
