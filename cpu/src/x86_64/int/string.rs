//! MOVS, STOS, LODS, SCAS, CMPS, with and without REP.
//!
//! A repeated instruction does its work page by page on host memory. After a
//! bounded amount it stops with its registers up to date and starts again, so
//! that interrupts and budgets get in between. Elements that cross a page or
//! touch a device are done alone, one for each start, so that the replay of
//! device accesses sees an instruction that changes nothing before it is done.

// Copies guest memory by host pointers.
#![allow(unsafe_code)]

use crate::access;
use crate::engine::{Flow, Handler, Op, PAGE_SIZE};
use crate::x86_64::X86;
use crate::x86_64::flags::DF;
use crate::x86_64::operand::{ADDR32, Width, by_width, segment_base, segment_bits};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

type Cpu = crate::Cpu<X86>;

const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;
/// Runs within a page that one start of an instruction does.
const RUNS: usize = 16;
const REPNE: u8 = 2;

fn mask(op: &Op<X86>) -> u64 {
    if op.e & ADDR32 != 0 {
        0xffff_ffff
    } else {
        u64::MAX
    }
}
/// Linear address of the source element.
fn source(cpu: &Cpu, op: &Op<X86>) -> u64 {
    (cpu.s.gpr[RSI] & mask(op)).wrapping_add(segment_base(cpu, op.e))
}
/// Linear address of the destination element (ES has no base).
fn destination(cpu: &Cpu, op: &Op<X86>) -> u64 {
    cpu.s.gpr[RDI] & mask(op)
}
/// Moves an index register over `n` elements.
fn step<W: Width>(cpu: &mut Cpu, op: &Op<X86>, r: usize, n: u64) {
    let bytes = n.wrapping_mul(size_of::<W>() as u64);
    let at = cpu.s.gpr[r];
    let to = if cpu.s.rflags & DF != 0 {
        at.wrapping_sub(bytes)
    } else {
        at.wrapping_add(bytes)
    };
    cpu.s.gpr[r] = to & mask(op);
}
fn count(cpu: &Cpu, op: &Op<X86>) -> u64 {
    cpu.s.gpr[RCX] & mask(op)
}
fn counted(cpu: &mut Cpu, op: &Op<X86>, n: u64) {
    cpu.s.gpr[RCX] = count(cpu, op).wrapping_sub(n) & mask(op);
}
/// Whole elements from `at` on that lie in its page.
fn run_length<W: Width>(cpu: &Cpu, at: u64) -> u64 {
    let size = size_of::<W>() as u64;
    let offset = at & (PAGE_SIZE - 1);
    if offset + size > PAGE_SIZE {
        0
    } else if cpu.s.rflags & DF != 0 {
        offset / size + 1
    } else {
        (PAGE_SIZE - offset) / size
    }
}
/// Lowest address of `n` elements from `at` on.
fn lowest<W: Width>(cpu: &Cpu, at: u64, n: u64) -> u64 {
    if cpu.s.rflags & DF != 0 {
        at.wrapping_sub((n - 1) * size_of::<W>() as u64)
    } else {
        at
    }
}
fn again(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let pc = cpu.pc_of(op);
    cpu.set_pc(pc);
    Flow::Indirect
}
/// After a lone element of a repeated instruction.
fn once_more(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if count(cpu, op) == 0 {
        Flow::Next
    } else {
        again(cpu, op)
    }
}

fn movs<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<W>(source(cpu, op)));
    access!(cpu.store(destination(cpu, op), v));
    step::<W>(cpu, op, RSI, 1);
    step::<W>(cpu, op, RDI, 1);
    Flow::Next
}

/// Copies `n` elements as a loop in the direction of DF would.
///
/// # Safety
/// `n` elements lie at `from` and at `to`, in mappings of guest RAM.
unsafe fn copy<W: Width>(from: *const u8, to: *mut u8, n: usize, down: bool) {
    let bytes = n * size_of::<W>();
    let (f, t) = (from as usize, to as usize);
    let smears = if down {
        t < f && f < t + bytes
    } else {
        f < t && t < f + bytes
    };
    if !smears {
        // SAFETY: the caller vouches for the bounds.
        unsafe { std::ptr::copy(from, to, bytes) };
        return;
    }
    for i in 0..n {
        let at = if down { n - 1 - i } else { i } * size_of::<W>();
        // SAFETY: `at` is within the bytes that the caller vouches for.
        unsafe { W::write(to.add(at), W::read(from.add(at))) };
    }
}

fn rep_movs<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let size = size_of::<W>() as u64;
    let mode = cpu.mode();
    for run in 0..RUNS {
        let left = count(cpu, op);
        if left == 0 {
            return Flow::Next;
        }
        let (from, to) = (source(cpu, op), destination(cpu, op));
        let n = left
            .min(run_length::<W>(cpu, from))
            .min(run_length::<W>(cpu, to));
        let mut hosts = None;
        if n > 0 {
            let (from, to) = (lowest::<W>(cpu, from, n), lowest::<W>(cpu, to, n));
            if let Some(from) = access!(cpu.host_read(from, n * size, mode))
                && let Some(to) = access!(cpu.host_write(to, n * size, mode))
            {
                hosts = Some((from, to));
            }
        }
        let Some((from, to)) = hosts else {
            if run > 0 {
                return again(cpu, op);
            }
            let flow = movs::<W>(cpu, op);
            if flow != Flow::Next {
                return flow;
            }
            counted(cpu, op, 1);
            return once_more(cpu, op);
        };
        // SAFETY: both runs lie in pages that were translated just now.
        unsafe { copy::<W>(from, to, n as usize, cpu.s.rflags & DF != 0) };
        step::<W>(cpu, op, RSI, n);
        step::<W>(cpu, op, RDI, n);
        counted(cpu, op, n);
    }
    once_more(cpu, op)
}

fn stos<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, 0);
    access!(cpu.store(destination(cpu, op), v));
    step::<W>(cpu, op, RDI, 1);
    Flow::Next
}

fn rep_stos<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let size = size_of::<W>() as u64;
    let mode = cpu.mode();
    let v = W::get(&cpu.s.gpr, 0);
    for run in 0..RUNS {
        let left = count(cpu, op);
        if left == 0 {
            return Flow::Next;
        }
        let to = destination(cpu, op);
        let n = left.min(run_length::<W>(cpu, to));
        let mut host = None;
        if n > 0 {
            let low = lowest::<W>(cpu, to, n);
            host = access!(cpu.host_write(low, n * size, mode));
        }
        let Some(host) = host else {
            if run > 0 {
                return again(cpu, op);
            }
            let flow = stos::<W>(cpu, op);
            if flow != Flow::Next {
                return flow;
            }
            counted(cpu, op, 1);
            return once_more(cpu, op);
        };
        let byte = v.zero_extend() as u8;
        let every = W::truncate(u64::from(byte) * 0x0101_0101_0101_0101);
        if v == every {
            // SAFETY: the run lies in a page that was translated just now.
            unsafe { std::ptr::write_bytes(host, byte, (n * size) as usize) };
        } else {
            for i in 0..n {
                // SAFETY: as above.
                unsafe { W::write(host.add((i * size) as usize), v) };
            }
        }
        step::<W>(cpu, op, RDI, n);
        counted(cpu, op, n);
    }
    once_more(cpu, op)
}

fn lods<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<W>(source(cpu, op)));
    W::set(&mut cpu.s.gpr, 0, v);
    step::<W>(cpu, op, RSI, 1);
    Flow::Next
}
fn scas<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<W>(destination(cpu, op)));
    compare(cpu, W::get(&cpu.s.gpr, 0), v);
    step::<W>(cpu, op, RDI, 1);
    Flow::Next
}
fn cmps<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = access!(cpu.load::<W>(source(cpu, op)));
    let b = access!(cpu.load::<W>(destination(cpu, op)));
    compare(cpu, a, b);
    step::<W>(cpu, op, RSI, 1);
    step::<W>(cpu, op, RDI, 1);
    Flow::Next
}
fn compare<W: Width>(cpu: &mut Cpu, a: W, b: W) {
    let r = W::truncate(a.zero_extend().wrapping_sub(b.zero_extend()));
    cpu.s.cc.set_sub(a, b, r);
}

/// LODS, SCAS, CMPS with a prefix: element by element. `USES` has bit 0 for
/// the source and bit 1 for the destination.
#[inline(always)]
fn repeat<W: Width, const USES: u8>(
    cpu: &mut Cpu,
    op: &Op<X86>,
    one: Handler<X86>,
    compares: bool,
) -> Flow {
    let size = size_of::<W>() as u64;
    let mode = cpu.mode();
    for done in 0..256 {
        if count(cpu, op) == 0 {
            return Flow::Next;
        }
        let mut plain = true;
        if USES & 1 != 0 {
            let at = source(cpu, op);
            plain &= access!(cpu.host_read(at, size, mode)).is_some();
        }
        if USES & 2 != 0 {
            let at = destination(cpu, op);
            plain &= access!(cpu.host_read(at, size, mode)).is_some();
        }
        if !plain && done > 0 {
            return again(cpu, op);
        }
        let flow = one(cpu, op);
        if flow != Flow::Next {
            return flow;
        }
        counted(cpu, op, 1);
        if compares && cpu.s.cc.zf() == (op.a == REPNE) {
            return Flow::Next;
        }
        if !plain {
            return once_more(cpu, op);
        }
    }
    once_more(cpu, op)
}
fn rep_lods<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    repeat::<W, 1>(cpu, op, lods::<W>, false)
}
fn rep_scas<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    repeat::<W, 2>(cpu, op, scas::<W>, true)
}
fn rep_cmps<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    repeat::<W, 3>(cpu, op, cmps::<W>, true)
}

/// Packs a string instruction: `a` is 0, 1 for REP or REPE, 2 for REPNE.
pub(in crate::x86_64) fn pack_string(i: &Instruction, run: Handler<X86>) -> Op<X86> {
    let mut op = Op::new(i.code() as u16, run);
    op.a = if i.has_repne_prefix() {
        REPNE
    } else {
        u8::from(i.has_rep_prefix())
    };
    let short = (0..i.op_count()).any(|n| {
        matches!(
            i.op_kind(n),
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI
        )
    });
    if short {
        op.e |= ADDR32;
    }
    if i.segment_prefix() != Register::None {
        op.e |= segment_bits(i.segment_prefix());
    }
    op
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    use Mnemonic::*;
    let size = match i.mnemonic() {
        Movsb | Stosb | Lodsb | Scasb | Cmpsb => 1,
        Movsw | Stosw | Lodsw | Scasw | Cmpsw => 2,
        Movsd | Cmpsd if !i.is_string_instruction() => return None,
        Movsd | Stosd | Lodsd | Scasd | Cmpsd => 4,
        Movsq | Stosq | Lodsq | Scasq | Cmpsq => 8,
        _ => return None,
    };
    let rep = i.has_rep_prefix() || i.has_repne_prefix();
    let run = by_width!(size, W => match (i.mnemonic(), rep) {
        (Movsb | Movsw | Movsd | Movsq, false) => movs::<W> as Handler<X86>,
        (Movsb | Movsw | Movsd | Movsq, true) => rep_movs::<W>,
        (Stosb | Stosw | Stosd | Stosq, false) => stos::<W>,
        (Stosb | Stosw | Stosd | Stosq, true) => rep_stos::<W>,
        (Lodsb | Lodsw | Lodsd | Lodsq, false) => lods::<W>,
        (Lodsb | Lodsw | Lodsd | Lodsq, true) => rep_lods::<W>,
        (Scasb | Scasw | Scasd | Scasq, false) => scas::<W>,
        (Scasb | Scasw | Scasd | Scasq, true) => rep_scas::<W>,
        (_, false) => cmps::<W>,
        (_, true) => rep_cmps::<W>,
    });
    Some(pack_string(i, run))
}
