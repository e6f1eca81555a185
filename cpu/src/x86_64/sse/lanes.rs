//! Vectors as arrays of lanes.

// Reinterprets 128-bit integers as arrays of integers and back.
#![allow(unsafe_code)]
// The same code serves every kind of lane.
#![allow(unnecessary_transmutes)]

use std::mem::transmute;
use std::ops::IndexMut;

/// An integer that 16 bytes are divided into. Lane 0 is the least significant.
pub trait Lane: Copy {
    /// All lanes of a vector.
    type V: Copy + IndexMut<usize, Output = Self>;
    /// Lanes of a vector.
    const N: usize;
    /// Takes a vector apart.
    fn split(vector: u128) -> Self::V;
    /// Puts a vector together.
    fn join(lanes: Self::V) -> u128;
}

macro_rules! lane {
    ($($t:ty: $n:expr),*) => {$(
        impl Lane for $t {
            type V = [$t; $n];
            const N: usize = $n;
            #[inline(always)]
            fn split(vector: u128) -> Self::V {
                // SAFETY: same size, and any bits are a valid integer.
                unsafe { transmute(vector.to_le()) }
            }
            #[inline(always)]
            fn join(lanes: Self::V) -> u128 {
                // SAFETY: as above.
                u128::from_le(unsafe { transmute::<Self::V, u128>(lanes) })
            }
        }
    )*};
}
lane!(u8: 16, i8: 16, u16: 8, i16: 8, u32: 4, i32: 4, u64: 2, i64: 2);

/// Lane by lane.
#[inline(always)]
pub fn map<L: Lane>(a: u128, f: impl Fn(L) -> L) -> u128 {
    let mut r = L::split(a);
    for i in 0..L::N {
        r[i] = f(r[i]);
    }
    L::join(r)
}

/// Lane by lane with two vectors.
#[inline(always)]
pub fn map2<L: Lane>(a: u128, b: u128, f: impl Fn(L, L) -> L) -> u128 {
    let (mut r, b) = (L::split(a), L::split(b));
    for i in 0..L::N {
        r[i] = f(r[i], b[i]);
    }
    L::join(r)
}

/// A vector made lane by lane from the lane's number.
#[inline(always)]
pub fn build<L: Lane>(f: impl Fn(usize) -> L) -> u128 {
    let mut r = L::split(0);
    for i in 0..L::N {
        r[i] = f(i);
    }
    L::join(r)
}

/// Pairs of neighbours: the low half of the result from `a`, the high from `b`.
#[inline(always)]
pub fn pairs<L: Lane>(a: u128, b: u128, f: impl Fn(L, L) -> L) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    let half = L::N / 2;
    build::<L>(|i| {
        let from = if i < half { &a } else { &b };
        f(from[i % half * 2], from[i % half * 2 + 1])
    })
}

/// The high bit of each byte.
#[inline(always)]
pub fn byte_mask(a: u128) -> u32 {
    let half = |x: u64| {
        (((x >> 7) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    };
    half(a as u64) | half((a >> 64) as u64) << 8
}
