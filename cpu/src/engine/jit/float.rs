//! Host arithmetic of [`crate::softfloat::fast`] in compiled code: a result, and
//! whether it may not be used. What is unusual here is a superset of what the
//! interpreter's fast path refuses.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
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

/// A format: bits of the smallest normal number and of infinity, each without
/// the sign and shifted up by one.
struct Format {
    float: Type,
    min: i64,
    infinity: i64,
}

fn format(b: &FunctionBuilder<'_>, bits: Value) -> Format {
    if b.func.dfg.value_type(bits) == I32 {
        Format {
            float: F32,
            min: 2 << 23,
            infinity: 0xff << 24,
        }
    } else {
        Format {
            float: F64,
            min: 2 << 52,
            infinity: 0x7ff << 53,
        }
    }
}

fn float(b: &mut FunctionBuilder<'_>, ty: Type, bits: Value) -> Value {
    b.ins().bitcast(ty, MemFlags::new(), bits)
}

/// Whether `bits`, shifted up by one, are of a denormal number.
fn denormal(b: &mut FunctionBuilder<'_>, f: &Format, shifted: Value) -> Value {
    let v = b.ins().iadd_imm(shifted, -1);
    b.ins().icmp_imm(IntCC::UnsignedLessThan, v, f.min - 1)
}

/// The result of an operation on bits, as bits, and whether it is unusual:
/// rounds to nearest, and is good where inexact may be raised unseen.
pub fn arithmetic(
    b: &mut FunctionBuilder<'_>,
    kind: Arithmetic,
    x: Value,
    y: Value,
) -> (Value, Value) {
    let f = format(b, x);
    let (p, q) = (float(b, f.float, x), float(b, f.float, y));
    let r = match kind {
        Arithmetic::Add => b.ins().fadd(p, q),
        Arithmetic::Sub => b.ins().fsub(p, q),
        Arithmetic::Mul => b.ins().fmul(p, q),
        Arithmetic::Div => b.ins().fdiv(p, q),
        Arithmetic::Sqrt => b.ins().sqrt(p),
    };
    let int = if f.float == F32 { I32 } else { I64 };
    let r = b.ins().bitcast(int, MemFlags::new(), r);
    let [x, y, up] = [x, y, r].map(|v| b.ins().ishl_imm(v, 1));
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
    (r, b.ins().bor(result, operands))
}

/// Whether one of two operands is a NaN, infinite or denormal.
pub fn extraordinary(b: &mut FunctionBuilder<'_>, x: Value, y: Value) -> Value {
    let f = format(b, x);
    let mut found = None;
    for v in [x, y] {
        let up = b.ins().ishl_imm(v, 1);
        let small = denormal(b, &f, up);
        let large = b
            .ins()
            .icmp_imm(IntCC::UnsignedGreaterThanOrEqual, up, f.infinity);
        let either = b.ins().bor(small, large);
        found = Some(match found {
            Some(before) => b.ins().bor(before, either),
            None => either,
        });
    }
    found.unwrap_or(x)
}

/// Bits as a number.
pub fn number(b: &mut FunctionBuilder<'_>, bits: Value) -> Value {
    let f = format(b, bits);
    float(b, f.float, bits)
}
