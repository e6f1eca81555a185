//! Operations on one element that only this instruction set defines: FMULX and
//! the steps and estimates of reciprocals.

use super::float::Float;
use super::ops::FpOp;
use crate::softfloat::{self, Env, Value, unpack};

/// Zero times infinity, which the operations below define.
fn zero_times_infinity(a: &Value, b: &Value) -> bool {
    (a.is_zero() && b.is_infinite()) || (a.is_infinite() && b.is_zero())
}

/// The operands of the step instructions: exact ones, or the answer.
fn special<F: Float>(n: F::Bits, m: F::Bits, answer: u64, env: &mut Env) -> Option<F::Bits> {
    let (a, b) = (unpack::<F>(n, env), unpack::<F>(m, env));
    if a.is_nan() || b.is_nan() {
        // Any arithmetic picks the right NaN.
        return Some(softfloat::mul::<F>(n, m, env));
    }
    zero_times_infinity(&a, &b).then(|| {
        let sign = if a.sign ^ b.sign { F::SIGN } else { 0 };
        F::bits(answer | sign)
    })
}

/// Exponent field and top fraction bit of 1.0, 2.0 and so on.
fn constant<F: Float>(exp: i32, half: bool) -> u64 {
    let top = if half { 3 << 62 } else { 1 << 63 };
    F::word(F::join(false, (exp + F::BIAS) as u32, top))
}

/// FMULX.
pub(in super::super) struct MulExtended;

impl FpOp for MulExtended {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul(n, m)
    }
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        special::<F>(n, m, constant::<F>(1, false), env)
            .unwrap_or_else(|| softfloat::mul::<F>(n, m, env))
    }
}

/// FRECPS: `2 - n * m`, rounded once.
pub(in super::super) struct RecipStep;

impl FpOp for RecipStep {
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        let n = F::neg(n);
        let two = constant::<F>(1, false);
        match special::<F>(n, m, two, env) {
            // Always positive.
            Some(r) if F::word(r) & !F::SIGN == two => F::bits(two),
            Some(r) => r,
            None => softfloat::mul_add::<F>(n, m, F::bits(two), env),
        }
    }
}

/// FRSQRTS: `(3 - n * m) / 2`, rounded once.
pub(in super::super) struct RecipSqrtStep;

impl FpOp for RecipSqrtStep {
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        let n = F::neg(n);
        let answer = constant::<F>(0, true);
        match special::<F>(n, m, answer, env) {
            Some(r) if F::word(r) & !F::SIGN == answer => F::bits(answer),
            Some(r) => r,
            None => {
                let three = F::bits(constant::<F>(1, true));
                softfloat::mul_add_halved::<F>(n, m, three, env)
            }
        }
    }
}

/// FRECPE.
pub(in super::super) struct RecipEstimate;

impl FpOp for RecipEstimate {
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        super::estimate::reciprocal::<F>(n, env)
    }
}

/// FRSQRTE.
pub(in super::super) struct RecipSqrtEstimate;

impl FpOp for RecipSqrtEstimate {
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        super::estimate::reciprocal_sqrt::<F>(n, env)
    }
}

/// FRECPX: the exponent inverted.
pub(in super::super) struct RecipExponent;

impl FpOp for RecipExponent {
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        let value = unpack::<F>(n, env);
        if value.is_nan() {
            return softfloat::convert::<F, F>(n, env);
        }
        let (sign, field, _) = F::split(n);
        let field = match field {
            0 => F::EXP_MAX - 1,
            field => !field & F::EXP_MAX,
        };
        F::join(sign, field, 0)
    }
}
