//! Integer vector arithmetic, as functions of whole vectors.
//! Intel SDM volume 2; lane 0 is the least significant.

use super::lanes::*;

/// An operation on two vectors.
pub trait F2 {
    /// The new destination.
    fn f(a: u128, b: u128) -> u128;
}

/// An operation on two vectors and an immediate byte.
pub trait F3 {
    /// The new destination.
    fn f(a: u128, b: u128, imm: u8) -> u128;
}

macro_rules! f2 {
    ($($name:ident = |$a:ident, $b:ident| $e:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug)]
        pub struct $name;
        impl F2 for $name {
            #[inline(always)]
            fn f($a: u128, $b: u128) -> u128 {
                $e
            }
        }
    )*};
}

macro_rules! f3 {
    ($($name:ident = |$a:ident, $b:ident, $imm:ident| $e:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug)]
        pub struct $name;
        impl F3 for $name {
            #[inline(always)]
            fn f($a: u128, $b: u128, $imm: u8) -> u128 {
                $e
            }
        }
    )*};
}

const LOW: u128 = u64::MAX as u128;

fn low(x: u128) -> u64 {
    x as u64
}

fn high(x: u128) -> u64 {
    (x >> 64) as u64
}

/// Interleaves the low halves.
#[inline(always)]
fn interleave<L: Lane>(a: u128, b: u128, from: usize) -> u128 {
    let (a, b) = (L::split(a), L::split(b));
    build::<L>(|i| {
        if i % 2 == 0 {
            a[from + i / 2]
        } else {
            b[from + i / 2]
        }
    })
}

/// The counts of the shifts by a vector: its low 64 bits.
#[inline(always)]
fn count(b: u128) -> u32 {
    low(b).min(255) as u32
}

macro_rules! shl {
    ($t:ty, $a:expr, $n:expr) => {{
        let n = $n;
        map::<$t>($a, |x| if n < <$t>::BITS { x << n } else { 0 })
    }};
}
macro_rules! shr {
    ($t:ty, $a:expr, $n:expr) => {{
        let n = $n;
        map::<$t>($a, |x| if n < <$t>::BITS { x >> n } else { 0 })
    }};
}
macro_rules! sar {
    ($t:ty, $a:expr, $n:expr) => {{
        let n = $n.min(<$t>::BITS - 1);
        map::<$t>($a, |x| x >> n)
    }};
}
macro_rules! ones {
    ($t:ty, $c:expr) => {
        if $c { !(0 as $t) } else { 0 }
    };
}

f2! {
    Paddb = |a, b| map2::<u8>(a, b, u8::wrapping_add);
    Paddw = |a, b| map2::<u16>(a, b, u16::wrapping_add);
    Paddd = |a, b| map2::<u32>(a, b, u32::wrapping_add);
    Paddq = |a, b| map2::<u64>(a, b, u64::wrapping_add);
    Psubb = |a, b| map2::<u8>(a, b, u8::wrapping_sub);
    Psubw = |a, b| map2::<u16>(a, b, u16::wrapping_sub);
    Psubd = |a, b| map2::<u32>(a, b, u32::wrapping_sub);
    Psubq = |a, b| map2::<u64>(a, b, u64::wrapping_sub);
    Paddsb = |a, b| map2::<i8>(a, b, i8::saturating_add);
    Paddsw = |a, b| map2::<i16>(a, b, i16::saturating_add);
    Paddusb = |a, b| map2::<u8>(a, b, u8::saturating_add);
    Paddusw = |a, b| map2::<u16>(a, b, u16::saturating_add);
    Psubsb = |a, b| map2::<i8>(a, b, i8::saturating_sub);
    Psubsw = |a, b| map2::<i16>(a, b, i16::saturating_sub);
    Psubusb = |a, b| map2::<u8>(a, b, u8::saturating_sub);
    Psubusw = |a, b| map2::<u16>(a, b, u16::saturating_sub);
    Pminub = |a, b| map2::<u8>(a, b, u8::min);
    Pmaxub = |a, b| map2::<u8>(a, b, u8::max);
    Pminsw = |a, b| map2::<i16>(a, b, i16::min);
    Pmaxsw = |a, b| map2::<i16>(a, b, i16::max);
    Pminsb = |a, b| map2::<i8>(a, b, i8::min);
    Pmaxsb = |a, b| map2::<i8>(a, b, i8::max);
    Pminuw = |a, b| map2::<u16>(a, b, u16::min);
    Pmaxuw = |a, b| map2::<u16>(a, b, u16::max);
    Pminud = |a, b| map2::<u32>(a, b, u32::min);
    Pmaxud = |a, b| map2::<u32>(a, b, u32::max);
    Pminsd = |a, b| map2::<i32>(a, b, i32::min);
    Pmaxsd = |a, b| map2::<i32>(a, b, i32::max);
    Pavgb = |a, b| map2::<u8>(a, b, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8);
    Pavgw = |a, b| map2::<u16>(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16);
    Pcmpeqb = |a, b| map2::<u8>(a, b, |x, y| ones!(u8, x == y));
    Pcmpeqw = |a, b| map2::<u16>(a, b, |x, y| ones!(u16, x == y));
    Pcmpeqd = |a, b| map2::<u32>(a, b, |x, y| ones!(u32, x == y));
    Pcmpeqq = |a, b| map2::<u64>(a, b, |x, y| ones!(u64, x == y));
    Pcmpgtb = |a, b| map2::<i8>(a, b, |x, y| ones!(i8, x > y));
    Pcmpgtw = |a, b| map2::<i16>(a, b, |x, y| ones!(i16, x > y));
    Pcmpgtd = |a, b| map2::<i32>(a, b, |x, y| ones!(i32, x > y));
    Pcmpgtq = |a, b| map2::<i64>(a, b, |x, y| ones!(i64, x > y));
    Pand = |a, b| a & b;
    Pandn = |a, b| !a & b;
    Por = |a, b| a | b;
    Pxor = |a, b| a ^ b;
    Pmullw = |a, b| map2::<u16>(a, b, u16::wrapping_mul);
    Pmulld = |a, b| map2::<u32>(a, b, u32::wrapping_mul);
    Pmulhw = |a, b| map2::<i16>(a, b, |x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16);
    Pmulhuw = |a, b| map2::<u16>(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    Pmulhrsw = |a, b| map2::<i16>(a, b, |x, y| {
        ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16
    });
    Pmuludq = |a, b| map2::<u64>(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32));
    Pmuldq = |a, b| map2::<i64>(a, b, |x, y| i64::from(x as i32) * i64::from(y as i32));
    Pmaddwd = |a, b| {
        let (a, b) = (i16::split(a), i16::split(b));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        build::<i32>(|i| product(2 * i).wrapping_add(product(2 * i + 1)))
    };
    Pmaddubsw = |a, b| {
        let (a, b) = (u8::split(a), i8::split(b));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        build::<i16>(|i| {
            let sum = product(2 * i) + product(2 * i + 1);
            sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16
        })
    };
    Psadbw = |a, b| {
        let (a, b) = (u8::split(a), u8::split(b));
        build::<u64>(|i| (0..8).map(|j| u64::from(a[8 * i + j].abs_diff(b[8 * i + j]))).sum())
    };
    Punpcklbw = |a, b| interleave::<u8>(a, b, 0);
    Punpcklwd = |a, b| interleave::<u16>(a, b, 0);
    Punpckldq = |a, b| interleave::<u32>(a, b, 0);
    Punpcklqdq = |a, b| a & LOW | b << 64;
    Punpckhbw = |a, b| interleave::<u8>(a, b, 8);
    Punpckhwd = |a, b| interleave::<u16>(a, b, 4);
    Punpckhdq = |a, b| interleave::<u32>(a, b, 2);
    Punpckhqdq = |a, b| a >> 64 | b & !LOW;
    Packsswb = |a, b| {
        let (a, b) = (i16::split(a), i16::split(b));
        build::<i8>(|i| {
            let x = if i < 8 { a[i & 7] } else { b[i & 7] };
            x.clamp(-128, 127) as i8
        })
    };
    Packuswb = |a, b| {
        let (a, b) = (i16::split(a), i16::split(b));
        build::<u8>(|i| {
            let x = if i < 8 { a[i & 7] } else { b[i & 7] };
            x.clamp(0, 255) as u8
        })
    };
    Packssdw = |a, b| {
        let (a, b) = (i32::split(a), i32::split(b));
        build::<i16>(|i| {
            let x = if i < 4 { a[i & 3] } else { b[i & 3] };
            x.clamp(-0x8000, 0x7fff) as i16
        })
    };
    Packusdw = |a, b| {
        let (a, b) = (i32::split(a), i32::split(b));
        build::<u16>(|i| {
            let x = if i < 4 { a[i & 3] } else { b[i & 3] };
            x.clamp(0, 0xffff) as u16
        })
    };
    Psllw = |a, b| shl!(u16, a, count(b));
    Pslld = |a, b| shl!(u32, a, count(b));
    Psllq = |a, b| shl!(u64, a, count(b));
    Psrlw = |a, b| shr!(u16, a, count(b));
    Psrld = |a, b| shr!(u32, a, count(b));
    Psrlq = |a, b| shr!(u64, a, count(b));
    Psraw = |a, b| sar!(i16, a, count(b));
    Psrad = |a, b| sar!(i32, a, count(b));
    // SSSE3
    Pshufb = |a, b| {
        let (a, b) = (u8::split(a), u8::split(b));
        build::<u8>(|i| if b[i] & 0x80 != 0 { 0 } else { a[usize::from(b[i] & 15)] })
    };
    Phaddw = |a, b| pairs::<u16>(a, b, u16::wrapping_add);
    Phaddd = |a, b| pairs::<u32>(a, b, u32::wrapping_add);
    Phaddsw = |a, b| pairs::<i16>(a, b, i16::saturating_add);
    Phsubw = |a, b| pairs::<u16>(a, b, u16::wrapping_sub);
    Phsubd = |a, b| pairs::<u32>(a, b, u32::wrapping_sub);
    Phsubsw = |a, b| pairs::<i16>(a, b, i16::saturating_sub);
    Pabsb = |_a, b| map::<i8>(b, i8::wrapping_abs);
    Pabsw = |_a, b| map::<i16>(b, i16::wrapping_abs);
    Pabsd = |_a, b| map::<i32>(b, i32::wrapping_abs);
    Psignb = |a, b| map2::<i8>(a, b, |x, y| x.wrapping_mul(y.signum()));
    Psignw = |a, b| map2::<i16>(a, b, |x, y| x.wrapping_mul(y.signum()));
    Psignd = |a, b| map2::<i32>(a, b, |x, y| x.wrapping_mul(y.signum()));
    // SSE4.1
    Pmovsxbw = |_a, b| { let b = i8::split(b); build::<i16>(|i| b[i].into()) };
    Pmovsxbd = |_a, b| { let b = i8::split(b); build::<i32>(|i| b[i].into()) };
    Pmovsxbq = |_a, b| { let b = i8::split(b); build::<i64>(|i| b[i].into()) };
    Pmovsxwd = |_a, b| { let b = i16::split(b); build::<i32>(|i| b[i].into()) };
    Pmovsxwq = |_a, b| { let b = i16::split(b); build::<i64>(|i| b[i].into()) };
    Pmovsxdq = |_a, b| { let b = i32::split(b); build::<i64>(|i| b[i].into()) };
    Pmovzxbw = |_a, b| { let b = u8::split(b); build::<u16>(|i| b[i].into()) };
    Pmovzxbd = |_a, b| { let b = u8::split(b); build::<u32>(|i| b[i].into()) };
    Pmovzxbq = |_a, b| { let b = u8::split(b); build::<u64>(|i| b[i].into()) };
    Pmovzxwd = |_a, b| { let b = u16::split(b); build::<u32>(|i| b[i].into()) };
    Pmovzxwq = |_a, b| { let b = u16::split(b); build::<u64>(|i| b[i].into()) };
    Pmovzxdq = |_a, b| { let b = u32::split(b); build::<u64>(|i| b[i].into()) };
    Phminposuw = |_a, b| {
        let b = u16::split(b);
        let mut least = 0;
        for i in 1..8 {
            if b[i] < b[least] {
                least = i;
            }
        }
        u128::from(b[least]) | (least as u128) << 16
    };
    // Shuffles without an immediate.
    Movlhps = |a, b| a & LOW | b << 64;
    Movhlps = |a, b| a & !LOW | b >> 64;
    Unpcklps = |a, b| interleave::<u32>(a, b, 0);
    Unpckhps = |a, b| interleave::<u32>(a, b, 2);
    Movsldup = |_a, b| { let b = u32::split(b); build::<u32>(|i| b[i & !1]) };
    Movshdup = |_a, b| { let b = u32::split(b); build::<u32>(|i| b[i | 1]) };
    Movddup = |_a, b| b & LOW | b << 64;
}

/// Two bits of an immediate.
#[inline(always)]
fn two(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * (i & 3)) & 3)
}

f3! {
    Pshufd = |_a, b, imm| { let b = u32::split(b); build::<u32>(|i| b[two(imm, i)]) };
    Pshuflw = |_a, b, imm| {
        let w = u16::split(b);
        build::<u16>(|i| if i < 4 { w[two(imm, i)] } else { w[i] })
    };
    Pshufhw = |_a, b, imm| {
        let w = u16::split(b);
        build::<u16>(|i| if i < 4 { w[i] } else { w[4 + two(imm, i)] })
    };
    Shufps = |a, b, imm| {
        let (a, b) = (u32::split(a), u32::split(b));
        build::<u32>(|i| if i < 2 { a[two(imm, i)] } else { b[two(imm, i)] })
    };
    Shufpd = |a, b, imm| {
        let (a, b) = (u64::split(a), u64::split(b));
        u64::join([a[usize::from(imm & 1)], b[usize::from(imm >> 1 & 1)]])
    };
    Palignr = |a, b, imm| match u32::from(imm) * 8 {
        0 => b,
        n @ 1..=127 => b >> n | a << (128 - n),
        n @ 128..=255 => a >> (n - 128),
        _ => 0,
    };
    Pblendw = |a, b, imm| {
        let (a, b) = (u16::split(a), u16::split(b));
        build::<u16>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };
    Blendps = |a, b, imm| {
        let (a, b) = (u32::split(a), u32::split(b));
        build::<u32>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };
    Blendpd = |a, b, imm| {
        let (a, b) = (u64::split(a), u64::split(b));
        build::<u64>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };
    Mpsadbw = |a, b, imm| {
        let (a, b) = (u8::split(a), u8::split(b));
        let (from, with) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        build::<u16>(|i| {
            (0..4).map(|j| u16::from(a[from + i + j].abs_diff(b[with + j]))).sum()
        })
    };
    Insertps = |a, b, imm| {
        let mut r = u32::split(a);
        r[two(imm, 2)] = u32::split(b)[two(imm, 3)];
        build::<u32>(|i| if imm >> i & 1 != 0 { 0 } else { r[i] })
    };
    // Shifts by an immediate: the source operand is the destination.
    PsllwImm = |a, _b, imm| shl!(u16, a, u32::from(imm));
    PslldImm = |a, _b, imm| shl!(u32, a, u32::from(imm));
    PsllqImm = |a, _b, imm| shl!(u64, a, u32::from(imm));
    PsrlwImm = |a, _b, imm| shr!(u16, a, u32::from(imm));
    PsrldImm = |a, _b, imm| shr!(u32, a, u32::from(imm));
    PsrlqImm = |a, _b, imm| shr!(u64, a, u32::from(imm));
    PsrawImm = |a, _b, imm| sar!(i16, a, u32::from(imm));
    PsradImm = |a, _b, imm| sar!(i32, a, u32::from(imm));
    Pslldq = |a, _b, imm| if imm < 16 { a << (8 * u32::from(imm)) } else { 0 };
    Psrldq = |a, _b, imm| if imm < 16 { a >> (8 * u32::from(imm)) } else { 0 };
}

/// Blends by the high bits of a mask (XMM0).
#[inline(always)]
pub fn blend_by_sign<L: Lane>(a: u128, b: u128, mask: u128, negative: impl Fn(L) -> bool) -> u128 {
    let (a, b, mask) = (L::split(a), L::split(b), L::split(mask));
    build::<L>(|i| if negative(mask[i]) { b[i] } else { a[i] })
}

/// `ptest`: ZF and CF.
#[inline(always)]
pub fn test(a: u128, b: u128) -> (bool, bool) {
    (a & b == 0, !a & b == 0)
}

/// CRC-32C (Castagnoli) of one more value of `bytes` bytes, as the `crc32`
/// instruction computes it.
pub fn crc32c(crc: u32, value: u64, bytes: u32) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = crc;
    for i in 0..bytes {
        crc ^= (value >> (8 * i)) as u8 as u32;
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
        }
    }
    crc
}

/// Joins two 64-bit registers for an MMX operation that packs or adds pairs:
/// the low 64 bits of the 128-bit operation on the pair are its result.
#[inline(always)]
pub fn paired(a: u128, b: u128) -> u128 {
    u128::from(low(a)) | u128::from(low(b)) << 64
}

/// Sign bits of four singles.
#[inline(always)]
pub fn signs_ps(a: u128) -> u32 {
    let bit = |n: u32| (a >> (32 * n + 31)) as u32 & 1;
    bit(0) | bit(1) << 1 | bit(2) << 2 | bit(3) << 3
}

/// Sign bits of two doubles.
#[inline(always)]
pub fn signs_pd(a: u128) -> u32 {
    (low(a) >> 63) as u32 | ((high(a) >> 63) as u32) << 1
}
