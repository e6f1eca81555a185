//! V registers as lanes.

use std::array::from_fn;

/// An integer lane type. The compiler turns loops over arrays of lanes into
/// host vector instructions.
pub(super) trait Lane: Copy + Ord + Default + 'static {
    /// Bits of a lane.
    const BITS: u32;
    /// The lanes of a register.
    type All: AsMut<[Self]> + AsRef<[Self]> + Copy;
    /// The signed type of this width.
    type Signed: Lane;
    /// The unsigned type of this width.
    type Unsigned: Lane;
    /// Takes a register apart.
    fn split(v: u128) -> Self::All;
    /// The opposite.
    fn join(all: Self::All) -> u128;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Absolute difference.
    fn distance(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    /// How many bits are set.
    fn ones(self) -> Self;
    fn leading_zeros(self) -> u32;
    /// The value.
    fn wide(self) -> i128;
    /// The low bits of a value.
    fn truncated(value: i128) -> Self;
    /// Saturates, and says whether it had to.
    fn saturated(value: i128, qc: &mut bool) -> Self;
    /// All ones or zero.
    fn mask(yes: bool) -> Self;
    /// Shifts; a distance of a whole lane or more is allowed.
    fn shl(self, by: u32) -> Self;
    fn shr(self, by: u32) -> Self;
}

macro_rules! lane {
    ($($t:ty, $signed:ty, $unsigned:ty, $n:expr;)*) => {$(
        impl Lane for $t {
            const BITS: u32 = <$t>::BITS;
            type All = [$t; $n];
            type Signed = $signed;
            type Unsigned = $unsigned;
            #[inline(always)]
            fn split(v: u128) -> [$t; $n] {
                const SIZE: usize = size_of::<$t>();
                let bytes = v.to_le_bytes();
                let chunks = bytes.as_chunks::<SIZE>().0;
                from_fn(|i| <$t>::from_le_bytes(chunks[i]))
            }
            #[inline(always)]
            fn join(all: [$t; $n]) -> u128 {
                const SIZE: usize = size_of::<$t>();
                let mut bytes = [0u8; 16];
                for (chunk, lane) in bytes.as_chunks_mut::<SIZE>().0.iter_mut().zip(all) {
                    *chunk = lane.to_le_bytes();
                }
                u128::from_le_bytes(bytes)
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn distance(self, other: Self) -> Self { self.max(other).wrapping_sub(self.min(other)) }
            #[inline(always)]
            fn and(self, other: Self) -> Self { self & other }
            #[inline(always)]
            fn ones(self) -> Self { self.count_ones() as $t }
            #[inline(always)]
            fn leading_zeros(self) -> u32 { <$t>::leading_zeros(self) }
            #[inline(always)]
            fn wide(self) -> i128 { self as i128 }
            #[inline(always)]
            fn truncated(value: i128) -> Self { value as $t }
            #[inline(always)]
            fn saturated(value: i128, qc: &mut bool) -> Self {
                let result = value.clamp(<$t>::MIN as i128, <$t>::MAX as i128);
                *qc |= result != value;
                result as $t
            }
            #[inline(always)]
            fn mask(yes: bool) -> Self { if yes { !0 } else { 0 } }
            #[inline(always)]
            fn shl(self, by: u32) -> Self { if by < <$t>::BITS { self << by } else { 0 } }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                #[allow(unused_comparisons)]
                if by < <$t>::BITS { self >> by } else if self < 0 { !0 } else { 0 }
            }
        }
    )*};
}
lane! {
    u8, i8, u8, 16; i8, i8, u8, 16;
    u16, i16, u16, 8; i16, i16, u16, 8;
    u32, i32, u32, 4; i32, i32, u32, 4;
    u64, i64, u64, 2; i64, i64, u64, 2;
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map<T: Lane>(a: u128, f: impl Fn(T) -> T) -> u128 {
    let mut a = T::split(a);
    for x in a.as_mut() {
        *x = f(*x);
    }
    T::join(a)
}

/// Lane by lane of three registers.
#[inline(always)]
pub(super) fn map3<T: Lane>(a: u128, b: u128, c: u128, mut f: impl FnMut(T, T, T) -> T) -> u128 {
    let (mut a, b, c) = (T::split(a), T::split(b), T::split(c));
    for ((x, y), z) in a.as_mut().iter_mut().zip(b.as_ref()).zip(c.as_ref()) {
        *x = f(*x, *y, *z);
    }
    T::join(a)
}

/// The lanes with even numbers.
#[inline(always)]
fn evens<T: Lane>(v: u128) -> u64 {
    match T::BITS {
        8 => narrow::<u16, u8>(v, |x| x as u8),
        16 => narrow::<u32, u16>(v, |x| x as u16),
        32 => narrow::<u64, u32>(v, |x| x as u32),
        _ => v as u64,
    }
}

/// `f` of pairs of adjacent lanes: of `n` in the low half, of `m` in the high
/// half (for 64-bit vectors: of the low halves, in the low half).
#[inline(always)]
pub(super) fn pairs<T: Lane>(n: u128, m: u128, q: bool, f: impl Fn(T, T) -> T) -> u128 {
    // Every lane with the one above it, of which every other is wanted.
    let pair = |v: u128| evens::<T>(map3::<T>(v, v >> T::BITS, v, |x, y, _| f(x, y)));
    if q {
        u128::from(pair(n)) | u128::from(pair(m)) << 64
    } else {
        pair(u128::from(n as u64) | m << 64).into()
    }
}

/// The low (or high) half of a register, each lane extended to twice its width.
#[inline(always)]
pub(super) fn widen<N: Lane, D: Lane>(v: u128, high: bool) -> u128 {
    let n = N::split(if high { v >> 64 } else { v });
    let mut d = D::split(0);
    for (to, from) in d.as_mut().iter_mut().zip(n.as_ref()) {
        *to = D::truncated(from.wide());
    }
    D::join(d)
}

/// Each lane of a register made half as wide by `f`: 64 bits.
#[inline(always)]
pub(super) fn narrow<D: Lane, N: Lane>(v: u128, mut f: impl FnMut(D) -> N) -> u64 {
    let d = D::split(v);
    let mut n = N::split(0);
    for (to, from) in n.as_mut().iter_mut().zip(d.as_ref()) {
        *to = f(*from);
    }
    N::join(n) as u64
}

/// All lanes the lane number `index` of `v`.
#[inline(always)]
pub(super) fn splat<T: Lane>(v: u128, index: u8) -> u128 {
    let lanes = T::split(v);
    let lanes = lanes.as_ref();
    let x = lanes[index as usize % lanes.len()];
    let mut out = T::split(0);
    out.as_mut().fill(x);
    T::join(out)
}

/// Bits `size` (as a power of two of bytes) wide, repeated over a register.
pub(super) fn repeat(value: u64, size: u32) -> u128 {
    let mut value = u128::from(value);
    if size < 3 {
        value &= (1 << (8 << size)) - 1;
    }
    for step in size..4 {
        value |= value << (8u32 << step);
    }
    value
}
