//! Conversions between formats and integers.

use super::env::{Env, Rounding, flags};
use super::format::{Class, Format, Value, unpack};
use super::nan::propagate;
use super::round::{round, round_bits, shift_right_sticky};

/// Converts `a` from format `F` to `G`.
pub fn convert<F: Format, G: Format>(a: F::Bits, env: &mut Env) -> G::Bits {
    let value = unpack::<F>(a, env);
    match value.class {
        Class::Zero => G::join(value.sign, 0, 0),
        Class::Finite => {
            if value.denormal {
                env.raise(flags::DENORMAL);
            }
            round::<G>(value.sign, value.exp, u128::from(value.sig) << 64, env)
        }
        Class::Infinity if G::NUMBERS_ONLY => {
            env.raise(flags::INVALID);
            G::join(value.sign, G::EXP_MAX, u64::MAX)
        }
        Class::Infinity => G::join(value.sign, G::EXP_MAX, 1 << 63),
        _ if G::NUMBERS_ONLY => {
            env.raise(flags::INVALID);
            G::join(value.sign, 0, 0)
        }
        _ => propagate::<G>(&[value], env),
    }
}

/// Rounds `a` to an integral number by `rounding`; inexact is raised only with
/// `exact`.
pub fn round_to_integral<F: Format>(
    a: F::Bits,
    rounding: Rounding,
    exact: bool,
    env: &mut Env,
) -> F::Bits {
    let value = unpack::<F>(a, env);
    match value.class {
        Class::Zero => return F::join(value.sign, 0, 0),
        Class::Infinity => return a,
        Class::Finite => {}
        _ => return propagate::<F>(&[value], env),
    }
    if value.denormal {
        env.raise(flags::DENORMAL);
    }
    if value.exp >= F::PRECISION as i32 - 1 {
        return a;
    }
    let (integer, inexact, up) = integer(&value, 0, rounding);
    if exact && inexact {
        let way = if up {
            flags::ROUNDED_UP
        } else {
            flags::ROUNDED_DOWN
        };
        env.flags = env.flags & !(flags::ROUNDED_UP | flags::ROUNDED_DOWN) | flags::INEXACT | way;
    }
    if integer == 0 {
        return F::join(value.sign, 0, 0);
    }
    // At most as many bits as the format holds: exact.
    let shift = integer.leading_zeros();
    let exp = 127 - shift as i32;
    F::join(
        value.sign,
        (exp + F::BIAS) as u32,
        (integer << shift >> 64) as u64,
    )
}

/// Magnitude of a finite number times `2^scale`, rounded; it must be below
/// `2^65`.
fn integer(value: &Value, scale: u32, rounding: Rounding) -> (u128, bool, bool) {
    const FRACTION: u32 = 62;
    let left = value.exp + scale as i32 + FRACTION as i32 - 63;
    let fixed = if left >= 0 {
        u128::from(value.sig) << left
    } else {
        shift_right_sticky(value.sig.into(), left.unsigned_abs())
    };
    round_bits(fixed, FRACTION, value.sign, rounding)
}

/// Why a number is no integer of the wanted type. Invalid is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInteger {
    /// It is a NaN.
    Nan,
    /// It is too large.
    TooLarge,
    /// It is too small: below the least integer.
    TooSmall,
}

/// The integer of `bits` bits (8 to 64) nearest to `a * 2^scale` by `rounding`,
/// as two's complement in the low `bits` bits if `signed`.
pub fn to_integer<F: Format>(
    a: F::Bits,
    scale: u32,
    signed: bool,
    bits: u32,
    rounding: Rounding,
    env: &mut Env,
) -> Result<u64, NoInteger> {
    let value = unpack::<F>(a, env);
    let out_of_range = if value.sign {
        NoInteger::TooSmall
    } else {
        NoInteger::TooLarge
    };
    match value.class {
        Class::Zero => return Ok(0),
        Class::Finite if value.exp + scale as i32 <= 64 => {}
        Class::Finite | Class::Infinity => {
            env.raise(flags::INVALID);
            return Err(out_of_range);
        }
        _ => {
            env.raise(flags::INVALID);
            return Err(NoInteger::Nan);
        }
    }
    let (magnitude, inexact, up) = integer(&value, scale, rounding);
    let limit = match (signed, value.sign) {
        (true, true) => 1u128 << (bits - 1),
        (true, false) => (1 << (bits - 1)) - 1,
        (false, true) => 0,
        (false, false) => (1 << bits) - 1,
    };
    if magnitude > limit {
        env.raise(flags::INVALID);
        return Err(out_of_range);
    }
    if inexact {
        let way = if up {
            flags::ROUNDED_UP
        } else {
            flags::ROUNDED_DOWN
        };
        env.flags = env.flags & !(flags::ROUNDED_UP | flags::ROUNDED_DOWN) | flags::INEXACT | way;
    }
    let mask = u64::MAX >> (64 - bits);
    let magnitude = magnitude as u64;
    Ok(if value.sign {
        magnitude.wrapping_neg() & mask
    } else {
        magnitude
    })
}

/// The number `magnitude / 2^scale`, negative with `sign`.
pub fn from_integer<F: Format>(sign: bool, magnitude: u64, scale: u32, env: &mut Env) -> F::Bits {
    if magnitude == 0 {
        return F::join(false, 0, 0);
    }
    let shift = magnitude.leading_zeros();
    let exp = 63 - shift as i32 - scale as i32;
    round::<F>(sign, exp, u128::from(magnitude << shift) << 64, env)
}
