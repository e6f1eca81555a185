//! Moves between registers and lanes: DUP, INS, SMOV, UMOV, MOVI and its
//! relatives.
//!
//! Operands: a = destination, b = source, c = source lane, d = destination
//! lane. A general register is a register index.

use super::lanes::{Lane, repeat, splat};
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::fp::fp_on;
use super::super::{Aarch64, regs};
use super::three::{FULL, HALF, SCALAR, keep};

fn dup_element<T: Lane, const SHAPE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let v = splat::<T>(cpu.s.v[op.b as usize & 31], op.c);
    cpu.s.v[op.a as usize & 31] = keep::<T, SHAPE>(v);
    Flow::Next
}

fn dup_general<T: Lane, const SHAPE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let v = splat::<T>(cpu.s.r.get(op.b).into(), 0);
    cpu.s.v[op.a as usize & 31] = keep::<T, SHAPE>(v);
    Flow::Next
}

fn insert<T: Lane>(cpu: &mut Cpu<Aarch64>, op: &A64Op, x: u128) {
    let shift = (u32::from(op.d) * T::BITS) & 127;
    let mask = (u128::MAX >> (128 - T::BITS)) << shift;
    let v = &mut cpu.s.v[op.a as usize & 31];
    *v = *v & !mask | x << shift & mask;
}

fn ins_element<T: Lane>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let x = cpu.s.v[op.b as usize & 31] >> ((u32::from(op.c) * T::BITS) & 127);
    insert::<T>(cpu, op, x);
    Flow::Next
}

fn ins_general<T: Lane>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let x = cpu.s.r.get(op.b);
    insert::<T>(cpu, op, x.into());
    Flow::Next
}

fn to_general<T: Lane, const X: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let lanes = T::split(cpu.s.v[op.b as usize & 31]);
    let lanes = lanes.as_ref();
    let x = lanes[op.c as usize % lanes.len()].wide();
    let x = if X { x as u64 } else { u64::from(x as u32) };
    cpu.s.r.set(op.a, x);
    Flow::Next
}

macro_rules! shaped {
    ($f:ident, $size:expr, $q:expr) => {
        match ($size, $q) {
            (0, false) => $f::<u8, HALF> as Handler<Aarch64>,
            (0, true) => $f::<u8, FULL>,
            (1, false) => $f::<u16, HALF>,
            (1, true) => $f::<u16, FULL>,
            (2, false) => $f::<u32, HALF>,
            (2, true) => $f::<u32, FULL>,
            (_, false) => $f::<u64, HALF>,
            (_, true) => $f::<u64, FULL>,
        }
    };
}
macro_rules! sized {
    ($f:ident, $size:expr) => {
        match $size {
            0 => $f::<u8> as Handler<Aarch64>,
            1 => $f::<u16>,
            2 => $f::<u32>,
            _ => $f::<u64>,
        }
    };
}

/// Decodes DUP, INS, SMOV and UMOV.
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    let imm5 = insn >> 16 & 31;
    let imm4 = insn >> 11 & 15;
    let size = imm5.trailing_zeros();
    if size > 3 {
        return None;
    }
    let lane = (imm5 >> (size + 1)) as u8;
    let q = insn >> 30 & 1 != 0;
    let (rd, rn) = (insn as u8 & 31, (insn >> 5) as u8 & 31);
    let scalar = insn >> 28 & 1 != 0;
    let is_ins_element = insn >> 29 & 1 != 0;
    let (code, run, a, b, c, d): (Code, Handler<Aarch64>, u8, u8, u8, u8) = if scalar {
        if is_ins_element || imm4 != 0 {
            return None;
        }
        let run: Handler<Aarch64> = match size {
            0 => dup_element::<u8, SCALAR>,
            1 => dup_element::<u16, SCALAR>,
            2 => dup_element::<u32, SCALAR>,
            _ => dup_element::<u64, SCALAR>,
        };
        (Code::Dup, run, rd, rn, lane, 0)
    } else if is_ins_element {
        if !q {
            return None;
        }
        let from = (imm4 >> size) as u8;
        (Code::Ins, sized!(ins_element, size), rd, rn, from, lane)
    } else {
        if (imm4 == 0 || imm4 == 1) && size == 3 && !q {
            return None;
        }
        match imm4 {
            0b0000 => (Code::Dup, shaped!(dup_element, size, q), rd, rn, lane, 0),
            0b0001 => {
                let rn = regs::source(rn);
                (
                    Code::DupGeneral,
                    shaped!(dup_general, size, q),
                    rd,
                    rn,
                    0,
                    0,
                )
            }
            0b0011 if q => {
                let run = sized!(ins_general, size);
                (Code::InsGeneral, run, rd, regs::source(rn), 0, lane)
            }
            0b0101 => {
                let run: Handler<Aarch64> = match (size, q) {
                    (0, false) => to_general::<i8, false>,
                    (1, false) => to_general::<i16, false>,
                    (0, true) => to_general::<i8, true>,
                    (1, true) => to_general::<i16, true>,
                    (2, true) => to_general::<i32, true>,
                    _ => return None,
                };
                (Code::ToGeneral, run, regs::dest(rd), rn, lane, 0)
            }
            0b0111 => {
                let run: Handler<Aarch64> = match (size, q) {
                    (0, false) => to_general::<u8, false>,
                    (1, false) => to_general::<u16, false>,
                    (2, false) => to_general::<u32, false>,
                    (3, true) => to_general::<u64, true>,
                    _ => return None,
                };
                (Code::ToGeneral, run, regs::dest(rd), rn, lane, 0)
            }
            _ => return None,
        }
    };
    let mut op = new_op(code, run, insn);
    (op.a, op.b, op.c, op.d) = (a, b, c, d);
    Some(op)
}

fn movi<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let imm = u128::from(op.imm);
    cpu.s.v[op.a as usize & 31] = if Q { imm | imm << 64 } else { imm };
    Flow::Next
}

fn orr<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let imm = u128::from(op.imm);
    let v = &mut cpu.s.v[op.a as usize & 31];
    *v = if Q {
        *v | imm | imm << 64
    } else {
        (*v | imm) & u128::from(u64::MAX)
    };
    Flow::Next
}

fn bic<const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let imm = u128::from(op.imm);
    let v = &mut cpu.s.v[op.a as usize & 31];
    *v = if Q {
        *v & !(imm | imm << 64)
    } else {
        *v & u128::from(!op.imm)
    };
    Flow::Next
}

/// The constant of a modified immediate (Arm ARM, AdvSIMDExpandImm).
fn expand(imm8: u64, cmode: u32, op: bool) -> Option<u64> {
    let at = |size: u32, shift: u32| repeat(imm8 << shift, size) as u64;
    Some(match cmode {
        0b0000..=0b0111 => at(2, (cmode >> 1) * 8),
        0b1000..=0b1011 => at(1, (cmode >> 1 & 1) * 8),
        0b1100 => repeat(imm8 << 8 | 0xff, 2) as u64,
        0b1101 => repeat(imm8 << 16 | 0xffff, 2) as u64,
        0b1110 if !op => repeat(imm8, 0) as u64,
        0b1110 => (0..8).fold(0, |sum, i| sum | (0xff * (imm8 >> i & 1)) << (8 * i)),
        0b1111 if !op => {
            let single = super::super::fp::expand_imm::<crate::softfloat::F32>(imm8 as u8);
            repeat(single.into(), 2) as u64
        }
        0b1111 => super::super::fp::expand_imm::<crate::softfloat::F64>(imm8 as u8),
        _ => return None,
    })
}

/// Decodes MOVI, MVNI, ORR, BIC and FMOV with an immediate.
pub(super) fn modified_immediate(insn: u32) -> Option<A64Op> {
    let cmode = insn >> 12 & 15;
    let inverted = insn >> 29 & 1 != 0;
    let q = insn >> 30 & 1 != 0;
    if insn >> 11 & 1 != 0 || (cmode == 15 && inverted && !q) {
        return None;
    }
    let imm8 = u64::from(insn >> 16 & 7) << 5 | u64::from(insn >> 5 & 31);
    let mut imm = expand(imm8, cmode, inverted)?;
    let (code, run): (Code, Handler<Aarch64>) = if cmode & 1 != 0 && cmode < 0b1100 {
        match (inverted, q) {
            (false, false) => (Code::OrrImm, orr::<false>),
            (false, true) => (Code::OrrImm, orr::<true>),
            (true, false) => (Code::BicImm, bic::<false>),
            (true, true) => (Code::BicImm, bic::<true>),
        }
    } else {
        if inverted && cmode < 0b1110 {
            imm = !imm;
        }
        (Code::Movi, if q { movi::<true> } else { movi::<false> })
    };
    let mut op = new_op(code, run, insn);
    op.a = insn as u8 & 31;
    op.imm = imm;
    Some(op)
}
