//! The x86-64 host: a hardware-reduced ACPI machine that runs 64-bit code from
//! its first instruction.

use super::base::{Base, MapError, Memory, PciMap};
use super::pc_irqs::PcIrqs;
use super::{KvmMachine, KvmParts, Machine, MachineParts, Runner, pc_acpi, pc_boot};
use crate::accel::Accelerator;
use crate::accel::kvm::{BootState, KvmDoorbells, KvmError, KvmVcpu};
use bus::{Action, BusDevice, IoError, MemoryError};
use cpu::x86_64::{self, Boot64, X86};
use cpu::{Clock, Cpu};
use devices::pci::{PciError, Windows};
use devices::rtc::{Cmos, NowSource};
use devices::serial::{SerialInput, SerialSink, Uart16550};
use std::sync::{Arc, Mutex};

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
    /// Under KVM: doorbells ring by ioeventfd.
    pub ioeventfd: bool,
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
    Pci(#[from] PciError),
    /// KVM does not do what it should.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// More vCPUs than the accelerator has.
    #[error("{0} processors are too many: {1} are possible; lower 'vcpus:'")]
    Vcpus(u8, usize),
    /// No ioeventfds.
    #[error("doorbells cannot be waited for: {0}")]
    Doorbells(#[source] std::io::Error),
    /// An instruction clock under KVM.
    #[error("KVM runs in the time of this machine alone; use 'time: free' or 'accel: emulated'")]
    Clock,
}

impl From<MapError> for PcError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Bus(error) => Self::Bus(error),
            MapError::Pci(error) => Self::Pci(error),
        }
    }
}

/// A PC that is being put together: add PCI functions, then [`Pc::start`].
pub struct Pc {
    base: Base,
    irqs: Arc<PcIrqs>,
}

impl Pc {
    /// Memory, interrupt controllers and an empty PCI bus.
    pub fn new(memory: impl Into<Memory>, accelerator: Accelerator) -> Result<Self, PcError> {
        let memory = memory.into();
        let bytes = memory.bytes;
        let low = bytes.min(map::LOW_RAM_END);
        if low < 16 << 20 {
            return Err(PcError::TooSmall {
                memory: bytes >> 20,
                needed: 64,
            });
        }
        let mut layout = vec![(0, low)];
        if bytes > low {
            layout.push((map::HIGH_RAM, bytes - low));
        }
        let (ram, signal) = memory.map(&layout)?;
        let irqs = Arc::new(match accelerator {
            Accelerator::Emulated => PcIrqs::emulated(signal.clone()),
            Accelerator::Kvm => PcIrqs::kvm(ram.clone())?,
        });
        let pins = irqs.clone();
        let mut base = Base::new(
            layout,
            (ram, signal),
            irqs.msi(),
            Box::new(move |pin| pins.pin(map::INTX_GSI + u32::from(pin))),
        )?;
        if let PcIrqs::Emulated { ioapic, .. } = &*irqs {
            base.map(map::IOAPIC, 0x1000, Arc::new(Mutex::new(ioapic.clone())))?;
        }
        Ok(Self { base, irqs })
    }
    /// What it shares with every machine.
    pub fn base(&self) -> &Base {
        &self.base
    }
    /// As [`Pc::base`], to add devices.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
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
            self.base
                .add_port(map::COM[i].into(), 8, Uart16550::new(irq, sink, input))?;
        }
        let (now, tick) = super::now_source(&clock);
        self.base.services.extend(tick);
        self.base.pio.map(
            map::CMOS,
            2,
            Arc::new(Mutex::new(Cmos::new(now as NowSource, config.epoch))),
        )?;
        self.base
            .pio
            .map(map::SLEEP_PORT.into(), 8, Arc::new(Mutex::new(PowerPorts)))?;

        let windows = self.base.map_pci(PciMap {
            ecam: map::ECAM..map::ECAM + map::ECAM_LEN,
            memory: map::PCI_MEM..map::PCI_MEM + map::PCI_MEM_LEN,
            memory64: map::PCI_MEM64..map::PCI_MEM64 + map::PCI_MEM64_LEN,
            ports: map::PCI_IO..map::PCI_IO + map::PCI_IO_LEN,
        })?;
        let pio = &mut self.base.pio;
        pio.map(map::PCI_IO, map::PCI_IO_LEN, windows.io(map::PCI_IO))?;
        pio.map(
            Windows::CONFIG_PORTS,
            Windows::CONFIG_PORTS_LEN,
            windows.config_ports(),
        )?;

        let acpi = pc_acpi::build(config.vcpus);
        let loaded = pc_boot::load(
            &self.base.ram,
            &self.base.layout,
            &config.kernel,
            &config.initrd,
            &config.cmdline,
            &acpi,
            config.seed,
        )?;
        let root = self.base.root().clone();
        let Base {
            signal,
            ram,
            mmio,
            pio,
            services,
            ..
        } = self.base;
        match &*self.irqs {
            PcIrqs::Emulated { inbox, ioapic } => {
                let state = x86_64::boot_state_64(&Boot64 {
                    rip: loaded.entry,
                    rsi: map::ZERO_PAGE,
                    cr3: map::PAGE_TABLES,
                    gdt: map::GDT,
                    gdt_limit: map::GDT_LIMIT,
                    seed: config.seed,
                });
                let extra = x86_64::Extra::new(inbox.clone());
                let ioapic = ioapic.clone();
                let cpu = Cpu::<X86>::new(state, extra, &ram, signal.clone(), clock);
                Ok(Runner::Emulated(Box::new(Machine::new(MachineParts {
                    vcpu: Box::new(cpu),
                    mmio,
                    pio,
                    services,
                    hypercall: Box::new(|_| (u64::MAX, None)),
                    eoi: Box::new(move |vector| ioapic.eoi(vector)),
                    signal,
                    ram,
                }))))
            }
            PcIrqs::Kvm { vm, .. } => {
                let Clock::Source(clock) = clock else {
                    return Err(PcError::Clock);
                };
                if usize::from(config.vcpus) > vm.max_vcpus() {
                    return Err(PcError::Vcpus(config.vcpus, vm.max_vcpus()));
                }
                let vcpus = (0..config.vcpus).map(|id| KvmVcpu::new(vm, id, config.vcpus, true));
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
                let doorbells = match config.ioeventfd {
                    true => Some((
                        KvmDoorbells::new(vm.clone()).map_err(PcError::Doorbells)?,
                        root,
                    )),
                    false => None,
                };
                Ok(Runner::Kvm(Box::new(KvmMachine::new(KvmParts {
                    vcpus,
                    mmio,
                    pio,
                    services,
                    signal,
                    clock,
                    doorbells,
                }))))
            }
        }
    }
}

impl std::fmt::Debug for Pc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pc").field(&self.base).finish()
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
