//! Floating point on vectors, and the scalar forms of AdvSIMD.
//!
//! Operands: a = Vd, b = Vn, c = Vm, d = element of Vm or fraction bits,
//! e = rounding mode.

use super::three::{FULL, HALF, SCALAR};
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};
use crate::softfloat::{Env, F32, F64, Rounding};

use super::super::Aarch64;
use super::super::fp::*;

#[inline(always)]
fn count<F: Float, const SHAPE: u8>() -> u32 {
    match SHAPE {
        FULL => 128 / F::WIDTH,
        HALF => 64 / F::WIDTH,
        _ => 1,
    }
}

/// The instruction on one element, by host arithmetic where that will do.
#[inline(always)]
fn element<O: FpOp, F: Float>(
    host: bool,
    env: &mut Env,
    d: F::Bits,
    n: F::Bits,
    m: F::Bits,
) -> u128 {
    let fast = if host { O::fast::<F>(d, n, m) } else { None };
    let r = match fast {
        Some(r) => r,
        None => O::exact::<F>(d, n, m, env),
    };
    F::word(r).into()
}

fn vector<O: FpOp, F: Float, const SHAPE: u8, const ELEMENT: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let d = cpu.s.v[op.a as usize & 31];
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let host = host_arithmetic(cpu);
    let mut env = Env::arm(cpu.s.fpcr);
    let mut r = 0;
    for i in 0..count::<F, SHAPE>() {
        let j = if ELEMENT { u32::from(op.d) } else { i };
        let x = element::<O, F>(host, &mut env, F::lane(d, i), F::lane(n, i), F::lane(m, j));
        r |= x << (i * F::WIDTH);
    }
    merge(cpu, &env);
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

fn pairwise<O: FpOp, F: Float, const SHAPE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let host = host_arithmetic(cpu);
    let mut env = Env::arm(cpu.s.fpcr);
    let lanes = count::<F, SHAPE>();
    let mut r = 0;
    for i in 0..lanes {
        // A scalar takes both lanes of Vn.
        let (from, j) = if 2 * i < lanes || SHAPE == SCALAR {
            (n, 2 * i)
        } else {
            (m, 2 * i - lanes)
        };
        let zero = F::bits(0);
        let x = element::<O, F>(host, &mut env, zero, F::lane(from, j), F::lane(from, j + 1));
        r |= x << (i * F::WIDTH);
    }
    merge(cpu, &env);
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

/// FMAXV and its like: a tree over four single-precision lanes.
fn reduce<O: FpOp>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let mut env = Env::arm(cpu.s.fpcr);
    let mut pair = |a: u32, b: u32| O::exact::<F32>(0, a, b, &mut env);
    let low = pair(F32::lane(n, 0), F32::lane(n, 1));
    let high = pair(F32::lane(n, 2), F32::lane(n, 3));
    let r = pair(low, high);
    merge(cpu, &env);
    cpu.s.v[op.a as usize & 31] = r.into();
    Flow::Next
}

/// To integers of the same width.
fn to_integers<F: Float, const SIGNED: bool, const SHAPE: u8>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let rounding = match op.e {
        4 => Rounding::NearestAway,
        e => convert_rounding(e.into()),
    };
    let mut env = Env::arm(cpu.s.fpcr);
    let mut r = 0;
    for i in 0..count::<F, SHAPE>() {
        let x = F::lane(n, i);
        let x = saturate::<F>(x, op.d.into(), SIGNED, F::WIDTH, rounding, &mut env);
        r |= u128::from(x) << (i * F::WIDTH);
    }
    merge(cpu, &env);
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

/// From integers of the same width.
fn from_integers<F: Float, const SIGNED: bool, const SHAPE: u8>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let mut env = Env::arm(cpu.s.fpcr);
    let mut r = 0;
    for i in 0..count::<F, SHAPE>() {
        let x = F::word(F::lane(n, i));
        let x = if SIGNED && F::WIDTH == 32 {
            x as i32 as u64
        } else {
            x
        };
        let x = F::word(number::<F, SIGNED>(x, op.d.into(), &mut env));
        r |= u128::from(x) << (i * F::WIDTH);
    }
    merge(cpu, &env);
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

/// FCVTL: `d` is 64 for the second part.
fn widen<const DOUBLE: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] >> (op.d & 64);
    let mut r = 0;
    if DOUBLE {
        for i in 0..2 {
            let x = between::<F32, F64>(cpu, F32::lane(n, i), None);
            r |= u128::from(x) << (64 * i);
        }
    } else {
        for i in 0..4 {
            let x = from_half::<F32>(cpu, (n >> (16 * i)) as u16);
            r |= u128::from(x) << (32 * i);
        }
    }
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

/// FCVTN, FCVTXN (`e` is 1, rounds to odd): `d` is 64 for the second part.
fn narrow<const DOUBLE: bool, const ONE: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let mut r = 0u128;
    if DOUBLE {
        let rounding = (op.e != 0).then_some(Rounding::Odd);
        for i in 0..if ONE { 1 } else { 2 } {
            let x = between::<F64, F32>(cpu, F64::lane(n, i), rounding);
            r |= u128::from(x) << (32 * i);
        }
    } else {
        for i in 0..4 {
            let x = to_half::<F32>(cpu, F32::lane(n, i));
            r |= u128::from(x) << (16 * i);
        }
    }
    let d = &mut cpu.s.v[op.a as usize & 31];
    *d = if op.d != 0 {
        u128::from(*d as u64) | r << 64
    } else {
        r
    };
    Flow::Next
}

/// URECPE, URSQRTE.
fn unsigned_estimate<const SQRT: bool, const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let mut r = 0u128;
    for i in 0..if Q { 4 } else { 2 } {
        let x = (n >> (32 * i)) as u32;
        let least = if SQRT { 1 << 30 } else { 1 << 31 };
        let x = if x < least {
            u32::MAX
        } else if SQRT {
            recip_sqrt_estimate(x >> 23) << 23
        } else {
            recip_estimate(x >> 23) << 23
        };
        r |= u128::from(x) << (32 * i);
    }
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

/// 64 bits, 128 bits or a scalar, of singles or doubles.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    double: bool,
    shape: u8,
}

fn kind(insn: u32) -> Option<Kind> {
    let double = insn >> 22 & 1 != 0;
    let shape = if insn >> 28 & 1 != 0 {
        SCALAR
    } else {
        (insn >> 30 & 1) as u8
    };
    if double && shape == HALF {
        return None;
    }
    Some(Kind { double, shape })
}

macro_rules! each {
    ($f:ident, $kind:expr, [$($o:tt),*], [$($more:tt),*]) => {
        match ($kind.double, $kind.shape) {
            (false, HALF) => $f::<$($o,)* F32, $($more,)* HALF> as Handler<Aarch64>,
            (false, FULL) => $f::<$($o,)* F32, $($more,)* FULL>,
            (false, _) => $f::<$($o,)* F32, $($more,)* SCALAR>,
            (true, FULL) => $f::<$($o,)* F64, $($more,)* FULL>,
            (true, _) => $f::<$($o,)* F64, $($more,)* SCALAR>,
        }
    };
}
macro_rules! three {
    ($o:ident, $kind:expr, $element:expr) => {
        match ($kind.double, $kind.shape) {
            (false, HALF) => vector::<$o, F32, HALF, $element> as Handler<Aarch64>,
            (false, FULL) => vector::<$o, F32, FULL, $element>,
            (false, _) => vector::<$o, F32, SCALAR, $element>,
            (true, FULL) => vector::<$o, F64, FULL, $element>,
            (true, _) => vector::<$o, F64, SCALAR, $element>,
        }
    };
}

fn operands(run: Handler<Aarch64>, insn: u32) -> A64Op {
    let mut op = new_op(Code::Fp, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.c = (insn >> 16) as u8 & 31;
    op
}

/// Three registers of the same shape, opcodes from 0b11000 on.
pub(super) fn three_same(insn: u32) -> Option<A64Op> {
    let k = kind(insn)?;
    let vector = k.shape != SCALAR;
    let (u, a, opcode) = (insn >> 29 & 1, insn >> 23 & 1, insn >> 11 & 7);
    let run = match (u, a, opcode) {
        (0, 0, 0) if vector => three!(MaxNumber, k, false),
        (0, 1, 0) if vector => three!(MinNumber, k, false),
        (1, 0, 0) if vector => each!(pairwise, k, [MaxNumber], []),
        (1, 1, 0) if vector => each!(pairwise, k, [MinNumber], []),
        (0, 0, 1) if vector => three!(MulAdd, k, false),
        (0, 1, 1) if vector => three!(MulSub, k, false),
        (0, 0, 2) if vector => three!(Add, k, false),
        (0, 1, 2) if vector => three!(Sub, k, false),
        (1, 0, 2) if vector => each!(pairwise, k, [Add], []),
        (1, 1, 2) => three!(Abd, k, false),
        (0, 0, 3) => three!(MulExtended, k, false),
        (1, 0, 3) if vector => three!(Mul, k, false),
        (0, 0, 4) => three!(Eq, k, false),
        (1, 0, 4) => three!(Ge, k, false),
        (1, 1, 4) => three!(Gt, k, false),
        (1, 0, 5) => three!(AbsGe, k, false),
        (1, 1, 5) => three!(AbsGt, k, false),
        (0, 0, 6) if vector => three!(Max, k, false),
        (0, 1, 6) if vector => three!(Min, k, false),
        (1, 0, 6) if vector => each!(pairwise, k, [Max], []),
        (1, 1, 6) if vector => each!(pairwise, k, [Min], []),
        (0, 0, 7) => three!(RecipStep, k, false),
        (0, 1, 7) => three!(RecipSqrtStep, k, false),
        (1, 0, 7) if vector => three!(Div, k, false),
        _ => return None,
    };
    Some(operands(run, insn))
}

/// Two registers.
pub(super) fn misc(insn: u32) -> Option<A64Op> {
    let (u, a, opcode) = (insn >> 29 & 1, insn >> 23 & 1, insn >> 12 & 31);
    let scalar = insn >> 28 & 1 != 0;
    let q = insn >> 30 & 1 != 0;
    let double = insn >> 22 & 1 != 0;
    let second = if q && !scalar { 64 } else { 0 };
    match (u, a, opcode) {
        // The width changes, so a 64-bit register may hold doubles.
        (0, 0, 0b10110) if !scalar => {
            let run = if double {
                narrow::<true, false>
            } else {
                narrow::<false, false>
            };
            let mut op = operands(run, insn);
            (op.d, op.e) = (second, 0);
            return Some(op);
        }
        (1, 0, 0b10110) if double => {
            let run = if scalar {
                narrow::<true, true>
            } else {
                narrow::<true, false>
            };
            let mut op = operands(run, insn);
            (op.d, op.e) = (second, 1);
            return Some(op);
        }
        (0, 0, 0b10111) if !scalar => {
            let mut op = operands(
                if double {
                    widen::<true>
                } else {
                    widen::<false>
                },
                insn,
            );
            op.d = second;
            return Some(op);
        }
        _ => {}
    }
    let k = kind(insn)?;
    let vector = !scalar;
    let mut rounding = 0;
    let run = match (u, a, opcode) {
        (0, 1, 0b01100) => three!(Gt0, k, false),
        (1, 1, 0b01100) => three!(Ge0, k, false),
        (0, 1, 0b01101) => three!(Eq0, k, false),
        (1, 1, 0b01101) => three!(Le0, k, false),
        (0, 1, 0b01110) => three!(Lt0, k, false),
        (0, 1, 0b01111) if vector => three!(AbsOne, k, false),
        (1, 1, 0b01111) if vector => three!(NegOne, k, false),
        (0, 0, 0b11000) if vector => three!(RoundN, k, false),
        (0, 1, 0b11000) if vector => three!(RoundP, k, false),
        (1, 0, 0b11000) if vector => three!(RoundA, k, false),
        (0, 0, 0b11001) if vector => three!(RoundM, k, false),
        (0, 1, 0b11001) if vector => three!(RoundZ, k, false),
        (1, 0, 0b11001) if vector => three!(RoundX, k, false),
        (1, 1, 0b11001) if vector => three!(RoundI, k, false),
        (_, _, 0b11010 | 0b11011) | (_, 0, 0b11100) => {
            rounding = match (opcode, a) {
                (0b11010, 0) => 0,
                (0b11010, _) => 1,
                (0b11011, 0) => 2,
                (0b11011, _) => 3,
                _ => 4,
            };
            if u == 0 {
                each!(to_integers, k, [], [true])
            } else {
                each!(to_integers, k, [], [false])
            }
        }
        (0, 1, 0b11100) if vector && !double && q => unsigned_estimate::<false, true>,
        (0, 1, 0b11100) if vector && !double => unsigned_estimate::<false, false>,
        (1, 1, 0b11100) if vector && !double && q => unsigned_estimate::<true, true>,
        (1, 1, 0b11100) if vector && !double => unsigned_estimate::<true, false>,
        (0, 0, 0b11101) => each!(from_integers, k, [], [true]),
        (1, 0, 0b11101) => each!(from_integers, k, [], [false]),
        (0, 1, 0b11101) => three!(RecipEstimate, k, false),
        (1, 1, 0b11101) => three!(RecipSqrtEstimate, k, false),
        (0, 1, 0b11111) if scalar => three!(RecipExponent, k, false),
        (1, 1, 0b11111) if vector => three!(Sqrt, k, false),
        _ => return None,
    };
    let mut op = operands(run, insn);
    op.c = 0;
    op.e = rounding;
    Some(op)
}

/// Across lanes (vector), pairs (scalar).
pub(super) fn across(insn: u32) -> Option<A64Op> {
    let k = kind(insn)?;
    let (u, a, opcode) = (insn >> 29 & 1, insn >> 23 & 1, insn >> 12 & 31);
    if u == 0 {
        return None;
    }
    let run = if k.shape == SCALAR {
        match (a, opcode) {
            (0, 0b01100) => each!(pairwise, k, [MaxNumber], []),
            (1, 0b01100) => each!(pairwise, k, [MinNumber], []),
            (0, 0b01101) => each!(pairwise, k, [Add], []),
            (0, 0b01111) => each!(pairwise, k, [Max], []),
            (1, 0b01111) => each!(pairwise, k, [Min], []),
            _ => return None,
        }
    } else {
        if k.double || k.shape != FULL {
            return None;
        }
        match (a, opcode) {
            (0, 0b01100) => reduce::<MaxNumber>,
            (1, 0b01100) => reduce::<MinNumber>,
            (0, 0b01111) => reduce::<Max>,
            (1, 0b01111) => reduce::<Min>,
            _ => return None,
        }
    };
    Some(operands(run, insn))
}

/// By element: FMLA, FMLS, FMUL, FMULX.
pub(super) fn by_element(insn: u32) -> Option<A64Op> {
    let k = kind(insn)?;
    let (h, l) = (insn >> 11 & 1, insn >> 21 & 1);
    if insn >> 23 & 1 == 0 || (k.double && l != 0) {
        return None;
    }
    let run = match (insn >> 29 & 1, insn >> 12 & 15) {
        (0, 0b0001) => three!(MulAdd, k, true),
        (0, 0b0101) => three!(MulSub, k, true),
        (0, 0b1001) => three!(Mul, k, true),
        (1, 0b1001) => three!(MulExtended, k, true),
        _ => return None,
    };
    let mut op = operands(run, insn);
    op.d = if k.double { h } else { h << 1 | l } as u8;
    Some(op)
}

/// Fixed-point conversions among the shifts by an immediate.
pub(super) fn shift(insn: u32) -> Option<A64Op> {
    let immh = insn >> 19 & 15;
    let encoded = insn >> 16 & 0x7f;
    let double = immh >= 8;
    if immh < 4 {
        return None;
    }
    let shape = if insn >> 28 & 1 != 0 {
        SCALAR
    } else {
        (insn >> 30 & 1) as u8
    };
    if double && shape == HALF {
        return None;
    }
    let k = Kind { double, shape };
    let run = match (insn >> 11 & 31, insn >> 29 & 1) {
        (0b11100, 0) => each!(from_integers, k, [], [true]),
        (0b11100, _) => each!(from_integers, k, [], [false]),
        (0b11111, 0) => each!(to_integers, k, [], [true]),
        (0b11111, _) => each!(to_integers, k, [], [false]),
        _ => return None,
    };
    let mut op = operands(run, insn);
    op.d = (if double { 128 } else { 64 } - encoded) as u8;
    op.e = 3;
    Some(op)
}
