//! Integer operations lane by lane: three registers of the same shape, two
//! registers, and by element.
//!
//! Operands: a = Vd, b = Vn, c = Vm, d = element of Vm where it is one.

use super::lanes::{Lane, map3, pairs, splat};
use super::ops::*;
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::Aarch64;
use super::super::fp::{QC, fp_on};

/// Shapes of a vector: 64 bits, 128 bits, one lane.
pub(super) const HALF: u8 = 0;
pub(super) const FULL: u8 = 1;
pub(super) const SCALAR: u8 = 2;

/// Keeps what a result of this shape holds.
#[inline(always)]
pub(super) fn keep<T: Lane, const SHAPE: u8>(v: u128) -> u128 {
    match SHAPE {
        HALF => v & u128::from(u64::MAX),
        FULL => v,
        _ => v & (u128::MAX >> (128 - T::BITS)),
    }
}

fn three<O: Op3<T>, T: Lane, const SHAPE: u8, const ELEMENT: bool>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let d = cpu.s.v[op.a as usize & 31];
    let mut n = cpu.s.v[op.b as usize & 31];
    let mut m = cpu.s.v[op.c as usize & 31];
    if ELEMENT {
        m = splat::<T>(m, op.d);
    }
    if O::SATURATES {
        // Lanes outside must not saturate.
        n = keep::<T, SHAPE>(n);
        m = keep::<T, SHAPE>(m);
    }
    let d = if O::SATURATES { keep::<T, SHAPE>(d) } else { d };
    let mut qc = false;
    let r = map3::<T>(d, n, m, |d, n, m| O::f(d, n, m, &mut qc));
    if O::SATURATES && qc {
        cpu.s.fpsr |= QC;
    }
    cpu.s.v[op.a as usize & 31] = keep::<T, SHAPE>(r);
    Flow::Next
}

fn pairwise<O: Op3<T>, T: Lane, const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let f = |x: T, y: T| O::f(T::default(), x, y, &mut false);
    cpu.s.v[op.a as usize & 31] = pairs::<T>(n, m, Q, f);
    Flow::Next
}

/// Bitwise operations, by U and size.
const AND: u8 = 0;
const BIC: u8 = 1;
const ORR: u8 = 2;
const ORN: u8 = 3;
const EOR: u8 = 4;
const BSL: u8 = 5;
const BIT: u8 = 6;
const BIF: u8 = 7;

fn logic<const OP: u8, const Q: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let d = cpu.s.v[op.a as usize & 31];
    let n = cpu.s.v[op.b as usize & 31];
    let m = cpu.s.v[op.c as usize & 31];
    let r = match OP {
        AND => n & m,
        BIC => n & !m,
        ORR => n | m,
        ORN => n | !m,
        EOR => n ^ m,
        BSL => m ^ (m ^ n) & d,
        BIT => d ^ (d ^ n) & m,
        _ => d ^ (d ^ n) & !m,
    };
    cpu.s.v[op.a as usize & 31] = if Q { r } else { r & u128::from(u64::MAX) };
    Flow::Next
}

macro_rules! by_shape {
    ($o:ty, $t:ty, $shape:expr, $element:expr) => {
        match $shape {
            HALF => three::<$o, $t, HALF, $element> as Handler<Aarch64>,
            FULL => three::<$o, $t, FULL, $element>,
            _ => three::<$o, $t, SCALAR, $element>,
        }
    };
}
/// Vector or one 64-bit lane.
macro_rules! by_vector_shape {
    ($o:ty, $t:ty, $q:expr) => {
        if $q {
            three::<$o, $t, FULL, false> as Handler<Aarch64>
        } else {
            three::<$o, $t, HALF, false>
        }
    };
}
/// All lane sizes; a scalar has 64 bits, which is the shape HALF.
macro_rules! any_size {
    ($o:ty, $size:expr, $q:expr, [$a:ty, $b:ty, $c:ty, $d:ty]) => {
        match $size {
            0 => by_vector_shape!($o, $a, $q),
            1 => by_vector_shape!($o, $b, $q),
            2 => by_vector_shape!($o, $c, $q),
            _ => by_vector_shape!($o, $d, $q),
        }
    };
}
/// All lane sizes in all shapes.
macro_rules! any_shape {
    ($o:ty, $size:expr, $shape:expr, [$a:ty, $b:ty, $c:ty, $d:ty]) => {
        match $size {
            0 => by_shape!($o, $a, $shape, false),
            1 => by_shape!($o, $b, $shape, false),
            2 => by_shape!($o, $c, $shape, false),
            _ => by_shape!($o, $d, $shape, false),
        }
    };
}
/// By signedness.
macro_rules! either {
    ($macro:ident, $o:ty, $size:expr, $x:expr, $unsigned:expr) => {
        if $unsigned {
            $macro!($o, $size, $x, [u8, u16, u32, u64])
        } else {
            $macro!($o, $size, $x, [i8, i16, i32, i64])
        }
    };
}
macro_rules! pair_size {
    ($o:ty, $size:expr, $q:expr, [$a:ty, $b:ty, $c:ty, $d:ty]) => {
        match ($size, $q) {
            (0, true) => pairwise::<$o, $a, true> as Handler<Aarch64>,
            (0, false) => pairwise::<$o, $a, false>,
            (1, true) => pairwise::<$o, $b, true>,
            (1, false) => pairwise::<$o, $b, false>,
            (2, true) => pairwise::<$o, $c, true>,
            (2, false) => pairwise::<$o, $c, false>,
            (_, true) => pairwise::<$o, $d, true>,
            (_, false) => pairwise::<$o, $d, false>,
        }
    };
}

fn logic_handler(kind: u32, q: bool) -> Handler<Aarch64> {
    match (kind as u8, q) {
        (AND, true) => logic::<AND, true>,
        (AND, false) => logic::<AND, false>,
        (BIC, true) => logic::<BIC, true>,
        (BIC, false) => logic::<BIC, false>,
        (ORR, true) => logic::<ORR, true>,
        (ORR, false) => logic::<ORR, false>,
        (ORN, true) => logic::<ORN, true>,
        (ORN, false) => logic::<ORN, false>,
        (EOR, true) => logic::<EOR, true>,
        (EOR, false) => logic::<EOR, false>,
        (BSL, true) => logic::<BSL, true>,
        (BSL, false) => logic::<BSL, false>,
        (BIT, true) => logic::<BIT, true>,
        (BIT, false) => logic::<BIT, false>,
        (_, true) => logic::<BIF, true>,
        (_, false) => logic::<BIF, false>,
    }
}

fn three_op(run: Handler<Aarch64>, insn: u32) -> Option<A64Op> {
    let mut op = new_op(Code::Three, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.c = (insn >> 16) as u8 & 31;
    Some(op)
}

/// The fields that all of these share: size, U, shape.
fn fields(insn: u32) -> (u32, bool, u8) {
    let shape = if insn >> 28 & 1 != 0 {
        SCALAR
    } else {
        (insn >> 30 & 1) as u8
    };
    (insn >> 22 & 3, insn >> 29 & 1 != 0, shape)
}

/// Three registers of the same shape, integer opcodes (below 0b11000).
pub(super) fn same(insn: u32) -> Option<A64Op> {
    let (size, unsigned, shape) = fields(insn);
    let opcode = insn >> 11 & 31;
    let q = shape == FULL;
    if shape == HALF && size == 3 && opcode != 0b00011 {
        return None;
    }
    let long = size == 3;
    // Without saturation a scalar is one 64-bit lane.
    let lane = shape != SCALAR || long;
    let vector = shape != SCALAR;
    let run = match opcode {
        0b00000 if vector && !long => either!(any_size, Hadd, size, q, unsigned),
        0b00001 => either!(any_shape, Qadd, size, shape, unsigned),
        0b00010 if vector && !long => either!(any_size, Rhadd, size, q, unsigned),
        0b00011 if vector => logic_handler(size | u32::from(unsigned) << 2, q),
        0b00100 if vector && !long => either!(any_size, Hsub, size, q, unsigned),
        0b00101 => either!(any_shape, Qsub, size, shape, unsigned),
        0b00110 if lane => either!(any_size, Gt, size, q, unsigned),
        0b00111 if lane => either!(any_size, Ge, size, q, unsigned),
        0b01000 if lane => either!(any_size, Shl, size, q, unsigned),
        0b01001 => either!(any_shape, Qshl, size, shape, unsigned),
        0b01010 if lane => either!(any_size, Rshl, size, q, unsigned),
        0b01011 => either!(any_shape, Qrshl, size, shape, unsigned),
        0b01100 if vector && !long => either!(any_size, Max, size, q, unsigned),
        0b01101 if vector && !long => either!(any_size, Min, size, q, unsigned),
        0b01110 if vector && !long => either!(any_size, Abd, size, q, unsigned),
        0b01111 if vector && !long => either!(any_size, Aba, size, q, unsigned),
        0b10000 if lane && unsigned => any_size!(Sub, size, q, [u8, u16, u32, u64]),
        0b10000 if lane => any_size!(Add, size, q, [u8, u16, u32, u64]),
        0b10001 if lane && unsigned => any_size!(Eq, size, q, [u8, u16, u32, u64]),
        0b10001 if lane => any_size!(Tst, size, q, [u8, u16, u32, u64]),
        0b10010 if vector && !long && unsigned => any_size!(Mls, size, q, [u8, u16, u32, u64]),
        0b10010 if vector && !long => any_size!(Mla, size, q, [u8, u16, u32, u64]),
        0b10011 if vector && unsigned && size == 0 => by_vector_shape!(Pmul, u8, q),
        0b10011 if vector && !unsigned && !long => any_size!(Mul, size, q, [u8, u16, u32, u64]),
        0b10100 if vector && !long => either!(pair_size, Max, size, q, unsigned),
        0b10101 if vector && !long => either!(pair_size, Min, size, q, unsigned),
        0b10110 => high_half(size, unsigned, shape)?,
        0b10111 if vector && !unsigned => pair_size!(Add, size, q, [u8, u16, u32, u64]),
        _ => return None,
    };
    three_op(run, insn)
}

/// SQDMULH, SQRDMULH.
fn high_half(size: u32, rounding: bool, shape: u8) -> Option<Handler<Aarch64>> {
    Some(match (size, rounding) {
        (1, false) => by_shape!(Qdmulh, i16, shape, false),
        (2, false) => by_shape!(Qdmulh, i32, shape, false),
        (1, true) => by_shape!(Qrdmulh, i16, shape, false),
        (2, true) => by_shape!(Qrdmulh, i32, shape, false),
        _ => return None,
    })
}

/// Number of the element of Vm and the register, for element sizes 1 and 2.
pub(super) fn element(insn: u32, size: u32) -> (u8, u8) {
    let (h, l, m) = (insn >> 11 & 1, insn >> 21 & 1, insn >> 20 & 1);
    let register = insn >> 16 & 15;
    if size == 1 {
        ((h << 2 | l << 1 | m) as u8, register as u8)
    } else {
        ((h << 1 | l) as u8, (register | m << 4) as u8)
    }
}

/// By element, same width: MUL, MLA, MLS, SQDMULH, SQRDMULH.
pub(super) fn by_element(insn: u32) -> Option<A64Op> {
    let (size, unsigned, shape) = fields(insn);
    let vector = shape != SCALAR;
    let q = shape == FULL;
    macro_rules! multiply {
        ($o:ty) => {
            match (size, q) {
                (1, false) => three::<$o, u16, HALF, true> as Handler<Aarch64>,
                (1, true) => three::<$o, u16, FULL, true>,
                (2, false) => three::<$o, u32, HALF, true>,
                (2, true) => three::<$o, u32, FULL, true>,
                _ => return None,
            }
        };
    }
    let run = match (insn >> 12 & 15, unsigned, size) {
        (0b1000, false, _) if vector => multiply!(Mul),
        (0b0000, true, _) if vector => multiply!(Mla),
        (0b0100, true, _) if vector => multiply!(Mls),
        (0b1100, false, 1) => by_shape!(Qdmulh, i16, shape, true),
        (0b1100, false, 2) => by_shape!(Qdmulh, i32, shape, true),
        (0b1101, false, 1) => by_shape!(Qrdmulh, i16, shape, true),
        (0b1101, false, 2) => by_shape!(Qrdmulh, i32, shape, true),
        _ => return None,
    };
    let mut op = three_op(run, insn)?;
    (op.d, op.c) = element(insn, size);
    op.code = Code::Element as u16;
    Some(op)
}

/// Two registers, lane by lane.
pub(super) fn misc(insn: u32) -> Option<A64Op> {
    let (size, unsigned, shape) = fields(insn);
    let q = shape == FULL;
    if shape == HALF && size == 3 {
        return None;
    }
    let long = size == 3;
    let lane = shape != SCALAR || long;
    let vector = shape != SCALAR;
    let run = match (insn >> 12 & 31, unsigned) {
        (0b00011, false) => any_shape!(Suqadd, size, shape, [i8, i16, i32, i64]),
        (0b00011, true) => any_shape!(Usqadd, size, shape, [u8, u16, u32, u64]),
        (0b00100, false) if vector && !long => any_size!(Cls, size, q, [i8, i16, i32, i64]),
        (0b00100, true) if vector && !long => any_size!(Clz, size, q, [u8, u16, u32, u64]),
        (0b00101, false) if vector && size == 0 => by_vector_shape!(Cnt, u8, q),
        (0b00101, true) if vector && size == 1 => by_vector_shape!(Rbit, u8, q),
        (0b00111, false) => any_shape!(Qabs, size, shape, [i8, i16, i32, i64]),
        (0b00111, true) => any_shape!(Qneg, size, shape, [i8, i16, i32, i64]),
        (0b01000, false) if lane => any_size!(Gt0, size, q, [i8, i16, i32, i64]),
        (0b01000, true) if lane => any_size!(Ge0, size, q, [i8, i16, i32, i64]),
        (0b01001, false) if lane => any_size!(Eq0, size, q, [i8, i16, i32, i64]),
        (0b01001, true) if lane => any_size!(Le0, size, q, [i8, i16, i32, i64]),
        (0b01010, false) if lane => any_size!(Lt0, size, q, [i8, i16, i32, i64]),
        (0b01011, false) if lane => any_size!(Abs, size, q, [i8, i16, i32, i64]),
        (0b01011, true) if lane => any_size!(Neg, size, q, [i8, i16, i32, i64]),
        _ => return None,
    };
    let mut op = three_op(run, insn)?;
    op.code = Code::Two as u16;
    op.c = 0;
    Some(op)
}
