//! Moves: FMOV of all kinds, FABS, FNEG, FCSEL. None of them looks at NaNs or
//! raises flags.

use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};
use crate::softfloat::Format;

use super::super::flags::holds;
use super::super::{Aarch64, regs};
use super::fp_on;

const SINGLE: u64 = u32::MAX as u64;
const DOUBLE: u64 = u64::MAX;

fn fmov<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u64 & MASK;
    cpu.s.v[op.a as usize & 31] = n.into();
    Flow::Next
}

fn abs<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u64 & (MASK >> 1);
    cpu.s.v[op.a as usize & 31] = n.into();
    Flow::Next
}

fn neg<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = (cpu.s.v[op.b as usize & 31] as u64 ^ !(MASK >> 1)) & MASK;
    cpu.s.v[op.a as usize & 31] = n.into();
    Flow::Next
}

fn csel<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let from = if holds(&cpu.s.p, op.d) { op.b } else { op.c };
    let n = cpu.s.v[from as usize & 31] as u64 & MASK;
    cpu.s.v[op.a as usize & 31] = n.into();
    Flow::Next
}

fn to_general<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u64 & MASK;
    cpu.s.r.set(op.a, n);
    Flow::Next
}

fn from_general<const MASK: u64>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    cpu.s.v[op.a as usize & 31] = (cpu.s.r.get(op.b) & MASK).into();
    Flow::Next
}

fn top_to_general(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = (cpu.s.v[op.b as usize & 31] >> 64) as u64;
    cpu.s.r.set(op.a, n);
    Flow::Next
}

fn top_from_general(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.r.get(op.b);
    let v = &mut cpu.s.v[op.a as usize & 31];
    *v = u128::from(*v as u64) | u128::from(n) << 64;
    Flow::Next
}

fn constant(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    cpu.s.v[op.a as usize & 31] = op.imm.into();
    Flow::Next
}

pub(super) fn register(insn: u32, double: bool) -> A64Op {
    let run = if double {
        fmov::<DOUBLE>
    } else {
        fmov::<SINGLE>
    };
    new_op(Code::Move, run, insn)
}

pub(super) fn abs_handler(double: bool) -> Handler<Aarch64> {
    if double { abs::<DOUBLE> } else { abs::<SINGLE> }
}

pub(super) fn neg_handler(double: bool) -> Handler<Aarch64> {
    if double { neg::<DOUBLE> } else { neg::<SINGLE> }
}

pub(super) fn select(insn: u32) -> Option<A64Op> {
    let run = match insn >> 22 & 3 {
        0 => csel::<SINGLE>,
        1 => csel::<DOUBLE>,
        _ => return None,
    };
    let mut op = new_op(Code::Select, run, insn);
    op.d = (insn >> 12) as u8 & 15;
    Some(op)
}

/// FMOV between general and V registers.
pub(super) fn general(insn: u32) -> Option<A64Op> {
    let sf = insn >> 31 != 0;
    let to_v = match insn >> 16 & 7 {
        6 => false,
        7 => true,
        _ => return None,
    };
    let run: Handler<Aarch64> = match (sf, insn >> 22 & 3, insn >> 19 & 3, to_v) {
        (false, 0, 0, false) => to_general::<SINGLE>,
        (false, 0, 0, true) => from_general::<SINGLE>,
        (true, 1, 0, false) => to_general::<DOUBLE>,
        (true, 1, 0, true) => from_general::<DOUBLE>,
        (true, 2, 1, false) => top_to_general,
        (true, 2, 1, true) => top_from_general,
        _ => return None,
    };
    let mut op;
    if to_v {
        op = new_op(Code::FromGeneral, run, insn);
        op.b = regs::source(op.b);
    } else {
        op = new_op(Code::ToGeneral, run, insn);
        op.a = regs::dest(op.a);
    }
    Some(op)
}

/// The number of an 8-bit immediate (Arm ARM, VFPExpandImm).
pub(in super::super) fn expand_imm<F: Format>(imm8: u8) -> F::Bits {
    // Exponent -3 to 4: bit 6 inverted, then two bits.
    let exp = i32::from(imm8 >> 4 & 3) - if imm8 & 0x40 != 0 { 3 } else { -1 };
    let sig = 1u64 << 63 | u64::from(imm8 & 15) << 59;
    F::join(imm8 & 0x80 != 0, (exp + F::BIAS) as u32, sig)
}

pub(super) fn immediate(insn: u32) -> Option<A64Op> {
    let imm8 = (insn >> 13) as u8;
    if insn >> 5 & 31 != 0 {
        return None;
    }
    let imm = match insn >> 22 & 3 {
        0 => expand_imm::<crate::softfloat::F32>(imm8).into(),
        1 => expand_imm::<crate::softfloat::F64>(imm8),
        _ => return None,
    };
    let mut op = new_op(Code::Immediate, constant, insn);
    op.imm = imm;
    Some(op)
}
