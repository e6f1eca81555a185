//! Taking exceptions, syndromes, and returning.

use crate::machine::*;
use bus::vm_memory::{Bytes, GuestAddress};
use cpu::aarch64::{Aarch64, Extra};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};

/// Runs one instruction at EL1 (`user` false) or EL0.
fn one(insn: u32, user: bool) -> Bare {
    let mut bare = Bare::new(&[insn, STAY]);
    if user {
        bare.user();
    }
    bare.cpu.s.set_x(0, 0x1234);
    bare.steps(1);
    bare
}

const SAME: u64 = 0x200;
const LOWER: u64 = 0x400;
const IL: u64 = 1 << 25;

#[test]
fn syndromes() {
    let undefined = IL;
    for (name, insn, user, vector, esr, behind) in [
        ("svc", 0xd400_0541, true, LOWER, 0x15 << 26 | IL | 42, 4),
        (
            "svc at EL1",
            0xd400_0541,
            false,
            SAME,
            0x15 << 26 | IL | 42,
            4,
        ),
        ("brk", 0xd420_0020, true, LOWER, 0x3c << 26 | IL | 1, 0),
        ("smc without EL3", 0xd400_0003, false, SAME, undefined, 0),
        ("hvc at EL0", 0xd400_0002, true, LOWER, undefined, 0),
        ("hlt", 0xd440_0000, false, SAME, undefined, 0),
        ("udf", 0, true, LOWER, undefined, 0),
        ("crc32b", 0x1ac2_4020, true, LOWER, undefined, 0),
        (
            "mrs midr at EL0",
            mrs((3, 0, 0, 0, 0), 0),
            true,
            LOWER,
            undefined,
            0,
        ),
        (
            "mrs pmcr",
            mrs((3, 3, 9, 12, 0), 0),
            false,
            SAME,
            undefined,
            0,
        ),
        ("msr uao", 0xd500_417f, false, SAME, undefined, 0),
        ("msr pan at EL0", 0xd500_419f, true, LOWER, undefined, 0),
        ("eret at EL0", ERET, true, LOWER, undefined, 0),
        // Traps that SCTLR_EL1 and CNTKCTL_EL1 control, all off at reset.
        (
            "mrs x0, ctr_el0",
            0xd53b_0020,
            true,
            LOWER,
            0x18 << 26 | IL | 0x32_c001,
            0,
        ),
        (
            "mrs x0, cntvct_el0",
            0xd53b_e040,
            true,
            LOWER,
            0x18 << 26 | IL | 0x34_f801,
            0,
        ),
        (
            "msr daifset, #2",
            0xd503_42df,
            true,
            LOWER,
            0x18 << 26 | IL | 0x0c_d3e4,
            0,
        ),
        (
            "wfi",
            WFI,
            true,
            LOWER,
            0x01 << 26 | IL | 1 << 24 | 0xe << 20,
            0,
        ),
        (
            "fmov d0, x0",
            0x9e67_0000,
            false,
            SAME,
            0x07 << 26 | IL | 1 << 24 | 0xe << 20,
            0,
        ),
    ] {
        let bare = one(insn, user);
        assert_eq!(bare.taken(), (vector, esr, CODE + behind), "{name}");
    }
}

#[test]
fn the_saved_state_comes_back() {
    let mut bare = Bare::new(&[0xd400_0001, STAY]);
    bare.put(VECTORS + LOWER, &[ERET]);
    bare.user();
    bare.cpu.s.set_sp(0x5000);
    bare.cpu.s.sp_bank[1] = 0x6000;
    bare.cpu.s.set_nzcv(0xa000_0000);
    bare.cpu.s.p.daif = 8;
    bare.steps(1);
    let s = &bare.cpu.s;
    assert_eq!(s.sys.spsr, 0xa000_0000 | 8 << 6);
    assert_eq!(
        (s.p.el, s.p.sp_sel, s.p.daif, s.sp()),
        (1, true, 15, 0x6000)
    );
    bare.steps(1);
    let s = &bare.cpu.s;
    assert_eq!(
        (s.p.el, s.p.sp_sel, s.p.daif, s.sp()),
        (0, false, 8, 0x5000)
    );
    assert_eq!((s.nzcv(), s.pc), (0xa000_0000, CODE + 4));
}

#[test]
fn illegal_return() {
    let mut bare = Bare::new(&[ERET]);
    // EL2h is not there.
    bare.cpu.s.sys.spsr = 9 | 0x4000_0000;
    bare.cpu.s.sys.elr = 0x3000;
    bare.steps(1);
    assert_eq!(bare.taken(), (SAME, 0x0e << 26 | IL, 0x3000));
    // IL is in the saved state.
    assert_eq!(bare.cpu.s.sys.spsr >> 20 & 1, 1);
    assert_eq!(bare.cpu.s.nzcv(), 0x4000_0000);
}

#[test]
fn misaligned_pc_and_sp() {
    let mut bare = Bare::new(&[br(0)]);
    bare.cpu.s.set_x(0, CODE + 2);
    bare.steps(2);
    assert_eq!(bare.taken(), (SAME, 0x22 << 26 | IL, CODE + 2));
    assert_eq!(bare.cpu.s.sys.far, CODE + 2);

    let mut bare = Bare::new(&[ldr(0, 31)]);
    bare.cpu.s.sys.sctlr |= 1 << 3;
    bare.cpu.s.set_sp(0x5008);
    bare.steps(1);
    assert_eq!(bare.taken(), (SAME, 0x26 << 26 | IL, CODE));
}

#[test]
fn exclusives() {
    // ldxr x1, [x0]; stxr w2, x3, [x0]
    let code = [0xc85f_7c01, 0xc802_7c03, 0xc802_7c03, STAY];
    let mut bare = Bare::new(&code);
    bare.cpu.s.set_x(0, 0x5000);
    bare.cpu.s.set_x(3, 9);
    bare.steps(2);
    assert_eq!((bare.cpu.s.x(2), bare.get64(0x5000)), (0, 9));
    // Not twice.
    bare.cpu.s.set_x(3, 10);
    bare.steps(1);
    assert_eq!((bare.cpu.s.x(2), bare.get64(0x5000)), (1, 9));
    // Not when memory has changed, nor after an exception return.
    let mut bare = Bare::new(&code);
    bare.cpu.s.set_x(0, 0x5000);
    bare.steps(1);
    bare.put64(0x5000, 1);
    bare.steps(1);
    assert_eq!((bare.cpu.s.x(2), bare.get64(0x5000)), (1, 1));
    let mut bare = Bare::new(&[0xc85f_7c01, ERET, 0xc802_7c03, STAY]);
    bare.cpu.s.set_x(0, 0x5000);
    bare.cpu.s.sys.elr = CODE + 8;
    bare.cpu.s.sys.spsr = 5;
    bare.steps(3);
    assert_eq!(bare.cpu.s.x(2), 1);
}

#[test]
fn hypercall_answers() {
    let mut bare = Bare::new(&[0xd400_0002, STAY]);
    for n in 0..4 {
        bare.cpu.s.set_x(n, u64::from(n) + 10);
    }
    let exit = bare.run(10);
    assert_eq!(
        exit,
        VmExit::Hypercall {
            args: [10, 11, 12, 13]
        }
    );
    assert_eq!(bare.cpu.s.pc, CODE);
    let exit = bare.cpu.run(VmEntry::Value(77), Some(1));
    assert_eq!(exit, VmExit::Budget);
    assert_eq!((bare.cpu.s.x(0), bare.cpu.s.pc), (77, CODE + 4));
}

#[test]
fn device_accesses_are_made_once() {
    // stp x0, x1, [x2] and ldp w3, w4, [x2] of a device
    let mut bare = Bare::new(&[0xa900_0440, 0x2940_1043, STAY]);
    bare.cpu.s.set_x(0, 1);
    bare.cpu.s.set_x(1, 2);
    bare.cpu.s.set_x(2, 0xff00_0000);
    let mut exits = Vec::new();
    let mut entry = VmEntry::Run;
    while exits.len() < 5 {
        match bare.cpu.run(entry, Some(2)) {
            VmExit::Budget => break,
            exit => exits.push(exit),
        }
        entry = match exits.last() {
            Some(VmExit::MmioRead { address, .. }) => VmEntry::Value(address & 0xff | 0x100),
            _ => VmEntry::Done,
        };
    }
    let write = |address, data| VmExit::MmioWrite {
        address,
        size: 8,
        data,
    };
    let read = |address| VmExit::MmioRead { address, size: 4 };
    assert_eq!(
        exits,
        [
            write(0xff00_0000, 1),
            write(0xff00_0008, 2),
            read(0xff00_0000),
            read(0xff00_0004)
        ]
    );
    assert_eq!((bare.cpu.s.x(3), bare.cpu.s.x(4)), (0x100, 0x104));
}

#[test]
fn software_step() {
    // EL1 returns to EL0 with SS set: one instruction, then the exception.
    let mut bare = Bare::new(&[ERET]);
    bare.put(CODE + 0x100, &[0x9100_0400, 0x9100_0400, STAY]);
    bare.cpu.s.sys.mdscr = 1;
    bare.cpu.s.sys.elr = CODE + 0x100;
    bare.cpu.s.sys.spsr = 1 << 21;
    bare.steps(2);
    let esr = 0x32 << 26 | IL | 1 << 24 | 0x22;
    // The exception is taken before anything else runs.
    bare.steps(1);
    assert_eq!(bare.taken(), (LOWER, esr, CODE + 0x104));
    assert_eq!(bare.cpu.s.x(0), 1);
}

#[test]
fn a_snapshot_goes_on() {
    let mut bare = Bare::new(&[0x9100_0400, 0x17ff_ffff]);
    bare.steps(7);
    let state = bare.cpu.s.clone();
    let ram = bus::create_ram(&[(0, RAM)]).unwrap();
    let mut page = vec![0u8; 4096];
    bare.ram.read_slice(&mut page, GuestAddress(CODE)).unwrap();
    ram.write_slice(&page, GuestAddress(CODE)).unwrap();
    let extra = Extra::new(bus::IrqLine::null(), bus::IrqLine::null());
    let signal = std::sync::Arc::new(Signal::default());
    let mut copy = Cpu::<Aarch64>::new(state, extra, &ram, signal, Clock::instructions(1000));
    bare.steps(8);
    copy.run(VmEntry::Run, Some(8));
    assert_eq!(bare.cpu.s.r, copy.s.r);
    assert_eq!(bare.cpu.s.pc, copy.s.pc);
}
