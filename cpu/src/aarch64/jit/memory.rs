//! Loads and stores of general registers.

use super::{L, O, get, set};
use crate::aarch64::Code;
use crate::aarch64::regs::SP;
use crate::engine::jit::At;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::I8, types::I16, types::I32, types::I64,
};

const POST: u8 = 1;
const PRE: u8 = 2;
const UNPRIVILEGED: u8 = 3;
const REGISTER: u8 = 4;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    match code {
        Code::Load | Code::Store => single(l, op, code == Code::Load),
        Code::LoadLiteral => {
            let at = u64::from(op.off).wrapping_add(op.disp as i64 as u64);
            let va = l.block_at(at);
            let v = load(l, va, op.e & 15);
            set(l, op.a, v);
            true
        }
        Code::LoadPair | Code::StorePair => pair(l, op, code == Code::LoadPair),
        _ => false,
    }
}

/// The base register. A stack pointer that is not aligned is for the handler.
pub(super) fn base(l: &mut L<'_>, op: &O) -> At {
    let at = l.get_at(op.b);
    if op.b == SP && !l.is_aligned(at, 16) {
        let v = l.sum(at);
        let low = l.b.ins().band_imm(v, 15);
        l.unless(low);
        l.found_aligned(at, 16);
    }
    at
}

pub(super) fn int(size: u8) -> Type {
    match size {
        0 => I8,
        1 => I16,
        2 => I32,
        _ => I64,
    }
}

/// Loads as the size and opc fields say.
fn load(l: &mut L<'_>, va: At, kind: u8) -> Value {
    let ty = int(kind >> 2);
    let v = l.load(va, ty);
    match kind & 3 {
        2 if ty != I64 => l.b.ins().sextend(I64, v),
        3 if ty != I32 => l.b.ins().sextend(I32, v),
        _ => v,
    }
}

fn single(l: &mut L<'_>, op: &O, is_load: bool) -> bool {
    let kind = op.e & 15;
    let addressing = op.e >> 4;
    if addressing == UNPRIVILEGED {
        return false;
    }
    let old = base(l, op);
    let disp = i64::from(op.disp);
    let new = match addressing {
        REGISTER => {
            let index = match op.d & 3 {
                1 => get(l, op.c, I64),
                extend => {
                    let v = get(l, op.c, I32);
                    if extend == 0 {
                        l.b.ins().uextend(I64, v)
                    } else {
                        l.b.ins().sextend(I64, v)
                    }
                }
            };
            let shift = if op.d & 4 != 0 { kind >> 2 } else { 0 };
            let index = l.b.ins().ishl_imm(index, i64::from(shift));
            At {
                base: l.b.ins().iadd(old.base, index),
                ..old
            }
        }
        _ => old.plus(disp),
    };
    let va = if addressing == POST { old } else { new };
    let write_back = matches!(addressing, PRE | POST);
    if is_load {
        let v = load(l, va, kind);
        if write_back {
            l.set_at(op.b, new);
        }
        set(l, op.a, v);
    } else {
        let v = get(l, op.a, int(kind >> 2));
        l.store(va, v);
        if write_back {
            l.set_at(op.b, new);
        }
    }
    true
}

fn pair(l: &mut L<'_>, op: &O, is_load: bool) -> bool {
    let opc = op.e & 3;
    let index = op.e >> 2;
    let old = base(l, op);
    let new = old.plus(op.disp.into());
    let va = if index == 1 { old } else { new };
    let write_back = index != 2;
    if is_load {
        let values = if opc == 2 {
            l.load_16(va)
        } else {
            l.load_words(va)
        };
        if write_back {
            l.set_at(op.b, new);
        }
        for (index, v) in [op.a, op.c].into_iter().zip(values) {
            let v = if opc == 1 {
                l.b.ins().sextend(I64, v)
            } else {
                v
            };
            set(l, index, v);
        }
    } else {
        let ty = if opc == 2 { I64 } else { I32 };
        let values = [get(l, op.a, ty), get(l, op.c, ty)];
        l.store_two(va, values);
        if write_back {
            l.set_at(op.b, new);
        }
    }
    true
}
