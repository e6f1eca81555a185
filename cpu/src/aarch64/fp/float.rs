//! The two formats of arithmetic, with their host arithmetic.

use crate::softfloat::{F32, F64, Format, fast};
use std::cmp::Ordering;

/// Single or double precision, with host arithmetic where that is exact enough
/// (see [`fast`]).
pub(in super::super) trait Float: Format {
    /// Bits of an element.
    const WIDTH: u32;
    const SIGN: u64;
    fn bits(value: u64) -> Self::Bits;
    fn word(bits: Self::Bits) -> u64;
    fn fast_add(a: Self::Bits, b: Self::Bits) -> Option<Self::Bits>;
    fn fast_sub(a: Self::Bits, b: Self::Bits) -> Option<Self::Bits>;
    fn fast_mul(a: Self::Bits, b: Self::Bits) -> Option<Self::Bits>;
    fn fast_div(a: Self::Bits, b: Self::Bits) -> Option<Self::Bits>;
    fn fast_sqrt(a: Self::Bits) -> Option<Self::Bits>;
    fn fast_mul_add(a: Self::Bits, b: Self::Bits, c: Self::Bits) -> Option<Self::Bits>;
    fn fast_compare(a: Self::Bits, b: Self::Bits) -> Option<Ordering>;
    fn fast_to_i64(a: Self::Bits) -> Option<i64>;
    fn from_i64(value: i64) -> Self::Bits;
    fn from_u64(value: u64) -> Self::Bits;
    #[inline(always)]
    fn neg(a: Self::Bits) -> Self::Bits {
        Self::bits(Self::word(a) ^ Self::SIGN)
    }
    #[inline(always)]
    fn abs(a: Self::Bits) -> Self::Bits {
        Self::bits(Self::word(a) & !Self::SIGN)
    }
    /// An element of a V register.
    #[inline(always)]
    fn lane(v: u128, index: u32) -> Self::Bits {
        Self::bits((v >> ((index * Self::WIDTH) & 127)) as u64)
    }
}

macro_rules! float {
    ($name:ident, $float:ident, $bits:ty) => {
        impl Float for $name {
            const WIDTH: u32 = <$bits>::BITS;
            const SIGN: u64 = 1 << (<$bits>::BITS - 1);
            #[inline(always)]
            fn bits(value: u64) -> $bits {
                value as $bits
            }
            #[inline(always)]
            fn word(bits: $bits) -> u64 {
                bits.into()
            }
            #[inline(always)]
            fn fast_add(a: $bits, b: $bits) -> Option<$bits> {
                fast::$float::add(a, b)
            }
            #[inline(always)]
            fn fast_sub(a: $bits, b: $bits) -> Option<$bits> {
                fast::$float::sub(a, b)
            }
            #[inline(always)]
            fn fast_mul(a: $bits, b: $bits) -> Option<$bits> {
                fast::$float::mul(a, b)
            }
            #[inline(always)]
            fn fast_div(a: $bits, b: $bits) -> Option<$bits> {
                fast::$float::div(a, b)
            }
            #[inline(always)]
            fn fast_sqrt(a: $bits) -> Option<$bits> {
                fast::$float::sqrt(a)
            }
            #[inline(always)]
            fn fast_mul_add(a: $bits, b: $bits, c: $bits) -> Option<$bits> {
                fast::$float::mul_add(a, b, c)
            }
            #[inline(always)]
            fn fast_compare(a: $bits, b: $bits) -> Option<Ordering> {
                fast::$float::compare(a, b)
            }
            #[inline(always)]
            fn fast_to_i64(a: $bits) -> Option<i64> {
                fast::$float::to_i64(a)
            }
            #[inline(always)]
            fn from_i64(value: i64) -> $bits {
                (value as $float).to_bits()
            }
            #[inline(always)]
            fn from_u64(value: u64) -> $bits {
                (value as $float).to_bits()
            }
        }
    };
}
float!(F32, f32, u32);
float!(F64, f64, u64);
