//! What a floating-point instruction does to one element.

use super::float::Float;
use crate::softfloat::{self, Env, Relation, Rounding};
use std::cmp::Ordering;

/// What an instruction does to an element: `d` is the old destination or the
/// addend, `n` and `m` are the sources.
pub(in super::super) trait FpOp: 'static {
    /// The result by host arithmetic, where [`super::host_arithmetic`] holds.
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, _n: F::Bits, _m: F::Bits) -> Option<F::Bits> {
        None
    }
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits;
}

/// All ones or zero.
#[inline(always)]
fn mask<F: Float>(yes: bool) -> F::Bits {
    F::bits(if yes { u64::MAX } else { 0 })
}

fn ge(relation: Relation) -> bool {
    matches!(relation, Relation::Greater | Relation::Equal)
}

pub(in super::super) struct Add;

impl FpOp for Add {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_add(n, m)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::add::<F>(n, m, env)
    }
}

pub(in super::super) struct Sub;

impl FpOp for Sub {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_sub(n, m)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::sub::<F>(n, m, env)
    }
}

pub(in super::super) struct Mul;

impl FpOp for Mul {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul(n, m)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::mul::<F>(n, m, env)
    }
}

pub(in super::super) struct Div;

impl FpOp for Div {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_div(n, m)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::div::<F>(n, m, env)
    }
}

pub(in super::super) struct NegMul;

impl FpOp for NegMul {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul(n, m).map(F::neg)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        F::neg(softfloat::mul::<F>(n, m, env))
    }
}

pub(in super::super) struct Sqrt;

impl FpOp for Sqrt {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits) -> Option<F::Bits> {
        F::fast_sqrt(n)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::sqrt::<F>(n, env)
    }
}

pub(in super::super) struct MulAdd;

impl FpOp for MulAdd {
    #[inline(always)]
    fn fast<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul_add(n, m, d)
    }
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::mul_add::<F>(n, m, d, env)
    }
}

pub(in super::super) struct MulSub;

impl FpOp for MulSub {
    #[inline(always)]
    fn fast<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul_add(F::neg(n), m, d)
    }
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::mul_add::<F>(F::neg(n), m, d, env)
    }
}

pub(in super::super) struct NegMulAdd;

impl FpOp for NegMulAdd {
    #[inline(always)]
    fn fast<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul_add(F::neg(n), m, F::neg(d))
    }
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::mul_add::<F>(F::neg(n), m, F::neg(d), env)
    }
}

pub(in super::super) struct NegMulSub;

impl FpOp for NegMulSub {
    #[inline(always)]
    fn fast<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_mul_add(n, m, F::neg(d))
    }
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::mul_add::<F>(n, m, F::neg(d), env)
    }
}

pub(in super::super) struct Abd;

impl FpOp for Abd {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        F::fast_sub(n, m).map(F::abs)
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        F::abs(softfloat::sub::<F>(n, m, env))
    }
}

pub(in super::super) struct Max;

impl FpOp for Max {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::min_max::<F>(n, m, true, false, env)
    }
}

pub(in super::super) struct Min;

impl FpOp for Min {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::min_max::<F>(n, m, false, false, env)
    }
}

pub(in super::super) struct MaxNumber;

impl FpOp for MaxNumber {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::min_max::<F>(n, m, true, true, env)
    }
}

pub(in super::super) struct MinNumber;

impl FpOp for MinNumber {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::min_max::<F>(n, m, false, true, env)
    }
}

pub(in super::super) struct Eq;

impl FpOp for Eq {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        Some(mask::<F>(F::fast_compare(n, m)? == Ordering::Equal))
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        mask::<F>(softfloat::compare::<F>(n, m, false, env) == Relation::Equal)
    }
}

pub(in super::super) struct Ge;

impl FpOp for Ge {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        Some(mask::<F>(F::fast_compare(n, m)? != Ordering::Less))
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        mask::<F>(ge(softfloat::compare::<F>(n, m, true, env)))
    }
}

pub(in super::super) struct Gt;

impl FpOp for Gt {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits) -> Option<F::Bits> {
        Some(mask::<F>(F::fast_compare(n, m)? == Ordering::Greater))
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        mask::<F>(softfloat::compare::<F>(n, m, true, env) == Relation::Greater)
    }
}

pub(in super::super) struct AbsGe;

impl FpOp for AbsGe {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        Ge::exact::<F>(d, F::abs(n), F::abs(m), env)
    }
}

pub(in super::super) struct AbsGt;

impl FpOp for AbsGt {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, m: F::Bits, env: &mut Env) -> F::Bits {
        Gt::exact::<F>(d, F::abs(n), F::abs(m), env)
    }
}

pub(in super::super) struct Eq0;

impl FpOp for Eq0 {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        Eq::exact::<F>(d, n, F::bits(0), env)
    }
}

pub(in super::super) struct Ge0;

impl FpOp for Ge0 {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        Ge::exact::<F>(d, n, F::bits(0), env)
    }
}

pub(in super::super) struct Gt0;

impl FpOp for Gt0 {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        Gt::exact::<F>(d, n, F::bits(0), env)
    }
}

pub(in super::super) struct Le0;

impl FpOp for Le0 {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        Ge::exact::<F>(d, F::bits(0), n, env)
    }
}

pub(in super::super) struct Lt0;

impl FpOp for Lt0 {
    #[inline]
    fn exact<F: Float>(d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        Gt::exact::<F>(d, F::bits(0), n, env)
    }
}

pub(in super::super) struct AbsOne;

impl FpOp for AbsOne {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits) -> Option<F::Bits> {
        Some(F::abs(n))
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, _env: &mut Env) -> F::Bits {
        F::abs(n)
    }
}

pub(in super::super) struct NegOne;

impl FpOp for NegOne {
    #[inline(always)]
    fn fast<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits) -> Option<F::Bits> {
        Some(F::neg(n))
    }
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, _env: &mut Env) -> F::Bits {
        F::neg(n)
    }
}

pub(in super::super) struct RoundN;

impl FpOp for RoundN {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, Rounding::Nearest, false, env)
    }
}

pub(in super::super) struct RoundP;

impl FpOp for RoundP {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, Rounding::Up, false, env)
    }
}

pub(in super::super) struct RoundM;

impl FpOp for RoundM {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, Rounding::Down, false, env)
    }
}

pub(in super::super) struct RoundZ;

impl FpOp for RoundZ {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, Rounding::Zero, false, env)
    }
}

pub(in super::super) struct RoundA;

impl FpOp for RoundA {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, Rounding::NearestAway, false, env)
    }
}

pub(in super::super) struct RoundX;

impl FpOp for RoundX {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, env.rounding, true, env)
    }
}

pub(in super::super) struct RoundI;

impl FpOp for RoundI {
    #[inline]
    fn exact<F: Float>(_d: F::Bits, n: F::Bits, _m: F::Bits, env: &mut Env) -> F::Bits {
        softfloat::round_to_integral::<F>(n, env.rounding, false, env)
    }
}
