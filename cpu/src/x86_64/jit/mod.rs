//! Ops to host code. What is not here is left to the handlers.

mod alu;
mod atomic;
mod control;
mod divide;
mod flags;
mod form;
mod integers;
mod moves;
mod sse;
mod system;
mod vector;

pub use flags::{Pending, write_flags};
pub(super) use sse::is_float;

use super::X86;
use super::operand::{ADDR32, HIGH, RIP, SEG_FS, SEG_GS};
use super::state::{Segment, X86State, seg};
use crate::engine::Op;
use crate::engine::jit::{At, Lower};
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use flags::zero_extend;
use form::Form;
use iced_x86::Code;
use std::mem::offset_of;

type L<'a> = Lower<'a, X86>;
type O = Op<X86>;

/// Appends code for an op; see [`crate::Isa::lower`].
pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    if system::lower(l, op) || atomic::lower(l, op) {
        return true;
    }
    let Some(form) = Form::of(op) else {
        return vector::lower(l, op);
    };
    moves::lower(l, op, &form)
        || alu::lower(l, op, &form)
        || divide::lower(l, op, &form)
        || control::lower(l, op, &form)
}

/// The name of an operation.
pub(super) fn name(code: u16) -> String {
    match Code::try_from(usize::from(code)) {
        Ok(code) => format!("{code:?}"),
        Err(_) => code.to_string(),
    }
}

/// Whether an op is a conditional jump or a jump with an immediate target.
pub(super) fn is_jump(op: &O) -> bool {
    Code::try_from(usize::from(op.code))
        .is_ok_and(|code| code.is_jcc_short_or_near() || code.is_jmp_short_or_near())
}

/// The integer type of a width in bytes.
fn int(bytes: u8) -> Type {
    match bytes {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}

/// Reads a register operand.
fn read(l: &mut L<'_>, r: u8, bytes: u8) -> Value {
    let v = l.get(r & 15);
    match bytes {
        8 => v,
        1 if r & HIGH != 0 => {
            let v = l.b.ins().ushr_imm(v, 8);
            l.b.ins().ireduce(types::I8, v)
        }
        _ => l.b.ins().ireduce(int(bytes), v),
    }
}

/// Writes a register operand: 32 bits clear the upper half, fewer leave the rest.
fn write(l: &mut L<'_>, r: u8, v: Value) {
    let bytes = l.b.func.dfg.value_type(v).bytes();
    let wide = zero_extend(l, v);
    let value = match bytes {
        4 | 8 => wide,
        _ => {
            let shift = if bytes == 1 && r & HIGH != 0 { 8 } else { 0 };
            let mask = ((1u64 << (8 * bytes)) - 1) << shift;
            let old = l.get(r & 15);
            let old = l.b.ins().band_imm(old, !mask as i64);
            let new = match shift {
                0 => wide,
                _ => l.b.ins().ishl_imm(wide, shift),
            };
            l.b.ins().bor(old, new)
        }
    };
    l.set(r & 15, value);
}

/// The effective address without its segment base.
fn offset(l: &mut L<'_>, op: &O) -> At {
    let disp = i64::from(op.disp);
    let mut at = None;
    if op.c < RIP {
        at = Some(l.get_at(op.c & 15));
    } else if op.c == RIP {
        let next = i64::from(op.off) + i64::from(op.len);
        at = Some(l.block_at(next as u64));
    }
    if op.d < RIP {
        let mut index = l.get_at(op.d & 15);
        if op.e & 3 != 0 {
            let shift = i64::from(op.e & 3);
            index = At {
                base: l.b.ins().ishl_imm(index.base, shift),
                offset: index.offset.wrapping_shl(shift as u32),
            };
        }
        at = Some(match at {
            Some(at) => At {
                base: l.b.ins().iadd(at.base, index.base),
                offset: at.offset.wrapping_add(index.offset),
            },
            None => index,
        });
    }
    let at = match at {
        None => l.constant(disp as u64).into(),
        Some(at) => at.plus(disp),
    };
    if op.e & ADDR32 != 0 {
        let sum = l.sum(at);
        return l.b.ins().band_imm(sum, 0xffff_ffff).into();
    }
    at
}

/// The linear address of the memory operand.
fn address(l: &mut L<'_>, op: &O) -> At {
    let at = offset(l, op);
    let segment = match op.e & (SEG_FS | SEG_GS) {
        0 => return at,
        SEG_FS => seg::FS,
        _ => seg::GS,
    };
    let field = offset_of!(X86State, seg) + segment * size_of::<Segment>();
    let base = l.state(types::I64, field + offset_of!(Segment, base));
    At {
        base: l.b.ins().iadd(at.base, base),
        ..at
    }
}

/// An immediate at a width.
fn immediate(l: &mut L<'_>, op: &O, bytes: u8) -> Value {
    let shift = 64 - 8 * u32::from(bytes);
    let value = op.imm << shift >> shift;
    l.b.ins().iconst(int(bytes), value as i64)
}
