//! Floating-point vector arithmetic, as functions of whole vectors: lanes,
//! MXCSR, and the choice between host and soft arithmetic.

use super::lanes::*;
use crate::softfloat::{self as soft, Env, F32, F64, Format, NoInteger, Relation, Rounding, flags};

/// MXCSR: the precision flag.
pub const PE: u32 = 0x20;
/// MXCSR: the precision mask.
pub const PM: u32 = 0x1000;
/// MXCSR: rounding control.
pub const RC: u32 = 0x6000;

/// Single or double, as vector lanes.
pub trait Fp: Format<Bits = Self::Int> {
    /// Bits of a lane.
    type Int: Lane + PartialEq + Into<u64>;
    /// Lanes of a vector.
    const LANES: usize;
    /// All bits set.
    const ONES: Self::Int;
    /// No bit set.
    const ZERO: Self::Int;
    /// The sign bit.
    const SIGN: Self::Int;
    /// Host arithmetic, see [`soft::fast`].
    fn fast_add(a: Self::Int, b: Self::Int) -> Option<Self::Int>;
    /// As above.
    fn fast_sub(a: Self::Int, b: Self::Int) -> Option<Self::Int>;
    /// As above.
    fn fast_mul(a: Self::Int, b: Self::Int) -> Option<Self::Int>;
    /// As above.
    fn fast_div(a: Self::Int, b: Self::Int) -> Option<Self::Int>;
    /// As above.
    fn fast_sqrt(a: Self::Int) -> Option<Self::Int>;
    /// As above.
    fn fast_compare(a: Self::Int, b: Self::Int) -> Option<std::cmp::Ordering>;
    /// Truncates to an integer.
    fn fast_to_i64(a: Self::Int) -> Option<i64>;
    /// Whether that integer is the same number.
    fn is_integer(a: Self::Int, i: i64) -> bool;
    /// The product needs no rounding: few significant bits.
    fn product_is_exact(a: Self::Int, b: Self::Int) -> bool;
    /// `r` is the exact sum of `a` and `b` (all ordinary), and not zero.
    fn sum_is_exact(a: Self::Int, b: Self::Int, r: Self::Int) -> bool;
    /// The negative.
    fn negative(a: Self::Int) -> Self::Int;
    /// Lane 0.
    fn lane0(a: u128) -> Self::Int;
    /// Replaces lane 0.
    fn with_lane0(a: u128, r: Self::Int) -> u128;
}

macro_rules! fp {
    ($f:ident, $host:ident, $int:ident, $lanes:expr) => {
        impl Fp for $f {
            type Int = $int;
            const LANES: usize = $lanes;
            const ONES: $int = !0;
            const ZERO: $int = 0;
            const SIGN: $int = 1 << ($int::BITS - 1);
            #[inline(always)]
            fn fast_add(a: $int, b: $int) -> Option<$int> {
                soft::fast::$host::add(a, b)
            }
            #[inline(always)]
            fn fast_sub(a: $int, b: $int) -> Option<$int> {
                soft::fast::$host::sub(a, b)
            }
            #[inline(always)]
            fn fast_mul(a: $int, b: $int) -> Option<$int> {
                soft::fast::$host::mul(a, b)
            }
            #[inline(always)]
            fn fast_div(a: $int, b: $int) -> Option<$int> {
                soft::fast::$host::div(a, b)
            }
            #[inline(always)]
            fn fast_sqrt(a: $int) -> Option<$int> {
                soft::fast::$host::sqrt(a)
            }
            #[inline(always)]
            fn fast_compare(a: $int, b: $int) -> Option<std::cmp::Ordering> {
                soft::fast::$host::compare(a, b)
            }
            #[inline(always)]
            fn fast_to_i64(a: $int) -> Option<i64> {
                soft::fast::$host::to_i64(a)
            }
            #[inline(always)]
            fn is_integer(a: $int, i: i64) -> bool {
                ::core::primitive::$host::from_bits(a) == i as ::core::primitive::$host
            }
            #[inline(always)]
            fn product_is_exact(a: $int, b: $int) -> bool {
                const FRACTION: u32 = $f::PRECISION - 1;
                // Zero bits at the low end; the significands multiply to at
                // most PRECISION bits.
                let zeros = |x: $int| (x | 1 << FRACTION).trailing_zeros();
                zeros(a) + zeros(b) > FRACTION
            }
            #[inline(always)]
            fn sum_is_exact(a: $int, b: $int, r: $int) -> bool {
                let f = ::core::primitive::$host::from_bits;
                let (a, b, r) = (f(a), f(b), f(r));
                // Knuth's two-sum: the rounding error of the addition.
                let other = r - a;
                let error = (a - (r - other)) + (b - other);
                error == 0.0 && r != 0.0
            }
            #[inline(always)]
            fn negative(a: $int) -> $int {
                a ^ Self::SIGN
            }
            #[inline(always)]
            fn lane0(a: u128) -> $int {
                a as $int
            }
            #[inline(always)]
            fn with_lane0(a: u128, r: $int) -> u128 {
                a & !($int::MAX as u128) | r as u128
            }
        }
    };
}
fp!(F32, f32, u32, 4);
fp!(F64, f64, u64, 2);

/// Host arithmetic that may round: the mode is to nearest and nobody can tell
/// that the result is inexact.
#[inline(always)]
pub fn may_round(mxcsr: u32) -> bool {
    mxcsr & (RC | PM | PE) == PM | PE
}

/// Nobody can tell that the result is inexact.
#[inline(always)]
pub fn may_be_inexact(mxcsr: u32) -> bool {
    mxcsr & (PM | PE) == PM | PE
}

/// MXCSR after an operation that raised `raised`. `Err`: an unmasked exception.
pub fn merge(mxcsr: u32, raised: u16) -> Result<u32, u32> {
    let unmasked = !(mxcsr >> 7) as u16 & flags::X86;
    let mut raised = raised;
    if raised & flags::TINY & (unmasked << 2) != 0 {
        raised |= flags::UNDERFLOW;
    }
    let before = flags::INVALID | flags::DENORMAL | flags::DIV_BY_ZERO;
    if raised & unmasked & before != 0 {
        // Found before anything was computed.
        raised &= before;
    }
    let new = mxcsr | u32::from(raised & flags::X86);
    if raised & unmasked != 0 {
        Err(new)
    } else {
        Ok(new)
    }
}

/// An operation on two numbers.
pub trait Arith {
    /// Soft arithmetic.
    fn soft<F: Fp>(a: F::Int, b: F::Int, env: &mut Env) -> F::Int;
    /// Host arithmetic, where it gives the same; `round`: may be inexact.
    #[inline(always)]
    fn fast<F: Fp>(_a: F::Int, _b: F::Int, _round: bool) -> Option<F::Int> {
        None
    }
}

macro_rules! arith {
    ($($name:ident: $fast:ident, |$a:ident, $b:ident, $r:ident| $exact:expr, $soft:path;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug)]
        pub struct $name;
        impl Arith for $name {
            fn soft<F: Fp>(a: F::Int, b: F::Int, env: &mut Env) -> F::Int {
                $soft(a, b, env)
            }
            #[inline(always)]
            fn fast<F: Fp>($a: F::Int, $b: F::Int, round: bool) -> Option<F::Int> {
                let $r = F::$fast($a, $b)?;
                (round || $exact).then_some($r)
            }
        }
    )*};
}
arith! {
    Add: fast_add, |a, b, r| F::sum_is_exact(a, b, r), soft::add::<F>;
    Sub: fast_sub, |a, b, r| F::sum_is_exact(a, F::negative(b), r), soft::sub::<F>;
    Mul: fast_mul, |a, b, r| F::product_is_exact(a, b), soft::mul::<F>;
    Div: fast_div, |_a, _b, r| false, soft::div::<F>;
}

/// Minimum; the second operand wins for zeros and NaNs.
#[derive(Debug)]
pub struct Min;
/// Maximum; the second operand wins for zeros and NaNs.
#[derive(Debug)]
pub struct Max;
/// Square root of the second operand.
#[derive(Debug)]
pub struct Sqrt;

macro_rules! min_max {
    ($name:ident, $order:ident) => {
        impl Arith for $name {
            fn soft<F: Fp>(a: F::Int, b: F::Int, env: &mut Env) -> F::Int {
                match soft::compare::<F>(a, b, true, env) {
                    Relation::$order => flushed::<F>(a, env),
                    _ => flushed::<F>(b, env),
                }
            }
            #[inline(always)]
            fn fast<F: Fp>(a: F::Int, b: F::Int, _round: bool) -> Option<F::Int> {
                F::fast_compare(a, b).map(|o| {
                    if o == std::cmp::Ordering::$order {
                        a
                    } else {
                        b
                    }
                })
            }
        }
    };
}
min_max!(Min, Less);
min_max!(Max, Greater);

/// A denormal as it passes through an operation that only selects.
fn flushed<F: Fp>(a: F::Int, env: &Env) -> F::Int {
    let (sign, exp, sig) = F::split(a);
    if env.flush_in && exp == 0 && sig != 0 {
        F::join(sign, 0, 0)
    } else {
        a
    }
}

impl Arith for Sqrt {
    fn soft<F: Fp>(_a: F::Int, b: F::Int, env: &mut Env) -> F::Int {
        soft::sqrt::<F>(b, env)
    }
    #[inline(always)]
    fn fast<F: Fp>(_a: F::Int, b: F::Int, round: bool) -> Option<F::Int> {
        if round { F::fast_sqrt(b) } else { None }
    }
}

/// All lanes (or, scalar, lane 0) by host arithmetic.
#[inline(always)]
pub fn fast<O: Arith, F: Fp, const SCALAR: bool>(a: u128, b: u128, round: bool) -> Option<u128> {
    if SCALAR {
        let r = O::fast::<F>(F::lane0(a), F::lane0(b), round)?;
        return Some(F::with_lane0(a, r));
    }
    let (x, y) = (F::Int::split(a), F::Int::split(b));
    let mut r = x;
    for i in 0..F::LANES {
        r[i] = O::fast::<F>(x[i], y[i], round)?;
    }
    Some(F::Int::join(r))
}

/// All lanes (or, scalar, lane 0) by soft arithmetic.
#[inline(never)]
pub fn slow<O: Arith, F: Fp, const SCALAR: bool>(a: u128, b: u128, env: &mut Env) -> u128 {
    if SCALAR {
        return F::with_lane0(a, O::soft::<F>(F::lane0(a), F::lane0(b), env));
    }
    lanes2::<F>(a, b, env, |x, y, env| O::soft::<F>(x, y, env))
}

#[inline(always)]
fn lanes2<F: Fp>(
    a: u128,
    b: u128,
    env: &mut Env,
    mut f: impl FnMut(F::Int, F::Int, &mut Env) -> F::Int,
) -> u128 {
    let (x, y) = (F::Int::split(a), F::Int::split(b));
    let mut r = x;
    for i in 0..F::LANES {
        r[i] = f(x[i], y[i], env);
    }
    F::Int::join(r)
}

/// Subtracts in even lanes, adds in odd ones.
pub fn add_sub<F: Fp>(a: u128, b: u128, env: &mut Env) -> u128 {
    let mut odd = false;
    lanes2::<F>(a, b, env, |x, y, env| {
        odd = !odd;
        if odd {
            soft::sub::<F>(x, y, env)
        } else {
            soft::add::<F>(x, y, env)
        }
    })
}

/// Adds or subtracts neighbours; the low half of the result comes from `a`.
pub fn horizontal<F: Fp, O: Arith>(a: u128, b: u128, env: &mut Env) -> u128 {
    let (a, b) = (F::Int::split(a), F::Int::split(b));
    let mut r = a;
    let half = F::LANES / 2;
    for i in 0..F::LANES {
        let from = if i < half { &a } else { &b };
        let at = i % half * 2;
        r[i] = O::soft::<F>(from[at], from[at + 1], env);
    }
    F::Int::join(r)
}

/// `dpps`, `dppd`: the sum and MXCSR. `Err`: an unmasked exception in one of the
/// steps, each of which is a step of its own for exceptions.
pub fn dot<F: Fp>(a: u128, b: u128, imm: u8, mut mxcsr: u32) -> Result<(u128, u32), u32> {
    let (a, b) = (F::Int::split(a), F::Int::split(b));
    let mut env = Env::mxcsr(mxcsr);
    let mut done = |env: &mut Env| -> Result<u32, u32> {
        mxcsr = merge(mxcsr, std::mem::take(&mut env.flags))?;
        Ok(mxcsr)
    };
    let mut products = [F::ZERO; 4];
    for i in 0..F::LANES {
        if imm >> (4 + i) & 1 != 0 {
            products[i] = soft::mul::<F>(a[i], b[i], &mut env);
        }
    }
    done(&mut env)?;
    let mut sum = soft::add::<F>(products[0], products[1], &mut env);
    if F::LANES == 4 {
        let high = soft::add::<F>(products[2], products[3], &mut env);
        done(&mut env)?;
        sum = soft::add::<F>(sum, high, &mut env);
    }
    let mxcsr = done(&mut env)?;
    let mut r = a;
    for i in 0..F::LANES {
        r[i] = if imm >> i & 1 != 0 { sum } else { F::ZERO };
    }
    Ok((F::Int::join(r), mxcsr))
}

/// Whether predicate `imm` (0 to 7) holds.
fn holds(relation: Relation, imm: u8) -> bool {
    use Relation::*;
    let base = match imm & 3 {
        0 => relation == Equal,
        1 => relation == Less,
        2 => matches!(relation, Less | Equal),
        _ => relation == Unordered,
    };
    base ^ (imm & 4 != 0)
}

/// `cmpps` and its kin: all ones where the predicate holds.
pub fn compare<F: Fp>(a: F::Int, b: F::Int, imm: u8, env: &mut Env) -> F::Int {
    let signaling = matches!(imm & 3, 1 | 2);
    if holds(soft::compare::<F>(a, b, signaling, env), imm) {
        F::ONES
    } else {
        F::ZERO
    }
}

/// [`compare`] in all lanes or lane 0.
pub fn compare_all<F: Fp, const SCALAR: bool>(a: u128, b: u128, imm: u8, env: &mut Env) -> u128 {
    if SCALAR {
        return F::with_lane0(a, compare::<F>(F::lane0(a), F::lane0(b), imm, env));
    }
    lanes2::<F>(a, b, env, |x, y, env| compare::<F>(x, y, imm, env))
}

/// The rounding mode of an immediate as in `roundps`.
fn rounding(imm: u8, mxcsr_rounding: Rounding) -> Rounding {
    match imm & 7 {
        0 => Rounding::Nearest,
        1 => Rounding::Down,
        2 => Rounding::Up,
        3 => Rounding::Zero,
        _ => mxcsr_rounding,
    }
}

/// `roundps` and its kin.
pub fn round_all<F: Fp, const SCALAR: bool>(a: u128, b: u128, imm: u8, env: &mut Env) -> u128 {
    let mode = rounding(imm, env.rounding);
    let exact = imm & 8 == 0;
    let one = |x: F::Int, env: &mut Env| {
        let r = soft::round_to_integral::<F>(x, mode, exact, env);
        // A denormal operand is no exception here.
        env.flags &= !flags::DENORMAL;
        r
    };
    if SCALAR {
        return F::with_lane0(a, one(F::lane0(b), env));
    }
    lanes2::<F>(a, b, env, |_, y, env| one(y, env))
}

/// A float as a signed integer of `bits` bits; the indefinite value where it
/// does not fit.
pub fn to_int<F: Fp>(a: F::Int, bits: u32, truncate: bool, env: &mut Env) -> u64 {
    let mode = if truncate {
        Rounding::Zero
    } else {
        env.rounding
    };
    match soft::to_integer::<F>(a, 0, true, bits, mode, env) {
        Ok(value) => value,
        Err(NoInteger::Nan | NoInteger::TooLarge | NoInteger::TooSmall) => 1 << (bits - 1),
    }
}

/// A signed integer as a float.
pub fn from_int<F: Fp>(value: i64, env: &mut Env) -> F::Int {
    soft::from_integer::<F>(value < 0, value.unsigned_abs(), 0, env)
}

/// Conversions of whole vectors.
pub mod vector {
    use super::*;

    fn doubles(a: u128) -> [u64; 2] {
        u64::split(a)
    }

    /// `cvtps2dq`, `cvttps2dq`
    pub fn ps2dq(b: u128, truncate: bool, env: &mut Env) -> u128 {
        let mut r = u32::split(b);
        for x in &mut r {
            *x = to_int::<F32>(*x, 32, truncate, env) as u32;
        }
        u32::join(r)
    }
    /// `cvtpd2dq`, `cvttpd2dq`: two integers in the low half.
    pub fn pd2dq(b: u128, truncate: bool, env: &mut Env) -> u128 {
        let r = doubles(b).map(|x| to_int::<F64>(x, 32, truncate, env));
        u128::from(r[0] | r[1] << 32)
    }
    /// `cvtdq2ps`
    pub fn dq2ps(b: u128, env: &mut Env) -> u128 {
        let r = i32::split(b).map(|x| from_int::<F32>(x.into(), env));
        u32::join(r)
    }
    /// `cvtdq2pd`
    pub fn dq2pd(b: u128, env: &mut Env) -> u128 {
        let x = i32::split(b);
        u64::join([x[0], x[1]].map(|x| from_int::<F64>(x.into(), env)))
    }
    /// `cvtps2pd`
    pub fn ps2pd(b: u128, env: &mut Env) -> u128 {
        let x = u32::split(b);
        u64::join([x[0], x[1]].map(|x| soft::convert::<F32, F64>(x, env)))
    }
    /// `cvtpd2ps`: two singles in the low half.
    pub fn pd2ps(b: u128, env: &mut Env) -> u128 {
        let r = doubles(b).map(|x| soft::convert::<F64, F32>(x, env));
        u128::from(u64::from(r[0]) | u64::from(r[1]) << 32)
    }
    /// `cvtpi2ps`: the low half of the destination.
    pub fn pi2ps(a: u128, b: u128, env: &mut Env) -> u128 {
        let x = i32::split(b);
        let r = [x[0], x[1]].map(|x| u64::from(from_int::<F32>(x.into(), env)));
        a >> 64 << 64 | u128::from(r[0] | r[1] << 32)
    }
    /// `cvtps2pi`, `cvttps2pi`
    pub fn ps2pi(b: u128, truncate: bool, env: &mut Env) -> u128 {
        let x = u32::split(b);
        let r = [x[0], x[1]].map(|x| to_int::<F32>(x, 32, truncate, env));
        u128::from(r[0] | r[1] << 32)
    }
}

/// `rcpps`: any value within 1.5 * 2^-12 of the reciprocal is right. Denormals
/// count as zero and no flag is raised.
pub fn reciprocal(a: u32) -> u32 {
    estimate(a, |x| 1.0 / x)
}

/// `rsqrtps`: as [`reciprocal`], of the square root.
pub fn reciprocal_root(a: u32) -> u32 {
    if a > 0x8000_0000 && a <= 0xff80_0000 && a & 0x7f80_0000 != 0 {
        return 0xffc0_0000;
    }
    estimate(a, |x| 1.0 / x.sqrt())
}

fn estimate(a: u32, f: impl Fn(f64) -> f64) -> u32 {
    let sign = a & 0x8000_0000;
    let exp = a >> 23 & 0xff;
    if exp == 0 {
        return sign | 0x7f80_0000;
    }
    if exp == 0xff {
        return if a << 9 != 0 { a | 0x40_0000 } else { sign };
    }
    let r = f(f64::from(f32::from_bits(a))) as f32;
    let bits = r.to_bits();
    if bits & 0x7f80_0000 == 0 {
        return sign;
    }
    // Real estimates come from a table: keep as many bits.
    bits.wrapping_add(0x400) & !0x7ff
}
