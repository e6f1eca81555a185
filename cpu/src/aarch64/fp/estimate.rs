//! Reciprocal and reciprocal square root estimates (Arm ARM, shared functions
//! FPRecipEstimate, FPRSqrtEstimate, UnsignedRecipEstimate,
//! UnsignedRSqrtEstimate).

use super::float::Float;
use crate::softfloat::{Class, Env, Rounding, convert, default_nan, flags, unpack};

/// Estimate of `2^18 / a` for 9 bits with the highest set.
pub(in super::super) fn recip_estimate(a: u32) -> u32 {
    let a = (a & 0x1ff) * 2 + 1;
    ((1 << 19) / a).div_ceil(2)
}

/// Estimate of the reciprocal square root for 128 to 511.
pub(in super::super) fn recip_sqrt_estimate(a: u32) -> u32 {
    let a = if a < 256 {
        a * 2 + 1
    } else {
        ((a >> 1 << 1) + 1) * 2
    };
    let mut b = 512u32;
    while b < 1024 && a * (b + 1) * (b + 1) < 1 << 28 {
        b += 1;
    }
    b.div_ceil(2)
}

pub(super) fn reciprocal<F: Float>(n: F::Bits, env: &mut Env) -> F::Bits {
    let value = unpack::<F>(n, env);
    let infinity = F::join(value.sign, F::EXP_MAX, 0);
    match value.class {
        Class::Infinity => return F::join(value.sign, 0, 0),
        Class::Zero => {
            env.raise(flags::DIV_BY_ZERO);
            return infinity;
        }
        Class::Finite => {}
        _ => return convert::<F, F>(n, env),
    }
    if value.exp < F::EMIN - 2 {
        // The reciprocal overflows.
        env.raise(flags::OVERFLOW | flags::INEXACT);
        let to_infinity = match env.rounding {
            Rounding::Up => !value.sign,
            Rounding::Down => value.sign,
            Rounding::Zero => false,
            _ => true,
        };
        return if to_infinity {
            infinity
        } else {
            F::join(value.sign, F::EXP_MAX - 1, u64::MAX)
        };
    }
    if env.flush_out && value.exp >= F::EMAX - 1 {
        env.raise(flags::UNDERFLOW);
        return F::join(value.sign, 0, 0);
    }
    let estimate = recip_estimate((value.sig >> 55) as u32);
    let mut sig = u64::from(estimate) << 55;
    let exp = 2 * F::BIAS - 1 - (value.exp + F::BIAS);
    if exp <= 0 {
        sig >>= 1 - exp;
    }
    F::join(value.sign, exp.max(0) as u32, sig)
}

pub(super) fn reciprocal_sqrt<F: Float>(n: F::Bits, env: &mut Env) -> F::Bits {
    let value = unpack::<F>(n, env);
    match value.class {
        Class::Zero => {
            env.raise(flags::DIV_BY_ZERO);
            return F::join(value.sign, F::EXP_MAX, 0);
        }
        Class::Finite | Class::Infinity if value.sign => {
            env.raise(flags::INVALID);
            return default_nan::<F>(env.nan);
        }
        Class::Infinity => return F::join(false, 0, 0),
        Class::Finite => {}
        _ => return convert::<F, F>(n, env),
    }
    let biased = value.exp + F::BIAS;
    let scaled = if biased & 1 == 0 {
        value.sig >> 55
    } else {
        value.sig >> 56
    };
    let estimate = recip_sqrt_estimate(scaled as u32);
    // Rounds towards minus infinity, as DIV does of the positive numbers here.
    let exp = (3 * F::BIAS - 1 - biased).div_euclid(2);
    F::join(false, exp as u32, u64::from(estimate) << 55)
}
