//! Arithmetic on XMM registers: floating point by host arithmetic where that
//! is good, and the integer operations that text and memory functions use.

use super::flags::{CARRY, SIGN, ZERO};
use super::vector::{aligned, place};
use super::{L, O, address, read, write};
use crate::engine::jit::float::{self, Arithmetic};
use crate::x86_64::operand::MEM;
use crate::x86_64::sse::float::{PE, PM, RC};
use crate::x86_64::state::X86State;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I8X16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::Code;
use std::mem::offset_of;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    if let Some((kind, ty, lanes)) = arithmetic_of(code) {
        arithmetic(l, op, kind, ty, lanes);
        return true;
    }
    if let Some((ty, f)) = integers_of(code) {
        let b = source(l, op, ty);
        let a = l.state(ty, place(op.a));
        let v = f(l, a, b);
        l.set_state(v, place(op.a));
        return true;
    }
    use Code::*;
    match code {
        Ucomisd_xmm_xmmm64 | Comisd_xmm_xmmm64 => compare(l, op, I64),
        Ucomiss_xmm_xmmm32 | Comiss_xmm_xmmm32 => compare(l, op, I32),
        Cvtsi2sd_xmm_rm32 => from_integer(l, op, I32, F64),
        Cvtsi2sd_xmm_rm64 => from_integer(l, op, I64, F64),
        Cvtsi2ss_xmm_rm32 => from_integer(l, op, I32, F32),
        Cvtsi2ss_xmm_rm64 => from_integer(l, op, I64, F32),
        Pmovmskb_r32_xmm => {
            let v = l.state(I8X16, place(op.b));
            let v = l.b.ins().vhigh_bits(I32, v);
            write(l, op.a, v);
        }
        Punpcklqdq_xmm_xmmm128 | Unpcklpd_xmm_xmmm128 | Movlhps_xmm_xmm => {
            let v = quarter(l, op, 0, true);
            l.set_state(v, place(op.a) + 8);
        }
        Punpckhqdq_xmm_xmmm128 | Unpckhpd_xmm_xmmm128 => {
            let high = quarter(l, op, 8, true);
            let low = l.state(I64, place(op.a) + 8);
            l.set_state(low, place(op.a));
            l.set_state(high, place(op.a) + 8);
        }
        Movsd_xmm_xmmm64 if op.e & MEM == 0 => {
            let v = l.state(I64, place(op.b));
            l.set_state(v, place(op.a));
        }
        Movss_xmm_xmmm32 if op.e & MEM == 0 => {
            let v = l.state(I32, place(op.b));
            l.set_state(v, place(op.a));
        }
        _ => return false,
    }
    true
}

/// Eight bytes of the source at a byte offset.
fn quarter(l: &mut L<'_>, op: &O, at: usize, must_align: bool) -> Value {
    if op.e & MEM == 0 {
        return l.state(I64, place(op.b) + at);
    }
    let va = address(l, op);
    if must_align {
        aligned(l, va);
    }
    l.load_16(va)[at / 8]
}

/// The second operand, whole.
fn source(l: &mut L<'_>, op: &O, ty: Type) -> Value {
    if op.e & MEM == 0 {
        return l.state(ty, place(op.b));
    }
    let at = address(l, op);
    aligned(l, at);
    l.load(at, ty)
}

type Vector = fn(&mut L<'_>, Value, Value) -> Value;

/// What the handler of the same name does, on whole vectors.
fn integers_of(code: Code) -> Option<(Type, Vector)> {
    use Code::*;
    Some(match code {
        Pand_xmm_xmmm128 | Andps_xmm_xmmm128 | Andpd_xmm_xmmm128 => {
            (I8X16, |l, a, b| l.b.ins().band(a, b))
        }
        Por_xmm_xmmm128 | Orps_xmm_xmmm128 | Orpd_xmm_xmmm128 => {
            (I8X16, |l, a, b| l.b.ins().bor(a, b))
        }
        Pxor_xmm_xmmm128 | Xorps_xmm_xmmm128 | Xorpd_xmm_xmmm128 => {
            (I8X16, |l, a, b| l.b.ins().bxor(a, b))
        }
        Pandn_xmm_xmmm128 | Andnps_xmm_xmmm128 | Andnpd_xmm_xmmm128 => {
            (I8X16, |l, a, b| l.b.ins().band_not(b, a))
        }
        Paddb_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().iadd(a, b)),
        Paddw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().iadd(a, b)),
        Paddd_xmm_xmmm128 => (I32X4, |l, a, b| l.b.ins().iadd(a, b)),
        Paddq_xmm_xmmm128 => (I64X2, |l, a, b| l.b.ins().iadd(a, b)),
        Psubb_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().isub(a, b)),
        Psubw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().isub(a, b)),
        Psubd_xmm_xmmm128 => (I32X4, |l, a, b| l.b.ins().isub(a, b)),
        Psubq_xmm_xmmm128 => (I64X2, |l, a, b| l.b.ins().isub(a, b)),
        Pcmpeqb_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().icmp(IntCC::Equal, a, b)),
        Pcmpeqw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().icmp(IntCC::Equal, a, b)),
        Pcmpeqd_xmm_xmmm128 => (I32X4, |l, a, b| l.b.ins().icmp(IntCC::Equal, a, b)),
        Pminub_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().umin(a, b)),
        Pmaxub_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().umax(a, b)),
        _ => return None,
    })
}

/// The operation, the integer type of a lane, and how many.
fn arithmetic_of(code: Code) -> Option<(Arithmetic, Type, usize)> {
    use Arithmetic::*;
    use Code::*;
    Some(match code {
        Addsd_xmm_xmmm64 => (Add, I64, 1),
        Subsd_xmm_xmmm64 => (Sub, I64, 1),
        Mulsd_xmm_xmmm64 => (Mul, I64, 1),
        Divsd_xmm_xmmm64 => (Div, I64, 1),
        Sqrtsd_xmm_xmmm64 => (Sqrt, I64, 1),
        Addss_xmm_xmmm32 => (Add, I32, 1),
        Subss_xmm_xmmm32 => (Sub, I32, 1),
        Mulss_xmm_xmmm32 => (Mul, I32, 1),
        Divss_xmm_xmmm32 => (Div, I32, 1),
        Sqrtss_xmm_xmmm32 => (Sqrt, I32, 1),
        Addpd_xmm_xmmm128 => (Add, I64, 2),
        Subpd_xmm_xmmm128 => (Sub, I64, 2),
        Mulpd_xmm_xmmm128 => (Mul, I64, 2),
        Divpd_xmm_xmmm128 => (Div, I64, 2),
        Addps_xmm_xmmm128 => (Add, I32, 4),
        Subps_xmm_xmmm128 => (Sub, I32, 4),
        Mulps_xmm_xmmm128 => (Mul, I32, 4),
        Divps_xmm_xmmm128 => (Div, I32, 4),
        _ => return None,
    })
}

/// Whether rounding could be seen: not as `may_round`.
fn strict(l: &mut L<'_>) -> Value {
    let v = l.state(I32, offset_of!(X86State, mxcsr));
    let v = l.b.ins().band_imm(v, i64::from(RC | PM | PE));
    l.b.ins().icmp_imm(IntCC::NotEqual, v, i64::from(PM | PE))
}

fn arithmetic(l: &mut L<'_>, op: &O, kind: Arithmetic, ty: Type, lanes: usize) {
    let bytes = ty.bytes() as usize;
    let at = |register: u8, lane: usize| place(register) + bytes * lane;
    let host = (op.e & MEM != 0).then(|| {
        let va = address(l, op);
        if lanes > 1 {
            aligned(l, va);
        }
        l.load_later(va, (bytes * lanes) as u64)
    });
    let mut unusual = strict(l);
    let mut results = Vec::new();
    for lane in 0..lanes {
        let b = match host {
            Some(host) => l.take(host, ty, (bytes * lane) as i32),
            None => l.state(ty, at(op.b, lane)),
        };
        let a = match kind {
            Arithmetic::Sqrt => b,
            _ => l.state(ty, at(op.a, lane)),
        };
        let (r, not) = float::arithmetic(&mut l.b, kind, a, b);
        unusual = l.b.ins().bor(unusual, not);
        results.push(r);
    }
    l.or_handler(unusual, |l| {
        for (lane, r) in results.into_iter().enumerate() {
            l.set_state(r, at(op.a, lane));
        }
    });
}

/// ZF, PF and CF as [`crate::x86_64::LazyFlags::set_zpc`] sets them.
fn compare(l: &mut L<'_>, op: &O, ty: Type) {
    let b = if op.e & MEM == 0 {
        l.state(ty, place(op.b))
    } else {
        let va = address(l, op);
        l.load(va, ty)
    };
    let a = l.state(ty, place(op.a));
    let unusual = float::extraordinary(&mut l.b, a, b);
    let (a, b) = (float::number(&mut l.b, a), float::number(&mut l.b, b));
    let less = l.b.ins().fcmp(FloatCC::LessThan, a, b);
    let differs = l.b.ins().fcmp(FloatCC::NotEqual, a, b);
    l.or_handler(unusual, |l| {
        let one = l.constant(1);
        let zero = l.b.ins().uextend(I64, differs);
        let less = l.b.ins().uextend(I64, less);
        // CF is bit 63; OF is clear, so bit 62 is the same.
        let high = l.b.ins().ishl_imm(less, 63);
        let low = l.b.ins().ishl_imm(less, 62);
        let carry = l.b.ins().bor(high, low);
        for (v, at) in [(zero, ZERO), (one, SIGN), (carry, CARRY)] {
            l.set_state(v, at);
        }
    });
    l.pending = Default::default();
}

fn from_integer(l: &mut L<'_>, op: &O, ty: Type, to: Type) {
    let v = if op.e & MEM == 0 {
        read(l, op.b, ty.bytes() as u8)
    } else {
        let va = address(l, op);
        l.load(va, ty)
    };
    let v = super::flags::sign_extend(l, v);
    // Few enough bits are exact.
    let spare = if to == F64 { 11 } else { 40 };
    let cut = l.b.ins().ishl_imm(v, spare);
    let cut = l.b.ins().sshr_imm(cut, spare);
    let rounds = l.b.ins().icmp(IntCC::NotEqual, cut, v);
    let strict = strict(l);
    let unusual = l.b.ins().band(rounds, strict);
    l.or_handler(unusual, |l| {
        let v = l.b.ins().fcvt_from_sint(to, v);
        l.set_state(v, place(op.a));
    });
}
