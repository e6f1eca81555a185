//! x86-64 code in any system state: decoder, executor, paging, exceptions.
//!
//! Input: flags, count of patches, patches (which register, 8 bytes), code.
//! Each 16 bytes of code are a slot: an exception goes to the next one.

use super::{Target, cpu_run};
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{GuestRam, create_ram};
use cpu::x86_64::{Boot64, Extra, LapicInbox, LazyFlags, X86, X86State, boot_state_64, seg};
use cpu::{Clock, Cpu, Signal};
use std::sync::Arc;

pub const TARGET: Target = Target {
    name: "x86_64",
    about: "x86-64 code in any system state; budgets are exact",
    run,
    max_len: 2048,
    rounds: 6_000,
    // Prefixes, IRETQ, SYSCALL, SYSRET, WRMSR, MOV CR, INVLPG, INT, HLT, FXRSTOR.
    words: &[
        b"\x48",
        b"\x66",
        b"\xf2",
        b"\xf3",
        b"\xf0",
        b"\x67",
        b"\x48\xcf",
        b"\x0f\x05",
        b"\x48\x0f\x07",
        b"\x0f\x30",
        b"\x0f\x22\xd8",
        b"\x0f\x22\xc0",
        b"\x0f\x01\x38",
        b"\xcd\x80",
        b"\xf4",
        b"\x0f\xae\x0b",
    ],
};

const RAM: u64 = 0x4_0000;
const PML4: u64 = 0x1000;
const GDT: u64 = 0x5000;
const IDT: u64 = 0x6000;
const TSS: u64 = 0x7000;
/// A HLT, where every gate leads.
const HANDLER: u64 = 0x8000;
const RSP0: u64 = 0xb000;
const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
const STACK: u64 = 0x3_0000;
/// Instructions of a run.
const BUDGET: u64 = 1500;
const USER_CS: u16 = 0x33;
const USER_DS: u16 = 0x2b;

fn ram(code: &[u8]) -> GuestRam {
    let ram = create_ram(&[(0, RAM)]).expect("256 KiB");
    let put = |at: u64, v: u64| ram.write_obj(v, GuestAddress(at)).expect("in RAM");
    // Both halves of the address space: memory, the same by pages, devices,
    // the local APIC.
    put(PML4, (PML4 + 0x1000) | 7);
    put(PML4 + 0xff8, (PML4 + 0x1000) | 7);
    put(PML4 + 0x1000, (PML4 + 0x2000) | 7);
    put(PML4 + 0x1018, 0xc000_0087);
    put(PML4 + 0x2000, 0x87);
    put(PML4 + 0x2008, (PML4 + 0x3000) | 7);
    put(PML4 + 0x2010, 0x40_0087);
    for page in 0..64u64 {
        let rights = 1 | (page & 3) << 1 | (page & 32) << 58;
        put(PML4 + 0x3000 + page * 8, page << 12 | rights);
    }
    let gdt = [
        0,
        0,
        0x00af_9b00_0000_ffff, // 0x10 kernel code
        0x00cf_9300_0000_ffff, // 0x18 kernel data
        0x00cf_fb00_0000_ffff, // 0x20 user 32-bit code
        0x00cf_f300_0000_ffff, // 0x28 user data
        0x00af_fb00_0000_ffff, // 0x30 user code
        TSS << 16 | 0x0000_8900_0000_0067,
        0,
    ];
    for (n, entry) in (0..).zip(gdt) {
        put(GDT + n * 8, entry);
    }
    put(TSS + 4, RSP0);
    for vector in 0..256 {
        // Interrupt gates for all levels.
        let low = HANDLER & 0xffff | 0x10 << 16 | 0xee00 << 32 | (HANDLER >> 16) << 48;
        put(IDT + vector * 16, low);
    }
    put(HANDLER, 0xf4);
    ram.write_slice(code, GuestAddress(CODE))
        .expect("short code");
    ram.write_slice(&[0xf4; 32], GuestAddress(CODE + code.len() as u64))
        .expect("in RAM");
    ram
}

fn patch(s: &mut X86State, which: u8, value: u64) {
    let n = usize::from(which);
    match which {
        0..=15 => s.gpr[n] = value,
        16..=31 => s.xmm[n - 16] = u128::from(value).wrapping_mul(0x1_0000_0001),
        32..=39 => s.st[n - 32] = u128::from(value) << 16 & ((1 << 80) - 1) | u128::from(value & 3),
        40 => s.mxcsr = value as u32 & 0xffff,
        41 => s.fcw = value as u16 & 0x1f7f | 0x40,
        42 => s.fsw = value as u16,
        43 => s.ftw_empty = value as u8,
        44 => s.cc = LazyFlags::from_bits(value & 0x8d5),
        // TF, IF, DF, IOPL, NT, AC, ID.
        45 => s.rflags = value & 0x24_7700,
        46 => s.cr0 = value & 0xe005_003f | 0x8000_0011,
        47 => s.cr3 = value,
        48 => s.cr4 = value & 0x37_ffff | 0x20,
        49..=54 => s.seg[n - 49].base = ((value << 16) as i64 >> 16) as u64,
        55 => s.idtr.limit = value as u16,
        56 => s.gdtr.limit = value as u16,
        57 => s.msr.efer = s.msr.efer & !0x801 | value & 0x801,
        58 => s.msr.star = value,
        59 => s.msr.lstar = ((value << 16) as i64 >> 16) as u64,
        60 => s.msr.fmask = value & 0xffff_ffff,
        61 => s.dr[7] = value & 0xffff_ffff | 0x400,
        62..=65 => s.dr[n - 62] = value,
        66 => s.tr.limit = value as u32,
        67 => s.tr.base = ((value << 16) as i64 >> 16) as u64,
        _ => {}
    }
}

fn state(input: &mut Input<'_>) -> X86State {
    let flags = input.u8();
    let mut s = boot_state_64(&Boot64 {
        rip: CODE,
        rsi: DATA,
        cr3: PML4,
        gdt: GDT,
        gdt_limit: 9 * 8 - 1,
        seed: 1,
    });
    s.idtr.base = IDT;
    s.idtr.limit = 0xfff;
    s.tr.selector = 0x38;
    s.tr.base = TSS;
    s.tr.limit = 0x67;
    for n in 0..16u64 {
        s.gpr[n as usize] = match n % 4 {
            0 => n,
            1 => DATA + n * 64,
            2 => 0x20_0000 + DATA + n * 0x1000,
            _ => 0x40_0000 + n * 8,
        };
    }
    s.gpr[4] = STACK;
    if flags & 1 == 0 {
        // OSFXSR, OSXMMEXCPT.
        s.cr4 |= 3 << 9;
    }
    if flags & 2 != 0 {
        s.rflags |= 1 << 9;
    }
    if flags & 4 != 0 {
        s.cr4 |= 1 << 16;
    }
    for _ in 0..input.u8() & 31 {
        let which = input.u8();
        patch(&mut s, which, input.u64());
    }
    if flags & 8 != 0 {
        s.cpl = 3;
        s.seg[seg::CS].selector = USER_CS;
        s.seg[seg::SS].selector = USER_DS;
    }
    s
}

fn go(start: &X86State, code: &[u8], slice: u64) -> (Cpu<X86>, GuestRam) {
    let ram = ram(code);
    let signal = Arc::new(Signal::default());
    let extra = Extra::new(Arc::new(LapicInbox::new(signal.clone())));
    let mut cpu = Cpu::new(
        start.clone(),
        extra,
        &ram,
        signal,
        Clock::instructions(1000),
    );
    let mut slot = 0;
    cpu_run::run(&mut cpu, BUDGET, slice, |cpu: &mut Cpu<X86>| {
        slot += 1;
        let at = slot * 16;
        let old = cpu.s.clone();
        cpu.s = start.clone();
        cpu.s.rip = CODE + at;
        cpu.s.apic = old.apic;
        cpu.s.random = old.random;
        if slot % 2 == 1 {
            // Half of the slots see what the last one left.
            (cpu.s.gpr, cpu.s.xmm, cpu.s.st) = (old.gpr, old.xmm, old.st);
            (cpu.s.fsw, cpu.s.ftw_empty, cpu.s.cc) = (old.fsw, old.ftw_empty, old.cc);
            (cpu.s.cr0, cpu.s.cr3, cpu.s.cr4) = (old.cr0, old.cr3, old.cr4);
            (cpu.s.msr, cpu.s.gdtr, cpu.s.idtr) = (old.msr, old.gdtr, old.idtr);
        }
        cpu.flush_tlb();
        at < code.len() as u64
    });
    (cpu, ram)
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let start = state(&mut input);
    let code = input.rest();
    let slice = 1 + bytes.len() as u64 % 13;
    let (whole, memory) = go(&start, code, BUDGET);
    let (sliced, other) = go(&start, code, slice);
    let (a, b) = (&whole.s, &sliced.s);
    // An interrupt is taken at the head of a block, where the timer is read, too,
    // and a slice makes one. Without the local APIC there is neither.
    let quiet = |s: &X86State| {
        let apic = &s.apic;
        apic.svr == start.apic.svr && (apic.icr, apic.initial, apic.deadline) == (0, 0, 0)
    };
    if !quiet(a) || !quiet(b) {
        return;
    }
    assert_eq!(whole.icount(), sliced.icount(), "slices of {slice}");
    assert_eq!((a.rip, a.cpl, a.gpr), (b.rip, b.cpl, b.gpr));
    let flags = |s: &X86State| s.cc.bits() | s.rflags;
    assert_eq!(flags(a), flags(b));
    assert_eq!((a.xmm, a.mxcsr), (b.xmm, b.mxcsr));
    assert_eq!((a.st, a.fsw, a.ftw_empty), (b.st, b.fsw, b.ftw_empty));
    assert_eq!((a.cr0, a.cr2, a.cr3, a.cr4), (b.cr0, b.cr2, b.cr3, b.cr4));
    assert_eq!((a.seg, a.dr), (b.seg, b.dr));
    assert!(cpu_run::same(&memory, &other, RAM), "memory differs");
}
