//! Integer operations on XMM registers that move lanes or shift them, and moves of
//! halves.

use super::sse::{quarter, set_half, source};
use super::vector::place;
use super::{L, O, address};
use crate::engine::jit::float::cast;
use crate::engine::jit::lanes::{bytes, shuffle};
use crate::x86_64::operand::MEM;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::I8X16, types::I16X8, types::I32X4, types::I64, types::I64X2,
};
use iced_x86::Code;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    let memory = op.e & MEM != 0;
    let imm = op.imm as usize & 0xff;
    use Code::*;
    match code {
        // Interleaving: lanes of so many bytes, of the low or the high half.
        Punpcklbw_xmm_xmmm128 => interleave(l, op, 1, 0),
        Punpcklwd_xmm_xmmm128 => interleave(l, op, 2, 0),
        Punpckldq_xmm_xmmm128 | Unpcklps_xmm_xmmm128 => interleave(l, op, 4, 0),
        Punpckhbw_xmm_xmmm128 => interleave(l, op, 1, 8),
        Punpckhwd_xmm_xmmm128 => interleave(l, op, 2, 8),
        Punpckhdq_xmm_xmmm128 | Unpckhps_xmm_xmmm128 => interleave(l, op, 4, 8),
        // Lanes by the fields of the immediate.
        Pshufd_xmm_xmmm128_imm8 => permute(l, op, |i| 16 + (imm >> (i / 4 * 2) & 3) * 4 + i % 4),
        Pshuflw_xmm_xmmm128_imm8 => permute(l, op, |i| match i {
            0..8 => 16 + (imm >> (i / 2 * 2) & 3) * 2 + i % 2,
            _ => 16 + i,
        }),
        Pshufhw_xmm_xmmm128_imm8 => permute(l, op, |i| match i {
            0..8 => 16 + i,
            _ => 24 + (imm >> ((i - 8) / 2 * 2) & 3) * 2 + i % 2,
        }),
        Shufps_xmm_xmmm128_imm8 => {
            permute(l, op, |i| i / 8 * 16 + (imm >> (i / 4 * 2) & 3) * 4 + i % 4);
        }
        Shufpd_xmm_xmmm128_imm8 => {
            permute(l, op, |i| i / 8 * 16 + (imm >> (i / 8) & 1) * 8 + i % 8)
        }
        Palignr_xmm_xmmm128_imm8 if imm <= 16 => permute(l, op, |i| (i + imm) ^ 16),
        Pslldq_xmm_imm8 => {
            let by = imm.min(16);
            with_zeros(l, op, |i| if i < by { 16 } else { i - by });
        }
        Psrldq_xmm_imm8 => with_zeros(l, op, |i| (i + imm).min(16)),
        Psllw_xmm_imm8 => shift(l, op, I16X8, |l, v, by| l.b.ins().ishl_imm(v, by)),
        Pslld_xmm_imm8 => shift(l, op, I32X4, |l, v, by| l.b.ins().ishl_imm(v, by)),
        Psllq_xmm_imm8 => shift(l, op, I64X2, |l, v, by| l.b.ins().ishl_imm(v, by)),
        Psrlw_xmm_imm8 => shift(l, op, I16X8, |l, v, by| l.b.ins().ushr_imm(v, by)),
        Psrld_xmm_imm8 => shift(l, op, I32X4, |l, v, by| l.b.ins().ushr_imm(v, by)),
        Psrlq_xmm_imm8 => shift(l, op, I64X2, |l, v, by| l.b.ins().ushr_imm(v, by)),
        Movhps_xmm_m64 | Movhpd_xmm_m64 => half(l, op, 1),
        Movlps_xmm_m64 | Movlpd_xmm_m64 => half(l, op, 0),
        Movhps_m64_xmm | Movhpd_m64_xmm if memory => store_half(l, op, 8),
        Movlps_m64_xmm | Movlpd_m64_xmm if memory => store_half(l, op, 0),
        Movhlps_xmm_xmm => {
            let v = quarter(l, op, 8, false);
            set_half(l, op.a, v, 0);
        }
        _ => return false,
    }
    true
}

/// Bytes of the destination (0 to 15) and the source (16 to 31).
fn permute(l: &mut L<'_>, op: &O, from: impl Fn(usize) -> usize) {
    let b = source(l, op, I8X16);
    let a = l.state(I8X16, place(op.a));
    let v = shuffle(&mut l.b, a, b, from);
    l.set_state(v, place(op.a));
}

fn interleave(l: &mut L<'_>, op: &O, lane: usize, half: usize) {
    permute(l, op, |i| {
        let at = i / lane;
        at % 2 * 16 + half + at / 2 * lane + i % lane
    });
}

/// Bytes of the only operand (0 to 15) and zeros (from 16 on).
fn with_zeros(l: &mut L<'_>, op: &O, from: impl Fn(usize) -> usize) {
    let a = l.state(I8X16, place(op.a));
    let zero = l.constant(0);
    let zero = l.b.ins().splat(I64X2, zero);
    let zero = bytes(&mut l.b, zero);
    let v = shuffle(&mut l.b, a, zero, from);
    l.set_state(v, place(op.a));
}

/// Shifts by the immediate; what is shifted out entirely is zero.
fn shift(l: &mut L<'_>, op: &O, ty: Type, f: fn(&mut L<'_>, Value, i64) -> Value) {
    let by = (op.imm & 0xff) as i64;
    let v = if by < i64::from(ty.lane_bits()) {
        let v = l.state(ty, place(op.a));
        f(l, v, by)
    } else {
        let zero = l.constant(0);
        let zero = l.b.ins().splat(I64X2, zero);
        cast(&mut l.b, ty, zero)
    };
    l.set_state(v, place(op.a));
}

fn half(l: &mut L<'_>, op: &O, which: u8) {
    let va = address(l, op);
    let v = l.load(va, I64);
    set_half(l, op.a, v, which);
}

fn store_half(l: &mut L<'_>, op: &O, at: usize) {
    let va = address(l, op);
    let host = l.store_later(va, 8);
    let v = l.state(I64, place(op.a) + at);
    l.put(host, v);
}
