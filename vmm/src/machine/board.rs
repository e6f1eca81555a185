//! The ARM64 board: a Zynq-UltraScale-like card, its processor side.

use super::base::{Base, MapError, Memory, PciMap};
use super::board_fdt::{self, Tree};
use super::{MachineParts, psci};
use bus::{AddressSpace, IrqLine, MemoryError};
use cpu::aarch64::{self, Aarch64};
use cpu::{Clock, Cpu, Signal};
use devices::irqchip::gic::{CpuOutput, Gic, GicV2m};
use devices::pci::PciError;
use devices::rtc::Pl031;
use devices::serial::{Pl011, SerialInput, SerialSink};
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

/// Guest physical addresses (Zynq UltraScale+ where it has a counterpart).
pub(super) mod map {
    /// Kept out of Linux: the card's shared window lies in it.
    pub const RESERVED: u64 = 0x0400_0000;
    /// End of low DDR; the rest of the memory lies at [`HIGH_RAM`].
    pub const LOW_RAM_END: u64 = 0x8000_0000;
    pub const HIGH_RAM: u64 = 0x8_0000_0000;
    pub const ECAM: u64 = 0xe000_0000;
    pub const ECAM_LEN: u64 = 0x10_0000;
    pub const PCI_MEM: u64 = 0xe100_0000;
    pub const PCI_MEM_LEN: u64 = 0x0e00_0000;
    pub const PCI_IO: u64 = 0xef00_0000;
    pub const PCI_IO_LEN: u64 = 0x1_0000;
    pub const PCI_MEM64: u64 = 0x6_0000_0000;
    pub const PCI_MEM64_LEN: u64 = 0x2_0000_0000;
    pub const GICD: u64 = 0xf901_0000;
    pub const GICC: u64 = 0xf902_0000;
    pub const GICV2M: u64 = 0xf906_0000;
    pub const UART: [u64; 2] = [0xff00_0000, 0xff01_0000];
    pub const UART_SPI: [u32; 2] = [21, 22];
    pub const RTC: u64 = 0xffa6_0000;
    pub const RTC_SPI: u32 = 26;
    /// Four SPIs for INTA to INTD.
    pub const INTX_SPI: u32 = 28;
    pub const MSI_SPI: u32 = 64;
    pub const MSI_COUNT: u32 = 64;
    pub const SPIS: u32 = 160;
    /// Linux is loaded here.
    pub const KERNEL: u64 = RESERVED;
}

/// Start and length of each piece of memory.
fn ram_layout(bytes: u64) -> Vec<(u64, u64)> {
    let low = bytes.min(map::LOW_RAM_END);
    let mut ram = vec![(0, low)];
    if bytes > low {
        ram.push((map::HIGH_RAM, bytes - low));
    }
    ram
}

/// What to build a board from.
#[derive(Debug)]
pub struct BoardConfig {
    /// Bytes of memory.
    pub memory: u64,
    /// Plain arm64 `Image`.
    pub kernel: Vec<u8>,
    /// Initial RAM file systems, already concatenated; may be empty.
    pub initrd: Vec<u8>,
    /// Kernel command line.
    pub cmdline: String,
    /// Seed of the guest's randomness.
    pub seed: u64,
    /// Seconds since 1970 at the start.
    pub epoch: u64,
    /// Unaligned accesses to Device memory fault.
    pub strict_alignment: bool,
}

/// A board that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No host memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Kernel, initrd and the reserved window do not fit.
    #[error(
        "{memory} MiB of memory is too little: kernel and initrd need at least {needed} MiB; raise 'memory:'"
    )]
    TooSmall {
        /// What the guest has.
        memory: u64,
        /// What it needs.
        needed: u64,
    },
    /// The kernel's header is damaged.
    #[error("the arm64 kernel image is damaged: {0}")]
    Kernel(&'static str),
    /// The device tree does not fit its format.
    #[error("cannot write the device tree: {0}")]
    Tree(#[from] vm_fdt::Error),
    /// A device window overlaps another one.
    #[error(transparent)]
    Bus(#[from] bus::BusError),
    /// A PCI function cannot be placed.
    #[error(transparent)]
    Pci(#[from] PciError),
}

impl From<MapError> for BoardError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Bus(error) => Self::Bus(error),
            MapError::Pci(error) => Self::Pci(error),
        }
    }
}

/// A board that is being put together: add PCI functions, then [`Board::start`].
#[derive(Debug)]
pub struct Board {
    base: Base,
    gic: Gic,
}

impl Board {
    /// Memory, interrupt controller and an empty PCI bus.
    pub fn new(memory: impl Into<Memory>) -> Result<Self, BoardError> {
        let memory = memory.into();
        let layout = ram_layout(memory.bytes);
        let (ram, signal) = memory.map(&layout)?;
        let irq = signal.clone();
        let gic = Gic::new(
            map::SPIS,
            vec![CpuOutput::irq(IrqLine::from_fn(move |level| {
                if level {
                    irq.raise(Signal::IRQ)
                } else {
                    irq.clear(Signal::IRQ)
                }
            }))],
        );
        let frame = GicV2m::new(gic.clone(), map::GICV2M, map::MSI_SPI, map::MSI_COUNT);
        let pins = gic.clone();
        let mut base = Base::new(
            layout,
            (ram, signal),
            Arc::new(frame.clone()),
            Box::new(move |pin| pins.spi(map::INTX_SPI + u32::from(pin))),
        )?;
        base.map(map::GICD, 0x1000, Arc::new(Mutex::new(gic.distributor(0))))?;
        base.map(
            map::GICC,
            0x2000,
            Arc::new(Mutex::new(gic.cpu_interface(0))),
        )?;
        base.map(map::GICV2M, 0x1000, Arc::new(Mutex::new(frame)))?;
        Ok(Self { base, gic })
    }
    /// What it shares with every machine.
    pub fn base(&self) -> &Base {
        &self.base
    }
    /// As [`Board::base`], to add devices.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    /// Loads the kernel and connects the rest: console and agent serial lines,
    /// each a sink for the guest's output and a source of its input.
    pub fn start(
        mut self,
        config: &BoardConfig,
        clock: Clock,
        console: (Box<dyn SerialSink>, SerialInput),
        agent: (Box<dyn SerialSink>, SerialInput),
    ) -> Result<MachineParts, BoardError> {
        for (i, (sink, input)) in [console, agent].into_iter().enumerate() {
            let irq = self.gic.spi(map::UART_SPI[i]);
            self.base
                .add(map::UART[i], 0x1000, Pl011::new(irq, sink, input))?;
        }
        let (now, tick) = super::now_source(&clock);
        self.base.services.extend(tick);
        self.base.add(
            map::RTC,
            0x1000,
            Pl031::new(self.gic.spi(map::RTC_SPI), now, config.epoch),
        )?;

        let windows = self.base.map_pci(PciMap {
            ecam: map::ECAM..map::ECAM + map::ECAM_LEN,
            memory: map::PCI_MEM..map::PCI_MEM + map::PCI_MEM_LEN,
            memory64: map::PCI_MEM64..map::PCI_MEM64 + map::PCI_MEM64_LEN,
            ports: 0x1000..map::PCI_IO_LEN,
        })?;
        self.base.map(map::PCI_IO, map::PCI_IO_LEN, windows.io(0))?;

        let (entry, tree) = self.load(config)?;
        let extra = aarch64::Extra::new(self.gic.ppi(0, 27), self.gic.ppi(0, 30));
        let state = aarch64::boot_state(entry, tree);
        let Base {
            signal,
            ram,
            mmio,
            services,
            ..
        } = self.base;
        let mut cpu = Cpu::<Aarch64>::new(state, extra, &ram, signal.clone(), clock);
        cpu.extra.set_strict_alignment(config.strict_alignment);
        Ok(MachineParts {
            vcpu: Box::new(cpu),
            mmio,
            pio: AddressSpace::new(),
            services,
            hypercall: Box::new(psci::call),
            eoi: Box::new(|_| {}),
            signal,
            ram,
        })
    }

    /// Puts kernel, initrd and device tree into memory; entry point and
    /// address of the tree.
    fn load(&self, config: &BoardConfig) -> Result<(u64, u64), BoardError> {
        let header = Header::read(&config.kernel)?;
        let start = map::KERNEL + header.text_offset;
        let align = |at: u64| at.next_multiple_of(0x20_0000);
        let initrd_at = align(start + header.image_size.max(config.kernel.len() as u64));
        let tree_at = align(initrd_at + config.initrd.len() as u64);
        let end = tree_at + 0x20_0000;
        let low_end = self.base.layout[0].1;
        // The kernel needs room to unpack the initrd and to run.
        let needed = (end + config.initrd.len() as u64 + (32 << 20)).div_ceil(1 << 20);
        if needed << 20 > low_end {
            return Err(BoardError::TooSmall {
                memory: low_end >> 20,
                needed,
            });
        }
        let mut random = SplitMix(config.seed);
        let rng_seed: Vec<u8> = (0..8).flat_map(|_| random.next().to_le_bytes()).collect();
        let initrd = (!config.initrd.is_empty())
            .then(|| (initrd_at, initrd_at + config.initrd.len() as u64));
        let tree = board_fdt::build(&Tree {
            layout: &self.base.layout,
            cmdline: &config.cmdline,
            initrd,
            rng_seed: &rng_seed,
            kaslr_seed: random.next(),
        })?;
        for (at, bytes) in [
            (start, &config.kernel),
            (initrd_at, &config.initrd),
            (tree_at, &tree),
        ] {
            if self.base.ram.write_slice(bytes, GuestAddress(at)).is_err() {
                return Err(BoardError::TooSmall {
                    memory: low_end >> 20,
                    needed,
                });
            }
        }
        Ok((start, tree_at))
    }
}

/// What the arm64 boot protocol needs of the image header
/// (Documentation/arm64/booting.rst, section 4).
struct Header {
    text_offset: u64,
    image_size: u64,
}

impl Header {
    fn read(image: &[u8]) -> Result<Self, BoardError> {
        let word = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(image.get(at..at + 8)?.try_into().ok()?))
        };
        if image.get(56..60) != Some(b"ARM\x64") {
            return Err(BoardError::Kernel("it lacks the magic number at offset 56"));
        }
        let text_offset = word(8).unwrap_or(0);
        let image_size = word(16).unwrap_or(0);
        if text_offset > 0x20_0000 || image_size > 1 << 32 {
            return Err(BoardError::Kernel(
                "its header asks for an absurd load offset or size",
            ));
        }
        Ok(Self {
            text_offset,
            image_size,
        })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct SplitMix(pub u64);

impl SplitMix {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
