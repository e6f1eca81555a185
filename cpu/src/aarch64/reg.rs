//! Data processing with registers (Arm ARM C4.1.89).

use super::build::*;
use super::regs::{ZERO, dest, source};
use super::{Code, dp3, flags};
use crate::engine::Flow;

pub(super) fn decode(insn: u32) -> Option<O> {
    if !bit(insn, 28) {
        return if !bit(insn, 24) {
            logical(insn)
        } else if !bit(insn, 21) {
            add_sub_shifted(insn)
        } else {
            add_sub_extended(insn)
        };
    }
    match bits(insn, 21, 4) {
        0 => add_sub_carry(insn),
        2 => cond_compare(insn),
        4 => cond_select(insn),
        6 if bit(insn, 30) => dp3::one_source(insn),
        6 => dp3::two_source(insn),
        8.. => dp3::three_source(insn),
        _ => None,
    }
}

/// Shift kinds: none, LSL, LSR, ASR, ROR.
#[inline(always)]
fn shifted<const X: bool, const SHIFT: u8>(cpu: &C, index: u8, by: u8) -> u64 {
    let value = cpu.s.r.get(index);
    if X {
        match SHIFT {
            0 => value,
            1 => value << (by & 63),
            2 => value >> (by & 63),
            3 => (value as i64 >> (by & 63)) as u64,
            _ => value.rotate_right(by.into()),
        }
    } else {
        let value = value as u32;
        u64::from(match SHIFT {
            0 => value,
            1 => value << (by & 31),
            2 => value >> (by & 31),
            3 => (value as i32 >> (by & 31)) as u32,
            _ => value.rotate_right(by.into()),
        })
    }
}

/// Shift kind and amount of an instruction; no shift where the amount is zero.
fn shift_of(insn: u32) -> Option<(u8, u8)> {
    let amount = bits(insn, 10, 6) as u8;
    if !bit(insn, 31) && amount > 31 {
        return None;
    }
    let kind = bits(insn, 22, 2) as u8 + 1;
    Some((if amount == 0 { 0 } else { kind }, amount))
}

fn logical(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let (shift, amount) = shift_of(insn)?;
    let opc = (bits(insn, 29, 2) << 1 | bits(insn, 21, 1)) as u8;
    let (rd, rn, rm) = (
        dest(reg(insn, 0)),
        source(reg(insn, 5)),
        source(reg(insn, 16)),
    );
    if opc == 2 && rn == ZERO && shift == 0 {
        return Some(O {
            a: rd,
            b: rm,
            e: sf.into(),
            ..op(Code::MovReg, choose!(bool sf, X => mov::<X> as H))
        });
    }
    let run = choose!(bool sf, X => choose!(u8 opc, [0, 1, 2, 3, 4, 5, 6, 7], K =>
        choose!(u8 shift, [0, 1, 2, 3, 4], S => logic::<X, K, S> as H)));
    const CODES: [Code; 8] = [
        Code::AndReg,
        Code::BicReg,
        Code::OrrReg,
        Code::OrnReg,
        Code::EorReg,
        Code::EonReg,
        Code::AndsReg,
        Code::BicsReg,
    ];
    Some(O {
        a: rd,
        b: rn,
        c: rm,
        d: amount,
        e: u8::from(sf) | shift << 1,
        ..op(CODES[opc as usize & 7], run)
    })
}
fn mov<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b);
    set::<X>(cpu, op.a, value)
}
fn logic<const X: bool, const K: u8, const S: u8>(cpu: &mut C, op: &O) -> Flow {
    let a = get::<X>(cpu, op.b);
    let b = shifted::<X, S>(cpu, op.c, op.d);
    let b = if K & 1 == 0 { b } else { !b };
    let value = match K >> 1 {
        0 | 3 => a & b,
        1 => a | b,
        _ => a ^ b,
    };
    if K >> 1 == 3 {
        flags::logic::<X>(&mut cpu.s.p, value);
    }
    set::<X>(cpu, op.a, value)
}

/// Add or subtract `b`; `K` is the instruction's op and S bits.
#[inline(always)]
fn add_sub<const X: bool, const K: u8>(cpu: &mut C, op: &O, b: u64) -> Flow {
    let a = get::<X>(cpu, op.b);
    let p = &mut cpu.s.p;
    let value = match K {
        0 => a.wrapping_add(b),
        1 => flags::adds::<X>(p, a, b),
        2 => a.wrapping_sub(b),
        _ => flags::subs::<X>(p, a, b),
    };
    set::<X>(cpu, op.a, value)
}
fn add_shifted<const X: bool, const K: u8, const S: u8>(cpu: &mut C, op: &O) -> Flow {
    let b = shifted::<X, S>(cpu, op.c, op.d);
    add_sub::<X, K>(cpu, op, b)
}
fn add_sub_shifted(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let (shift, amount) = shift_of(insn)?;
    if bits(insn, 22, 2) == 3 {
        return None;
    }
    let kind = bits(insn, 29, 2) as u8;
    let run = choose!(bool sf, X => choose!(u8 kind, [0, 1, 2, 3], K =>
        choose!(u8 shift, [0, 1, 2, 3], S => add_shifted::<X, K, S> as H)));
    const CODES: [Code; 4] = [Code::AddReg, Code::AddsReg, Code::SubReg, Code::SubsReg];
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        d: amount,
        e: u8::from(sf) | shift << 1,
        ..op(CODES[kind as usize & 3], run)
    })
}

/// Extends a register as the option field says, and shifts it left.
#[inline(always)]
pub(super) fn extended<const E: u8>(value: u64, by: u8) -> u64 {
    let value = match E {
        0 => value & 0xff,
        1 => value & 0xffff,
        2 => value & 0xffff_ffff,
        4 => value as i8 as u64,
        5 => value as i16 as u64,
        6 => value as i32 as u64,
        _ => value,
    };
    value << (by & 7)
}
fn add_extended<const X: bool, const K: u8, const E: u8>(cpu: &mut C, op: &O) -> Flow {
    let b = extended::<E>(cpu.s.r.get(op.c), op.d);
    add_sub::<X, K>(cpu, op, b)
}
fn add_sub_extended(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let amount = bits(insn, 10, 3) as u8;
    if bits(insn, 22, 2) != 0 || amount > 4 {
        return None;
    }
    let kind = bits(insn, 29, 2) as u8;
    let option = bits(insn, 13, 3) as u8;
    let run = choose!(bool sf, X => choose!(u8 kind, [0, 1, 2, 3], K =>
        choose!(u8 option, [0, 1, 2, 3, 4, 5, 6, 7], E => add_extended::<X, K, E> as H)));
    const CODES: [Code; 4] = [Code::AddExt, Code::AddsExt, Code::SubExt, Code::SubsExt];
    let rd = reg(insn, 0);
    Some(O {
        a: if kind & 1 != 0 { dest(rd) } else { rd },
        b: reg(insn, 5),
        c: source(reg(insn, 16)),
        d: amount,
        e: u8::from(sf) | option << 1,
        ..op(CODES[kind as usize & 3], run)
    })
}

fn add_sub_carry(insn: u32) -> Option<O> {
    // The other encodings here are RMIF and SETF, which are not there.
    if bits(insn, 10, 6) != 0 {
        return None;
    }
    let sf = bit(insn, 31);
    let kind = bits(insn, 29, 2) as u8;
    let run = choose!(bool sf, X => choose!(u8 kind, [0, 1, 2, 3], K => adc::<X, K> as H));
    const CODES: [Code; 4] = [Code::Adc, Code::Adcs, Code::Sbc, Code::Sbcs];
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        e: sf.into(),
        ..op(CODES[kind as usize & 3], run)
    })
}
fn adc<const X: bool, const K: u8>(cpu: &mut C, op: &O) -> Flow {
    let a = get::<X>(cpu, op.b);
    let b = get::<X>(cpu, op.c);
    let b = if K & 2 == 0 { b } else { !b };
    let value = if K & 1 == 0 {
        a.wrapping_add(b).wrapping_add(cpu.s.p.c)
    } else {
        flags::adcs::<X>(&mut cpu.s.p, a, b)
    };
    set::<X>(cpu, op.a, value)
}

fn cond_compare(insn: u32) -> Option<O> {
    if !bit(insn, 29) || bit(insn, 10) || bit(insn, 4) {
        return None;
    }
    let (sf, negative, imm) = (bit(insn, 31), !bit(insn, 30), bit(insn, 11));
    let run = choose!(bool sf, X => choose!(bool negative, N =>
        choose!(bool imm, I => ccmp::<X, N, I> as H)));
    Some(O {
        b: source(reg(insn, 5)),
        c: if imm {
            reg(insn, 16)
        } else {
            source(reg(insn, 16))
        },
        a: bits(insn, 0, 4) as u8,
        d: bits(insn, 12, 4) as u8,
        e: u8::from(sf) | u8::from(negative) << 1 | u8::from(imm) << 2,
        ..op(Code::CondCompare, run)
    })
}
fn ccmp<const X: bool, const N: bool, const I: bool>(cpu: &mut C, op: &O) -> Flow {
    if flags::holds(&cpu.s.p, op.d) {
        let a = get::<X>(cpu, op.b);
        let b = if I { op.c.into() } else { get::<X>(cpu, op.c) };
        let p = &mut cpu.s.p;
        if N {
            flags::adds::<X>(p, a, b);
        } else {
            flags::subs::<X>(p, a, b);
        }
    } else {
        cpu.s.set_nzcv(u32::from(op.a) << 28);
    }
    Flow::Next
}

fn cond_select(insn: u32) -> Option<O> {
    if bit(insn, 29) || bit(insn, 11) {
        return None;
    }
    let sf = bit(insn, 31);
    let kind = (bits(insn, 30, 1) << 1 | bits(insn, 10, 1)) as u8;
    let cond = bits(insn, 12, 4) as u8;
    let run = choose!(bool sf, X => choose!(u8 kind, [0, 1, 2, 3], K => choose!(
        u8 cond, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], D => csel::<X, K, D> as H)));
    const CODES: [Code; 4] = [Code::Csel, Code::Csinc, Code::Csinv, Code::Csneg];
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        d: cond,
        e: sf.into(),
        ..op(CODES[kind as usize & 3], run)
    })
}
fn csel<const X: bool, const K: u8, const D: u8>(cpu: &mut C, op: &O) -> Flow {
    let yes = get::<X>(cpu, op.b);
    let no = get::<X>(cpu, op.c);
    let no = match K {
        0 => no,
        1 => no.wrapping_add(1),
        2 => !no,
        _ => no.wrapping_neg(),
    };
    let value = if flags::holds(&cpu.s.p, D) { yes } else { no };
    set::<X>(cpu, op.a, value)
}
