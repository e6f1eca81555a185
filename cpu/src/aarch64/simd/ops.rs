//! What integer instructions do to one lane.

use super::lanes::Lane;

/// `f(d, n, m)`: a lane of the result from lanes of the old destination and
/// the sources. Sets `qc` when it had to saturate.
pub(super) trait Op3<T: Lane>: 'static {
    const SATURATES: bool = false;
    fn f(d: T, n: T, m: T, qc: &mut bool) -> T;
}

macro_rules! plain {
    ($($name:ident($d:pat, $n:ident, $m:ident) = $e:expr;)*) => {$(
        pub(super) struct $name;
        impl<T: Lane> Op3<T> for $name {
            #[inline(always)]
            fn f($d: T, $n: T, $m: T, _: &mut bool) -> T { $e }
        }
    )*};
}

plain! {
    Add(_, n, m) = n.plus(m);
    Sub(_, n, m) = n.minus(m);
    Mul(_, n, m) = n.times(m);
    Mla(d, n, m) = d.plus(n.times(m));
    Mls(d, n, m) = d.minus(n.times(m));
    Max(_, n, m) = n.max(m);
    Min(_, n, m) = n.min(m);
    Abd(_, n, m) = n.distance(m);
    Aba(d, n, m) = d.plus(n.distance(m));
    Gt(_, n, m) = T::mask(n > m);
    Ge(_, n, m) = T::mask(n >= m);
    Eq(_, n, m) = T::mask(n == m);
    Tst(_, n, m) = T::mask(n.and(m) != T::default());
    Hadd(_, n, m) = T::truncated((n.wide() + m.wide()) >> 1);
    Rhadd(_, n, m) = T::truncated((n.wide() + m.wide() + 1) >> 1);
    Hsub(_, n, m) = T::truncated((n.wide() - m.wide()) >> 1);
    Pmul(_, n, m) = T::truncated(carryless(n.wide() as u64, m.wide() as u64) as i128);
    Shl(_, n, m) = T::truncated(shift::<T>(n, m, false).unwrap_or(0));
    Rshl(_, n, m) = T::truncated(shift::<T>(n, m, true).unwrap_or(0));
}

/// Polynomial product over {0, 1} of at most 8 by 8 bits.
#[inline(always)]
pub(super) fn carryless(n: u64, m: u64) -> u64 {
    let (n, m) = (n & 0xff, m & 0xff);
    (0..8).fold(0, |sum, i| if m >> i & 1 != 0 { sum ^ n << i } else { sum })
}

/// The register shifts: left by the signed low byte of `m`, right if negative.
/// `None` where a left shift loses everything of a lane that is not zero.
#[inline(always)]
fn shift<T: Lane>(n: T, m: T, round: bool) -> Option<i128> {
    let by = i32::from(m.wide() as i8);
    let n = n.wide();
    if by >= 0 {
        if by < T::BITS as i32 {
            Some(n << by)
        } else if n == 0 {
            Some(0)
        } else {
            None
        }
    } else {
        Some(shift_right(n, by.unsigned_abs(), round))
    }
}

/// Shifts right, rounding half up if wanted. `by` is at least 1.
#[inline(always)]
pub(super) fn shift_right(n: i128, by: u32, round: bool) -> i128 {
    let by = by.min(126);
    let half = if round { 1i128 << (by - 1) } else { 0 };
    (n + half) >> by
}

macro_rules! saturating {
    ($($name:ident($d:pat, $n:ident, $m:pat, $qc:ident) = $e:expr;)*) => {$(
        pub(super) struct $name;
        impl<T: Lane> Op3<T> for $name {
            const SATURATES: bool = true;
            #[inline(always)]
            fn f($d: T, $n: T, $m: T, $qc: &mut bool) -> T { $e }
        }
    )*};
}

#[inline(always)]
fn saturating_shift<T: Lane>(n: T, m: T, round: bool, qc: &mut bool) -> T {
    let value = shift::<T>(n, m, round).unwrap_or(if n.wide() < 0 { i128::MIN } else { i128::MAX });
    T::saturated(value, qc)
}

/// `2 * n * m`, saturated to a lane of the (double-width) type `T`.
#[inline(always)]
fn doubled<T: Lane>(n: T, m: T, qc: &mut bool) -> T {
    T::saturated(2 * n.wide() * m.wide(), qc)
}

saturating! {
    Qadd(_, n, m, qc) = T::saturated(n.wide() + m.wide(), qc);
    Qsub(_, n, m, qc) = T::saturated(n.wide() - m.wide(), qc);
    Qshl(_, n, m, qc) = saturating_shift(n, m, false, qc);
    Qrshl(_, n, m, qc) = saturating_shift(n, m, true, qc);
    Qdmulh(_, n, m, qc) = T::saturated((2 * n.wide() * m.wide()) >> T::BITS, qc);
    Qrdmulh(_, n, m, qc) =
        T::saturated((2 * n.wide() * m.wide() + (1 << (T::BITS - 1))) >> T::BITS, qc);
    // On lanes that were widened.
    Qdmull(_, n, m, qc) = doubled(n, m, qc);
    Qdmlal(d, n, m, qc) = {
        let product = doubled(n, m, qc);
        T::saturated(d.wide() + product.wide(), qc)
    };
    Qdmlsl(d, n, m, qc) = {
        let product = doubled(n, m, qc);
        T::saturated(d.wide() - product.wide(), qc)
    };
    // SUQADD: T signed, n unsigned; USQADD: T unsigned, n signed.
    Suqadd(d, n, _, qc) = T::saturated(d.wide() + as_unsigned(n), qc);
    Usqadd(d, n, _, qc) = T::saturated(d.wide() + as_signed(n), qc);
    Qabs(_, n, _, qc) = T::saturated(n.wide().abs(), qc);
    Qneg(_, n, _, qc) = T::saturated(-n.wide(), qc);
}

#[inline(always)]
fn as_unsigned<T: Lane>(n: T) -> i128 {
    n.wide() & ((1 << T::BITS) - 1)
}

#[inline(always)]
fn as_signed<T: Lane>(n: T) -> i128 {
    n.wide() << (128 - T::BITS) >> (128 - T::BITS)
}

// One source: `m` is not looked at.
plain! {
    Abs(_, n, _m) = T::truncated(n.wide().abs());
    Neg(_, n, _m) = T::default().minus(n);
    Cnt(_, n, _m) = n.ones();
    Clz(_, n, _m) = T::truncated(n.leading_zeros().into());
    // The bits after the sign that equal it; T is signed.
    Cls(_, n, _m) = {
        let flipped = if n < T::default() { T::mask(true).minus(n) } else { n };
        T::truncated(i128::from(flipped.leading_zeros()) - 1)
    };
    Gt0(_, n, _m) = T::mask(n > T::default());
    Ge0(_, n, _m) = T::mask(n >= T::default());
    Eq0(_, n, _m) = T::mask(n == T::default());
    Le0(_, n, _m) = T::mask(n <= T::default());
    Lt0(_, n, _m) = T::mask(n < T::default());
    Rbit(_, n, _m) = T::truncated((n.wide() as u8).reverse_bits().into());
}

/// `f(d, n, by)`: a lane shifted by an immediate.
pub(super) trait Shift<T: Lane>: 'static {
    const SATURATES: bool = false;
    fn f(d: T, n: T, by: u32, qc: &mut bool) -> T;
}

macro_rules! shifts {
    ($($name:ident($d:pat, $n:ident, $by:ident) = $e:expr;)*) => {$(
        pub(super) struct $name;
        impl<T: Lane> Shift<T> for $name {
            #[inline(always)]
            fn f($d: T, $n: T, $by: u32, _: &mut bool) -> T { $e }
        }
    )*};
}

shifts! {
    Shr(_, n, by) = n.shr(by);
    Sra(d, n, by) = d.plus(n.shr(by));
    Rshr(_, n, by) = T::truncated(shift_right(n.wide(), by, true));
    Rsra(d, n, by) = d.plus(T::truncated(shift_right(n.wide(), by, true)));
    ShlImm(_, n, by) = n.shl(by);
    // Bits that are not shifted in keep the old value.
    Sri(d, n, by) = {
        let kept = T::mask(true).wide() << (T::BITS - by);
        T::truncated(d.wide() & kept | as_unsigned(n) >> by)
    };
    Sli(d, n, by) = {
        let kept = (1i128 << by) - 1;
        T::truncated(d.wide() & kept | n.wide() << by)
    };
}

macro_rules! saturating_shifts {
    ($($name:ident($n:ident, $by:ident, $qc:ident) = $e:expr;)*) => {$(
        pub(super) struct $name;
        impl<T: Lane> Shift<T> for $name {
            const SATURATES: bool = true;
            #[inline(always)]
            fn f(_: T, $n: T, $by: u32, $qc: &mut bool) -> T { $e }
        }
    )*};
}

saturating_shifts! {
    QshlImm(n, by, qc) = T::saturated(n.wide() << by, qc);
    // T is unsigned, the source is signed.
    Qshlu(n, by, qc) = T::saturated(as_signed(n) << by, qc);
}
