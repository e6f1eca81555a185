//! Comparison, minimum, maximum.

use super::env::{Env, flags};
use super::format::{Class, Format, Value, unpack};
use super::nan::propagate;
use std::cmp::Ordering;

/// How two numbers relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `a < b`
    Less,
    /// `a == b`
    Equal,
    /// `a > b`
    Greater,
    /// One of them is a NaN.
    Unordered,
}

fn order(a: &Value, b: &Value) -> Ordering {
    let key = |v: &Value| match v.class {
        Class::Zero => (0i64, 0u64),
        Class::Infinity => (i64::MAX, 0),
        // Above zero whatever the exponent.
        _ => (i64::from(v.exp) + (1 << 32), v.sig),
    };
    match (a.is_zero() && b.is_zero(), a.sign, b.sign) {
        (true, ..) => Ordering::Equal,
        (_, true, false) => Ordering::Less,
        (_, false, true) => Ordering::Greater,
        (_, false, false) => key(a).cmp(&key(b)),
        (_, true, true) => key(b).cmp(&key(a)),
    }
}

/// Compares. A signaling NaN is invalid; with `signaling` a quiet one too.
pub fn compare<F: Format>(a: F::Bits, b: F::Bits, signaling: bool, env: &mut Env) -> Relation {
    let (a, b) = (unpack::<F>(a, env), unpack::<F>(b, env));
    if a.is_nan() || b.is_nan() {
        let loud = |v: &Value| matches!(v.class, Class::Signaling | Class::Unsupported);
        if signaling || loud(&a) || loud(&b) {
            env.raise(flags::INVALID);
        }
        return Relation::Unordered;
    }
    if a.denormal || b.denormal {
        env.raise(flags::DENORMAL);
    }
    match order(&a, &b) {
        Ordering::Less => Relation::Less,
        Ordering::Equal => Relation::Equal,
        Ordering::Greater => Relation::Greater,
    }
}

/// The larger (`max`) or smaller operand; -0 is below +0. With `number` a quiet
/// NaN counts as missing (IEEE 754-2008 minNum, maxNum), else a NaN comes out.
pub fn min_max<F: Format>(
    a: F::Bits,
    b: F::Bits,
    max: bool,
    number: bool,
    env: &mut Env,
) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env), unpack::<F>(b, env));
    let pack = |v: &Value, bits: F::Bits| {
        if v.is_zero() {
            F::join(v.sign, 0, 0)
        } else {
            bits
        }
    };
    if x.is_nan() || y.is_nan() {
        if number && x.class == Class::Quiet && !y.is_nan() {
            return pack(&y, b);
        }
        if number && y.class == Class::Quiet && !x.is_nan() {
            return pack(&x, a);
        }
        return propagate::<F>(&[x, y], env);
    }
    if x.denormal || y.denormal {
        env.raise(flags::DENORMAL);
    }
    let first = match order(&x, &y) {
        Ordering::Less => !max,
        Ordering::Greater => max,
        Ordering::Equal => x.sign != max,
    };
    if first { pack(&x, a) } else { pack(&y, b) }
}
