//! Integer operations across the lanes of one register, and the scalar ADDP.
//!
//! Operands: a = Vd, b = Vn.

use super::lanes::Lane;
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::Aarch64;
use super::super::fp::fp_on;

const ADD: u8 = 0;
const MAX: u8 = 1;
const MIN: u8 = 2;
const LONG: u8 = 3;

fn across<T: Lane, const KIND: u8, const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let lanes = T::split(cpu.s.v[op.b as usize & 31]);
    let lanes = lanes.as_ref();
    let lanes = if Q { lanes } else { &lanes[..lanes.len() / 2] };
    let start = lanes[0];
    let (value, bits) = match KIND {
        LONG => (lanes.iter().map(|x| x.wide()).sum(), 2 * T::BITS),
        ADD => {
            let sum = lanes.iter().fold(T::default(), |a, &b| a.plus(b));
            (sum.wide(), T::BITS)
        }
        MAX => (lanes.iter().fold(start, |a, &b| a.max(b)).wide(), T::BITS),
        _ => (lanes.iter().fold(start, |a, &b| a.min(b)).wide(), T::BITS),
    };
    let value: i128 = value;
    cpu.s.v[op.a as usize & 31] = value as u128 & (u128::MAX >> (128 - bits));
    Flow::Next
}

fn scalar_addp(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    cpu.s.v[op.a as usize & 31] = (n as u64).wrapping_add((n >> 64) as u64).into();
    Flow::Next
}

macro_rules! sized {
    ($kind:expr, $size:expr, $q:expr, [$a:ty, $b:ty, $c:ty]) => {
        match ($size, $q) {
            (0, false) => across::<$a, $kind, false> as Handler<Aarch64>,
            (0, true) => across::<$a, $kind, true>,
            (1, false) => across::<$b, $kind, false>,
            (1, true) => across::<$b, $kind, true>,
            (2, true) => across::<$c, $kind, true>,
            _ => return None,
        }
    };
}
macro_rules! either {
    ($kind:expr, $size:expr, $q:expr, $unsigned:expr) => {
        if $unsigned {
            sized!($kind, $size, $q, [u8, u16, u32])
        } else {
            sized!($kind, $size, $q, [i8, i16, i32])
        }
    };
}

/// Decodes integer operations across lanes (vector) and ADDP (scalar).
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    let size = insn >> 22 & 3;
    let q = insn >> 30 & 1 != 0;
    let unsigned = insn >> 29 & 1 != 0;
    let opcode = insn >> 12 & 31;
    let run = if insn >> 28 & 1 != 0 {
        if opcode != 0b11011 || unsigned || size != 3 {
            return None;
        }
        scalar_addp
    } else {
        match opcode {
            0b00011 => either!(LONG, size, q, unsigned),
            0b01010 => either!(MAX, size, q, unsigned),
            0b11010 => either!(MIN, size, q, unsigned),
            0b11011 if !unsigned => sized!(ADD, size, q, [u8, u16, u32]),
            _ => return None,
        }
    };
    let mut op = new_op(Code::Across, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    Some(op)
}
