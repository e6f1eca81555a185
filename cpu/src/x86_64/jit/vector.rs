//! Loads, stores and moves of XMM registers. No vector lives in a value beyond
//! its op.

use super::{L, O, address, read, write};
use crate::engine::jit::At;
use crate::engine::jit::lanes::alone;
use crate::x86_64::operand::MEM;
use crate::x86_64::state::X86State;
use cranelift_codegen::ir::{InstBuilder, Value, types::I8X16, types::I32, types::I64};
use iced_x86::Code;
use std::mem::offset_of;

pub(super) fn place(register: u8) -> usize {
    offset_of!(X86State, xmm) + 16 * usize::from(register & 15)
}

pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    // The last op of a block is one that raises an exception.
    if l.is_last() {
        return false;
    }
    let Ok(code) = Code::try_from(usize::from(op.code)) else {
        return false;
    };
    let memory = op.e & MEM != 0;
    use Code::*;
    match code {
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 => load(l, op, memory, true),
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 => load(l, op, memory, false),
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm if memory => {
            store(l, op, true);
        }
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm if memory => {
            store(l, op, false);
        }
        Movq_xmm_xmmm64 | Movsd_xmm_xmmm64 if memory => {
            let at = address(l, op);
            let v = l.load(at, I64);
            set_low(l, op.a, v);
        }
        Movss_xmm_xmmm32 | Movd_xmm_rm32 if memory => {
            let at = address(l, op);
            let v = l.load(at, I32);
            let v = l.b.ins().uextend(I64, v);
            set_low(l, op.a, v);
        }
        Movq_xmmm64_xmm | Movsd_xmmm64_xmm if memory => {
            let v = l.state(I64, place(op.a));
            let at = address(l, op);
            l.store(at, v);
        }
        Movss_xmmm32_xmm if memory => {
            let v = l.state(I32, place(op.a));
            let at = address(l, op);
            l.store(at, v);
        }
        Movq_xmm_rm64 if !memory => {
            let v = read(l, op.b, 8);
            set_low(l, op.a, v);
        }
        Movd_xmm_rm32 if !memory => {
            let v = read(l, op.b, 4);
            let v = l.b.ins().uextend(I64, v);
            set_low(l, op.a, v);
        }
        Movq_rm64_xmm if !memory => {
            let v = l.state(I64, place(op.b));
            write(l, op.a, v);
        }
        Movd_rm32_xmm if !memory => {
            let v = l.state(I32, place(op.b));
            write(l, op.a, v);
        }
        _ => return super::sse::lower(l, op, code),
    }
    true
}

/// Sets the low half; the high half is cleared.
fn set_low(l: &mut L<'_>, register: u8, v: Value) {
    let v = alone(&mut l.b, v);
    l.set_state(v, place(register));
}

pub(super) fn aligned(l: &mut L<'_>, at: At) {
    let at = l.sum(at);
    let low = l.b.ins().band_imm(at, 15);
    l.unless(low);
}

fn load(l: &mut L<'_>, op: &O, memory: bool, must_align: bool) {
    let v = if memory {
        let at = address(l, op);
        if must_align {
            aligned(l, at);
        }
        l.load(at, I8X16)
    } else {
        l.state(I8X16, place(op.b))
    };
    l.set_state(v, place(op.a));
}

fn store(l: &mut L<'_>, op: &O, must_align: bool) {
    let at = address(l, op);
    if must_align {
        aligned(l, at);
    }
    let host = l.store_later(at, 16);
    let v = l.state(I8X16, place(op.a));
    l.put(host, v);
}
