//! Vectors as bytes in compiled code.

use super::float::cast;
use cranelift_codegen::ir::{InstBuilder, Value, types::I8X16};
use cranelift_frontend::FunctionBuilder;

/// A vector as bytes.
pub fn bytes(b: &mut FunctionBuilder<'_>, v: Value) -> Value {
    if b.func.dfg.value_type(v) == I8X16 {
        return v;
    }
    cast(b, I8X16, v)
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
