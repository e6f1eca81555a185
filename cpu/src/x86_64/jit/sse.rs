//! Arithmetic on XMM registers: floating point by host arithmetic where that
//! is good, and the integer operations that text and memory functions use.

use super::flags::{CARRY, SIGN, ZERO};
use super::vector::{aligned, place};
use super::{L, O, address, read, write};
use crate::engine::jit::float::{self, Arithmetic, Tiny};
use crate::engine::jit::lanes::{alone, whole};
use crate::engine::jit::sticky::NATIVE;
use crate::x86_64::operand::MEM;
use crate::x86_64::sse::float::{PE, PM, RC};
use crate::x86_64::state::X86State;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, F64X2, I8X16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::{Code, OpCodeTableKind};
use std::mem::offset_of;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    if let Some((kind, ty)) = arithmetic_of(code) {
        arithmetic(l, op, kind, ty);
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
        Ucomisd_xmm_xmmm64 | Comisd_xmm_xmmm64 => compare(l, op, F64),
        Ucomiss_xmm_xmmm32 | Comiss_xmm_xmmm32 => compare(l, op, F32),
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
            set_half(l, op.a, v, 1);
        }
        Punpckhqdq_xmm_xmmm128 | Unpckhpd_xmm_xmmm128 => {
            let high = quarter(l, op, 8, true);
            let low = l.state(I64, place(op.a) + 8);
            let low = alone(&mut l.b, low);
            let v = l.b.ins().insertlane(low, high, 1);
            l.set_state(v, place(op.a));
        }
        Movsd_xmm_xmmm64 if op.e & MEM == 0 => {
            let v = l.state(F64, place(op.b));
            set_number(l, op.a, v);
        }
        Movss_xmm_xmmm32 if op.e & MEM == 0 => {
            let v = l.state(F32, place(op.b));
            set_number(l, op.a, v);
        }
        Cvtsd2ss_xmm_xmmm64 if NATIVE => between(l, op, F64),
        Cvtss2sd_xmm_xmmm32 if NATIVE => between(l, op, F32),
        Cvttsd2si_r32_xmmm64 if NATIVE => to_integer(l, op, F64, I32),
        Cvttsd2si_r64_xmmm64 if NATIVE => to_integer(l, op, F64, I64),
        Cvttss2si_r32_xmmm32 if NATIVE => to_integer(l, op, F32, I32),
        Cvttss2si_r64_xmmm32 if NATIVE => to_integer(l, op, F32, I64),
        _ => return super::integers::lower(l, op, code),
    }
    true
}

/// Sets half of a register.
pub(super) fn set_half(l: &mut L<'_>, register: u8, v: Value, which: u8) {
    let old = l.state(I64X2, place(register));
    let v = l.b.ins().insertlane(old, v, which);
    l.set_state(v, place(register));
}

/// Eight bytes of the source at a byte offset.
pub(super) fn quarter(l: &mut L<'_>, op: &O, at: usize, must_align: bool) -> Value {
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
pub(super) fn source(l: &mut L<'_>, op: &O, ty: Type) -> Value {
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
        Pcmpgtb_xmm_xmmm128 => (I8X16, |l, a, b| {
            l.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
        }),
        Pcmpgtw_xmm_xmmm128 => (I16X8, |l, a, b| {
            l.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
        }),
        Pcmpgtd_xmm_xmmm128 => (I32X4, |l, a, b| {
            l.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
        }),
        Pminsw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().smin(a, b)),
        Pmaxsw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().smax(a, b)),
        Pmullw_xmm_xmmm128 => (I16X8, |l, a, b| l.b.ins().imul(a, b)),
        Pmaxub_xmm_xmmm128 => (I8X16, |l, a, b| l.b.ins().umax(a, b)),
        _ => return None,
    })
}

/// The operation, and the type of its operands.
fn arithmetic_of(code: Code) -> Option<(Arithmetic, Type)> {
    use Arithmetic::*;
    use Code::*;
    Some(match code {
        Addsd_xmm_xmmm64 => (Add, F64),
        Subsd_xmm_xmmm64 => (Sub, F64),
        Mulsd_xmm_xmmm64 => (Mul, F64),
        Divsd_xmm_xmmm64 => (Div, F64),
        Sqrtsd_xmm_xmmm64 => (Sqrt, F64),
        Addss_xmm_xmmm32 => (Add, F32),
        Subss_xmm_xmmm32 => (Sub, F32),
        Mulss_xmm_xmmm32 => (Mul, F32),
        Divss_xmm_xmmm32 => (Div, F32),
        Sqrtss_xmm_xmmm32 => (Sqrt, F32),
        Addpd_xmm_xmmm128 => (Add, F64X2),
        Subpd_xmm_xmmm128 => (Sub, F64X2),
        Mulpd_xmm_xmmm128 => (Mul, F64X2),
        Divpd_xmm_xmmm128 => (Div, F64X2),
        Addps_xmm_xmmm128 => (Add, F32X4),
        Subps_xmm_xmmm128 => (Sub, F32X4),
        Mulps_xmm_xmmm128 => (Mul, F32X4),
        Divps_xmm_xmmm128 => (Div, F32X4),
        _ => return None,
    })
}

/// Whether an op is of x87, MMX or SSE, by its place in the opcode map (Intel SDM
/// volume 2, appendix A), or unknown.
pub(in crate::x86_64) fn is_float(op: &O) -> bool {
    use OpCodeTableKind::{Normal, T0F};
    Code::try_from(usize::from(op.code)).map_or(true, |code| {
        let info = code.op_code();
        match (info.table(), info.op_code() & 0xff) {
            (Normal, at) => matches!(at, 0x9b | 0xd8..=0xdf) || info.op_code() > 0xff,
            (T0F, 0x00..=0x0f | 0x20..=0x27 | 0x30..=0x4f | 0x80..=0xad) => false,
            (T0F, 0xaf..=0xc1 | 0xc3 | 0xc7..=0xcf) => false,
            _ => true,
        }
    })
}

/// MXCSR but for the flags, and its value at reset (Intel SDM volume 1, 10.2.3).
const CONTROL: u32 = 0xffc0;
const RESET: u32 = 0x1f80;

/// Leaves the op to its handler, and the rest of the block to the interpreter,
/// where the modes of MXCSR are not those of host arithmetic.
pub(super) fn plain(l: &mut L<'_>) {
    if l.assured {
        return;
    }
    let (mask, usual) = if NATIVE {
        (CONTROL, RESET)
    } else {
        // As `may_round`.
        (RC | PM | PE, PM | PE)
    };
    let v = l.state(I32, offset_of!(X86State, mxcsr));
    let v = l.b.ins().band_imm(v, i64::from(mask));
    let unusual = l.b.ins().icmp_imm(IntCC::NotEqual, v, i64::from(usual));
    l.unless(unusual);
    l.collect_floats();
    l.assured = true;
}

/// The second operand: a number, or a vector, which has to be aligned.
fn operand(l: &mut L<'_>, op: &O, ty: Type) -> Value {
    if ty.is_vector() {
        source(l, op, ty)
    } else if op.e & MEM == 0 {
        l.state(ty, place(op.b))
    } else {
        let va = address(l, op);
        l.load(va, ty)
    }
}

fn arithmetic(l: &mut L<'_>, op: &O, kind: Arithmetic, ty: Type) {
    plain(l);
    let b = operand(l, op, ty);
    let a = match kind {
        Arithmetic::Sqrt => b,
        _ => l.state(ty, place(op.a)),
    };
    let (r, unusual) = float::arithmetic(&mut l.b, kind, a, b, Tiny::After);
    l.or_handler(unusual, |l| set_number(l, op.a, r));
}

/// Sets the lowest lane, or all of a register.
fn set_number(l: &mut L<'_>, register: u8, r: Value) {
    let ty = l.b.func.dfg.value_type(r);
    let r = if ty.is_vector() {
        r
    } else {
        let old = l.state(whole(ty), place(register));
        l.b.ins().insertlane(old, r, 0)
    };
    l.set_state(r, place(register));
}

/// ZF, PF and CF as [`crate::x86_64::LazyFlags::set_zpc`] sets them.
fn compare(l: &mut L<'_>, op: &O, ty: Type) {
    plain(l);
    let b = operand(l, op, ty);
    let a = l.state(ty, place(op.a));
    let unusual = float::unordered(&mut l.b, a, b);
    l.or_handler(unusual, |l| {
        let less = l.b.ins().fcmp(FloatCC::LessThan, a, b);
        let differs = l.b.ins().fcmp(FloatCC::NotEqual, a, b);
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

/// Between the formats of numbers.
fn between(l: &mut L<'_>, op: &O, from: Type) {
    plain(l);
    let v = operand(l, op, from);
    let r = if from == F64 {
        l.b.ins().fdemote(F32, v)
    } else {
        l.b.ins().fpromote(F64, v)
    };
    let unusual = float::not_native(&mut l.b, r, Tiny::After);
    l.or_handler(unusual, |l| set_number(l, op.a, r));
}

/// Truncates. What saturates or is no number is for the handler, which gives the
/// indefinite value; zero may be a NaN.
fn to_integer(l: &mut L<'_>, op: &O, from: Type, to: Type) {
    plain(l);
    let v = operand(l, op, from);
    let not = float::is_large(&mut l.b, v);
    let r = l.b.ins().fcvt_to_sint_sat(to, v);
    let most = (1u64 << (to.bits() - 1)) - 1;
    let over = l.b.ins().icmp_imm(IntCC::Equal, r, most as i64);
    let unusual = l.b.ins().bor(not, over);
    l.unless(unusual);
    write(l, op.a, r);
}

fn from_integer(l: &mut L<'_>, op: &O, ty: Type, to: Type) {
    plain(l);
    let v = if op.e & MEM == 0 {
        read(l, op.b, ty.bytes() as u8)
    } else {
        let va = address(l, op);
        l.load(va, ty)
    };
    let v = l.b.ins().fcvt_from_sint(to, v);
    set_number(l, op.a, v);
}
