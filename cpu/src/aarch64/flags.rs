//! Condition flags.

use super::Pstate;

#[inline(always)]
pub(super) fn set_nz<const X: bool>(p: &mut Pstate, result: u64) {
    if X {
        p.n = result;
        p.z = result;
    } else {
        p.n = result << 32;
        p.z = result & 0xffff_ffff;
    }
}

/// AND and its like clear C and V.
#[inline(always)]
pub(super) fn logic<const X: bool>(p: &mut Pstate, result: u64) -> u64 {
    set_nz::<X>(p, result);
    p.c = 0;
    p.v = 0;
    result
}

/// `a + b` with flags.
#[inline(always)]
pub(super) fn adds<const X: bool>(p: &mut Pstate, a: u64, b: u64) -> u64 {
    if X {
        let (r, carry) = a.overflowing_add(b);
        p.c = u64::from(carry);
        p.v = ((a ^ r) & (b ^ r)) >> 63;
        set_nz::<true>(p, r);
        r
    } else {
        let (a, b) = (a as u32, b as u32);
        let (r, carry) = a.overflowing_add(b);
        p.c = u64::from(carry);
        p.v = u64::from(((a ^ r) & (b ^ r)) >> 31);
        set_nz::<false>(p, r.into());
        r.into()
    }
}

/// `a - b` with flags.
#[inline(always)]
pub(super) fn subs<const X: bool>(p: &mut Pstate, a: u64, b: u64) -> u64 {
    if X {
        let r = a.wrapping_sub(b);
        p.c = u64::from(a >= b);
        p.v = ((a ^ b) & (a ^ r)) >> 63;
        set_nz::<true>(p, r);
        r
    } else {
        let (a, b) = (a as u32, b as u32);
        let r = a.wrapping_sub(b);
        p.c = u64::from(a >= b);
        p.v = u64::from(((a ^ b) & (a ^ r)) >> 31);
        set_nz::<false>(p, r.into());
        r.into()
    }
}

/// `a + b + carry` with flags; SBC is this with `b` inverted.
#[inline(always)]
pub(super) fn adcs<const X: bool>(p: &mut Pstate, a: u64, b: u64) -> u64 {
    if X {
        let (half, c1) = a.overflowing_add(b);
        let (r, c2) = half.overflowing_add(p.c);
        p.c = u64::from(c1 | c2);
        p.v = ((a ^ r) & (b ^ r)) >> 63;
        set_nz::<true>(p, r);
        r
    } else {
        let (a, b) = (a as u32, b as u32);
        let wide = u64::from(a) + u64::from(b) + p.c;
        let r = wide as u32;
        p.c = wide >> 32;
        p.v = u64::from(((a ^ r) & (b ^ r)) >> 31);
        set_nz::<false>(p, r.into());
        r.into()
    }
}

/// Whether condition `cond` (0 to 15) holds.
#[inline(always)]
pub(super) fn holds(p: &Pstate, cond: u8) -> bool {
    let n = p.n >> 63;
    match cond & 15 {
        0 => p.z == 0,
        1 => p.z != 0,
        2 => p.c != 0,
        3 => p.c == 0,
        4 => n != 0,
        5 => n == 0,
        6 => p.v != 0,
        7 => p.v == 0,
        8 => p.c != 0 && p.z != 0,
        9 => p.c == 0 || p.z == 0,
        10 => n == p.v,
        11 => n != p.v,
        12 => p.z != 0 && n == p.v,
        13 => p.z == 0 || n != p.v,
        _ => true,
    }
}
