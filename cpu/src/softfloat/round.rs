//! Rounding an exact (or sticky) result to a format.

use super::env::{Env, Rounding, flags};
use super::format::Format;

/// Shifts right; bits that fall out are kept as a sticky bit 0.
#[inline(always)]
pub(super) fn shift_right_sticky(value: u128, by: u32) -> u128 {
    if by == 0 {
        value
    } else if by < 128 {
        value >> by | u128::from(value << (128 - by) != 0)
    } else {
        u128::from(value != 0)
    }
}

/// Drops the low `drop` bits (1 to 127) of `value` by `mode`: the result, and
/// whether it is inexact and rounded away from zero.
#[inline(always)]
pub(super) fn round_bits(value: u128, drop: u32, sign: bool, mode: Rounding) -> (u128, bool, bool) {
    let quotient = value >> drop;
    let rest = value & ((1 << drop) - 1);
    if rest == 0 {
        return (quotient, false, false);
    }
    let half = 1 << (drop - 1);
    let up = match mode {
        Rounding::Nearest => rest > half || (rest == half && quotient & 1 != 0),
        Rounding::NearestAway => rest >= half,
        Rounding::Up => !sign,
        Rounding::Down => sign,
        Rounding::Zero => false,
        Rounding::Odd => return (quotient | 1, true, quotient & 1 == 0),
    };
    (quotient + u128::from(up), true, up)
}

/// Rounds `sig / 2^127 * 2^exp` to format `F` with its full precision and sets
/// flags. Bit 127 of `sig` is set; bit 0 may be sticky.
pub fn round<F: Format>(sign: bool, exp: i32, sig: u128, env: &mut Env) -> F::Bits {
    round_to::<F>(sign, exp, sig, F::PRECISION, env)
}

/// As [`round`], to `precision` significant bits.
#[inline]
pub(super) fn round_to<F: Format>(
    sign: bool,
    mut exp: i32,
    sig: u128,
    precision: u32,
    env: &mut Env,
) -> F::Bits {
    let drop = 128 - precision;
    let mode = env.rounding;
    let mut tiny = exp < F::EMIN;
    if tiny && !env.tiny_before_rounding && exp == F::EMIN - 1 {
        // Not tiny when rounding with an unbounded exponent reaches the
        // smallest normal number.
        tiny = round_bits(sig, drop, sign, mode).0 >> precision == 0;
    }
    if tiny {
        env.raise(flags::TINY);
        if env.flush_out {
            env.raise(flags::UNDERFLOW);
            if !env.tiny_before_rounding {
                env.raise(flags::INEXACT | flags::ROUNDED_DOWN);
            }
            return F::join(sign, 0, 0);
        }
    }
    let denormal = exp < F::EMIN;
    let sig = if denormal {
        shift_right_sticky(sig, exp.abs_diff(F::EMIN))
    } else {
        sig
    };
    let (mut quotient, inexact, up) = round_bits(sig, drop, sign, mode);
    if inexact {
        let way = if up {
            flags::ROUNDED_UP
        } else {
            flags::ROUNDED_DOWN
        };
        env.flags = env.flags & !(flags::ROUNDED_UP | flags::ROUNDED_DOWN) | flags::INEXACT | way;
        if tiny {
            env.raise(flags::UNDERFLOW);
        }
    }
    if denormal {
        let field = (quotient >> (precision - 1)) as u32;
        return F::join(sign, field, (quotient << (64 - precision)) as u64);
    }
    if quotient >> precision != 0 {
        quotient >>= 1;
        exp += 1;
    }
    if exp > F::EMAX {
        return overflow::<F>(sign, precision, env);
    }
    let field = (exp + F::BIAS) as u32;
    F::join(sign, field, (quotient << (64 - precision)) as u64)
}

#[cold]
fn overflow<F: Format>(sign: bool, precision: u32, env: &mut Env) -> F::Bits {
    let largest = u64::MAX << (64 - precision);
    if F::NUMBERS_ONLY {
        // Invalid instead of overflow and inexact (Arm ARM, FPRound).
        env.flags &= !(flags::ROUNDED_UP | flags::ROUNDED_DOWN | flags::INEXACT);
        env.raise(flags::INVALID);
        return F::join(sign, F::EXP_MAX, largest);
    }
    let to_infinity = match env.rounding {
        Rounding::Nearest | Rounding::NearestAway => true,
        Rounding::Up => !sign,
        Rounding::Down => sign,
        Rounding::Zero | Rounding::Odd => false,
    };
    let way = if to_infinity {
        flags::ROUNDED_UP
    } else {
        flags::ROUNDED_DOWN
    };
    env.flags = env.flags & !(flags::ROUNDED_UP | flags::ROUNDED_DOWN)
        | flags::OVERFLOW
        | flags::INEXACT
        | way;
    if to_infinity {
        F::join(sign, F::EXP_MAX, 1 << 63)
    } else {
        F::join(sign, F::EXP_MAX - 1, largest)
    }
}
