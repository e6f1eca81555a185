//! Add, subtract, multiply, divide, square root, fused multiply-add.

use super::env::{Env, NanRule, Rounding, flags};
use super::format::{Class, Format, Value, unpack};
use super::nan::{invalid, propagate};
use super::round::{round_to, shift_right_sticky};

#[inline(always)]
fn precision<F: Format>(env: &Env) -> u32 {
    if F::EXPLICIT {
        u32::from(env.precision).clamp(24, 64)
    } else {
        F::PRECISION
    }
}

#[inline(always)]
fn note_denormals(env: &mut Env, a: &Value, b: &Value) {
    if a.denormal || b.denormal {
        env.raise(flags::DENORMAL);
    }
}

fn infinity<F: Format>(sign: bool) -> F::Bits {
    F::join(sign, F::EXP_MAX, 1 << 63)
}

fn zero<F: Format>(sign: bool) -> F::Bits {
    F::join(sign, 0, 0)
}

/// `a + b`.
pub fn add<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let (a, b) = (unpack::<F>(a, env), unpack::<F>(b, env));
    add_values::<F>(a, b, false, env)
}

/// `a - b`.
pub fn sub<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let (a, b) = (unpack::<F>(a, env), unpack::<F>(b, env));
    add_values::<F>(a, b, true, env)
}

fn add_values<F: Format>(a: Value, mut b: Value, negate: bool, env: &mut Env) -> F::Bits {
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    b.sign ^= negate;
    if a.is_infinite() || b.is_infinite() {
        if a.is_infinite() && b.is_infinite() && a.sign != b.sign {
            return invalid::<F>(env);
        }
        note_denormals(env, &a, &b);
        return infinity::<F>(if a.is_infinite() { a.sign } else { b.sign });
    }
    note_denormals(env, &a, &b);
    sum::<F>(wide(&a), wide(&b), env)
}

/// A number with its highest bit at bit 126 (zero: none).
struct Wide {
    sign: bool,
    exp: i32,
    sig: u128,
}

fn wide(v: &Value) -> Wide {
    let sig = if v.class == Class::Finite { v.sig } else { 0 };
    Wide {
        sign: v.sign,
        exp: v.exp,
        sig: u128::from(sig) << 63,
    }
}

/// Adds two numbers. Where exponents differ by less than two no bits may fall
/// out; below that, a sticky bit is exact enough.
fn sum<F: Format>(a: Wide, b: Wide, env: &mut Env) -> F::Bits {
    let (big, small) = match (a.sig == 0, b.sig == 0) {
        (true, true) => {
            let sign = if a.sign == b.sign {
                a.sign
            } else {
                env.rounding == Rounding::Down
            };
            return zero::<F>(sign);
        }
        (true, false) => (b, a),
        (false, true) => (a, b),
        _ if (a.exp, a.sig) >= (b.exp, b.sig) => (a, b),
        _ => (b, a),
    };
    let sig = if small.sig == 0 {
        big.sig
    } else {
        let aligned = shift_right_sticky(small.sig, big.exp.abs_diff(small.exp));
        if big.sign == small.sign {
            big.sig + aligned
        } else {
            big.sig - aligned
        }
    };
    if sig == 0 {
        return zero::<F>(env.rounding == Rounding::Down);
    }
    let shift = sig.leading_zeros();
    let exp = big.exp + 1 - shift as i32;
    round_to::<F>(big.sign, exp, sig << shift, precision::<F>(env), env)
}

/// `a * b`.
pub fn mul<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let (a, b) = (unpack::<F>(a, env), unpack::<F>(b, env));
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    let sign = a.sign ^ b.sign;
    if a.is_infinite() || b.is_infinite() {
        if a.is_zero() || b.is_zero() {
            return invalid::<F>(env);
        }
        note_denormals(env, &a, &b);
        return infinity::<F>(sign);
    }
    note_denormals(env, &a, &b);
    if a.is_zero() || b.is_zero() {
        return zero::<F>(sign);
    }
    let sig = u128::from(a.sig) * u128::from(b.sig);
    let shift = sig.leading_zeros();
    let exp = a.exp + b.exp + 1 - shift as i32;
    round_to::<F>(sign, exp, sig << shift, precision::<F>(env), env)
}

/// `a / b`.
pub fn div<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let (a, b) = (unpack::<F>(a, env), unpack::<F>(b, env));
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    let sign = a.sign ^ b.sign;
    if a.is_infinite() {
        if b.is_infinite() {
            return invalid::<F>(env);
        }
        note_denormals(env, &a, &b);
        return infinity::<F>(sign);
    }
    if b.is_zero() {
        if a.is_zero() {
            return invalid::<F>(env);
        }
        env.raise(flags::DIV_BY_ZERO);
        return infinity::<F>(sign);
    }
    note_denormals(env, &a, &b);
    if a.is_zero() || b.is_infinite() {
        return zero::<F>(sign);
    }
    let divisor = u128::from(b.sig);
    let high = u128::from(a.sig) << 63;
    let (quotient, rest) = (high / divisor, high % divisor);
    let low = rest << 64;
    let sticky = u128::from(low % divisor != 0);
    let sig = (quotient << 64) | (low / divisor) | sticky;
    let shift = sig.leading_zeros();
    let exp = a.exp - b.exp - shift as i32;
    round_to::<F>(sign, exp, sig << shift, precision::<F>(env), env)
}

/// The square root of `a`.
pub fn sqrt<F: Format>(a: F::Bits, env: &mut Env) -> F::Bits {
    let value = unpack::<F>(a, env);
    match value.class {
        Class::Zero => return zero::<F>(value.sign),
        Class::Infinity if !value.sign => return infinity::<F>(false),
        Class::Finite if !value.sign => {}
        Class::Finite | Class::Infinity => return invalid::<F>(env),
        _ => return propagate::<F>(&[value], env),
    }
    note_denormals(env, &value, &value);
    // The radicand lies in [1, 4) with 126 fraction bits; its root in [1, 2).
    let odd = value.exp & 1;
    let radicand = u128::from(value.sig) << (63 + odd);
    let (mut root, mut rest) = (0u128, 0u128);
    // 64 bits of root from the radicand, then two for rounding.
    for i in 0..66 {
        let pair = if i < 64 {
            radicand >> (126 - 2 * i) & 3
        } else {
            0
        };
        rest = rest << 2 | pair;
        let trial = root << 2 | 1;
        root <<= 1;
        if rest >= trial {
            rest -= trial;
            root |= 1;
        }
    }
    let sig = root << 62 | u128::from(rest != 0);
    let exp = (value.exp - odd) / 2;
    round_to::<F>(false, exp, sig, precision::<F>(env), env)
}

/// `a * b + c` with one rounding. Not for [`super::X80`], whose product does
/// not fit.
pub fn mul_add<F: Format>(a: F::Bits, b: F::Bits, c: F::Bits, env: &mut Env) -> F::Bits {
    mul_add_scaled::<F>(a, b, c, 0, env)
}

/// `(a * b + c) / 2` with one rounding.
pub fn mul_add_halved<F: Format>(a: F::Bits, b: F::Bits, c: F::Bits, env: &mut Env) -> F::Bits {
    mul_add_scaled::<F>(a, b, c, -1, env)
}

fn mul_add_scaled<F: Format>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    scale: i32,
    env: &mut Env,
) -> F::Bits {
    const { assert!(F::PRECISION <= 53) };
    let arm = matches!(env.nan, NanRule::Arm | NanRule::ArmDefault);
    let (a, b, c) = (
        unpack::<F>(a, env),
        unpack::<F>(b, env),
        unpack::<F>(c, env),
    );
    let no_product = (a.is_infinite() && b.is_zero()) || (a.is_zero() && b.is_infinite());
    if a.is_nan() || b.is_nan() || c.is_nan() {
        if arm {
            if no_product && c.class == Class::Quiet {
                return invalid::<F>(env);
            }
            return propagate::<F>(&[c, a, b], env);
        }
        return propagate::<F>(&[a, b, c], env);
    }
    let sign = a.sign ^ b.sign;
    let infinite = a.is_infinite() || b.is_infinite();
    if no_product || (infinite && c.is_infinite() && sign != c.sign) {
        return invalid::<F>(env);
    }
    note_denormals(env, &a, &b);
    note_denormals(env, &c, &c);
    if infinite || c.is_infinite() {
        return infinity::<F>(if infinite { sign } else { c.sign });
    }
    let mut product = Wide {
        sign,
        exp: a.exp + b.exp + scale,
        sig: 0,
    };
    let mut addend = wide(&c);
    addend.exp += scale;
    if !a.is_zero() && !b.is_zero() {
        product.sig = u128::from(a.sig) * u128::from(b.sig);
        if product.sig >> 127 != 0 {
            // The low bits are zero: nothing is lost.
            product.sig >>= 1;
            product.exp += 1;
        }
    }
    sum::<F>(product, addend, env)
}
