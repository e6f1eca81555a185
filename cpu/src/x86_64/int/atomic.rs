//! XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B.
//!
//! They are atomic with or without a LOCK prefix.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::operand::{Width, by_width, ea, is_memory, operand_size, pack};
use crate::x86_64::trap::gp;
use iced_x86::{Instruction, Mnemonic};

type Cpu = crate::Cpu<X86>;

fn xadd_r<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let (a, b) = (W::get(&cpu.s.gpr, op.a), W::get(&cpu.s.gpr, op.b));
    let r = W::truncate(a.zero_extend().wrapping_add(b.zero_extend()));
    W::set(&mut cpu.s.gpr, op.b, a);
    W::set(&mut cpu.s.gpr, op.a, r);
    cpu.s.cc.set_add(a, b, r);
    Flow::Next
}
fn xadd_m<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b = W::get(&cpu.s.gpr, op.a);
    let add = |a: W| W::truncate(a.zero_extend().wrapping_add(b.zero_extend()));
    let a = access!(cpu.update::<W>(ea(cpu, op), add));
    W::set(&mut cpu.s.gpr, op.a, a);
    cpu.s.cc.set_add(a, b, add(a));
    Flow::Next
}
#[inline(always)]
fn compare<W: Width>(cpu: &mut Cpu, accumulator: W, found: W) {
    let r = accumulator.zero_extend().wrapping_sub(found.zero_extend());
    cpu.s.cc.set_sub(accumulator, found, W::truncate(r));
    if accumulator != found {
        W::set(&mut cpu.s.gpr, 0, found);
    }
}
fn cmpxchg_r<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let accumulator = W::get(&cpu.s.gpr, 0);
    let (found, new) = (W::get(&cpu.s.gpr, op.a), W::get(&cpu.s.gpr, op.b));
    let written = if accumulator == found { new } else { found };
    W::set(&mut cpu.s.gpr, op.a, written);
    compare(cpu, accumulator, found);
    Flow::Next
}
fn cmpxchg_m<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let accumulator = W::get(&cpu.s.gpr, 0);
    let new = W::get(&cpu.s.gpr, op.a);
    let found = access!(cpu.compare_exchange::<W>(ea(cpu, op), accumulator, new));
    compare(cpu, accumulator, found);
    Flow::Next
}
fn cmpxchg8b(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let half = |r: usize| cpu.s.gpr[r] & 0xffff_ffff;
    let expected = half(0) | (half(2) << 32);
    let new = half(3) | (half(1) << 32);
    let found = access!(cpu.compare_exchange::<u64>(ea(cpu, op), expected, new));
    if found != expected {
        cpu.s.gpr[0] = found & 0xffff_ffff;
        cpu.s.gpr[2] = found >> 32;
    }
    set_zf(cpu, found == expected);
    Flow::Next
}
fn cmpxchg16b(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    if at & 15 != 0 {
        return gp(cpu, 0);
    }
    let reg = |r: usize| u128::from(cpu.s.gpr[r]);
    let expected = reg(0) | (reg(2) << 64);
    let new = reg(3) | (reg(1) << 64);
    let found = access!(cpu.compare_exchange_16(at, expected, new));
    if found != expected {
        cpu.s.gpr[0] = found as u64;
        cpu.s.gpr[2] = (found >> 64) as u64;
    }
    set_zf(cpu, found == expected);
    Flow::Next
}
fn set_zf(cpu: &mut Cpu, zf: bool) {
    cpu.s.cc.zero = u64::from(!zf);
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let memory = is_memory(i, 0);
    let run = match i.mnemonic() {
        Mnemonic::Xadd => by_width!(operand_size(i, 0), W => if memory {
            xadd_m::<W> as Handler<X86>
        } else {
            xadd_r::<W>
        }),
        Mnemonic::Cmpxchg => by_width!(operand_size(i, 0), W => if memory {
            cmpxchg_m::<W> as Handler<X86>
        } else {
            cmpxchg_r::<W>
        }),
        Mnemonic::Cmpxchg8b => cmpxchg8b,
        Mnemonic::Cmpxchg16b => cmpxchg16b,
        _ => return None,
    };
    Some(pack(i, run))
}
