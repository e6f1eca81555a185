//! Vectors as bytes and as numbers in compiled code.
//!
//! Registers are written whole where that is possible: a load of more bytes than
//! the last store wrote waits until that has left the store buffer.

use super::float::cast;
use cranelift_codegen::ir::types::{F32, F32X4, F64X2, I8X16, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FunctionBuilder;

/// A vector as bytes.
pub fn bytes(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    if b.func.dfg.value_type(v) == I8X16 {
        return v;
    }
    cast(b, I8X16, v)
}

/// A vector of a number and zeros above it.
pub fn alone(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    let ty = b.func.dfg.value_type(v);
    if ty.is_int() {
        return b.ins().scalar_to_vector(I64X2, v);
    }
    let zero = b.func.dfg.constants.insert([0u8; 16].as_slice().into());
    let zero = b.ins().vconst(whole(ty), zero);
    b.ins().insertlane(zero, v, 0)
}

/// The type of a vector of such numbers.
pub fn whole(number: Type) -> Type {
    if number == F32 { F32X4 } else { F64X2 }
}

/// Sixteen bytes of two vectors of bytes: `from` says where each comes from, 0 to
/// 15 in `x` and 16 to 31 in `y`.
pub fn shuffle(
    b: &mut FunctionBuilder<'_>,
    x: Value,
    y: Value,
    from: impl Fn(usize) -> usize,
) -> Value {
    let mask: [u8; 16] = std::array::from_fn(|i| from(i) as u8 & 31);
    let mask = b.func.dfg.immediates.push(mask.as_slice().into());
    b.ins().shuffle(x, y, mask)
}
