//! Integer operations on V registers, where they are one or two operations of
//! the compiler.

use super::vector::place;
use super::{L, O, get, set};
use crate::aarch64::simd::Code;
use crate::engine::jit::float::cast;
use crate::engine::jit::lanes::{bytes, shuffle};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::I8, types::I8X16, types::I16, types::I16X8, types::I32,
    types::I32X4, types::I64, types::I64X2,
};

const VECTORS: [Type; 4] = [I8X16, I16X8, I32X4, I64X2];
const LANES: [Type; 4] = [I8, I16, I32, I64];

pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    let insn = op.disp as u32;
    let scalar = insn >> 28 & 1 != 0;
    let is = |code: Code| op.code == code as u16;
    if is(Code::Dup) || is(Code::DupGeneral) {
        let size = (insn >> 16 & 31).trailing_zeros() as usize & 3;
        let lane = LANES[size];
        let v = if is(Code::Dup) {
            l.state(lane, place(op.b) + usize::from(op.c & 15) * (1 << size))
        } else {
            let v = get(l, op.b, I64);
            narrow(l, lane, v)
        };
        if scalar {
            set_low(l, op.a, v);
        } else {
            let v = l.b.ins().splat(VECTORS[size], v);
            set_vector(l, op, insn, v);
        }
    } else if is(Code::Ins) || is(Code::InsGeneral) {
        let size = (insn >> 16 & 31).trailing_zeros() as usize & 3;
        let v = if is(Code::Ins) {
            let at = place(op.b) + usize::from(op.c & 15) * (1 << size);
            l.state(LANES[size], at)
        } else {
            let v = get(l, op.b, I64);
            narrow(l, LANES[size], v)
        };
        l.set_state(v, place(op.a) + usize::from(op.d & 15) * (1 << size));
    } else if is(Code::ToGeneral) {
        let size = (insn >> 16 & 31).trailing_zeros() as usize & 3;
        let v = l.state(
            LANES[size],
            place(op.b) + usize::from(op.c & 15) * (1 << size),
        );
        let signed = insn >> 12 & 1 == 0;
        let to = if insn >> 30 & 1 != 0 { I64 } else { I32 };
        let v = match (LANES[size] == to, signed) {
            (true, _) => v,
            (_, true) => l.b.ins().sextend(to, v),
            (_, false) => l.b.ins().uextend(to, v),
        };
        set(l, op.a, v);
    } else if is(Code::Movi) || is(Code::OrrImm) || is(Code::BicImm) {
        let v = l.constant(op.imm);
        let mut v = l.b.ins().splat(I64X2, v);
        if !is(Code::Movi) {
            let old = l.state(I64X2, place(op.a));
            v = if is(Code::OrrImm) {
                l.b.ins().bor(old, v)
            } else {
                l.b.ins().band_not(old, v)
            };
        }
        set_vector(l, op, insn, v);
    } else if scalar {
        return false;
    } else if is(Code::Not) {
        let v = l.state(I8X16, place(op.b));
        let v = l.b.ins().bnot(v);
        set_vector(l, op, insn, v);
    } else if is(Code::Three) {
        let Some(v) = three(l, op, insn) else {
            return false;
        };
        set_vector(l, op, insn, v);
    } else if is(Code::Two) {
        let Some(v) = two(l, op, insn) else {
            return false;
        };
        set_vector(l, op, insn, v);
    } else if is(Code::Shift) {
        return shift(l, op, insn);
    } else if is(Code::Ext) || is(Code::Permute) {
        let n = l.state(I8X16, place(op.b));
        let m = l.state(I8X16, place(op.c));
        let v = if is(Code::Ext) {
            shuffle(&mut l.b, n, m, ext_mask(insn, usize::from(op.d)))
        } else {
            shuffle(&mut l.b, n, m, permute_mask(insn))
        };
        set_vector(l, op, insn, v);
    } else if is(Code::Reverse) {
        let n = l.state(I8X16, place(op.b));
        let (lane, group) = (usize::from(op.d / 8).max(1), usize::from(op.e / 8).max(1));
        let v = shuffle(&mut l.b, n, n, |i| {
            let within = i % group;
            i - within + (group - lane - within / lane * lane) + within % lane
        });
        set_vector(l, op, insn, v);
    } else if is(Code::Across) {
        return across(l, op, insn);
    } else {
        return false;
    }
    true
}

fn is_whole(insn: u32) -> bool {
    insn >> 30 & 1 != 0
}

fn narrow(l: &mut L<'_>, ty: Type, v: Value) -> Value {
    if ty == I64 {
        v
    } else {
        l.b.ins().ireduce(ty, v)
    }
}

fn set_low(l: &mut L<'_>, register: u8, v: Value) {
    super::vector::set_low(l, register, v);
}

/// Sets the destination: 64 bits, the others cleared, or all.
fn set_vector(l: &mut L<'_>, op: &O, insn: u32, v: Value) {
    if is_whole(insn) {
        l.set_state(v, place(op.a));
    } else {
        let v = cast(&mut l.b, I64X2, v);
        let low = l.b.ins().extractlane(v, 0);
        set_low(l, op.a, low);
    }
}

/// The bytes that EXT takes, of two registers.
fn ext_mask(insn: u32, by: usize) -> impl Fn(usize) -> usize {
    let bytes = if is_whole(insn) { 16 } else { 8 };
    move |i| {
        let at = i % bytes + by;
        if at < bytes { at } else { 16 + at - bytes }
    }
}

/// The bytes that ZIP, UZP and TRN take, of two registers.
fn permute_mask(insn: u32) -> impl Fn(usize) -> usize {
    let size = insn >> 22 & 3;
    let (kind, second) = (insn >> 12 & 3, (insn >> 14 & 1) as usize);
    let lane = 1usize << size;
    let half = if is_whole(insn) { 8 } else { 4 } >> size;
    move |i| {
        let (at, byte) = (i / lane % (2 * half), i % lane);
        let (from, other) = match kind {
            // UZP
            1 => (at % half * 2 + second, at / half),
            // TRN
            2 => (at / 2 * 2 + second, at % 2),
            // ZIP
            _ => (at / 2 + second * half, at % 2),
        };
        16 * other + from * lane + byte
    }
}

fn three(l: &mut L<'_>, op: &O, insn: u32) -> Option<Value> {
    let size = (insn >> 22 & 3) as usize;
    let unsigned = insn >> 29 & 1 != 0;
    let opcode = insn >> 11 & 31;
    let ty = if opcode == 3 { I64X2 } else { VECTORS[size] };
    if !matches!(
        opcode,
        3 | 6 | 7 | 0xc | 0xd | 0x10 | 0x11 | 0x12 | 0x13 | 0x14 | 0x15 | 0x17
    ) {
        return None;
    }
    let multiplies = matches!(opcode, 0x12 | 0x13);
    if multiplies && (size == 0 || opcode == 0x13 && unsigned) {
        return None;
    }
    let n = l.state(ty, place(op.b));
    let m = l.state(ty, place(op.c));
    let d = |l: &mut L<'_>| l.state(ty, place(op.a));
    Some(match opcode {
        3 => match (unsigned, size) {
            (false, 0) => l.b.ins().band(n, m),
            (false, 1) => l.b.ins().band_not(n, m),
            (false, 2) => l.b.ins().bor(n, m),
            (false, _) => {
                let not = l.b.ins().bnot(m);
                l.b.ins().bor(n, not)
            }
            (true, 0) => l.b.ins().bxor(n, m),
            (true, select) => {
                // BSL, BIT, BIF: where a bit of the first is set, the second.
                let d = d(l);
                let [by, yes, no] = [[d, n, m], [m, n, d], [m, d, n]][select - 1];
                l.b.ins().bitselect(by, yes, no)
            }
        },
        6 if unsigned => l.b.ins().icmp(IntCC::UnsignedGreaterThan, n, m),
        6 => l.b.ins().icmp(IntCC::SignedGreaterThan, n, m),
        7 if unsigned => l.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, n, m),
        7 => l.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, n, m),
        0xc | 0xd => least_or_most(l, opcode == 0xc, unsigned, n, m),
        0x10 if unsigned => l.b.ins().isub(n, m),
        0x10 => l.b.ins().iadd(n, m),
        0x11 if unsigned => l.b.ins().icmp(IntCC::Equal, n, m),
        0x11 => {
            let both = l.b.ins().band(n, m);
            let zero = splat(l, ty, 0);
            l.b.ins().icmp(IntCC::NotEqual, both, zero)
        }
        0x12 | 0x13 => {
            let product = l.b.ins().imul(n, m);
            let d = (opcode == 0x12).then(|| d(l));
            match d {
                Some(d) if unsigned => l.b.ins().isub(d, product),
                Some(d) => l.b.ins().iadd(d, product),
                None => product,
            }
        }
        _ => {
            // Neighbours: first the even lanes of both, then the odd ones.
            let lane = 1usize << size;
            let half = if is_whole(insn) { 8 } else { 4 } >> size;
            let [n, m] = [n, m].map(|v| bytes(&mut l.b, v));
            let [even, odd] = [0, 1].map(|odd| {
                let v = shuffle(&mut l.b, n, m, |i| {
                    let at = i / lane % (2 * half);
                    16 * (at / half) + (at % half * 2 + odd) * lane + i % lane
                });
                cast(&mut l.b, ty, v)
            });
            match opcode {
                0x17 => l.b.ins().iadd(even, odd),
                _ => least_or_most(l, opcode == 0x14, unsigned, even, odd),
            }
        }
    })
}

fn splat(l: &mut L<'_>, ty: Type, v: i64) -> Value {
    let v = l.b.ins().iconst(ty.lane_type(), v);
    l.b.ins().splat(ty, v)
}

fn least_or_most(l: &mut L<'_>, most: bool, unsigned: bool, n: Value, m: Value) -> Value {
    match (most, unsigned) {
        (true, true) => l.b.ins().umax(n, m),
        (true, false) => l.b.ins().smax(n, m),
        (false, true) => l.b.ins().umin(n, m),
        (false, false) => l.b.ins().smin(n, m),
    }
}

fn two(l: &mut L<'_>, op: &O, insn: u32) -> Option<Value> {
    let ty = VECTORS[(insn >> 22 & 3) as usize];
    let kind = match (insn >> 12 & 31, insn >> 29 & 1) {
        (8, 0) => IntCC::SignedGreaterThan,
        (8, _) => IntCC::SignedGreaterThanOrEqual,
        (9, 0) => IntCC::Equal,
        (9, _) => IntCC::SignedLessThanOrEqual,
        (10, 0) => IntCC::SignedLessThan,
        (11, negate) => {
            let n = l.state(ty, place(op.b));
            return Some(match negate {
                0 => l.b.ins().iabs(n),
                _ => l.b.ins().ineg(n),
            });
        }
        _ => return None,
    };
    let n = l.state(ty, place(op.b));
    let zero = splat(l, ty, 0);
    Some(l.b.ins().icmp(kind, n, zero))
}

fn shift(l: &mut L<'_>, op: &O, insn: u32) -> bool {
    let Some(size) = (insn >> 19 & 15).checked_ilog2() else {
        return false;
    };
    let (size, by) = (size as usize, i64::from(op.d));
    let unsigned = insn >> 29 & 1 != 0;
    let v = match insn >> 11 & 31 {
        kind @ (0 | 2) => {
            let ty = VECTORS[size];
            let n = l.state(ty, place(op.b));
            let bits = i64::from(ty.lane_bits());
            let v = match unsigned {
                true if by >= bits => splat(l, ty, 0),
                true => l.b.ins().ushr_imm(n, by),
                false => l.b.ins().sshr_imm(n, by.min(bits - 1)),
            };
            if kind == 0 {
                v
            } else {
                let d = l.state(ty, place(op.a));
                l.b.ins().iadd(d, v)
            }
        }
        0b01010 if !unsigned => {
            let n = l.state(VECTORS[size], place(op.b));
            l.b.ins().ishl_imm(n, by)
        }
        // SHRN: of each lane the low half, to half of the register.
        0b10000 if !unsigned && size < 3 => {
            let n = l.state(VECTORS[size + 1], place(op.b));
            let n = l.b.ins().ushr_imm(n, by);
            let n = bytes(&mut l.b, n);
            let part = 1usize << size;
            let of = |i: usize| i / part * 2 * part + i % part;
            if is_whole(insn) {
                let d = l.state(I8X16, place(op.a));
                shuffle(&mut l.b, n, d, |i| if i < 8 { 16 + i } else { of(i - 8) })
            } else {
                shuffle(&mut l.b, n, n, |i| of(i % 8))
            }
        }
        // SHLL: of half of the register, to all of it.
        0b10100 if size < 3 => {
            let n = l.state(VECTORS[size], place(op.b));
            let wide = match (unsigned, is_whole(insn)) {
                (true, true) => l.b.ins().uwiden_high(n),
                (true, false) => l.b.ins().uwiden_low(n),
                (false, true) => l.b.ins().swiden_high(n),
                (false, false) => l.b.ins().swiden_low(n),
            };
            let v = l.b.ins().ishl_imm(wide, by);
            l.set_state(v, place(op.a));
            return true;
        }
        _ => return false,
    };
    set_vector(l, op, insn, v);
    true
}

/// The sum or an extreme of all lanes, by halves.
fn across(l: &mut L<'_>, op: &O, insn: u32) -> bool {
    let size = (insn >> 22 & 3) as usize;
    let (opcode, unsigned) = (insn >> 12 & 31, insn >> 29 & 1 != 0);
    if !matches!(opcode, 0b01010 | 0b11010 | 0b11011) || size > 2 {
        return false;
    }
    let ty = VECTORS[size];
    let mut v = l.state(ty, place(op.b));
    let mut half = if is_whole(insn) { 8 } else { 4 };
    while half >= 1 << size {
        let all = bytes(&mut l.b, v);
        let other = shuffle(&mut l.b, all, all, |i| (i + half) % 16);
        let other = cast(&mut l.b, ty, other);
        v = match opcode {
            0b11011 => l.b.ins().iadd(v, other),
            _ => least_or_most(l, opcode == 0b01010, unsigned, v, other),
        };
        half /= 2;
    }
    let v = l.b.ins().extractlane(v, 0);
    set_low(l, op.a, v);
    true
}
