//! Data processing with registers: one, two and three sources.

use super::Code;
use super::build::*;
use super::regs::{ZERO, dest, source};
use crate::engine::Flow;

pub(super) fn one_source(insn: u32) -> Option<O> {
    // A second opcode other than zero is pointer authentication.
    if bit(insn, 29) || bits(insn, 16, 5) != 0 {
        return None;
    }
    let sf = bit(insn, 31);
    let (code, run) = match (bits(insn, 10, 6), sf) {
        (0, _) => (Code::Rbit, choose!(bool sf, X => one::<X, 0> as H)),
        (1, _) => (Code::Rev16, choose!(bool sf, X => one::<X, 1> as H)),
        (2, false) => (Code::Rev, one::<false, 2> as H),
        (2, true) => (Code::Rev32, one::<true, 3> as H),
        (3, true) => (Code::Rev, one::<true, 2> as H),
        (4, _) => (Code::Clz, choose!(bool sf, X => one::<X, 4> as H)),
        (5, _) => (Code::Cls, choose!(bool sf, X => one::<X, 5> as H)),
        _ => return None,
    };
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        e: sf.into(),
        ..op(code, run)
    })
}
fn one<const X: bool, const K: u8>(cpu: &mut C, op: &O) -> Flow {
    let x = cpu.s.r.get(op.b);
    let w = x as u32;
    let value = match (K, X) {
        (0, true) => x.reverse_bits(),
        (0, false) => w.reverse_bits().into(),
        (1, _) => (x >> 8 & 0x00ff_00ff_00ff_00ff) | (x & 0x00ff_00ff_00ff_00ff) << 8,
        (2, true) => x.swap_bytes(),
        (2, false) => w.swap_bytes().into(),
        (3, _) => x.swap_bytes().rotate_right(32),
        (4, true) => x.leading_zeros().into(),
        (4, false) => w.leading_zeros().into(),
        (_, true) => (((x as i64 >> 63) as u64 ^ x).leading_zeros() - 1).into(),
        (_, false) => (((w as i32 >> 31) as u32 ^ w).leading_zeros() - 1).into(),
    };
    set::<X>(cpu, op.a, value)
}

pub(super) fn two_source(insn: u32) -> Option<O> {
    if bit(insn, 29) {
        return None;
    }
    let sf = bit(insn, 31);
    // CRC32 (0b010xxx) and the rest are not there.
    let (code, kind) = match bits(insn, 10, 6) {
        2 => (Code::Udiv, 0u8),
        3 => (Code::Sdiv, 1),
        8 => (Code::Lslv, 2),
        9 => (Code::Lsrv, 3),
        10 => (Code::Asrv, 4),
        11 => (Code::Rorv, 5),
        _ => return None,
    };
    let run = choose!(bool sf, X => choose!(u8 kind, [0, 1, 2, 3, 4, 5], K => two::<X, K> as H));
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        e: sf.into(),
        ..op(code, run)
    })
}
fn two<const X: bool, const K: u8>(cpu: &mut C, op: &O) -> Flow {
    let (x, y) = (cpu.s.r.get(op.b), cpu.s.r.get(op.c));
    let (w, v) = (x as u32, y as u32);
    let value = match (K, X) {
        (0, true) => x.checked_div(y).unwrap_or(0),
        (0, false) => w.checked_div(v).unwrap_or(0).into(),
        (1, true) if y == 0 => 0,
        (1, true) => (x as i64).wrapping_div(y as i64) as u64,
        (1, false) if v == 0 => 0,
        (1, false) => (w as i32).wrapping_div(v as i32) as u64,
        (2, true) => x << (y & 63),
        (2, false) => (w << (v & 31)).into(),
        (3, true) => x >> (y & 63),
        (3, false) => (w >> (v & 31)).into(),
        (4, true) => (x as i64 >> (y & 63)) as u64,
        (4, false) => (w as i32 >> (v & 31)) as u64,
        (_, true) => x.rotate_right((y & 63) as u32),
        (_, false) => w.rotate_right(v & 31).into(),
    };
    set::<X>(cpu, op.a, value)
}

pub(super) fn three_source(insn: u32) -> Option<O> {
    if bits(insn, 29, 2) != 0 {
        return None;
    }
    let sf = bit(insn, 31);
    let sub = bit(insn, 15);
    let ra = source(reg(insn, 10));
    let (code, run) = match (bits(insn, 21, 3), sf, sub) {
        (0, _, false) if ra == ZERO => (Code::Mul, choose!(bool sf, X => mul::<X> as H)),
        (0, _, false) => (Code::Madd, choose!(bool sf, X => madd::<X, false> as H)),
        (0, _, true) => (Code::Msub, choose!(bool sf, X => madd::<X, true> as H)),
        (1, true, false) => (Code::Smaddl, maddl::<true, false> as H),
        (1, true, true) => (Code::Smsubl, maddl::<true, true> as H),
        (2, true, false) => (Code::Smulh, smulh as H),
        (5, true, false) => (Code::Umaddl, maddl::<false, false> as H),
        (5, true, true) => (Code::Umsubl, maddl::<false, true> as H),
        (6, true, false) => (Code::Umulh, umulh as H),
        _ => return None,
    };
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        d: ra,
        e: sf.into(),
        ..op(code, run)
    })
}
fn mul<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.b).wrapping_mul(cpu.s.r.get(op.c));
    set::<X>(cpu, op.a, value)
}
fn madd<const X: bool, const SUB: bool>(cpu: &mut C, op: &O) -> Flow {
    let product = cpu.s.r.get(op.b).wrapping_mul(cpu.s.r.get(op.c));
    let a = cpu.s.r.get(op.d);
    let value = if SUB {
        a.wrapping_sub(product)
    } else {
        a.wrapping_add(product)
    };
    set::<X>(cpu, op.a, value)
}
fn maddl<const S: bool, const SUB: bool>(cpu: &mut C, op: &O) -> Flow {
    let (n, m) = (cpu.s.r.get(op.b), cpu.s.r.get(op.c));
    let product = if S {
        i64::from(n as i32).wrapping_mul(i64::from(m as i32)) as u64
    } else {
        u64::from(n as u32).wrapping_mul(u64::from(m as u32))
    };
    let a = cpu.s.r.get(op.d);
    let value = if SUB {
        a.wrapping_sub(product)
    } else {
        a.wrapping_add(product)
    };
    set::<true>(cpu, op.a, value)
}
fn smulh(cpu: &mut C, op: &O) -> Flow {
    let (n, m) = (cpu.s.r.get(op.b) as i64, cpu.s.r.get(op.c) as i64);
    let value = (i128::from(n) * i128::from(m)) >> 64;
    set::<true>(cpu, op.a, value as u64)
}
fn umulh(cpu: &mut C, op: &O) -> Flow {
    let (n, m) = (cpu.s.r.get(op.b), cpu.s.r.get(op.c));
    let value = (u128::from(n) * u128::from(m)) >> 64;
    set::<true>(cpu, op.a, value as u64)
}
