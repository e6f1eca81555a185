//! Scalar floating point: arithmetic, compares, moves and conversions.

use super::flags::WORDS;
use super::vector::{place, set_low};
use super::{L, O, get, set};
use crate::aarch64::fp::{Code as Fp, FLUSH, INEXACT, ROUNDING};
use crate::aarch64::state::Aarch64State;
use crate::aarch64::{Code, sysreg};
use crate::engine::jit::float::{self, Arithmetic, Tiny};
use crate::engine::jit::lanes::alone;
use crate::engine::jit::sticky::NATIVE;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::F32, types::F64, types::I32, types::I64,
};
use std::mem::offset_of;

pub(super) fn lower(l: &mut L<'_>, op: &O, insn: u32) -> bool {
    let double = insn >> 22 & 3 == 1;
    let (ty, number) = if double { (I64, F64) } else { (I32, F32) };
    let is = |code: Fp| op.code == code as u16;
    if is(Fp::Two) {
        let kind = match insn >> 12 & 15 {
            0 => Arithmetic::Mul,
            1 => Arithmetic::Div,
            2 => Arithmetic::Add,
            3 => Arithmetic::Sub,
            _ => return false,
        };
        arithmetic(l, op, kind, number);
    } else if is(Fp::One) {
        let n = l.state(ty, place(op.b));
        let sign = 1u64 << (ty.bits() - 1);
        match insn >> 15 & 63 {
            1 => {
                let v = l.b.ins().band_imm(n, !sign as i64);
                set_low(l, op.a, v);
            }
            2 => {
                let v = l.b.ins().bxor_imm(n, sign as i64);
                set_low(l, op.a, v);
            }
            3 => arithmetic(l, op, Arithmetic::Sqrt, number),
            _ => return false,
        }
    } else if is(Fp::Move) {
        let n = l.state(ty, place(op.b));
        set_low(l, op.a, n);
    } else if is(Fp::Immediate) {
        let v = l.constant(op.imm);
        set_low(l, op.a, v);
    } else if is(Fp::Select) {
        let (n, m) = (l.state(ty, place(op.b)), l.state(ty, place(op.c)));
        let holds = l.pending.holds(l, op.d);
        let v = l.b.ins().select(holds, n, m);
        set_low(l, op.a, v);
    } else if is(Fp::ToGeneral) || is(Fp::FromGeneral) {
        // The upper half has a type field of its own.
        let (top, wide) = (insn >> 22 & 3 == 2, insn >> 31 != 0);
        let ty = if wide { I64 } else { I32 };
        let at = if top { 8 } else { 0 };
        if is(Fp::ToGeneral) {
            let v = l.state(ty, place(op.b) + at);
            set(l, op.a, v);
        } else {
            let v = get(l, op.b, ty);
            if top {
                l.set_state(v, place(op.a) + at);
            } else {
                set_low(l, op.a, v);
            }
        }
    } else if is(Fp::Compare) {
        compare(l, op, number, insn & 8 != 0);
    } else if !NATIVE {
        return false;
    } else if is(Fp::Three) && float::has_fused() {
        fused(l, op, insn, number);
    } else if is(Fp::FromInteger) && op.d == 0 {
        from_integer(l, op, insn, number);
    } else if is(Fp::ToInteger) && insn >> 16 & 7 == 0 && (op.d, op.e) == (0, 3) {
        plain(l);
        let v = l.state(number, place(op.b));
        let to = if insn >> 31 != 0 { I64 } else { I32 };
        let v = l.b.ins().fcvt_to_sint_sat(to, v);
        // Looked at, so that it is computed and raises flags whoever wants it.
        let most = (1u64 << (to.bits() - 1)) - 1;
        let unusual = l.b.ins().icmp_imm(IntCC::Equal, v, most as i64);
        l.unless(unusual);
        set(l, op.a, v);
    } else if is(Fp::Convert) && matches!((insn >> 22 & 3, insn >> 15 & 3), (0, 1) | (1, 0)) {
        plain(l);
        let v = l.state(number, place(op.b));
        let r = if double {
            l.b.ins().fdemote(F32, v)
        } else {
            l.b.ins().fpromote(F64, v)
        };
        let unusual = float::not_native(&mut l.b, r, Tiny::Before);
        l.or_handler(unusual, |l| set_number(l, op.a, r));
    } else {
        return false;
    }
    true
}

/// FMADD, FMSUB, FNMADD, FNMSUB.
fn fused(l: &mut L<'_>, op: &O, insn: u32, ty: Type) {
    plain(l);
    let mut n = l.state(ty, place(op.b));
    let m = l.state(ty, place(op.c));
    let mut d = l.state(ty, place(op.d));
    let (negative, other) = (insn >> 21 & 1 != 0, insn >> 15 & 1 != 0);
    if negative != other {
        n = l.b.ins().fneg(n);
    }
    if negative {
        d = l.b.ins().fneg(d);
    }
    let r = l.b.ins().fma(n, m, d);
    let unusual = float::not_native(&mut l.b, r, Tiny::Before);
    l.or_handler(unusual, |l| set_number(l, op.a, r));
}

/// SCVTF, UCVTF.
fn from_integer(l: &mut L<'_>, op: &O, insn: u32, ty: Type) {
    plain(l);
    let signed = insn >> 16 & 1 == 0;
    let v = if insn >> 31 != 0 {
        get(l, op.b, I64)
    } else {
        let v = get(l, op.b, I32);
        match signed {
            true => l.b.ins().sextend(I64, v),
            false => l.b.ins().uextend(I64, v),
        }
    };
    let v = if signed || insn >> 31 == 0 {
        l.b.ins().fcvt_from_sint(ty, v)
    } else {
        l.b.ins().fcvt_from_uint(ty, v)
    };
    set_number(l, op.a, v);
}

/// Whether an op is of floating point and vectors, or accesses FPSR or FPCR.
pub(in crate::aarch64) fn is_float(op: &O) -> bool {
    Code::of(op.code).is_none_or(|code| {
        matches!(code, Code::Mrs | Code::Msr) && sysreg::plain_offset(op).is_none()
    })
}

/// Leaves the op to its handler, and the rest of the block to the interpreter,
/// where FPCR asks for what host arithmetic does not do.
fn plain(l: &mut L<'_>) {
    if l.assured {
        return;
    }
    let v = l.state(I32, offset_of!(Aarch64State, fpcr));
    let mut unusual = l.b.ins().band_imm(v, i64::from(ROUNDING | FLUSH));
    if !NATIVE {
        // As `host_arithmetic`.
        let seen = l.state(I32, offset_of!(Aarch64State, fpsr));
        let seen = l.b.ins().band_imm(seen, i64::from(INEXACT));
        let unseen = l.b.ins().bxor_imm(seen, i64::from(INEXACT));
        unusual = l.b.ins().bor(unusual, unseen);
    }
    l.unless(unusual);
    l.collect_floats();
    l.assured = true;
}

fn arithmetic(l: &mut L<'_>, op: &O, kind: Arithmetic, ty: Type) {
    plain(l);
    let n = l.state(ty, place(op.b));
    let m = match kind {
        Arithmetic::Sqrt => n,
        _ => l.state(ty, place(op.c)),
    };
    let (r, unusual) = float::arithmetic(&mut l.b, kind, n, m, Tiny::Before);
    l.or_handler(unusual, |l| set_number(l, op.a, r));
}

/// Sets the lowest element; the others are cleared.
fn set_number(l: &mut L<'_>, register: u8, v: Value) {
    let v = alone(&mut l.b, v);
    l.set_state(v, place(register));
}

fn compare(l: &mut L<'_>, op: &O, ty: Type, with_zero: bool) {
    plain(l);
    let n = l.state(ty, place(op.b));
    let m = if !with_zero {
        l.state(ty, place(op.c))
    } else if ty == F32 {
        l.b.ins().f32const(0.0)
    } else {
        l.b.ins().f64const(0.0)
    };
    let unusual = float::unordered(&mut l.b, n, m);
    l.or_handler(unusual, |l| {
        let less = l.b.ins().fcmp(FloatCC::LessThan, n, m);
        let other = l.b.ins().fcmp(FloatCC::NotEqual, n, m);
        let less = l.b.ins().uextend(I64, less);
        let sign = l.b.ins().ishl_imm(less, 63);
        let zero = l.b.ins().uextend(I64, other);
        let carry = l.b.ins().bxor_imm(less, 1);
        let over = l.constant(0);
        for (at, v) in WORDS.into_iter().zip([sign, zero, carry, over]) {
            l.set_state(v, at);
        }
    });
    l.pending = Default::default();
}
