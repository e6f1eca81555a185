//! The x86-64 host: a hardware-reduced ACPI machine that runs 64-bit code from
//! its first instruction.

use super::pc_irqs::PcIrqs;
use super::{KvmMachine, KvmParts, Machine, MachineParts, Runner, ServiceFn, pc_acpi, pc_boot};
use crate::accel::Accelerator;
use crate::accel::kvm::{BootState, KvmError, KvmVcpu};
use bus::{
    Action, AddressSpace, Bdf, BusDevice, DmaTarget, GuestRam, IoError, IrqLine, MemoryError, Next,
    Service, SimTime, Wake, create_ram,
};
use cpu::x86_64::{self, Boot64, X86};
use cpu::{Clock, Cpu, Signal};
use devices::pci;
use devices::rtc::{Cmos, NowSource};
use devices::serial::{SerialInput, SerialSink, Uart16550};
use std::sync::{Arc, Mutex, PoisonError};

/// Guest physical addresses and ports.
pub(super) mod map {
    pub const GDT: u64 = 0x500;
    pub const GDT_LIMIT: u16 = 31;
    pub const ZERO_PAGE: u64 = 0x7000;
    pub const PAGE_TABLES: u64 = 0x9000;
    pub const SETUP_DATA: u64 = 0x1_0000;
    pub const CMDLINE: u64 = 0x2_0000;
    pub const CMDLINE_MAX: u64 = 2048;
    /// End of base memory.
    pub const EBDA: u64 = 0x9_fc00;
    pub const ACPI: u64 = 0xe_0000;
    pub const KERNEL_MIN: u64 = 0x10_0000;
    /// End of low memory; the PCI hole follows.
    pub const LOW_RAM_END: u64 = 0xc000_0000;
    pub const HIGH_RAM: u64 = 0x1_0000_0000;
    pub const PCI_MEM: u64 = 0xd000_0000;
    pub const PCI_MEM_LEN: u64 = 0x1000_0000;
    pub const ECAM: u64 = 0xe000_0000;
    pub const ECAM_LEN: u64 = 0x10_0000;
    pub const IOAPIC: u64 = 0xfec0_0000;
    pub const LAPIC: u64 = 0xfee0_0000;
    pub const PCI_MEM64: u64 = 0x20_0000_0000;
    pub const PCI_MEM64_LEN: u64 = 0x8_0000_0000;
    pub const PCI_IO: u64 = 0xc000;
    pub const PCI_IO_LEN: u64 = 0x4000;
    /// Four I/O APIC pins for INTA to INTD.
    pub const INTX_GSI: u32 = 16;
    pub const COM: [u16; 2] = [0x3f8, 0x2f8];
    pub const COM_IRQ: [u32; 2] = [4, 3];
    pub const CMOS: u64 = 0x70;
    /// ACPI sleep control; the status register follows.
    pub const SLEEP_PORT: u16 = 0x600;
    pub const RESET_PORT: u16 = 0x604;
    pub const RESET_VALUE: u8 = 1;
    /// SLP_TYP of S5.
    pub const S5: u8 = 5;
}

/// What to build a PC from.
#[derive(Debug)]
pub struct PcConfig {
    /// Bytes of memory.
    pub memory: u64,
    /// `vmlinux`, an ELF64 file.
    pub kernel: Vec<u8>,
    /// Initial RAM file systems, already concatenated; may be empty.
    pub initrd: Vec<u8>,
    /// Kernel command line.
    pub cmdline: String,
    /// Seed of the guest's randomness.
    pub seed: u64,
    /// Seconds since 1970 at the start.
    pub epoch: u64,
    /// Number of vCPUs.
    pub vcpus: u8,
}

/// A PC that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PcError {
    /// No host memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Kernel and initrd do not fit.
    #[error(
        "{memory} MiB of memory is too little: kernel and initrd need at least {needed} MiB; raise 'memory:'"
    )]
    TooSmall {
        /// What the guest has.
        memory: u64,
        /// What it needs.
        needed: u64,
    },
    /// The kernel cannot be loaded.
    #[error("the x86-64 kernel cannot be loaded: {0}")]
    Kernel(&'static str),
    /// A device window overlaps another one.
    #[error(transparent)]
    Bus(#[from] bus::BusError),
    /// A PCI function cannot be placed.
    #[error(transparent)]
    Pci(#[from] pci::PciError),
    /// KVM does not do what it should.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// More vCPUs than the accelerator has.
    #[error("{0} processors are too many: {1} are possible; lower 'vcpus:'")]
    Vcpus(u8, usize),
    /// An instruction clock under KVM.
    #[error("KVM runs in the time of this machine alone; use 'time: free' or 'accel: emulated'")]
    Clock,
}

/// A PC that is being put together: add PCI functions, then [`Pc::start`].
pub struct Pc {
    signal: Arc<Signal>,
    ram: Arc<GuestRam>,
    layout: Vec<(u64, u64)>,
    irqs: PcIrqs,
    root: pci::Root,
    mmio: AddressSpace,
    pio: AddressSpace,
    services: Vec<ServiceFn>,
    slot: u8,
}

impl Pc {
    /// Memory, interrupt controllers and an empty PCI bus.
    pub fn new(memory: u64, accelerator: Accelerator) -> Result<Self, PcError> {
        let low = memory.min(map::LOW_RAM_END);
        if low < 16 << 20 {
            return Err(PcError::TooSmall {
                memory: memory >> 20,
                needed: 64,
            });
        }
        let mut layout = vec![(0, low)];
        if memory > low {
            layout.push((map::HIGH_RAM, memory - low));
        }
        let ram = Arc::new(create_ram(&layout)?);
        let signal = Arc::new(Signal::default());
        let mut mmio = AddressSpace::new();
        let irqs = match accelerator {
            Accelerator::Emulated => PcIrqs::emulated(signal.clone(), &mut mmio)?,
            Accelerator::Kvm => PcIrqs::kvm(ram.clone())?,
        };
        let root = pci::Root::new();
        let pc = Self {
            signal,
            ram,
            layout,
            irqs,
            root,
            mmio,
            pio: AddressSpace::new(),
            services: Vec::new(),
            slot: 1,
        };
        pc.root.set_wake(pc.wake());
        pc.root.add(
            Bdf::new(0, 0, 0),
            pci::host_bridge(pc.dma(Bdf::new(0, 0, 0))),
        )?;
        Ok(pc)
    }
    /// The guest's memory.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }
    /// Asks for service of the machine's devices; any thread may call it.
    pub fn wake(&self) -> Wake {
        let signal = self.signal.clone();
        Wake::from_fn(move || signal.raise(Signal::DEVICE))
    }
    /// DMA identity for a function.
    pub fn dma(&self, bdf: Bdf) -> DmaTarget {
        DmaTarget::new(bdf, self.ram.clone(), self.irqs.msi())
    }
    /// The next free PCI slot, and the INTx line of its pin A.
    pub fn next_slot(&mut self) -> (Bdf, IrqLine) {
        let slot = self.slot;
        self.slot += 1;
        let pin = map::INTX_GSI + u32::from(slot) % 4;
        (Bdf::new(0, slot, 0), self.irqs.pin(pin))
    }
    /// The PCI bus.
    pub fn root(&self) -> &pci::Root {
        &self.root
    }
    /// Adds a device that only has work, no registers of its own.
    pub fn add_service(&mut self, service: ServiceFn) {
        self.services.push(service);
    }

    fn add_port<D: BusDevice + Service + 'static>(
        &mut self,
        start: u64,
        len: u64,
        device: D,
    ) -> Result<(), PcError> {
        let device = Arc::new(Mutex::new(device));
        self.pio.map(start, len, device.clone())?;
        self.services.push(Box::new(move |now: SimTime| -> Next {
            device
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .service(now)
        }));
        Ok(())
    }

    /// Loads the kernel and connects the rest.
    pub fn start(
        mut self,
        config: &PcConfig,
        clock: Clock,
        console: (Box<dyn SerialSink>, SerialInput),
        agent: (Box<dyn SerialSink>, SerialInput),
    ) -> Result<Runner, PcError> {
        for (i, (sink, input)) in [console, agent].into_iter().enumerate() {
            let irq = self.irqs.pin(map::COM_IRQ[i]);
            self.add_port(map::COM[i].into(), 8, Uart16550::new(irq, sink, input))?;
        }
        let (now, tick) = super::now_source(&clock);
        self.services.extend(tick);
        self.pio.map(
            map::CMOS,
            2,
            Arc::new(Mutex::new(Cmos::new(now as NowSource, config.epoch))),
        )?;
        self.pio
            .map(map::SLEEP_PORT.into(), 8, Arc::new(Mutex::new(PowerPorts)))?;

        let windows = pci::Windows::new(&self.root);
        self.mmio.map(map::ECAM, map::ECAM_LEN, windows.ecam())?;
        self.mmio
            .map(map::PCI_MEM, map::PCI_MEM_LEN, windows.memory(map::PCI_MEM))?;
        self.mmio.map(
            map::PCI_MEM64,
            map::PCI_MEM64_LEN,
            windows.memory(map::PCI_MEM64),
        )?;
        self.pio
            .map(map::PCI_IO, map::PCI_IO_LEN, windows.io(map::PCI_IO))?;
        self.pio.map(
            pci::Windows::CONFIG_PORTS,
            pci::Windows::CONFIG_PORTS_LEN,
            windows.config_ports(),
        )?;
        self.root.assign_bars(
            map::PCI_MEM..map::PCI_MEM + map::PCI_MEM_LEN,
            map::PCI_MEM64..map::PCI_MEM64 + map::PCI_MEM64_LEN,
            map::PCI_IO..map::PCI_IO + map::PCI_IO_LEN,
        )?;
        let root = self.root.clone();
        self.services.push(Box::new(move |now| root.service(now)));

        let acpi = pc_acpi::build(config.vcpus);
        let loaded = pc_boot::load(
            &self.ram,
            &self.layout,
            &config.kernel,
            &config.initrd,
            &config.cmdline,
            &acpi,
            config.seed,
        )?;
        match self.irqs {
            PcIrqs::Emulated { inbox, ioapic } => {
                let state = x86_64::boot_state_64(&Boot64 {
                    rip: loaded.entry,
                    rsi: map::ZERO_PAGE,
                    cr3: map::PAGE_TABLES,
                    gdt: map::GDT,
                    gdt_limit: map::GDT_LIMIT,
                    seed: config.seed,
                });
                let extra = x86_64::Extra::new(inbox);
                let cpu = Cpu::<X86>::new(state, extra, &self.ram, self.signal.clone(), clock);
                Ok(Runner::Emulated(Box::new(Machine::new(MachineParts {
                    vcpu: Box::new(cpu),
                    mmio: self.mmio,
                    pio: self.pio,
                    services: self.services,
                    hypercall: Box::new(|_| (u64::MAX, None)),
                    eoi: Box::new(move |vector| ioapic.eoi(vector)),
                    signal: self.signal,
                    ram: self.ram,
                }))))
            }
            PcIrqs::Kvm { vm, .. } => {
                let Clock::Source(clock) = clock else {
                    return Err(PcError::Clock);
                };
                if usize::from(config.vcpus) > vm.max_vcpus() {
                    return Err(PcError::Vcpus(config.vcpus, vm.max_vcpus()));
                }
                let vcpus = (0..config.vcpus).map(|id| KvmVcpu::new(&vm, id, config.vcpus, true));
                let vcpus: Vec<_> = vcpus.collect::<Result<_, _>>()?;
                if let Some(first) = vcpus.first() {
                    first.boot(&BootState {
                        rip: loaded.entry,
                        rsi: map::ZERO_PAGE,
                        cr3: map::PAGE_TABLES,
                        gdt: map::GDT,
                        gdt_limit: map::GDT_LIMIT,
                        sse: false,
                    })?;
                }
                Ok(Runner::Kvm(Box::new(KvmMachine::new(KvmParts {
                    vcpus,
                    mmio: self.mmio,
                    pio: self.pio,
                    services: self.services,
                    signal: self.signal,
                    clock,
                }))))
            }
        }
    }
}

impl std::fmt::Debug for Pc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pc")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

/// ACPI sleep control and status (ACPI 6.5, section 4.8.3.7) and the reset
/// register.
struct PowerPorts;

impl BusDevice for PowerPorts {
    fn read(&mut self, _: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(0);
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        const SLEEP_ENABLE: u8 = 1 << 5;
        let value = data.first().copied().unwrap_or(0);
        let reset = u64::from(map::RESET_PORT - map::SLEEP_PORT);
        Ok(match offset {
            0 if value & SLEEP_ENABLE != 0 && value >> 2 & 7 == map::S5 => Action::PowerOff,
            at if at == reset && value == map::RESET_VALUE => Action::Reset,
            _ => Action::None,
        })
    }
}
