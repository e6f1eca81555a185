//! The formats, and taking a bit pattern apart.

use super::env::{Env, flags};
use std::fmt::Debug;

/// An x87 extended number: 64 significand bits with the integer bit explicit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ext {
    /// Integer bit (63) and fraction.
    pub sig: u64,
    /// Sign (15) and biased exponent.
    pub sign_exp: u16,
}

impl Ext {
    /// From the low 80 bits.
    pub fn from_u128(bits: u128) -> Self {
        Self {
            sig: bits as u64,
            sign_exp: (bits >> 64) as u16,
        }
    }
    /// As 80 bits.
    pub fn to_u128(self) -> u128 {
        u128::from(self.sig) | u128::from(self.sign_exp) << 64
    }
}

/// A floating-point format.
pub trait Format: Copy {
    /// Its bit pattern.
    type Bits: Copy + Debug + PartialEq;
    /// Bits of the exponent field.
    const EXP_BITS: u32;
    /// Significant bits, with the integer bit.
    const PRECISION: u32;
    /// The integer bit is stored.
    const EXPLICIT: bool = false;
    /// There are neither infinities nor NaNs.
    const NUMBERS_ONLY: bool = false;
    /// Exponent bias.
    const BIAS: i32 = (1 << (Self::EXP_BITS - 1)) - 1;
    /// Exponent of the smallest normal number.
    const EMIN: i32 = 1 - Self::BIAS;
    /// Exponent of the largest number.
    const EMAX: i32 = if Self::NUMBERS_ONLY {
        Self::BIAS + 1
    } else {
        Self::BIAS
    };
    /// All ones in the exponent field.
    const EXP_MAX: u32 = (1 << Self::EXP_BITS) - 1;

    /// Sign, exponent field, and the significand with the integer bit (absent:
    /// zero) at bit 63.
    fn split(bits: Self::Bits) -> (bool, u32, u64);
    /// The opposite; a bit 63 that the format does not store is dropped.
    fn join(sign: bool, exp: u32, sig: u64) -> Self::Bits;
}

macro_rules! ieee {
    ($(#[$doc:meta])* $name:ident, $bits:ty, $exp:expr, $precision:expr, $only:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Format for $name {
            type Bits = $bits;
            const EXP_BITS: u32 = $exp;
            const PRECISION: u32 = $precision;
            const NUMBERS_ONLY: bool = $only;
            #[inline(always)]
            fn split(bits: $bits) -> (bool, u32, u64) {
                let exp = (bits >> (Self::PRECISION - 1)) as u32 & Self::EXP_MAX;
                let fraction = u64::from(bits) << (64 - Self::PRECISION) & (u64::MAX >> 1);
                (bits >> (<$bits>::BITS - 1) != 0, exp, fraction)
            }
            #[inline(always)]
            fn join(sign: bool, exp: u32, sig: u64) -> $bits {
                let fraction = (sig & (u64::MAX >> 1)) >> (64 - Self::PRECISION);
                (sign as $bits) << (<$bits>::BITS - 1)
                    | (exp as $bits) << (Self::PRECISION - 1)
                    | fraction as $bits
            }
        }
    };
}
ieee!(
    /// IEEE half precision (storage only).
    F16, u16, 5, 11, false
);
ieee!(
    /// AArch64's alternative half precision: no infinities, no NaNs.
    HalfAlternative, u16, 5, 11, true
);
ieee!(
    /// Single precision.
    F32, u32, 8, 24, false
);
ieee!(
    /// Double precision.
    F64, u64, 11, 53, false
);

/// x87 double extended precision.
#[derive(Clone, Copy, Debug)]
pub struct X80;

impl Format for X80 {
    type Bits = Ext;
    const EXP_BITS: u32 = 15;
    const PRECISION: u32 = 64;
    const EXPLICIT: bool = true;
    #[inline(always)]
    fn split(bits: Ext) -> (bool, u32, u64) {
        (
            bits.sign_exp >> 15 != 0,
            u32::from(bits.sign_exp & 0x7fff),
            bits.sig,
        )
    }
    #[inline(always)]
    fn join(sign: bool, exp: u32, sig: u64) -> Ext {
        Ext {
            sig,
            sign_exp: u16::from(sign) << 15 | exp as u16,
        }
    }
}

/// What a bit pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Zero.
    Zero,
    /// A finite number other than zero.
    Finite,
    /// Infinity.
    Infinity,
    /// Quiet NaN.
    Quiet,
    /// Signaling NaN.
    Signaling,
    /// An x87 encoding that is no number at all.
    Unsupported,
}

/// A bit pattern taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Negative.
    pub sign: bool,
    /// What it is.
    pub class: Class,
    /// The number was denormal.
    pub denormal: bool,
    /// Exponent: a finite number is `sig / 2^63 * 2^exp`.
    pub exp: i32,
    /// Finite: normalised, bit 63 is set. NaN: the significand from bit 63 on
    /// (bit 62 is the quiet bit).
    pub sig: u64,
}

impl Value {
    /// Quiet or signaling NaN, or an unsupported encoding.
    #[inline(always)]
    pub fn is_nan(&self) -> bool {
        self.class as u8 >= Class::Quiet as u8
    }
    /// Zero.
    #[inline(always)]
    pub fn is_zero(&self) -> bool {
        self.class == Class::Zero
    }
    /// Infinity.
    #[inline(always)]
    pub fn is_infinite(&self) -> bool {
        self.class == Class::Infinity
    }
}

/// Takes a bit pattern apart, and flushes a denormal as `env` says.
#[inline]
pub fn unpack<F: Format>(bits: F::Bits, env: &mut Env) -> Value {
    let (sign, field, sig) = F::split(bits);
    let mut value = Value {
        sign,
        class: Class::Finite,
        denormal: false,
        exp: field as i32 - F::BIAS,
        sig: sig | 1 << 63,
    };
    if field == F::EXP_MAX && !F::NUMBERS_ONLY {
        let fraction = sig << 1;
        value.class = if F::EXPLICIT && sig >> 63 == 0 {
            Class::Unsupported
        } else if fraction == 0 {
            Class::Infinity
        } else if sig & 1 << 62 != 0 {
            Class::Quiet
        } else {
            Class::Signaling
        };
    } else if field == 0 {
        if sig == 0 {
            value.class = Class::Zero;
        } else if env.flush_in {
            env.raise(flags::FLUSHED_IN);
            value.class = Class::Zero;
        } else {
            let shift = sig.leading_zeros();
            value.denormal = true;
            value.exp = F::EMIN - shift as i32;
            value.sig = sig << shift;
        }
    } else if F::EXPLICIT && sig >> 63 == 0 {
        value.class = Class::Unsupported;
    }
    value
}
