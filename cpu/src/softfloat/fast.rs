//! Host arithmetic for ordinary operands.
//!
//! These give a result only where it is certain to be the IEEE result rounded
//! to nearest, with no other flag than inexact: operands are normal or zero,
//! and the result is normal or an exact zero. The caller uses them when the
//! mode is round-to-nearest and inexact is set already (flags are sticky), else
//! the functions of [`super`].

macro_rules! host {
    ($float:ident, $bits:ident, $exp:expr) => {
        /// Host arithmetic for one format.
        pub mod $float {
            const EXP: $bits = $exp;
            const SIGN: $bits = 1 << ($bits::BITS - 1);
            const MIN: $bits = EXP & EXP.wrapping_neg();

            /// Normal or zero.
            #[inline(always)]
            fn ordinary(a: $bits) -> bool {
                (a & EXP).wrapping_sub(MIN) < EXP - MIN || a & !SIGN == 0
            }
            /// Finite, and surely above the smallest normal number.
            #[inline(always)]
            fn safe(r: $bits) -> bool {
                (r & EXP).wrapping_sub(2 * MIN) < EXP - 2 * MIN
            }
            #[inline(always)]
            fn get(a: $bits) -> ::core::primitive::$float {
                ::core::primitive::$float::from_bits(a)
            }
            /// `a + b`
            #[inline(always)]
            pub fn add(a: $bits, b: $bits) -> Option<$bits> {
                let r = (get(a) + get(b)).to_bits();
                (ordinary(a) && ordinary(b) && (safe(r) || r & !SIGN == 0)).then_some(r)
            }
            /// `a - b`
            #[inline(always)]
            pub fn sub(a: $bits, b: $bits) -> Option<$bits> {
                let r = (get(a) - get(b)).to_bits();
                (ordinary(a) && ordinary(b) && (safe(r) || r & !SIGN == 0)).then_some(r)
            }
            /// `a * b`
            #[inline(always)]
            pub fn mul(a: $bits, b: $bits) -> Option<$bits> {
                let r = (get(a) * get(b)).to_bits();
                let zero = a & !SIGN == 0 || b & !SIGN == 0;
                (ordinary(a) && ordinary(b) && (safe(r) || zero)).then_some(r)
            }
            /// `a / b`
            #[inline(always)]
            pub fn div(a: $bits, b: $bits) -> Option<$bits> {
                let r = (get(a) / get(b)).to_bits();
                let zero = a & !SIGN == 0 && b & !SIGN != 0;
                (ordinary(a) && ordinary(b) && (safe(r) || zero)).then_some(r)
            }
            /// The square root.
            #[inline(always)]
            pub fn sqrt(a: $bits) -> Option<$bits> {
                let r = get(a).sqrt().to_bits();
                (ordinary(a) && (a & SIGN == 0 || a == SIGN)).then_some(r)
            }
            /// `a * b + c`, rounded once.
            #[inline(always)]
            pub fn mul_add(a: $bits, b: $bits, c: $bits) -> Option<$bits> {
                if !(ordinary(a) && ordinary(b) && ordinary(c)) {
                    return None;
                }
                let r = get(a).mul_add(get(b), get(c)).to_bits();
                safe(r).then_some(r)
            }
            /// Compares: `None` where an operand is a NaN, denormal or infinite.
            #[inline(always)]
            pub fn compare(a: $bits, b: $bits) -> Option<std::cmp::Ordering> {
                if ordinary(a) && ordinary(b) {
                    get(a).partial_cmp(&get(b))
                } else {
                    None
                }
            }
            /// Truncates to a signed 64-bit integer.
            #[inline(always)]
            pub fn to_i64(a: $bits) -> Option<i64> {
                const LIMIT: ::core::primitive::$float = 9.0e18;
                let f = get(a);
                (ordinary(a) && f < LIMIT && f > -LIMIT).then_some(f as i64)
            }
        }
    };
}
host!(f32, u32, 0x7f80_0000);
host!(f64, u64, 0x7ff0_0000_0000_0000);

/// Converts single to double.
#[inline(always)]
pub fn widen(a: u32) -> Option<u64> {
    let exp = a & 0x7f80_0000;
    let ordinary = exp.wrapping_sub(1 << 23) < 0x7f00_0000 || a << 1 == 0;
    ordinary.then(|| f64::from(::core::primitive::f32::from_bits(a)).to_bits())
}

/// Converts double to single.
#[inline(always)]
pub fn narrow(a: u64) -> Option<u32> {
    let r = (::core::primitive::f64::from_bits(a) as ::core::primitive::f32).to_bits();
    let safe = (r & 0x7f80_0000).wrapping_sub(2 << 23) < 0x7f80_0000 - (2 << 23);
    (safe || a << 1 == 0).then_some(r)
}
