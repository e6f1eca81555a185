//! Floating-point arithmetic that both instruction sets share.
//!
//! Everything works on raw bit patterns. A format is a marker type ([`F16`],
//! [`HalfAlternative`], [`F32`], [`F64`], [`X80`]) whose [`Format::Bits`] is
//! `u16`, `u16`, `u32`, `u64` or [`Ext`]. How to round, what to flush and which
//! NaN comes out is in an [`Env`]; what happened is collected in its
//! [`Env::flags`], bits of [`flags`] in the order of x86's MXCSR.
//!
//! ```
//! use cpu::softfloat::{Env, F64, X80, add, convert, flags};
//! let mut env = Env::x86_sse();
//! let r = add::<F64>(1f64.to_bits(), f64::EPSILON.to_bits() / 2, &mut env);
//! assert_eq!(r, 1f64.to_bits());
//! assert_eq!(env.flags, flags::INEXACT | flags::ROUNDED_DOWN);
//! let wide = convert::<F64, X80>(1.5f64.to_bits(), &mut Env::x87());
//! assert_eq!((wide.sign_exp, wide.sig), (0x3fff, 0xc000_0000_0000_0000));
//! ```
//!
//! | call | result |
//! |---|---|
//! | [`add`] [`sub`] [`mul`] [`div`] [`sqrt`] [`mul_add`] | the rounded result |
//! | [`compare`] | [`Relation`]; `signaling` makes a quiet NaN invalid too |
//! | [`min_max`] | IEEE minNum/maxNum or NaN-propagating min/max; x86's rule is one [`compare`] |
//! | [`round_to_integral`] | the same format |
//! | [`to_integer`] | the integer's bits, or [`NoInteger`] (with invalid raised): the caller picks saturation or the "indefinite" value |
//! | [`from_integer`] | sign and magnitude, scaled by a power of two |
//! | [`convert`] | between formats |
//! | [`unpack`], [`round`] | the building blocks, for operations that only one ISA has |
//! | [`fast`] | host arithmetic for ordinary operands |
//!
//! Invalid operations, NaN operands and x87's unsupported encodings give what
//! [`NanRule`] says. x86's denormal-operand flag follows Intel's priorities: it
//! stays clear when an operand is a NaN or the operation invalid.
//!
//! The x86-only wrappers that the instruction set has to add: MXCSR/status-word
//! merging (`flags & 0x3f`), unmasked exceptions ([`flags::TINY`] tells that
//! the result was tiny although exact), x87's C1 ([`flags::ROUNDED_UP`]). x87's
//! stores (FST, FIST) do not raise the denormal flag: clear it after [`convert`]
//! and [`to_integer`] there.

mod arith;
mod compare;
mod convert;
mod env;
pub mod fast;
mod format;
mod nan;
mod round;
#[cfg(test)]
mod tests;

pub use arith::{add, div, mul, mul_add, mul_add_halved, sqrt, sub};
pub use compare::{Relation, compare, min_max};
pub use convert::{NoInteger, convert, from_integer, round_to_integral, to_integer};
pub use env::{Env, NanRule, Rounding, flags};
pub use format::{Class, Ext, F16, F32, F64, Format, HalfAlternative, Value, X80, unpack};
pub use nan::default_nan;
pub use round::round;
