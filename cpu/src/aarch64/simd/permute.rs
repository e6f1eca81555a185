//! Moves of lanes within and between registers: EXT, ZIP, UZP, TRN, TBL, TBX,
//! REV.
//!
//! Operands: a = Vd, b = Vn, c = Vm, d = byte position or number of registers.

use super::lanes::Lane;
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::Aarch64;
use super::super::fp::fp_on;

const LOW: u128 = u64::MAX as u128;

fn ext<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let by = u32::from(op.d) * 8;
    cpu.s.v[op.a as usize & 31] = if !Q {
        (n & LOW | m << 64) >> (by & 63) & LOW
    } else if by == 0 {
        n
    } else {
        n >> (by & 127) | m << ((128 - by) & 127)
    };
    Flow::Next
}

const UZP1: u8 = 1;
const TRN1: u8 = 2;
const ZIP1: u8 = 3;
const UZP2: u8 = 5;
const TRN2: u8 = 6;

fn permute<T: Lane, const KIND: u8, const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = T::split(cpu.s.v[op.b as usize & 31]);
    let m = T::split(cpu.s.v[op.c as usize & 31]);
    let (n, m) = (n.as_ref(), m.as_ref());
    let mut out = T::split(0);
    let to = out.as_mut();
    let count = if Q { n.len() } else { n.len() / 2 };
    let half = count / 2;
    for i in 0..half {
        match KIND {
            UZP1 | UZP2 => {
                let odd = usize::from(KIND == UZP2);
                to[i] = n[2 * i + odd];
                to[half + i] = m[2 * i + odd];
            }
            TRN1 | TRN2 => {
                let odd = usize::from(KIND == TRN2);
                to[2 * i] = n[2 * i + odd];
                to[2 * i + 1] = m[2 * i + odd];
            }
            _ => {
                let from = if KIND == ZIP1 { i } else { half + i };
                to[2 * i] = n[from];
                to[2 * i + 1] = m[from];
            }
        }
    }
    cpu.s.v[op.a as usize & 31] = T::join(out);
    Flow::Next
}

macro_rules! kinds {
    ($t:ty, $q:expr, $kind:expr) => {
        match $kind {
            1 => permute::<$t, 1, $q> as Handler<Aarch64>,
            2 => permute::<$t, 2, $q>,
            3 => permute::<$t, 3, $q>,
            5 => permute::<$t, 5, $q>,
            6 => permute::<$t, 6, $q>,
            7 => permute::<$t, 7, $q>,
            _ => return None,
        }
    };
}

/// TBL, TBX. `d` is the number of table registers, `e` is 1 for TBX.
fn table<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let mut bytes = [0u8; 64];
    let count = usize::from(op.d.min(4));
    for (i, to) in bytes.as_chunks_mut::<16>().0[..count]
        .iter_mut()
        .enumerate()
    {
        *to = cpu.s.v[(op.b as usize + i) & 31].to_le_bytes();
    }
    let index = cpu.s.v[op.c as usize & 31].to_le_bytes();
    let mut out = match op.e {
        0 => [0; 16],
        _ => cpu.s.v[op.a as usize & 31].to_le_bytes(),
    };
    for (to, &i) in out.iter_mut().zip(&index) {
        if usize::from(i) < count * 16 {
            *to = bytes[usize::from(i) & 63];
        }
    }
    let r = u128::from_le_bytes(out);
    cpu.s.v[op.a as usize & 31] = if Q { r } else { r & LOW };
    Flow::Next
}

/// REV16, REV32, REV64: lanes of `d` bits in reverse within groups of `e` bits.
fn reverse(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let mut v = cpu.s.v[op.b as usize & 31];
    let mut by = u32::from(op.d);
    // Swap neighbours, then pairs, up to the size of a group.
    while by < u32::from(op.e) && by < 64 {
        let mut mask = (1u128 << by) - 1;
        let mut width = 2 * by;
        while width < 128 {
            mask |= mask << width;
            width *= 2;
        }
        v = v >> by & mask | (v & mask) << by;
        by *= 2;
    }
    cpu.s.v[op.a as usize & 31] = if op.c != 0 { v } else { v & LOW };
    Flow::Next
}

fn operands(code: Code, run: Handler<Aarch64>, insn: u32) -> A64Op {
    let mut op = new_op(code, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.c = (insn >> 16) as u8 & 31;
    op
}

/// Decodes EXT, TBL, TBX, ZIP, UZP and TRN (bit 21 is 0).
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    let q = insn >> 30 & 1 != 0;
    let size = insn >> 22 & 3;
    if insn >> 29 & 1 != 0 {
        let position = insn >> 11 & 15;
        if size != 0 || insn >> 10 & 1 != 0 || (!q && position > 7) {
            return None;
        }
        let run = if q { ext::<true> } else { ext::<false> };
        let mut op = operands(Code::Ext, run, insn);
        op.d = position as u8;
        return Some(op);
    }
    if insn >> 10 & 3 == 0 {
        if size != 0 {
            return None;
        }
        let run = if q { table::<true> } else { table::<false> };
        let mut op = operands(Code::Table, run, insn);
        op.d = (insn >> 13) as u8 & 3;
        op.d += 1;
        op.e = (insn >> 12) as u8 & 1;
        return Some(op);
    }
    let kind = insn >> 12 & 7;
    let run = match (size, q) {
        (0, false) => kinds!(u8, false, kind),
        (0, true) => kinds!(u8, true, kind),
        (1, false) => kinds!(u16, false, kind),
        (1, true) => kinds!(u16, true, kind),
        (2, false) => kinds!(u32, false, kind),
        (2, true) => kinds!(u32, true, kind),
        (3, true) => kinds!(u64, true, kind),
        _ => return None,
    };
    Some(operands(Code::Permute, run, insn))
}

/// Decodes REV16, REV32, REV64 and NOT among the two-register operations.
pub(super) fn misc(insn: u32) -> Option<A64Op> {
    let size = insn >> 22 & 3;
    let group = match (insn >> 12 & 31, insn >> 29 & 1) {
        (0, 0) if size < 3 => 64,
        (0, 1) if size < 2 => 32,
        (1, 0) if size < 1 => 16,
        _ => return None,
    };
    let mut op = operands(Code::Reverse, reverse, insn);
    op.c = (insn >> 30) as u8 & 1;
    op.d = 8 << size;
    op.e = group;
    Some(op)
}

fn not<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let r = !cpu.s.v[op.b as usize & 31];
    cpu.s.v[op.a as usize & 31] = if Q { r } else { r & LOW };
    Flow::Next
}

/// Decodes NOT (MVN).
pub(super) fn decode_not(insn: u32) -> Option<A64Op> {
    if insn & 0xbfff_fc00 != 0x2e20_5800 {
        return None;
    }
    let q = insn >> 30 & 1 != 0;
    let run = if q { not::<true> } else { not::<false> };
    let mut op = operands(Code::Not, run, insn);
    op.c = 0;
    Some(op)
}
