//! AArch64 code in any system state: decoder, executor, MMU, exceptions.
//!
//! Input: flags, count of patches, patches (which register, 8 bytes), code.
//! Each 16 bytes of code are a slot: an exception goes to the next one.

use super::{Target, cpu_run};
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{GuestRam, IrqLine, create_ram};
use cpu::aarch64::{Aarch64, Aarch64State, Extra, boot_state};
use cpu::{Clock, Cpu, Signal};
use std::sync::Arc;

pub const TARGET: Target = Target {
    name: "aarch64",
    about: "AArch64 code in any system state; budgets are exact",
    run,
    max_len: 2048,
    rounds: 12_000,
    // ISB, ERET, SVC, WFI, MSR DAIFSet, TLBI VMALLE1, IC IALLU, DSB, MSR SCTLR_EL1.
    words: &[
        b"\xdf\x3f\x03\xd5",
        b"\xe0\x03\x9f\xd6",
        b"\x01\x00\x00\xd4",
        b"\x7f\x20\x03\xd5",
        b"\xdf\x42\x03\xd5",
        b"\x1f\x87\x08\xd5",
        b"\x1f\x75\x08\xd5",
        b"\x9f\x3f\x03\xd5",
        b"\x00\x10\x18\xd5",
    ],
};

const RAM: u64 = 0x4_0000;
const TABLES: u64 = 0x4000;
const VECTORS: u64 = 0x8000;
const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
const HVC: u32 = 0xd400_0022;
/// Instructions of a run.
const BUDGET: u64 = 1500;

/// A 4 KiB granule, 48 bits both ways, write-back walks; ASIDs of 16 bits.
const TCR: u64 = 16 | 16 << 16 | 1 << 8 | 1 << 10 | 2 << 30 | 5 << 32 | 1 << 36;
/// Attributes 0: normal write-back, 1: device-nGnRE.
const MAIR: u64 = 0xff | 0x04 << 8;
const BLOCK: u64 = 1 | 1 << 10;
const PAGE: u64 = 3 | 1 << 10;
const USER: u64 = 1 << 6;

fn ram(code: &[u8]) -> GuestRam {
    let ram = create_ram(&[(0, RAM)]).expect("256 KiB");
    let put = |at: u64, v: u64| ram.write_obj(v, GuestAddress(at)).expect("in RAM");
    put(TABLES, (TABLES + 0x1000) | 3);
    put(TABLES + 0x1000, (TABLES + 0x2000) | 3);
    // Memory for both levels, the same by pages, devices.
    put(TABLES + 0x2000, BLOCK | USER);
    put(TABLES + 0x2008, (TABLES + 0x3000) | 3);
    put(TABLES + 0x2010, 0x40_0000 | BLOCK | USER | 1 << 2);
    for page in 0..64u64 {
        let rights = (page & 3) << 6 | (page >> 2 & 1) << 11 | (page & 32) << 49;
        put(TABLES + 0x3000 + page * 8, page << 12 | PAGE | rights);
    }
    for vector in 0..16 {
        let at = GuestAddress(VECTORS + vector * 0x80);
        ram.write_obj(HVC, at).expect("in RAM");
    }
    ram.write_slice(code, GuestAddress(CODE))
        .expect("short code");
    let behind = CODE + (code.len() as u64).next_multiple_of(4);
    ram.write_obj(HVC, GuestAddress(behind)).expect("in RAM");
    ram
}

fn patch(s: &mut Aarch64State, which: u8, value: u64) {
    let sys = &mut s.sys;
    match which {
        0..=30 => s.set_x(which, value),
        31 => s.set_sp(value),
        32..=63 => s.v[usize::from(which - 32)] = u128::from(value).wrapping_mul(0x1_0000_0001),
        64 => s.fpcr = value as u32 & 0x07f7_9f00,
        65 => s.fpsr = value as u32 & 0xf800_009f,
        66 => sys.sctlr = value,
        67 => sys.ttbr[0] = value,
        68 => sys.ttbr[1] = value,
        69 => sys.tcr = value,
        70 => sys.mair = value,
        71 => sys.vbar = value & !0x7ff,
        72 => sys.elr = value,
        73 => sys.spsr = value,
        74 => sys.cpacr = value,
        75 => sys.contextidr = value,
        76 => sys.mdscr = value,
        77 => sys.cntkctl = value,
        78 | 79 => sys.timer[usize::from(which & 1)].ctl = value & 3,
        80 | 81 => sys.timer[usize::from(which & 1)].cval = value,
        82..=89 => sys.debug[usize::from(which - 82)] = value,
        90 => s.sp_bank[0] = value,
        91 => s.sp_bank[1] = value,
        92 => s.set_nzcv(value as u32),
        93 => s.p.daif = value as u8 & 15,
        94 => s.p.ss_il = value as u8 & 3,
        _ => {}
    }
}

fn state(input: &mut Input<'_>) -> (Aarch64State, bool) {
    let flags = input.u8();
    let mut s = boot_state(CODE, DATA);
    for n in 1..31 {
        // Addresses of memory, of the aliases by pages, and small numbers.
        let value = match n % 4 {
            0 => u64::from(n),
            1 => DATA + u64::from(n) * 64,
            2 => 0x20_0000 + DATA + u64::from(n) * 0x1000,
            _ => 0x40_0000 + u64::from(n) * 8,
        };
        s.set_x(n, value);
    }
    s.set_sp(DATA + 0x8000);
    s.sp_bank[0] = DATA + 0xa000;
    s.sys.vbar = VECTORS;
    s.sys.mair = MAIR;
    s.sys.tcr = TCR;
    s.sys.ttbr = [TABLES; 2];
    if flags & 1 == 0 {
        s.sys.cpacr = 3 << 20;
    }
    if flags & 2 != 0 {
        s.sys.sctlr |= 1;
    }
    if flags & 4 == 0 {
        s.p.daif = 0;
    }
    for _ in 0..input.u8() & 31 {
        let which = input.u8();
        patch(&mut s, which, input.u64());
    }
    if flags & 8 != 0 {
        s.sp_bank[1] = s.sp();
        s.p.el = 0;
        s.p.sp_sel = false;
    }
    (s, flags & 16 != 0)
}

fn go(start: &Aarch64State, strict: bool, code: &[u8], slice: u64) -> (Cpu<Aarch64>, GuestRam) {
    let ram = ram(code);
    let signal = Arc::new(Signal::default());
    let irq = signal.clone();
    let timer = IrqLine::from_fn(move |level| match level {
        true => irq.raise(Signal::IRQ),
        false => irq.clear(Signal::IRQ),
    });
    let mut extra = Extra::new(timer, IrqLine::null());
    extra.set_strict_alignment(strict);
    let mut cpu = Cpu::new(
        start.clone(),
        extra,
        &ram,
        signal,
        Clock::instructions(1000),
    );
    let mut slot = 0;
    cpu_run::run(&mut cpu, BUDGET, slice, |cpu: &mut Cpu<Aarch64>| {
        slot += 1;
        let at = slot * 16;
        let system = cpu.s.sys.clone();
        cpu.s.p = start.p;
        cpu.s.pc = CODE + at;
        // Half of the slots see the system state that the last one left.
        cpu.s.sys = if slot % 2 == 0 {
            start.sys.clone()
        } else {
            system
        };
        cpu.flush_tlb();
        at < code.len() as u64
    });
    (cpu, ram)
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (start, strict) = state(&mut input);
    let code = input.rest();
    let slice = 1 + bytes.len() as u64 % 13;
    let (whole, memory) = go(&start, strict, code, BUDGET);
    let (sliced, other) = go(&start, strict, code, slice);
    let (a, b) = (&whole.s, &sliced.s);
    // An interrupt is taken at the head of a block, and a slice makes one.
    let timers = [&start, a, b].map(|s| s.sys.timer.map(|t| t.ctl & 1));
    if timers != [[0; 2]; 3] {
        return;
    }
    assert_eq!(whole.icount(), sliced.icount(), "slices of {slice}");
    assert_eq!((a.pc, a.nzcv(), a.p.el), (b.pc, b.nzcv(), b.p.el));
    for n in 0..32 {
        assert_eq!(a.x_or_sp(n), b.x_or_sp(n), "register {n}");
    }
    assert_eq!((a.v, a.fpsr), (b.v, b.fpsr));
    assert_eq!(
        (a.sys.esr, a.sys.far, a.sys.elr, a.sys.spsr),
        (b.sys.esr, b.sys.far, b.sys.elr, b.sys.spsr)
    );
    assert!(cpu_run::same(&memory, &other, RAM), "memory differs");
}
