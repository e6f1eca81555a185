//! The driver's side, for tests and benches: a machine with a PCI root and no
//! CPU, a driver that probes through real register accesses, and queues in
//! real guest memory. It panics when the device breaks the rules.

mod queue;

pub use queue::{Buffer, GuestQueue};

use crate::pci::{PciFunction, Root, Windows};
use bus::{
    Action, AddressSpace, Bdf, DmaTarget, GuestRam, IrqLine, MsiMessage, MsiSink, Next, SimTime,
};
use std::sync::{Arc, Mutex, PoisonError};

const ECAM: u64 = 0xe000_0000;
const MEMORY32: u64 = 0xc000_0000;
const MEMORY64: u64 = 0x80_0000_0000;
const WINDOW: u64 = 0x1000_0000;
const IO: u64 = 0x1_0000_0000;

/// Remembers the MSIs that were sent.
#[derive(Debug, Default)]
pub struct MsiLog(Mutex<Vec<MsiMessage>>);

impl MsiLog {
    /// What was sent since the last call.
    pub fn take(&self) -> Vec<MsiMessage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MsiSink for MsiLog {
    fn send(&self, message: MsiMessage) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < 4096 {
            log.push(message);
        }
    }
}

/// A machine without CPUs.
#[derive(Debug)]
pub struct Machine {
    /// Guest memory, from address 0.
    pub ram: Arc<GuestRam>,
    /// The PCI root.
    pub root: Root,
    /// Memory addresses; I/O ports are at 4 GiB.
    pub bus: AddressSpace,
    /// MSIs.
    pub msi: Arc<MsiLog>,
    /// Virtual time.
    pub now: SimTime,
    /// Most times that [`Machine::service`] lets time move on.
    pub advances: u32,
}

impl Machine {
    /// With `bytes` of RAM.
    pub fn new(bytes: u64) -> Self {
        Self::with_ram(bus::create_ram(&[(0, bytes)]).expect("memory for a test"))
    }
    /// With `bytes` of RAM that other processes can map.
    pub fn shared(bytes: u64) -> Self {
        Self::with_ram(bus::create_shared_ram(&[(0, bytes)]).expect("memory for a test"))
    }
    fn with_ram(ram: GuestRam) -> Self {
        let root = Root::new();
        let windows = Windows::new(&root);
        let mut bus = AddressSpace::new();
        for (start, len, device) in [
            (ECAM, Windows::ECAM_SIZE, windows.ecam()),
            (MEMORY32, WINDOW, windows.memory(MEMORY32)),
            (MEMORY64, WINDOW, windows.memory(MEMORY64)),
            (IO, 0x1_0000, windows.io(0)),
        ] {
            bus.map(start, len, device).expect("windows are disjoint");
        }
        Self {
            ram: Arc::new(ram),
            root,
            bus,
            msi: Arc::new(MsiLog::default()),
            now: SimTime::ZERO,
            advances: 1000,
        }
    }
    /// An identity for the function that goes to `slot`.
    pub fn dma(&self, slot: u8) -> DmaTarget {
        let msi: Arc<dyn MsiSink> = self.msi.clone();
        DmaTarget::new(Bdf::new(0, slot, 0), Arc::clone(&self.ram), msi)
    }
    /// Adds a function and gives its BARs addresses.
    pub fn add(&mut self, slot: u8, function: Box<dyn PciFunction>) {
        self.root
            .add(Bdf::new(0, slot, 0), function)
            .expect("a free slot");
        let window = |start| start..start + WINDOW;
        self.root
            .assign_bars(window(MEMORY32), window(MEMORY64), 0x1000..0x1_0000)
            .expect("room for BARs");
    }
    /// A line that goes nowhere.
    pub fn line(&self) -> IrqLine {
        IrqLine::null()
    }
    /// Reads `N` bytes.
    pub fn read<const N: usize>(&mut self, at: u64) -> [u8; N] {
        let mut data = [0; N];
        let _ = self.bus.read(at, &mut data);
        data
    }
    /// Reads 16 bits.
    pub fn read16(&mut self, at: u64) -> u16 {
        u16::from_le_bytes(self.read(at))
    }
    /// Reads 32 bits.
    pub fn read32(&mut self, at: u64) -> u32 {
        u32::from_le_bytes(self.read(at))
    }
    /// Writes, and services when the device asks for it.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        if self.bus.write(at, data) == Ok(Action::Service) {
            self.service();
        }
    }
    /// Services the root until it is idle. Time moves to the next event, as
    /// often as [`Machine::advances`] says (a device may poll).
    pub fn service(&mut self) {
        let mut advances = 0;
        for _ in 0..100_000 {
            match self.root.service(self.now) {
                Next::At(at) if at > self.now => {
                    if advances == self.advances {
                        return;
                    }
                    advances += 1;
                    self.now = at;
                }
                Next::At(_) | Next::Before(_) => {}
                Next::OnKick if self.root.has_work() => {}
                Next::OnKick => return,
            }
        }
        panic!("the devices never become idle");
    }
    /// Address of a configuration register of `slot`.
    pub fn config(slot: u8, register: u64) -> u64 {
        ECAM + (u64::from(slot) << 15) + register
    }
    /// CPU address of an I/O port.
    pub fn port(port: u64) -> u64 {
        IO + port
    }
}

/// A driver of a modern virtio function.
#[derive(Debug)]
pub struct Driver {
    /// Where the function is.
    pub slot: u8,
    /// Common configuration.
    pub common: u64,
    /// Notifications.
    pub notify: u64,
    /// Bytes between them.
    pub notify_step: u64,
    /// The ISR register.
    pub isr: u64,
    /// Device configuration.
    pub device: u64,
    /// The MSI-X table.
    pub msix_table: u64,
    /// Offset of the MSI-X capability.
    pub msix_cap: u64,
    /// Accepted features.
    pub features: u64,
}

impl Driver {
    /// Finds the structures by the capability list, as a driver does, and turns
    /// on memory decode, bus mastering and MSI-X.
    pub fn probe(m: &mut Machine, slot: u8) -> Self {
        let config = |at| Machine::config(slot, at);
        let mut driver = Self {
            slot,
            common: 0,
            notify: 0,
            notify_step: 0,
            isr: 0,
            device: 0,
            msix_table: 0,
            msix_cap: 0,
            features: 0,
        };
        assert_eq!(m.read16(config(0)), 0x1af4);
        m.write(config(4), &6u16.to_le_bytes());
        let bar = |m: &mut Machine, index: u64| {
            let low = m.read32(config(0x10 + 4 * index));
            let high = if low & 6 == 4 {
                m.read32(config(0x14 + 4 * index))
            } else {
                0
            };
            u64::from(low & !15) | u64::from(high) << 32
        };
        let mut at = u64::from(m.read::<1>(config(0x34))[0]);
        let mut steps = 0;
        while at != 0 {
            steps += 1;
            assert!(steps < 48, "capability list loops");
            let [id, next, len, kind] = m.read::<4>(config(at));
            if id == 0x11 {
                let table = m.read32(config(at + 4));
                driver.msix_table = bar(m, u64::from(table & 7)) + u64::from(table & !7);
                driver.msix_cap = at;
            }
            if id == 9 {
                assert!(len >= 16);
                let which = u64::from(m.read::<1>(config(at + 4))[0]);
                let offset = u64::from(m.read32(config(at + 8)));
                let place = if kind == 5 { 0 } else { bar(m, which) + offset };
                match kind {
                    1 => driver.common = place,
                    2 => {
                        driver.notify = place;
                        driver.notify_step = u64::from(m.read32(config(at + 16)));
                    }
                    3 => driver.isr = place,
                    4 => driver.device = place,
                    _ => {}
                }
            }
            at = u64::from(next);
        }
        driver
    }
    /// Programs MSI-X vector `index` and enables MSI-X. Its message is
    /// `(0xfee00000, 0x40 + index)`.
    pub fn enable_msix(&self, m: &mut Machine, count: u16) {
        for index in 0..count {
            let entry = self.msix_table + 16 * u64::from(index);
            m.write(entry, &0xfee0_0000u64.to_le_bytes());
            m.write(entry + 8, &(0x40 + u32::from(index)).to_le_bytes());
            m.write(entry + 12, &0u32.to_le_bytes());
        }
        let control = Machine::config(self.slot, self.msix_cap + 2);
        m.write(control, &0x8000u16.to_le_bytes());
    }
    /// Device status.
    pub fn status(&self, m: &mut Machine) -> u8 {
        m.read::<1>(self.common + 0x14)[0]
    }
    /// Writes device status.
    pub fn set_status(&self, m: &mut Machine, status: u8) {
        m.write(self.common + 0x14, &[status]);
    }
    /// What the device offers.
    pub fn offered(&self, m: &mut Machine) -> u64 {
        let mut bits = 0;
        for select in 0..2u32 {
            m.write(self.common, &select.to_le_bytes());
            bits |= u64::from(m.read32(self.common + 4)) << (32 * select);
        }
        bits
    }
    /// Resets, then negotiates those of `wanted` that are on offer. Whether the
    /// device agreed.
    pub fn negotiate(&mut self, m: &mut Machine, wanted: u64) -> bool {
        self.set_status(m, 0);
        assert_eq!(self.status(m), 0);
        self.set_status(m, 1);
        self.set_status(m, 3);
        self.features = self.offered(m) & wanted;
        for select in 0..2u32 {
            m.write(self.common + 8, &select.to_le_bytes());
            let word = (self.features >> (32 * select)) as u32;
            m.write(self.common + 12, &word.to_le_bytes());
        }
        self.set_status(m, 11);
        self.status(m) & 8 != 0
    }
    /// Sets up queue `index` of `size` descriptors with its rings at `at`.
    /// Its interrupt is MSI-X vector `index + 1`.
    pub fn queue(&self, m: &mut Machine, index: u16, size: u16, at: u64) -> GuestQueue {
        let queue = GuestQueue::new(&m.ram, index, size, at, self.features);
        m.write(self.common + 0x16, &index.to_le_bytes());
        m.write(self.common + 0x18, &size.to_le_bytes());
        assert_eq!(m.read16(self.common + 0x18), size);
        m.write(self.common + 0x1a, &(index + 1).to_le_bytes());
        for (i, address) in queue.addresses().into_iter().enumerate() {
            let register = self.common + 0x20 + 8 * i as u64;
            m.write(register, &(address as u32).to_le_bytes());
            m.write(register + 4, &((address >> 32) as u32).to_le_bytes());
        }
        m.write(self.common + 0x1c, &1u16.to_le_bytes());
        assert_eq!(m.read16(self.common + 0x1c), 1);
        queue
    }
    /// DRIVER_OK.
    pub fn start(&self, m: &mut Machine) {
        self.set_status(m, 15);
    }
    /// Notifies `queue` if the device wants it. Whether it did.
    pub fn kick(&self, m: &mut Machine, queue: &mut GuestQueue) -> bool {
        let wanted = queue.publish();
        if wanted {
            let at = self.notify + self.notify_step * u64::from(queue.index);
            m.write(at, &queue.index.to_le_bytes());
        }
        wanted
    }
}
