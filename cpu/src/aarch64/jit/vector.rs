//! Loads, stores and moves of V registers, scalar arithmetic and compares. No
//! vector lives in a value beyond its op. Decoded ops are allowed to: CPACR_EL1
//! was looked at then.

use super::flags::WORDS;
use super::{L, O, get, set};
use crate::aarch64::fp::{Code as Fp, FLUSH, INEXACT, ROUNDING};
use crate::aarch64::simd::Code as Simd;
use crate::aarch64::state::Aarch64State;
use crate::aarch64::{Code, sysreg};
use crate::engine::jit::At;
use crate::engine::jit::float::{self, Arithmetic, Tiny};
use crate::engine::jit::sticky::NATIVE;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::F32, types::F64, types::I8, types::I8X16, types::I16,
    types::I32, types::I64,
};
use std::mem::offset_of;

/// Whether the base register takes the moved address, and which one is accessed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    Offset,
    Post,
    Pre,
}

pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    let insn = op.disp as u32;
    let is = |code: Simd| op.code == code as u16;
    if is(Simd::Load) || is(Simd::Store) {
        let index = match (insn >> 24 & 1, insn >> 10 & 3) {
            (1, _) | (_, 0) => Index::Offset,
            (_, 1) => Index::Post,
            _ => Index::Pre,
        };
        let (va, moved) = addresses(l, op, index);
        transfer(l, op, va, single_size(insn), is(Simd::Load));
        write_back(l, op, index, moved);
    } else if is(Simd::LoadIndexed) || is(Simd::StoreIndexed) {
        let extend = insn >> 13 & 7;
        let offset = match extend {
            2 => {
                let v = get(l, op.c, I32);
                l.b.ins().uextend(I64, v)
            }
            6 => {
                let v = get(l, op.c, I32);
                l.b.ins().sextend(I64, v)
            }
            _ => get(l, op.c, I64),
        };
        let offset = l.b.ins().ishl_imm(offset, i64::from(op.d & 7));
        let base = l.get(op.b);
        let va = l.b.ins().iadd(base, offset);
        transfer(l, op, va.into(), single_size(insn), is(Simd::LoadIndexed));
    } else if is(Simd::LoadLiteral) {
        let va = l.block_at(u64::from(op.off).wrapping_add(op.imm));
        transfer(l, op, va, (insn >> 30) + 2, true);
    } else if is(Simd::LoadPair) || is(Simd::StorePair) {
        let index = match insn >> 23 & 7 {
            1 => Index::Post,
            3 => Index::Pre,
            _ => Index::Offset,
        };
        let (va, moved) = addresses(l, op, index);
        pair(l, op, va, (insn >> 30) + 2, is(Simd::LoadPair));
        write_back(l, op, index, moved);
    } else {
        return scalar(l, op, insn);
    }
    true
}

/// Binary logarithm of the bytes that a load or store of one register moves.
fn single_size(insn: u32) -> u32 {
    if insn >> 23 & 1 != 0 { 4 } else { insn >> 30 }
}

fn place(register: u8) -> usize {
    offset_of!(Aarch64State, v) + 16 * usize::from(register & 31)
}

fn ty(size: u32) -> Type {
    match size {
        0 => I8,
        1 => I16,
        2 => I32,
        3 => I64,
        _ => I8X16,
    }
}

/// Sets the low 64 bits; the others are cleared.
fn set_low(l: &mut L<'_>, register: u8, v: Value) {
    let zero = l.constant(0);
    let v = if l.b.func.dfg.value_type(v) == I64 {
        v
    } else {
        l.b.ins().uextend(I64, v)
    };
    l.set_state(v, place(register));
    l.set_state(zero, place(register) + 8);
}

fn addresses(l: &mut L<'_>, op: &O, index: Index) -> (At, At) {
    let base = l.get_at(op.b);
    let moved = base.plus(op.imm as i64);
    (if index == Index::Post { base } else { moved }, moved)
}

fn write_back(l: &mut L<'_>, op: &O, index: Index, moved: At) {
    if index != Index::Offset {
        l.set_at(op.b, moved);
    }
}

fn transfer(l: &mut L<'_>, op: &O, va: At, size: u32, is_load: bool) {
    if !is_load {
        let host = l.store_later(va, 1 << size);
        let v = l.state(ty(size), place(op.a));
        l.put(host, v);
    } else if size == 4 {
        let v = l.load(va, I8X16);
        l.set_state(v, place(op.a));
    } else {
        let v = l.load(va, ty(size));
        set_low(l, op.a, v);
    }
}

/// Two registers, each an access of its own.
fn pair(l: &mut L<'_>, op: &O, va: At, size: u32, is_load: bool) {
    let bytes = 1u64 << size;
    if !is_load {
        let host = l.store_later(va, 2 * bytes);
        for (n, register) in [op.a, op.c].into_iter().enumerate() {
            let v = l.state(ty(size), place(register));
            l.put_at(host, v, n as i32 * bytes as i32);
        }
        return;
    }
    let second = va.plus(bytes as i64);
    if size == 4 {
        // Halves: general registers, which live across the second access.
        let (first, second) = (l.load_16(va), l.load_16(second));
        for (register, halves) in [(op.a, first), (op.c, second)] {
            for (n, v) in halves.into_iter().enumerate() {
                l.set_state(v, place(register) + 8 * n);
            }
        }
    } else {
        let (first, second) = (l.load(va, ty(size)), l.load(second, ty(size)));
        set_low(l, op.a, first);
        set_low(l, op.c, second);
    }
}

fn scalar(l: &mut L<'_>, op: &O, insn: u32) -> bool {
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
    } else {
        return false;
    }
    true
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
    let zero = l.constant(0);
    if l.b.func.dfg.value_type(v) == F32 {
        l.set_state(zero, place(register));
    }
    l.set_state(v, place(register));
    l.set_state(zero, place(register) + 8);
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
