//! Integer operations that change the width of lanes: long, wide and narrowing
//! forms of three registers, of an element, and of two registers.
//!
//! Operands: a = Vd, b = Vn, c = Vm, d = element of Vm where it is one.

use super::lanes::{Lane, narrow, splat, widen};
use super::ops::*;
use super::three::element;
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::Aarch64;
use super::super::fp::{QC, fp_on};
use super::lanes::map3;

/// Both sources are narrow.
const LONG: u8 = 0;
/// The first source is wide.
const WIDE: u8 = 1;
/// The second source is one element.
const ELEMENT: u8 = 2;
/// The result is one lane.
const ONE: u8 = 3;
/// One lane, and the second source is one element.
const ONE_ELEMENT: u8 = 4;

fn long<O: Op3<D>, N: Lane, D: Lane, const KIND: u8, const HIGH: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let mut d = cpu.s.v[op.a as usize & 31];
    let mut n = cpu.s.v[op.b as usize & 31];
    let mut m = cpu.s.v[op.c as usize & 31];
    if KIND != WIDE {
        n = widen::<N, D>(n, HIGH);
    }
    m = if KIND == ELEMENT || KIND == ONE_ELEMENT {
        widen::<N, D>(splat::<N>(m, op.d), false)
    } else {
        widen::<N, D>(m, HIGH)
    };
    let one = u128::MAX >> (128 - D::BITS);
    if KIND == ONE || KIND == ONE_ELEMENT {
        (d, n) = (d & one, n & one);
    }
    let mut qc = false;
    let mut r = map3::<D>(d, n, m, |d, n, m| O::f(d, n, m, &mut qc));
    if KIND == ONE || KIND == ONE_ELEMENT {
        r &= one;
    }
    if O::SATURATES && qc {
        cpu.s.fpsr |= QC;
    }
    cpu.s.v[op.a as usize & 31] = r;
    Flow::Next
}

#[inline(always)]
fn set_narrow<const HIGH: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op, value: u64) {
    let d = &mut cpu.s.v[op.a as usize & 31];
    *d = if HIGH {
        u128::from(*d as u64) | u128::from(value) << 64
    } else {
        value.into()
    };
}

/// ADDHN, SUBHN and their rounding forms.
fn high_narrow<O: Op3<D>, D: Lane, N: Lane, const ROUND: bool, const HIGH: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let r = map3::<D>(n, n, m, |_, n, m| O::f(n, n, m, &mut false));
    let half = if ROUND { 1i128 << (N::BITS - 1) } else { 0 };
    let value = narrow::<D, N>(r, |x| N::truncated((x.wide() + half) >> N::BITS));
    set_narrow::<HIGH>(cpu, op, value);
    Flow::Next
}

/// XTN, SQXTN, UQXTN, SQXTUN.
fn extract<D: Lane, N: Lane, const SATURATE: bool, const HIGH: bool, const SCALAR: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let mut n = cpu.s.v[op.b as usize & 31];
    if SCALAR {
        n &= u128::MAX >> (128 - D::BITS);
    }
    let mut qc = false;
    let value = narrow::<D, N>(n, |x| {
        if SATURATE {
            N::saturated(x.wide(), &mut qc)
        } else {
            N::truncated(x.wide())
        }
    });
    if SATURATE && qc {
        cpu.s.fpsr |= QC;
    }
    set_narrow::<HIGH>(cpu, op, value);
    Flow::Next
}

/// SHLL: shifted left by the width of a source lane.
fn shll<N: Lane, D: Lane, const HIGH: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = widen::<N, D>(cpu.s.v[op.b as usize & 31], HIGH);
    cpu.s.v[op.a as usize & 31] = super::lanes::map::<D>(n, |x| x.shl(N::BITS));
    Flow::Next
}

/// SADDLP, UADDLP, SADALP, UADALP.
fn add_pairs<N: Lane, D: Lane, const ACCUMULATE: bool, const Q: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let n = N::split(cpu.s.v[op.b as usize & 31]);
    let old = cpu.s.v[op.a as usize & 31];
    let mut d = D::split(if ACCUMULATE { old } else { 0 });
    for (to, from) in d.as_mut().iter_mut().zip(n.as_ref().as_chunks::<2>().0) {
        *to = to.plus(D::truncated(from[0].wide() + from[1].wide()));
    }
    let r = D::join(d);
    cpu.s.v[op.a as usize & 31] = if Q { r } else { r & u128::from(u64::MAX) };
    Flow::Next
}

macro_rules! by_half {
    ($f:ident, [$($t:ty),*], $kind:expr, $high:expr) => {
        if $high {
            $f::<$($t,)* $kind, true> as Handler<Aarch64>
        } else {
            $f::<$($t,)* $kind, false>
        }
    };
}
macro_rules! long_size {
    ($o:ty, $size:expr, $unsigned:expr, $kind:expr, $high:expr) => {
        match ($size, $unsigned) {
            (0, false) => by_half!(long, [$o, i8, i16], $kind, $high),
            (0, true) => by_half!(long, [$o, u8, u16], $kind, $high),
            (1, false) => by_half!(long, [$o, i16, i32], $kind, $high),
            (1, true) => by_half!(long, [$o, u16, u32], $kind, $high),
            (2, false) => by_half!(long, [$o, i32, i64], $kind, $high),
            (2, true) => by_half!(long, [$o, u32, u64], $kind, $high),
            _ => return None,
        }
    };
}
macro_rules! doubling {
    ($o:ty, $size:expr, $kind:expr, $high:expr) => {
        match $size {
            1 => by_half!(long, [$o, i16, i32], $kind, $high),
            2 => by_half!(long, [$o, i32, i64], $kind, $high),
            _ => return None,
        }
    };
}
macro_rules! high {
    ($o:ty, $size:expr, $round:expr, $high:expr) => {
        match ($size, $round) {
            (0, false) => by_half!(high_narrow, [$o, u16, u8], false, $high),
            (1, false) => by_half!(high_narrow, [$o, u32, u16], false, $high),
            (2, false) => by_half!(high_narrow, [$o, u64, u32], false, $high),
            (0, true) => by_half!(high_narrow, [$o, u16, u8], true, $high),
            (1, true) => by_half!(high_narrow, [$o, u32, u16], true, $high),
            (2, true) => by_half!(high_narrow, [$o, u64, u32], true, $high),
            _ => return None,
        }
    };
}

fn with_operands(code: Code, run: Handler<Aarch64>, insn: u32) -> A64Op {
    let mut op = new_op(code, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.c = (insn >> 16) as u8 & 31;
    op
}

/// Three registers of different shapes, vector and scalar.
pub(super) fn different(insn: u32) -> Option<A64Op> {
    let size = insn >> 22 & 3;
    let unsigned = insn >> 29 & 1 != 0;
    let high = insn >> 30 & 1 != 0;
    let opcode = insn >> 12 & 15;
    if insn >> 28 & 1 != 0 {
        // Scalar: bit 30 is part of the encoding.
        let run: Handler<Aarch64> = match (opcode, unsigned) {
            (0b1001, false) => doubling!(Qdmlal, size, ONE, false),
            (0b1011, false) => doubling!(Qdmlsl, size, ONE, false),
            (0b1101, false) => doubling!(Qdmull, size, ONE, false),
            _ => return None,
        };
        return Some(with_operands(Code::Long, run, insn));
    }
    let run: Handler<Aarch64> = match (opcode, unsigned) {
        (0b0000, _) => long_size!(Add, size, unsigned, LONG, high),
        (0b0001, _) => long_size!(Add, size, unsigned, WIDE, high),
        (0b0010, _) => long_size!(Sub, size, unsigned, LONG, high),
        (0b0011, _) => long_size!(Sub, size, unsigned, WIDE, high),
        (0b0100, _) => high!(Add, size, unsigned, high),
        (0b0101, _) => long_size!(Aba, size, unsigned, LONG, high),
        (0b0110, _) => high!(Sub, size, unsigned, high),
        (0b0111, _) => long_size!(Abd, size, unsigned, LONG, high),
        (0b1000, _) => long_size!(Mla, size, unsigned, LONG, high),
        (0b1010, _) => long_size!(Mls, size, unsigned, LONG, high),
        (0b1100, _) => long_size!(Mul, size, unsigned, LONG, high),
        (0b1001, false) => doubling!(Qdmlal, size, LONG, high),
        (0b1011, false) => doubling!(Qdmlsl, size, LONG, high),
        (0b1101, false) => doubling!(Qdmull, size, LONG, high),
        // The 64-bit product belongs to the AES extension, which is hidden.
        (0b1110, false) if size == 0 => by_half!(long, [Pmul, u8, u16], LONG, high),
        _ => return None,
    };
    Some(with_operands(Code::Long, run, insn))
}

/// Long operations by element, vector and scalar.
pub(super) fn by_element(insn: u32) -> Option<A64Op> {
    let size = insn >> 22 & 3;
    let unsigned = insn >> 29 & 1 != 0;
    let high = insn >> 30 & 1 != 0;
    let opcode = insn >> 12 & 15;
    if size != 1 && size != 2 {
        return None;
    }
    let run: Handler<Aarch64> = if insn >> 28 & 1 != 0 {
        match (opcode, unsigned) {
            (0b0011, false) => doubling!(Qdmlal, size, ONE_ELEMENT, false),
            (0b0111, false) => doubling!(Qdmlsl, size, ONE_ELEMENT, false),
            (0b1011, false) => doubling!(Qdmull, size, ONE_ELEMENT, false),
            _ => return None,
        }
    } else {
        match (opcode, unsigned) {
            (0b0010, _) => long_size!(Mla, size, unsigned, ELEMENT, high),
            (0b0110, _) => long_size!(Mls, size, unsigned, ELEMENT, high),
            (0b1010, _) => long_size!(Mul, size, unsigned, ELEMENT, high),
            (0b0011, false) => doubling!(Qdmlal, size, ELEMENT, high),
            (0b0111, false) => doubling!(Qdmlsl, size, ELEMENT, high),
            (0b1011, false) => doubling!(Qdmull, size, ELEMENT, high),
            _ => return None,
        }
    };
    let mut op = with_operands(Code::LongElement, run, insn);
    (op.d, op.c) = element(insn, size);
    Some(op)
}

/// Two registers where the width changes.
pub(super) fn misc(insn: u32) -> Option<A64Op> {
    let size = insn >> 22 & 3;
    let unsigned = insn >> 29 & 1 != 0;
    let scalar = insn >> 28 & 1 != 0;
    let q = insn >> 30 & 1 != 0;
    macro_rules! pairs {
        ($accumulate:expr) => {
            match (size, unsigned) {
                (0, false) => by_half!(add_pairs, [i8, i16], $accumulate, q),
                (0, true) => by_half!(add_pairs, [u8, u16], $accumulate, q),
                (1, false) => by_half!(add_pairs, [i16, i32], $accumulate, q),
                (1, true) => by_half!(add_pairs, [u16, u32], $accumulate, q),
                (2, false) => by_half!(add_pairs, [i32, i64], $accumulate, q),
                (2, true) => by_half!(add_pairs, [u32, u64], $accumulate, q),
                _ => return None,
            }
        };
    }
    macro_rules! narrowing {
        ($d:ty, $n:ty, $saturate:expr) => {
            match (scalar, q) {
                (true, _) => extract::<$d, $n, $saturate, false, true> as Handler<Aarch64>,
                (_, true) => extract::<$d, $n, $saturate, true, false>,
                (_, false) => extract::<$d, $n, $saturate, false, false>,
            }
        };
    }
    let run: Handler<Aarch64> = match (insn >> 12 & 31, unsigned, size) {
        (0b00010, _, _) if !scalar => pairs!(false),
        (0b00110, _, _) if !scalar => pairs!(true),
        (0b10010, false, 0) if !scalar => narrowing!(u16, u8, false),
        (0b10010, false, 1) if !scalar => narrowing!(u32, u16, false),
        (0b10010, false, 2) if !scalar => narrowing!(u64, u32, false),
        (0b10010, true, 0) => narrowing!(i16, u8, true),
        (0b10010, true, 1) => narrowing!(i32, u16, true),
        (0b10010, true, 2) => narrowing!(i64, u32, true),
        (0b10100, false, 0) => narrowing!(i16, i8, true),
        (0b10100, false, 1) => narrowing!(i32, i16, true),
        (0b10100, false, 2) => narrowing!(i64, i32, true),
        (0b10100, true, 0) => narrowing!(u16, u8, true),
        (0b10100, true, 1) => narrowing!(u32, u16, true),
        (0b10100, true, 2) => narrowing!(u64, u32, true),
        (0b10011, true, 0) if !scalar && q => shll::<u8, u16, true>,
        (0b10011, true, 0) if !scalar => shll::<u8, u16, false>,
        (0b10011, true, 1) if !scalar && q => shll::<u16, u32, true>,
        (0b10011, true, 1) if !scalar => shll::<u16, u32, false>,
        (0b10011, true, 2) if !scalar && q => shll::<u32, u64, true>,
        (0b10011, true, 2) if !scalar => shll::<u32, u64, false>,
        _ => return None,
    };
    let mut op = with_operands(Code::TwoWide, run, insn);
    op.c = 0;
    Some(op)
}
