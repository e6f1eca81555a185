//! Numbers of 128 significant bits, for functions whose result is rounded to 64.

use crate::softfloat::{self as soft, Class, Env, Ext, Value, X80};

/// `sig / 2^127 * 2^exp`, negative with `neg`; bit 127 is set unless it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    /// Negative.
    pub neg: bool,
    /// Exponent.
    pub exp: i32,
    /// Significand.
    pub sig: u128,
}

/// Pi.
pub const PI: Wide = Wide {
    neg: false,
    exp: 1,
    sig: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1,
};
/// The logarithm to base 2 of e.
pub const LOG2_E: Wide = Wide {
    neg: false,
    exp: 0,
    sig: 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88,
};
/// The natural logarithm of 2.
pub const LN_2: Wide = Wide {
    neg: false,
    exp: -1,
    sig: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af,
};

fn high(a: u128, b: u128) -> u128 {
    let low = u128::from(u64::MAX);
    let (a1, a0, b1, b0) = (a >> 64, a & low, b >> 64, b & low);
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let other = a0 * b1 + (middle & low);
    a1 * b1 + (middle >> 64) + (other >> 64)
}

impl Wide {
    /// Zero.
    pub const ZERO: Self = Self {
        neg: false,
        exp: 0,
        sig: 0,
    };
    /// A finite number.
    pub fn new(value: &Value) -> Self {
        Self {
            neg: value.sign,
            exp: value.exp,
            sig: if value.class == Class::Finite {
                u128::from(value.sig) << 64
            } else {
                0
            },
        }
    }
    /// An integer.
    pub fn int(value: i64) -> Self {
        Self {
            neg: value < 0,
            exp: 127,
            sig: value.unsigned_abs().into(),
        }
        .normal()
    }
    fn normal(mut self) -> Self {
        if self.sig != 0 {
            let shift = self.sig.leading_zeros();
            self.sig <<= shift;
            self.exp -= shift as i32;
        }
        self
    }
    /// The negative.
    pub fn minus(self) -> Self {
        Self {
            neg: !self.neg,
            ..self
        }
    }
    /// Times a power of two.
    pub fn scaled(self, by: i32) -> Self {
        Self {
            exp: self.exp + by,
            ..self
        }
    }
    /// Product.
    pub fn times(self, other: Self) -> Self {
        Self {
            neg: self.neg ^ other.neg,
            exp: self.exp + other.exp + 1,
            sig: high(self.sig, other.sig),
        }
        .normal()
    }
    /// Sum.
    pub fn plus(self, other: Self) -> Self {
        if self.sig == 0 {
            return other;
        }
        if other.sig == 0 {
            return self;
        }
        let (a, b) = if (self.exp, self.sig) >= (other.exp, other.sig) {
            (self, other)
        } else {
            (other, self)
        };
        let small = b.sig.checked_shr(a.exp.abs_diff(b.exp)).unwrap_or(0);
        if a.neg != b.neg {
            return Self {
                sig: a.sig - small,
                ..a
            }
            .normal();
        }
        match a.sig.checked_add(small) {
            Some(sig) => Self { sig, ..a },
            None => Self {
                sig: a.sig.wrapping_add(small) >> 1 | 1 << 127,
                exp: a.exp + 1,
                ..a
            },
        }
    }
    /// Quotient; the divisor is not zero.
    pub fn over(self, other: Self) -> Self {
        if self.sig == 0 || other.sig == 0 {
            return Self::ZERO;
        }
        let (mut rest, divisor) = (self.sig >> 1, other.sig >> 1);
        let mut quotient = 0u128;
        for _ in 0..128 {
            quotient <<= 1;
            if rest >= divisor {
                rest -= divisor;
                quotient |= 1;
            }
            rest <<= 1;
        }
        Self {
            neg: self.neg ^ other.neg,
            exp: self.exp - other.exp,
            sig: quotient,
        }
        .normal()
    }
    /// Rounded to a register, always inexact.
    pub fn round(self, env: &mut Env) -> Ext {
        if self.sig == 0 {
            return Ext {
                sig: 0,
                sign_exp: u16::from(self.neg) << 15,
            };
        }
        soft::round::<X80>(self.neg, self.exp, self.sig | 1, env)
    }
    /// `sum of self^(2k+1) / (2k+1)`, with alternating signs: the inverse
    /// tangent; else the inverse hyperbolic tangent. For small numbers.
    pub fn odd_series(self, alternating: bool) -> Self {
        let square = self.times(self);
        let (mut power, mut sum) = (self, self);
        for k in 1..70u32 {
            power = power.times(square);
            if alternating {
                power.neg = !power.neg;
            }
            let term = power.over(Self::int((2 * k + 1).into()));
            if term.sig == 0 || term.exp < sum.exp - 130 {
                break;
            }
            sum = sum.plus(term);
        }
        sum
    }
    /// `first + first * r / (n (n+1)) + ...`: the terms of a Taylor series with
    /// factorials, each `step` factors further.
    pub fn factorials(first: Self, r: Self, mut n: i64, step: i64) -> Self {
        let (mut term, mut sum) = (first, first);
        for _ in 0..60 {
            let divisor = if step == 2 { n * (n + 1) } else { n };
            term = term.times(r).over(Self::int(divisor));
            n += step;
            if term.sig == 0 || term.exp < sum.exp - 130 {
                break;
            }
            sum = sum.plus(term);
        }
        sum
    }
}
