//! Loads and stores of two general registers.

use super::Code;
use super::build::*;
use super::ldst::base;
use super::regs::{dest, source};
use crate::access;
use crate::engine::Flow;

/// Index modes, in bits 23 and 24: no-allocate and offset act alike.
const POST: u8 = 1;
const PRE: u8 = 3;

pub(super) fn decode(insn: u32) -> Option<O> {
    let opc = bits(insn, 30, 2);
    let load = bit(insn, 22);
    let index = match bits(insn, 23, 2) as u8 {
        0 => 2,
        other => other,
    };
    // LDPSW has no no-allocate form; STGP is MTE.
    let wide = match (opc, load) {
        (0, _) => false,
        (1, true) if bits(insn, 23, 2) != 0 => false,
        (2, _) => true,
        _ => return None,
    };
    let sp = reg(insn, 5) == 31;
    let scale = if wide { 3 } else { 2 };
    let (code, run) = choose!(bool sp, S => choose!(u8 index, [1, 2, 3], M => match (opc, load) {
        (0, true) => (Code::LoadPair, load_w::<false, S, M> as H),
        (0, false) => (Code::StorePair, store_w::<S, M> as H),
        (1, _) => (Code::LoadPair, load_w::<true, S, M> as H),
        (_, true) => (Code::LoadPair, load_x::<S, M> as H),
        (_, false) => (Code::StorePair, store_x::<S, M> as H),
    }));
    let (t, t2) = (reg(insn, 0), reg(insn, 10));
    Some(O {
        a: if load { dest(t) } else { source(t) },
        b: reg(insn, 5),
        c: if load { dest(t2) } else { source(t2) },
        e: opc as u8 | index << 2,
        disp: (sbits(insn, 15, 7) << scale) as i32,
        ..op(code, run)
    })
}

/// The address of the access, and the base register's new value.
#[inline(always)]
fn address<const S: bool, const M: u8>(cpu: &mut C, op: &O) -> Result<(u64, u64), Flow> {
    let old = base::<S>(cpu, op.b)?;
    let new = old.wrapping_add_signed(op.disp.into());
    Ok((if M == POST { old } else { new }, new))
}
#[inline(always)]
fn write_back<const M: u8>(cpu: &mut C, op: &O, new: u64) {
    if M == POST || M == PRE {
        cpu.s.r.set(op.b, new);
    }
}

fn load_x<const S: bool, const M: u8>(cpu: &mut C, op: &O) -> Flow {
    let (va, new) = access!(address::<S, M>(cpu, op));
    // One look-up for both; devices see two accesses of eight bytes.
    let both = access!(cpu.load::<u128>(va));
    write_back::<M>(cpu, op, new);
    cpu.s.r.set(op.a, both as u64);
    cpu.s.r.set(op.c, (both >> 64) as u64);
    Flow::Next
}
fn store_x<const S: bool, const M: u8>(cpu: &mut C, op: &O) -> Flow {
    let (va, new) = access!(address::<S, M>(cpu, op));
    let both = u128::from(cpu.s.r.get(op.c)) << 64 | u128::from(cpu.s.r.get(op.a));
    access!(cpu.store(va, both));
    write_back::<M>(cpu, op, new);
    Flow::Next
}
fn load_w<const SIGNED: bool, const S: bool, const M: u8>(cpu: &mut C, op: &O) -> Flow {
    let (va, new) = access!(address::<S, M>(cpu, op));
    let first = access!(cpu.load::<u32>(va));
    let second = access!(cpu.load::<u32>(va.wrapping_add(4)));
    write_back::<M>(cpu, op, new);
    let extend = |value: u32| {
        if SIGNED {
            value as i32 as u64
        } else {
            value.into()
        }
    };
    cpu.s.r.set(op.a, extend(first));
    cpu.s.r.set(op.c, extend(second));
    Flow::Next
}
fn store_w<const S: bool, const M: u8>(cpu: &mut C, op: &O) -> Flow {
    let (va, new) = access!(address::<S, M>(cpu, op));
    let (first, second) = (cpu.s.r.get(op.a) as u32, cpu.s.r.get(op.c) as u32);
    // Both must be writable before either is written.
    let mode = cpu.mode();
    if va & 0xfff > 0xff8 {
        access!(cpu.probe_write(va, 8, mode));
    }
    access!(cpu.store(va, first));
    access!(cpu.store(va.wrapping_add(4), second));
    write_back::<M>(cpu, op, new);
    Flow::Next
}
