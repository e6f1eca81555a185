//! Shifts by an immediate.
//!
//! Operands: a = Vd, b = Vn, d = distance.

use super::lanes::{Lane, map, map3, narrow, widen};
use super::ops::*;
use super::three::{FULL, HALF, SCALAR, keep};
use super::{A64Op, Code, new_op};
use crate::engine::{Cpu, Flow, Handler};

use super::super::Aarch64;
use super::super::fp::{QC, fp_on};

fn shift<O: Shift<T>, T: Lane, const SHAPE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let d = cpu.s.v[op.a as usize & 31];
    let mut n = cpu.s.v[op.b as usize & 31];
    let by = u32::from(op.d);
    if O::SATURATES {
        n = keep::<T, SHAPE>(n);
    }
    let mut qc = false;
    let r = map3::<T>(d, n, n, |d, n, _| O::f(d, n, by, &mut qc));
    if O::SATURATES && qc {
        cpu.s.fpsr |= QC;
    }
    cpu.s.v[op.a as usize & 31] = keep::<T, SHAPE>(r);
    Flow::Next
}

/// SHRN and its rounding and saturating forms.
fn shift_narrow<
    D: Lane,
    N: Lane,
    const ROUND: bool,
    const SATURATE: bool,
    const HIGH: bool,
    const ONE: bool,
>(
    cpu: &mut Cpu<Aarch64>,
    op: &A64Op,
) -> Flow {
    fp_on!(cpu);
    let mut n = cpu.s.v[op.b as usize & 31];
    if ONE {
        n &= u128::MAX >> (128 - D::BITS);
    }
    let by = u32::from(op.d);
    let mut qc = false;
    let value = narrow::<D, N>(n, |x| {
        if !ROUND && !SATURATE {
            return N::truncated(x.shr(by).wide());
        }
        let shifted = shift_right(x.wide(), by, ROUND);
        if SATURATE {
            N::saturated(shifted, &mut qc)
        } else {
            N::truncated(shifted)
        }
    });
    if SATURATE && qc {
        cpu.s.fpsr |= QC;
    }
    let d = &mut cpu.s.v[op.a as usize & 31];
    *d = if HIGH {
        u128::from(*d as u64) | u128::from(value) << 64
    } else {
        value.into()
    };
    Flow::Next
}

fn shift_long<N: Lane, D: Lane, const HIGH: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let n = widen::<N, D>(cpu.s.v[op.b as usize & 31], HIGH);
    let by = u32::from(op.d);
    cpu.s.v[op.a as usize & 31] = map::<D>(n, |x| x.shl(by));
    Flow::Next
}

macro_rules! by_shape {
    ($o:ty, $t:ty, $shape:expr) => {
        match $shape {
            HALF => shift::<$o, $t, HALF> as Handler<Aarch64>,
            FULL => shift::<$o, $t, FULL>,
            _ => shift::<$o, $t, SCALAR>,
        }
    };
}
macro_rules! any_size {
    ($o:ty, $size:expr, $shape:expr, [$a:ty, $b:ty, $c:ty, $d:ty]) => {
        match $size {
            0 => by_shape!($o, $a, $shape),
            1 => by_shape!($o, $b, $shape),
            2 => by_shape!($o, $c, $shape),
            _ => by_shape!($o, $d, $shape),
        }
    };
}
macro_rules! either {
    ($o:ty, $size:expr, $shape:expr, $unsigned:expr) => {
        if $unsigned {
            any_size!($o, $size, $shape, [u8, u16, u32, u64])
        } else {
            any_size!($o, $size, $shape, [i8, i16, i32, i64])
        }
    };
}
macro_rules! narrowing_form {
    ($d:ty, $n:ty, $round:expr, $saturate:expr, $form:expr) => {
        match $form {
            HALF => shift_narrow::<$d, $n, $round, $saturate, false, false> as Handler<Aarch64>,
            FULL => shift_narrow::<$d, $n, $round, $saturate, true, false>,
            _ => shift_narrow::<$d, $n, $round, $saturate, false, true>,
        }
    };
}
macro_rules! narrowing {
    ($size:expr, $round:expr, $saturate:expr, $form:expr, [$($d:ty, $n:ty),*]) => {
        narrowing!(@ $size, $round, $saturate, $form, $($d, $n),*)
    };
    (@ $size:expr, $round:expr, $saturate:expr, $form:expr,
     $d0:ty, $n0:ty, $d1:ty, $n1:ty, $d2:ty, $n2:ty) => {
        match ($size, $round) {
            (0, false) => narrowing_form!($d0, $n0, false, $saturate, $form),
            (1, false) => narrowing_form!($d1, $n1, false, $saturate, $form),
            (2, false) => narrowing_form!($d2, $n2, false, $saturate, $form),
            (0, true) => narrowing_form!($d0, $n0, true, $saturate, $form),
            (1, true) => narrowing_form!($d1, $n1, true, $saturate, $form),
            (2, true) => narrowing_form!($d2, $n2, true, $saturate, $form),
            _ => return None,
        }
    };
}

/// Decodes integer shifts by an immediate; bits 22 to 19 are not all zero.
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    let immh = insn >> 19 & 15;
    let encoded = insn >> 16 & 0x7f;
    let size = immh.checked_ilog2()?;
    let unsigned = insn >> 29 & 1 != 0;
    let scalar = insn >> 28 & 1 != 0;
    let shape = if scalar {
        SCALAR
    } else {
        (insn >> 30 & 1) as u8
    };
    let bits = 8u32 << size;
    let right = (2 * bits - encoded) as u8;
    let left = (encoded - bits) as u8;
    let opcode = insn >> 11 & 31;
    let narrowing_opcode = matches!(opcode, 0b10000..=0b10011);
    // Narrowing and widening shapes are named by the narrow side.
    if size == 3 && shape == HALF && !narrowing_opcode {
        return None;
    }
    if scalar && size != 3 && opcode < 0b01100 {
        return None;
    }
    let round = opcode & 1 != 0;
    let (run, by): (Handler<Aarch64>, u8) = match (opcode, unsigned) {
        (0b00000, _) => (either!(Shr, size, shape, unsigned), right),
        (0b00010, _) => (either!(Sra, size, shape, unsigned), right),
        (0b00100, _) => (either!(Rshr, size, shape, unsigned), right),
        (0b00110, _) => (either!(Rsra, size, shape, unsigned), right),
        (0b01000, true) => (any_size!(Sri, size, shape, [u8, u16, u32, u64]), right),
        (0b01010, true) => (any_size!(Sli, size, shape, [u8, u16, u32, u64]), left),
        (0b01010, false) => (any_size!(ShlImm, size, shape, [u8, u16, u32, u64]), left),
        (0b01100, true) => (any_size!(Qshlu, size, shape, [u8, u16, u32, u64]), left),
        (0b01110, _) => (either!(QshlImm, size, shape, unsigned), left),
        (0b10000 | 0b10001, false) if !scalar => (
            narrowing!(size, round, false, shape, [u16, u8, u32, u16, u64, u32]),
            right,
        ),
        (0b10000 | 0b10001, true) => (
            narrowing!(size, round, true, shape, [i16, u8, i32, u16, i64, u32]),
            right,
        ),
        (0b10010 | 0b10011, false) => (
            narrowing!(size, round, true, shape, [i16, i8, i32, i16, i64, i32]),
            right,
        ),
        (0b10010 | 0b10011, true) => (
            narrowing!(size, round, true, shape, [u16, u8, u32, u16, u64, u32]),
            right,
        ),
        (0b10100, _) if !scalar => {
            let run: Handler<Aarch64> = match (size, unsigned, shape) {
                (0, false, HALF) => shift_long::<i8, i16, false>,
                (0, false, _) => shift_long::<i8, i16, true>,
                (0, true, HALF) => shift_long::<u8, u16, false>,
                (0, true, _) => shift_long::<u8, u16, true>,
                (1, false, HALF) => shift_long::<i16, i32, false>,
                (1, false, _) => shift_long::<i16, i32, true>,
                (1, true, HALF) => shift_long::<u16, u32, false>,
                (1, true, _) => shift_long::<u16, u32, true>,
                (2, false, HALF) => shift_long::<i32, i64, false>,
                (2, false, _) => shift_long::<i32, i64, true>,
                (2, true, HALF) => shift_long::<u32, u64, false>,
                (2, true, _) => shift_long::<u32, u64, true>,
                _ => return None,
            };
            (run, left)
        }
        _ => return None,
    };
    let mut op = new_op(Code::Shift, run, insn);
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.d = by;
    Some(op)
}
