//! FCMP, FCMPE, FCCMP, FCCMPE.

use super::float::Float;
use super::{A64Op, Code, merge, new_op};
use crate::engine::{Cpu, Flow, Handler};
use crate::softfloat::{self, Env, F32, F64, Relation};
use std::cmp::Ordering;

use super::super::Aarch64;
use super::super::flags::holds;
use super::fp_on;

#[inline(always)]
fn set_flags<F: Float, const SIGNALING: bool>(cpu: &mut Cpu<Aarch64>, n: F::Bits, m: F::Bits) {
    // Ordinary operands raise nothing.
    let nzcv = match F::fast_compare(n, m) {
        Some(Ordering::Less) => 0b1000,
        Some(Ordering::Equal) => 0b0110,
        Some(Ordering::Greater) => 0b0010,
        None => exact::<F, SIGNALING>(cpu, n, m),
    };
    cpu.s.set_nzcv(nzcv << 28);
}

#[inline(never)]
fn exact<F: Float, const SIGNALING: bool>(cpu: &mut Cpu<Aarch64>, n: F::Bits, m: F::Bits) -> u32 {
    let mut env = Env::arm(cpu.s.fpcr);
    let relation = softfloat::compare::<F>(n, m, SIGNALING, &mut env);
    merge(cpu, &env);
    match relation {
        Relation::Less => 0b1000,
        Relation::Equal => 0b0110,
        Relation::Greater => 0b0010,
        Relation::Unordered => 0b0011,
    }
}

fn compare<F: Float, const SIGNALING: bool, const ZERO: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = F::lane(cpu.s.v[op.b as usize & 31], 0);
    let m = if ZERO {
        F::bits(0)
    } else {
        F::lane(cpu.s.v[op.c as usize & 31], 0)
    };
    set_flags::<F, SIGNALING>(cpu, n, m);
    Flow::Next
}

/// `d` is the condition, `e` the flags where it does not hold.
fn conditional_compare<F: Float, const SIGNALING: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    if holds(&cpu.s.p, op.d) {
        let n = F::lane(cpu.s.v[op.b as usize & 31], 0);
        let m = F::lane(cpu.s.v[op.c as usize & 31], 0);
        set_flags::<F, SIGNALING>(cpu, n, m);
    } else {
        cpu.s.set_nzcv(u32::from(op.e) << 28);
    }
    Flow::Next
}

pub(super) fn decode(insn: u32) -> Option<A64Op> {
    let zero = insn & 8 != 0;
    if insn >> 14 & 3 != 0 || insn & 7 != 0 {
        return None;
    }
    let run: Handler<Aarch64> = match (insn >> 22 & 3, insn & 16 != 0, zero) {
        (0, false, false) => compare::<F32, false, false>,
        (0, false, true) => compare::<F32, false, true>,
        (0, true, false) => compare::<F32, true, false>,
        (0, true, true) => compare::<F32, true, true>,
        (1, false, false) => compare::<F64, false, false>,
        (1, false, true) => compare::<F64, false, true>,
        (1, true, false) => compare::<F64, true, false>,
        (1, true, true) => compare::<F64, true, true>,
        _ => return None,
    };
    Some(new_op(Code::Compare, run, insn))
}

pub(super) fn conditional(insn: u32) -> Option<A64Op> {
    let run: Handler<Aarch64> = match (insn >> 22 & 3, insn & 16 != 0) {
        (0, false) => conditional_compare::<F32, false>,
        (0, true) => conditional_compare::<F32, true>,
        (1, false) => conditional_compare::<F64, false>,
        (1, true) => conditional_compare::<F64, true>,
        _ => return None,
    };
    let mut op = new_op(Code::ConditionalCompare, run, insn);
    op.d = (insn >> 12) as u8 & 15;
    op.e = insn as u8 & 15;
    Some(op)
}
