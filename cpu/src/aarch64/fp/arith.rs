//! Arithmetic of one, two and three operands.

use super::float::Float;
use super::ops::*;
use super::{A64Op, Code, convert, host_arithmetic, merge, moves, new_op};
use crate::engine::{Cpu, Flow, Handler};
use crate::softfloat::{Env, F32, F64};

use super::super::Aarch64;
use super::fp_on;

fn scalar<O: FpOp, F: Float>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = F::lane(cpu.s.v[op.b as usize & 31], 0);
    let m = F::lane(cpu.s.v[op.c as usize & 31], 0);
    let d = F::lane(cpu.s.v[op.d as usize & 31], 0);
    let fast = if host_arithmetic(cpu) {
        O::fast::<F>(d, n, m)
    } else {
        None
    };
    let r = match fast {
        Some(r) => r,
        None => exact::<O, F>(cpu, d, n, m),
    };
    cpu.s.v[op.a as usize & 31] = F::word(r).into();
    Flow::Next
}

#[inline(never)]
fn exact<O: FpOp, F: Float>(cpu: &mut Cpu<Aarch64>, d: F::Bits, n: F::Bits, m: F::Bits) -> F::Bits {
    let mut env = Env::arm(cpu.s.fpcr);
    let r = O::exact::<F>(d, n, m, &mut env);
    merge(cpu, &env);
    r
}

macro_rules! either {
    ($op:ident, $double:expr) => {
        if $double {
            scalar::<$op, F64> as Handler<Aarch64>
        } else {
            scalar::<$op, F32>
        }
    };
}

/// Whether the type field says double; `None` for half precision.
fn is_double(insn: u32) -> Option<bool> {
    match insn >> 22 & 3 {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(super) fn one(insn: u32) -> Option<A64Op> {
    let opcode = insn >> 15 & 63;
    if matches!(opcode, 4 | 5 | 7) {
        return convert::precision(insn);
    }
    let double = is_double(insn)?;
    let run = match opcode {
        0 => return Some(moves::register(insn, double)),
        1 => moves::abs_handler(double),
        2 => moves::neg_handler(double),
        3 => either!(Sqrt, double),
        8 => either!(RoundN, double),
        9 => either!(RoundP, double),
        10 => either!(RoundM, double),
        11 => either!(RoundZ, double),
        12 => either!(RoundA, double),
        14 => either!(RoundX, double),
        15 => either!(RoundI, double),
        _ => return None,
    };
    Some(new_op(Code::One, run, insn))
}

pub(super) fn two(insn: u32) -> Option<A64Op> {
    let double = is_double(insn)?;
    let run = match insn >> 12 & 15 {
        0 => either!(Mul, double),
        1 => either!(Div, double),
        2 => either!(Add, double),
        3 => either!(Sub, double),
        4 => either!(Max, double),
        5 => either!(Min, double),
        6 => either!(MaxNumber, double),
        7 => either!(MinNumber, double),
        8 => either!(NegMul, double),
        _ => return None,
    };
    Some(new_op(Code::Two, run, insn))
}

pub(super) fn three(insn: u32) -> Option<A64Op> {
    let double = is_double(insn)?;
    let run = match (insn >> 21 & 1, insn >> 15 & 1) {
        (0, 0) => either!(MulAdd, double),
        (0, _) => either!(MulSub, double),
        (_, 0) => either!(NegMulAdd, double),
        _ => either!(NegMulSub, double),
    };
    Some(new_op(Code::Three, run, insn))
}
