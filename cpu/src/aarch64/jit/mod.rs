//! Ops to host code. What is not here is left to the handlers.

mod atomic;
mod control;
mod data;
mod flags;
mod mask;
mod memory;
mod number;
mod simd;
mod system;
mod vector;

pub use flags::{Pending, write_flags};
pub(super) use number::is_float;

use super::regs::{SINK, ZERO};
use super::{Aarch64, Code};
use crate::engine::Op;
use crate::engine::jit::Lower;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types::I32, types::I64};

type L<'a> = Lower<'a, Aarch64>;
type O = Op<Aarch64>;

/// Appends code for an op; see [`crate::Isa::lower`].
pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    let Some(code) = Code::of(op.code) else {
        return vector::lower(l, op);
    };
    data::lower(l, op, code)
        || memory::lower(l, op, code)
        || mask::lower(l, op, code)
        || system::lower(l, op, code)
        || atomic::lower(l, op, code)
        || control::lower(l, op, code)
}

/// The name of an operation; numbers of floating point and AdvSIMD.
pub(super) fn name(code: u16) -> String {
    Code::of(code).map_or_else(|| format!("{code:#x}"), |code| format!("{code:?}"))
}

/// Whether an op is a branch with an immediate target.
pub(super) fn is_jump(op: &O) -> bool {
    matches!(
        Code::of(op.code),
        Some(Code::B | Code::BCond | Code::CompareBranch | Code::TestBranch)
    )
}

/// The type that bit 0 of `e` says.
fn width(op: &O) -> Type {
    if op.e & 1 != 0 { I64 } else { I32 }
}

/// Reads a register at a width.
fn get(l: &mut L<'_>, index: u8, ty: Type) -> Value {
    if index == ZERO {
        return l.b.ins().iconst(ty, 0);
    }
    let value = l.get(index);
    if ty == I64 {
        value
    } else {
        l.b.ins().ireduce(ty, value)
    }
}

/// Writes a register; fewer than 64 bits clear the rest.
fn set(l: &mut L<'_>, index: u8, value: Value) {
    if index == SINK {
        return;
    }
    let value = if l.b.func.dfg.value_type(value) == I64 {
        value
    } else {
        l.b.ins().uextend(I64, value)
    };
    l.set(index, value);
}

/// A constant at a width.
fn constant(l: &mut L<'_>, ty: Type, value: u64) -> Value {
    let value = if ty == I64 {
        value
    } else {
        value & 0xffff_ffff
    };
    l.b.ins().iconst(ty, value as i64)
}
