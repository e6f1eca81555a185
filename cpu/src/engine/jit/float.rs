//! Host arithmetic in compiled code: a result, and whether it may not be used.
//!
//! Where the host's flags are collected ([`NATIVE`]) the caller has seen to it
//! that the guest rounds to nearest, flushes nothing and masks all exceptions.
//! Then every result is good but NaNs, of which there are many. Elsewhere, what
//! is unusual is a superset of what the interpreter's fast path refuses
//! ([`crate::softfloat::fast`]), and inexact has to be raised already.

use super::sticky::NATIVE;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, F64X2, I8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlags, Type, Value};
use cranelift_frontend::FunctionBuilder;

/// An operation of two operands; the square root is of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The square root of `a`.
    Sqrt,
}

/// When the guest takes a result for tiny. The host: after rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiny {
    /// Before rounding; and nobody asks for denormal operands.
    Before,
    /// After rounding.
    After,
}

/// Whether the host has a fused multiply-add that is one instruction.
pub fn has_fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

/// A format: bits of the smallest normal number and of infinity, each without
/// the sign and shifted up by one.
struct Format {
    min: i64,
    infinity: i64,
}

fn format(lane: Type) -> Format {
    if lane.bits() == 32 {
        Format {
            min: 2 << 23,
            infinity: 0xff << 24,
        }
    } else {
        Format {
            min: 2 << 52,
            infinity: 0x7ff << 53,
        }
    }
}

fn type_of(b: &FunctionBuilder<'_>, v: Value) -> Type {
    b.func.dfg.value_type(v)
}

/// The same bits as integers.
fn bits(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    let ty = match type_of(b, v) {
        F32 => I32,
        F64 => I64,
        F32X4 => I32X4,
        F64X2 => I64X2,
        _ => return v,
    };
    cast(b, ty, v)
}

/// The same bits as another type.
pub fn cast(b: &mut FunctionBuilder<'_>, ty: Type, v: Value) -> Value {
    let flags = MemFlags::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
    b.ins().bitcast(ty, flags, v)
}

/// The result of an operation on numbers or vectors of them, and whether it is
/// unusual.
pub fn arithmetic(
    b: &mut FunctionBuilder<'_>,
    kind: Arithmetic,
    x: Value,
    y: Value,
    tiny: Tiny,
) -> (Value, Value) {
    let r = match kind {
        Arithmetic::Add => b.ins().fadd(x, y),
        Arithmetic::Sub => b.ins().fsub(x, y),
        Arithmetic::Mul => b.ins().fmul(x, y),
        Arithmetic::Div => b.ins().fdiv(x, y),
        Arithmetic::Sqrt => b.ins().sqrt(x),
    };
    if NATIVE {
        let not = not_native(b, r, tiny);
        return (r, not);
    }
    let lanes = type_of(b, r).lane_count() as u8;
    let mut unusual = b.ins().iconst(I8, 0);
    for lane in 0..lanes {
        let [x, y, r] = [x, y, r].map(|v| match lanes {
            1 => v,
            _ => b.ins().extractlane(v, lane),
        });
        let one = checked(b, kind, [x, y, r]);
        unusual = b.ins().bor(unusual, one);
    }
    (r, unusual)
}

/// Whether a result of the host is a NaN (or infinite), or of another tininess:
/// the least normal number may have been rounded up to. A look at it must raise
/// no denormal operand where somebody asks for that.
pub fn not_native(b: &mut FunctionBuilder<'_>, r: Value, tiny: Tiny) -> Value {
    let ty = type_of(b, r);
    let f = format(ty.lane_type());
    if ty.is_vector() {
        let whole = bits(b, r);
        let ty = type_of(b, whole);
        let lane = |b: &mut FunctionBuilder<'_>, v: i64| {
            let one = b.ins().iconst(ty.lane_type(), v);
            b.ins().splat(ty, one)
        };
        let exponent = lane(b, f.infinity >> 1 & i64::MAX >> (64 - ty.lane_bits()));
        let seen = b.ins().band(whole, exponent);
        let mut not = b.ins().icmp(IntCC::Equal, seen, exponent);
        if tiny == Tiny::Before {
            let (two, least) = (b.ins().iadd(whole, whole), lane(b, f.min));
            let same = b.ins().icmp(IntCC::Equal, two, least);
            not = b.ins().bor(not, same);
        }
        return b.ins().vany_true(not);
    }
    match tiny {
        Tiny::Before => {
            let size = b.ins().fabs(r);
            let least = match ty {
                F32 => b.ins().f32const(f32::MIN_POSITIVE),
                _ => b.ins().f64const(f64::MIN_POSITIVE),
            };
            b.ins().fcmp(FloatCC::UnorderedOrEqual, size, least)
        }
        Tiny::After => {
            let whole = bits(b, r);
            large(b, whole, &f)
        }
    }
}

/// Whether a number is a NaN or infinite; raises nothing.
pub fn is_large(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    let f = format(type_of(b, v));
    let whole = bits(b, v);
    large(b, whole, &f)
}

/// Whether bits are of a NaN or infinite.
fn large(b: &mut FunctionBuilder<'_>, whole: Value, f: &Format) -> Value {
    let up = b.ins().iadd(whole, whole);
    let ge = IntCC::UnsignedGreaterThanOrEqual;
    b.ins().icmp_imm(ge, up, f.infinity)
}

/// Whether `bits`, shifted up by one, are of a denormal number.
fn denormal(b: &mut FunctionBuilder<'_>, f: &Format, shifted: Value) -> Value {
    let v = b.ins().iadd_imm(shifted, -1);
    b.ins().icmp_imm(IntCC::UnsignedLessThan, v, f.min - 1)
}

/// Whether operands or the result leave it open which flags were raised.
fn checked(b: &mut FunctionBuilder<'_>, kind: Arithmetic, numbers: [Value; 3]) -> Value {
    let f = format(type_of(b, numbers[0]));
    let [x, y, up] = numbers.map(|v| {
        let v = bits(b, v);
        b.ins().ishl_imm(v, 1)
    });
    // Finite, and above the smallest normal number before rounding.
    let safe = b.ins().iadd_imm(up, -2 * f.min);
    let unsafe_ = b.ins().icmp_imm(
        IntCC::UnsignedGreaterThanOrEqual,
        safe,
        f.infinity.wrapping_sub(2 * f.min),
    );
    // A zero is exact where nothing can have underflowed.
    let zero = match kind {
        Arithmetic::Add | Arithmetic::Sub | Arithmetic::Sqrt => up,
        Arithmetic::Div => b.ins().bor(up, x),
        Arithmetic::Mul => {
            let least = b.ins().umin(x, y);
            b.ins().bor(up, least)
        }
    };
    let not_zero = b.ins().icmp_imm(IntCC::NotEqual, zero, 0);
    let result = b.ins().band(unsafe_, not_zero);
    let mut operands = denormal(b, &f, x);
    if kind != Arithmetic::Sqrt {
        let other = denormal(b, &f, y);
        operands = b.ins().bor(operands, other);
    }
    b.ins().bor(result, operands)
}

/// Whether the relation of two numbers is unusual: one is a NaN, or, where the
/// host's flags are not collected, infinite or denormal.
pub fn unordered(b: &mut FunctionBuilder<'_>, x: Value, y: Value) -> Value {
    if NATIVE {
        return b.ins().fcmp(FloatCC::Unordered, x, y);
    }
    let f = format(type_of(b, x));
    let [x, y] = [x, y].map(|v| {
        let v = bits(b, v);
        let up = b.ins().ishl_imm(v, 1);
        let (small, large) = (denormal(b, &f, up), large(b, v, &f));
        b.ins().bor(small, large)
    });
    b.ins().bor(x, y)
}
