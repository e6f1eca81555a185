//! Loads and stores of V registers. No vector lives in a value beyond its op.
//! Decoded ops are allowed to: CPACR_EL1 was looked at then.

use super::{L, O, get};
use crate::aarch64::simd::Code as Simd;
use crate::aarch64::state::Aarch64State;
use crate::engine::jit::At;
use crate::engine::jit::lanes::alone;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::I8, types::I8X16, types::I16, types::I32, types::I64,
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
        return super::simd::lower(l, op) || super::number::lower(l, op, insn);
    }
    true
}

/// Binary logarithm of the bytes that a load or store of one register moves.
fn single_size(insn: u32) -> u32 {
    if insn >> 23 & 1 != 0 { 4 } else { insn >> 30 }
}

pub(super) fn place(register: u8) -> usize {
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
pub(super) fn set_low(l: &mut L<'_>, register: u8, v: Value) {
    let v = if l.b.func.dfg.value_type(v) == I64 {
        v
    } else {
        l.b.ins().uextend(I64, v)
    };
    let v = alone(&mut l.b, v);
    l.set_state(v, place(register));
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
