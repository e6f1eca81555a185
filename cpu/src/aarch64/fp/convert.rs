//! Conversions: FCVT, FCVTxS, FCVTxU, SCVTF, UCVTF.

use super::float::Float;
use super::{A64Op, Code, host_arithmetic, merge, new_op};
use crate::engine::{Cpu, Flow, Handler};
use crate::softfloat::{
    self, Env, F16, F32, F64, Format, HalfAlternative, NoInteger, Rounding, fast,
};

use super::super::{Aarch64, regs};
use super::fp_on;

/// FPCR.AHP.
const ALTERNATIVE: u32 = 1 << 26;

/// Converts between formats by FPCR. Half precision is never flushed.
pub(in super::super) fn between<F: Format, G: Format>(
    cpu: &mut Cpu<Aarch64>,
    bits: F::Bits,
    rounding: Option<Rounding>,
) -> G::Bits {
    let mut env = Env::arm(cpu.s.fpcr);
    if let Some(rounding) = rounding {
        env.rounding = rounding;
    }
    if F::PRECISION == F16::PRECISION {
        env.flush_in = false;
    }
    if G::PRECISION == F16::PRECISION {
        env.flush_out = false;
    }
    let r = softfloat::convert::<F, G>(bits, &mut env);
    merge(cpu, &env);
    r
}

/// From half precision, as FPCR.AHP says.
pub(in super::super) fn from_half<G: Format>(cpu: &mut Cpu<Aarch64>, bits: u16) -> G::Bits {
    if cpu.s.fpcr & ALTERNATIVE != 0 {
        between::<HalfAlternative, G>(cpu, bits, None)
    } else {
        between::<F16, G>(cpu, bits, None)
    }
}

/// To half precision, as FPCR.AHP says.
pub(in super::super) fn to_half<F: Format>(cpu: &mut Cpu<Aarch64>, bits: F::Bits) -> u16 {
    if cpu.s.fpcr & ALTERNATIVE != 0 {
        between::<F, HalfAlternative>(cpu, bits, None)
    } else {
        between::<F, F16>(cpu, bits, None)
    }
}

fn widen(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u32;
    let r = match fast::widen(n) {
        Some(r) => r,
        None => between::<F32, F64>(cpu, n, None),
    };
    cpu.s.v[op.a as usize & 31] = r.into();
    Flow::Next
}

fn narrow(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u64;
    let quick = if host_arithmetic(cpu) {
        fast::narrow(n)
    } else {
        None
    };
    let r = match quick {
        Some(r) => r,
        None => between::<F64, F32>(cpu, n, None),
    };
    cpu.s.v[op.a as usize & 31] = r.into();
    Flow::Next
}

fn half_to<F: Float>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31] as u16;
    let r = from_half::<F>(cpu, n);
    cpu.s.v[op.a as usize & 31] = F::word(r).into();
    Flow::Next
}

fn half_from<F: Float>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = F::lane(cpu.s.v[op.b as usize & 31], 0);
    let r = to_half::<F>(cpu, n);
    cpu.s.v[op.a as usize & 31] = r.into();
    Flow::Next
}

/// FCVT.
pub(super) fn precision(insn: u32) -> Option<A64Op> {
    let run: Handler<Aarch64> = match (insn >> 22 & 3, insn >> 15 & 3) {
        (0, 1) => widen,
        (0, 3) => half_from::<F32>,
        (1, 0) => narrow,
        (1, 3) => half_from::<F64>,
        (3, 0) => half_to::<F32>,
        (3, 1) => half_to::<F64>,
        _ => return None,
    };
    Some(new_op(Code::Convert, run, insn))
}

/// An integer of `bits` bits from a number, saturated; a NaN gives zero.
pub(in super::super) fn saturate<F: Float>(
    a: F::Bits,
    scale: u32,
    signed: bool,
    bits: u32,
    rounding: Rounding,
    env: &mut Env,
) -> u64 {
    let ones = u64::MAX >> (64 - bits);
    match softfloat::to_integer::<F>(a, scale, signed, bits, rounding, env) {
        Ok(value) => value,
        Err(NoInteger::Nan) => 0,
        Err(NoInteger::TooLarge) if signed => ones >> 1,
        Err(NoInteger::TooLarge) => ones,
        Err(NoInteger::TooSmall) if signed => ones ^ ones >> 1,
        Err(NoInteger::TooSmall) => 0,
    }
}

/// Rounding modes of conversions and FRINTx, by rmode.
pub(in super::super) fn rounding(rmode: u32) -> Rounding {
    match rmode & 3 {
        0 => Rounding::Nearest,
        1 => Rounding::Up,
        2 => Rounding::Down,
        _ => Rounding::Zero,
    }
}

/// To an integer in a general register. `d` is the number of fraction bits,
/// `e` the rounding mode.
fn to_integer<F: Float, const SIGNED: bool, const X: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = F::lane(cpu.s.v[op.b as usize & 31], 0);
    let rounding = match op.e {
        4 => Rounding::NearestAway,
        e => rounding(e.into()),
    };
    let mut env = Env::arm(cpu.s.fpcr);
    let bits = if X { 64 } else { 32 };
    let r = saturate::<F>(n, op.d.into(), SIGNED, bits, rounding, &mut env);
    merge(cpu, &env);
    cpu.s.r.set(op.a, r);
    Flow::Next
}

/// FCVTZS to an integer without fraction bits.
fn truncate<F: Float, const X: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    if host_arithmetic(cpu)
        && let Some(r) = F::fast_to_i64(F::lane(cpu.s.v[op.b as usize & 31], 0))
        && (X || i64::from(r as i32) == r)
    {
        let r = if X { r as u64 } else { u64::from(r as u32) };
        cpu.s.r.set(op.a, r);
        return Flow::Next;
    }
    to_integer::<F, true, X>(cpu, op)
}

/// From an integer in a general register. `d` is the number of fraction bits.
fn from_integer<F: Float, const SIGNED: bool, const X: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let value = cpu.s.r.get(op.b);
    let value = match (SIGNED, X) {
        (true, false) => value as i32 as u64,
        (false, false) => u64::from(value as u32),
        _ => value,
    };
    let r = if op.d == 0 && host_arithmetic(cpu) {
        if SIGNED {
            F::from_i64(value as i64)
        } else {
            F::from_u64(value)
        }
    } else {
        let mut env = Env::arm(cpu.s.fpcr);
        let r = number::<F, SIGNED>(value, op.d.into(), &mut env);
        merge(cpu, &env);
        r
    };
    cpu.s.v[op.a as usize & 31] = F::word(r).into();
    Flow::Next
}

/// A number from a (sign-extended) integer.
pub(in super::super) fn number<F: Float, const SIGNED: bool>(
    value: u64,
    scale: u32,
    env: &mut Env,
) -> F::Bits {
    let negative = SIGNED && value >> 63 != 0;
    let magnitude = if negative {
        value.wrapping_neg()
    } else {
        value
    };
    softfloat::from_integer::<F>(negative, magnitude, scale, env)
}

macro_rules! by_kind {
    ($f:ident, $double:expr, $signed:expr, $x:expr) => {
        match ($double, $signed, $x) {
            (false, false, false) => $f::<F32, false, false> as Handler<Aarch64>,
            (false, false, true) => $f::<F32, false, true>,
            (false, true, false) => $f::<F32, true, false>,
            (false, true, true) => $f::<F32, true, true>,
            (true, false, false) => $f::<F64, false, false>,
            (true, false, true) => $f::<F64, false, true>,
            (true, true, false) => $f::<F64, true, false>,
            (true, true, true) => $f::<F64, true, true>,
        }
    };
}

fn build(insn: u32, rounding: u8, to: bool, scale: u8) -> Option<A64Op> {
    let double = match insn >> 22 & 3 {
        0 => false,
        1 => true,
        _ => return None,
    };
    let signed = insn >> 16 & 1 == 0;
    let x = insn >> 31 != 0;
    let mut op;
    if to {
        let run = match (rounding, signed, scale, double, x) {
            (3, true, 0, false, false) => truncate::<F32, false>,
            (3, true, 0, false, true) => truncate::<F32, true>,
            (3, true, 0, true, false) => truncate::<F64, false>,
            (3, true, 0, true, true) => truncate::<F64, true>,
            _ => by_kind!(to_integer, double, signed, x),
        };
        op = new_op(Code::ToInteger, run, insn);
        op.a = regs::dest(op.a);
    } else {
        let run = by_kind!(from_integer, double, signed, x);
        op = new_op(Code::FromInteger, run, insn);
        op.b = regs::source(op.b);
    }
    op.d = scale;
    op.e = rounding;
    Some(op)
}

/// Between numbers and integers.
pub(super) fn integer(insn: u32) -> Option<A64Op> {
    let rmode = (insn >> 19) as u8 & 3;
    match (insn >> 16 & 7, rmode) {
        (0 | 1, _) => build(insn, rmode, true, 0),
        (2 | 3, 0) => build(insn, 0, false, 0),
        (4 | 5, 0) => build(insn, 4, true, 0),
        _ => None,
    }
}

/// Between numbers and fixed-point numbers.
pub(super) fn fixed(insn: u32) -> Option<A64Op> {
    let scale = 64 - (insn >> 10 & 63);
    if insn >> 31 == 0 && scale > 32 {
        return None;
    }
    match (insn >> 19 & 3, insn >> 16 & 7) {
        (3, 0 | 1) => build(insn, 3, true, scale as u8),
        (0, 2 | 3) => build(insn, 0, false, scale as u8),
        _ => None,
    }
}
