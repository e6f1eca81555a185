//! Loads and stores of single V registers and pairs (Arm ARM C4.1.66).
//!
//! Operands: a = Vt, b = base (register index), c = Vt2 or index register,
//! d = left shift of the index, imm = offset.

use super::{A64Op, Code, new_op};
use crate::access;
use crate::engine::{Cpu, Flow, Handler, Scalar};

use super::super::fp::fp_on;
use super::super::{Aarch64, regs};

/// Base plus offset, no write-back.
const OFFSET: u8 = 0;
/// Base; base plus offset is written back.
const POST: u8 = 1;
/// Base plus offset, which is written back.
const PRE: u8 = 2;

#[inline(always)]
fn addresses<const MODE: u8>(cpu: &Cpu<Aarch64>, op: &A64Op) -> (u64, u64) {
    let base = cpu.s.r.get(op.b);
    let moved = base.wrapping_add(op.imm);
    (if MODE == POST { base } else { moved }, moved)
}

fn load<T: Scalar, const MODE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let (va, moved) = addresses::<MODE>(cpu, op);
    let value: T = access!(cpu.load(va));
    cpu.s.v[op.a as usize & 31] = value.to_u128();
    if MODE != OFFSET {
        cpu.s.r.set(op.b, moved);
    }
    Flow::Next
}

fn store<T: Scalar, const MODE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let (va, moved) = addresses::<MODE>(cpu, op);
    let value = T::from_u128(cpu.s.v[op.a as usize & 31]);
    access!(cpu.store(va, value));
    if MODE != OFFSET {
        cpu.s.r.set(op.b, moved);
    }
    Flow::Next
}

fn load_pair<T: Scalar, const MODE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let (va, moved) = addresses::<MODE>(cpu, op);
    let first: T = access!(cpu.load(va));
    let second: T = access!(cpu.load(va.wrapping_add(size_of::<T>() as u64)));
    cpu.s.v[op.a as usize & 31] = first.to_u128();
    cpu.s.v[op.c as usize & 31] = second.to_u128();
    if MODE != OFFSET {
        cpu.s.r.set(op.b, moved);
    }
    Flow::Next
}

fn store_pair<T: Scalar, const MODE: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let (va, moved) = addresses::<MODE>(cpu, op);
    let first = T::from_u128(cpu.s.v[op.a as usize & 31]);
    let second = T::from_u128(cpu.s.v[op.c as usize & 31]);
    access!(cpu.store(va, first));
    access!(cpu.store(va.wrapping_add(size_of::<T>() as u64), second));
    if MODE != OFFSET {
        cpu.s.r.set(op.b, moved);
    }
    Flow::Next
}

/// Kinds of index register extension.
const LSL: u8 = 0;
const UXTW: u8 = 1;
const SXTW: u8 = 2;

#[inline(always)]
fn indexed<const EXTEND: u8>(cpu: &Cpu<Aarch64>, op: &A64Op) -> u64 {
    let index = cpu.s.r.get(op.c);
    let index = match EXTEND {
        UXTW => u64::from(index as u32),
        SXTW => index as i32 as u64,
        _ => index,
    };
    cpu.s.r.get(op.b).wrapping_add(index << (op.d & 7))
}

fn load_indexed<T: Scalar, const EXTEND: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let va = indexed::<EXTEND>(cpu, op);
    let value: T = access!(cpu.load(va));
    cpu.s.v[op.a as usize & 31] = value.to_u128();
    Flow::Next
}

fn store_indexed<T: Scalar, const EXTEND: u8>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let va = indexed::<EXTEND>(cpu, op);
    let value = T::from_u128(cpu.s.v[op.a as usize & 31]);
    access!(cpu.store(va, value));
    Flow::Next
}

fn load_literal<T: Scalar>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let va = cpu.pc_of(op).wrapping_add(op.imm);
    let value: T = access!(cpu.load(va));
    cpu.s.v[op.a as usize & 31] = value.to_u128();
    Flow::Next
}

macro_rules! by_mode {
    ($f:ident, $t:ty, $mode:expr) => {
        match $mode {
            OFFSET => $f::<$t, OFFSET> as Handler<Aarch64>,
            POST => $f::<$t, POST>,
            _ => $f::<$t, PRE>,
        }
    };
}

macro_rules! by_size {
    ($f:ident, $by:ident, $size:expr, $x:expr) => {
        match $size {
            0 => $by!($f, u8, $x),
            1 => $by!($f, u16, $x),
            2 => $by!($f, u32, $x),
            3 => $by!($f, u64, $x),
            _ => $by!($f, u128, $x),
        }
    };
}

macro_rules! by_extend {
    ($f:ident, $t:ty, $extend:expr) => {
        match $extend {
            LSL => $f::<$t, LSL> as Handler<Aarch64>,
            UXTW => $f::<$t, UXTW>,
            _ => $f::<$t, SXTW>,
        }
    };
}

/// Decodes loads and stores of one or two V registers.
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    match insn >> 27 & 7 {
        0b101 => pair(insn),
        0b011 if insn >> 24 & 3 == 0 => literal(insn),
        0b111 => single(insn),
        _ => None,
    }
}

fn operands(mut op: A64Op, insn: u32) -> A64Op {
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op
}

fn pair(insn: u32) -> Option<A64Op> {
    let size = match insn >> 30 {
        0 => 2,
        1 => 3,
        2 => 4,
        _ => return None,
    };
    let mode = match insn >> 23 & 7 {
        0 | 2 => OFFSET,
        1 => POST,
        3 => PRE,
        _ => return None,
    };
    let is_load = insn >> 22 & 1 != 0;
    let (code, run) = if is_load {
        (Code::LoadPair, by_size!(load_pair, by_mode, size, mode))
    } else {
        (Code::StorePair, by_size!(store_pair, by_mode, size, mode))
    };
    let mut op = operands(new_op(code, run, insn), insn);
    op.c = (insn >> 10) as u8 & 31;
    let offset = i64::from((insn << 10) as i32 >> 25);
    op.imm = (offset << size) as u64;
    Some(op)
}

fn literal(insn: u32) -> Option<A64Op> {
    let run: Handler<Aarch64> = match insn >> 30 {
        0 => load_literal::<u32>,
        1 => load_literal::<u64>,
        2 => load_literal::<u128>,
        _ => return None,
    };
    let mut op = operands(new_op(Code::LoadLiteral, run, insn), insn);
    op.imm = i64::from((insn << 8) as i32 >> 13 << 2) as u64;
    Some(op)
}

fn single(insn: u32) -> Option<A64Op> {
    let size = match (insn >> 30, insn >> 23 & 1) {
        (size, 0) => size,
        (0, _) => 4,
        _ => return None,
    };
    let is_load = insn >> 22 & 1 != 0;
    let nine = i64::from((insn << 11) as i32 >> 23) as u64;
    let (mode, imm) = if insn >> 24 & 1 != 0 {
        (OFFSET, u64::from(insn >> 10 & 0xfff) << size)
    } else {
        match (insn >> 21 & 1, insn >> 10 & 3) {
            (0, 0) => (OFFSET, nine),
            (0, 1) => (POST, nine),
            (0, 3) => (PRE, nine),
            (1, 2) => return register(insn, size, is_load),
            _ => return None,
        }
    };
    let (code, run) = if is_load {
        (Code::Load, by_size!(load, by_mode, size, mode))
    } else {
        (Code::Store, by_size!(store, by_mode, size, mode))
    };
    let mut op = operands(new_op(code, run, insn), insn);
    op.imm = imm;
    Some(op)
}

fn register(insn: u32, size: u32, is_load: bool) -> Option<A64Op> {
    let extend = match insn >> 13 & 7 {
        2 => UXTW,
        3 | 7 => LSL,
        6 => SXTW,
        _ => return None,
    };
    let (code, run) = if is_load {
        let run = by_size!(load_indexed, by_extend, size, extend);
        (Code::LoadIndexed, run)
    } else {
        let run = by_size!(store_indexed, by_extend, size, extend);
        (Code::StoreIndexed, run)
    };
    let mut op = operands(new_op(code, run, insn), insn);
    op.c = regs::source((insn >> 16) as u8 & 31);
    op.d = if insn >> 12 & 1 != 0 { size as u8 } else { 0 };
    Some(op)
}
