//! The boot loaders of both machines, the tables they leave in guest memory,
//! and the first instructions.
//!
//! Input: memory in MiB less 16, length of the command line and of the initrd
//! (16 bits), both of them, and the kernel file as it lies on disk.

use super::Target;
use crate::Input;
use bus::SimTime;
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{GuestRam, Wake};
use cpu::Clock;
use devices::serial::{SerialInput, SerialSink};
use guest_images::{Arch, load_kernel};
use vmm::accel::Accelerator;
use vmm::machine::{Board, BoardConfig, Machine, Pc, PcConfig};

pub const PC: Target = Target {
    name: "boot_pc",
    about: "x86-64 boot loader, zero page, ACPI tables, first instructions",
    run: pc,
    max_len: 16 << 10,
    rounds: 50_000,
    words: &[b"\x7fELF\x02\x01\x01", b"HdrS", b"\x01\0\0\0\x05\0\0\0"],
};

pub const BOARD: Target = Target {
    name: "boot_board",
    about: "arm64 boot loader, device tree, first instructions",
    run: board,
    max_len: 16 << 10,
    rounds: 50_000,
    words: &[b"ARM\x64", b"MZ", b"PE\0\0"],
};

/// Virtual time for the first instructions.
const RUN: SimTime = SimTime::from_us(20);
/// Picoseconds for each instruction.
const PACE: u64 = 100_000;

struct Boot {
    memory: u64,
    cmdline: String,
    initrd: Vec<u8>,
    kernel: Vec<u8>,
}

impl Boot {
    fn read(bytes: &[u8], arch: Arch) -> Option<Self> {
        let mut input = Input::new(bytes);
        let memory = (u64::from(input.u8()) + 16) << 20;
        let (cmdline, initrd) = (input.u16(), input.u16());
        let cmdline = String::from_utf8_lossy(input.bytes(cmdline.into())).into_owned();
        let initrd = input.bytes(initrd.into()).to_vec();
        let file = input.rest();
        // The machines have to bear a kernel that nobody has checked, too.
        let kernel = match load_kernel(file, arch) {
            Ok(kernel) => kernel.bytes,
            Err(_) => file.to_vec(),
        };
        (kernel.len() < 1 << 20).then_some(Self {
            memory,
            cmdline,
            initrd,
            kernel,
        })
    }
}

fn line() -> (Box<dyn SerialSink>, SerialInput) {
    (Box::new(()), SerialInput::new(Wake::null()))
}

fn pc(bytes: &[u8]) {
    let Some(boot) = Boot::read(bytes, Arch::X86_64) else {
        return;
    };
    let pc = Pc::new(boot.memory, Accelerator::Emulated).expect("memory and devices");
    let ram = pc.base().ram().clone();
    let config = PcConfig {
        memory: boot.memory,
        kernel: boot.kernel,
        initrd: boot.initrd,
        cmdline: boot.cmdline,
        seed: 1,
        epoch: 0,
        ioeventfd: false,
        vcpus: 1,
    };
    match pc.start(&config, Clock::instructions(PACE), line(), line()) {
        Ok(mut runner) => {
            check_zero_page(&ram, &config);
            check_acpi(&ram);
            let _ = runner.run(RUN);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn board(bytes: &[u8]) {
    let Some(boot) = Boot::read(bytes, Arch::Aarch64) else {
        return;
    };
    let board = Board::new(boot.memory).expect("memory and devices");
    let config = BoardConfig {
        memory: boot.memory,
        kernel: boot.kernel,
        initrd: boot.initrd,
        cmdline: boot.cmdline,
        seed: 1,
        epoch: 0,
        strict_alignment: false,
    };
    match board.start(&config, Clock::instructions(PACE), line(), line()) {
        Ok(parts) => {
            let _ = Machine::new(parts).run(RUN);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn word(ram: &GuestRam, at: u64, len: usize) -> u64 {
    let mut raw = [0; 8];
    ram.read_slice(&mut raw[..len], GuestAddress(at))
        .expect("a table in RAM");
    u64::from_le_bytes(raw)
}

/// Documentation/x86/zero-page.rst, and the loader's promises.
fn check_zero_page(ram: &GuestRam, config: &PcConfig) {
    const ZERO_PAGE: u64 = 0x7000;
    let field = |at: u64, len: usize| word(ram, ZERO_PAGE + at, len);
    let mut end = 0;
    let mut usable = Vec::new();
    for n in 0..field(0x1e8, 1) {
        let at = 0x2d0 + n * 20;
        let (start, len) = (field(at, 8), field(at + 8, 8));
        assert!(start >= end && len > 0, "e820 entry {n} at {start:#x}");
        end = start + len;
        if field(at + 16, 4) == 1 {
            usable.push(start..end);
        }
    }
    let total: u64 = usable.iter().map(|range| range.end - range.start).sum();
    assert!(total <= config.memory);
    let (start, len) = (field(0x218, 4), field(0x21c, 4));
    assert_eq!(len, config.initrd.len() as u64);
    let inside = |range: &std::ops::Range<u64>| range.start <= start && start + len <= range.end;
    assert!(usable.iter().any(inside), "the initrd lies in RAM");
    let mut initrd = vec![0; config.initrd.len()];
    ram.read_slice(&mut initrd, GuestAddress(start))
        .expect("in RAM");
    assert!(initrd == config.initrd, "the initrd is whole");
}

/// Every table that the RSDP leads to sums to zero (ACPI 6.5, section 5.2).
fn check_acpi(ram: &GuestRam) {
    let sum = |at: u64, len: u64| {
        (at..at + len).fold(0u8, |s, at| s.wrapping_add(word(ram, at, 1) as u8))
    };
    let rsdp = word(ram, 0x7070, 8);
    assert_eq!(word(ram, rsdp, 8).to_le_bytes(), *b"RSD PTR ");
    assert_eq!((sum(rsdp, 20), sum(rsdp, 36)), (0, 0));
    let xsdt = word(ram, rsdp + 24, 8);
    let mut tables = vec![xsdt];
    let entries = (word(ram, xsdt + 4, 4) - 36) / 8;
    tables.extend((0..entries).map(|n| word(ram, xsdt + 36 + n * 8, 8)));
    for table in tables {
        assert_eq!(
            sum(table, word(ram, table + 4, 4)),
            0,
            "table at {table:#x}"
        );
    }
}
