//! Data processing with an immediate (Arm ARM C4.1.86).

use super::build::*;
use super::regs::{dest, source};
use super::{Code, flags};
use crate::engine::Flow;

pub(super) fn decode(insn: u32) -> Option<O> {
    match bits(insn, 23, 3) {
        0 | 1 => Some(adr(insn)),
        2 => Some(add_sub(insn)),
        4 => logical(insn),
        5 => mov_wide(insn),
        6 => bitfield(insn),
        7 => extract(insn),
        // 3 is add/subtract with tags (MTE), which is not there.
        _ => None,
    }
}

fn adr(insn: u32) -> O {
    // The offset counts from the instruction; the builder knows where in the
    // block that is, so the handler adds it.
    let imm = sbits(insn, 5, 19) << 2 | i64::from(bits(insn, 29, 2));
    let (code, run, imm) = if bit(insn, 31) {
        (Code::Adrp, adrp as H, imm << 12)
    } else {
        (Code::Adr, adr_run as H, imm)
    };
    O {
        a: dest(reg(insn, 0)),
        imm: imm as u64,
        ..op(code, run)
    }
}
fn adr_run(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.pc_of(op).wrapping_add(op.imm);
    set::<true>(cpu, op.a, value)
}
fn adrp(cpu: &mut C, op: &O) -> Flow {
    // A block lies in one page.
    let value = (cpu.block_va() & !0xfff).wrapping_add(op.imm);
    set::<true>(cpu, op.a, value)
}

fn add_sub(insn: u32) -> O {
    let (sf, sub, s) = (bit(insn, 31), bit(insn, 30), bit(insn, 29));
    let imm = u64::from(bits(insn, 10, 12)) << if bit(insn, 22) { 12 } else { 0 };
    let (code, run) = match (sub, s) {
        (false, false) => (Code::AddImm, choose!(bool sf, X => add::<X> as H)),
        (true, false) => (Code::SubImm, choose!(bool sf, X => sub_imm::<X> as H)),
        (false, true) => (Code::AddsImm, choose!(bool sf, X => adds::<X> as H)),
        (true, true) => (Code::SubsImm, choose!(bool sf, X => subs::<X> as H)),
    };
    let rd = reg(insn, 0);
    O {
        a: if s { dest(rd) } else { rd },
        b: reg(insn, 5),
        e: sf.into(),
        imm,
        ..op(code, run)
    }
}
fn add<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b).wrapping_add(op.imm);
    set::<X>(cpu, op.a, value)
}
fn sub_imm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b).wrapping_sub(op.imm);
    set::<X>(cpu, op.a, value)
}
fn adds<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let a = get::<X>(cpu, op.b);
    let value = flags::adds::<X>(&mut cpu.s.p, a, op.imm);
    set::<X>(cpu, op.a, value)
}
fn subs<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let a = get::<X>(cpu, op.b);
    let value = flags::subs::<X>(&mut cpu.s.p, a, op.imm);
    set::<X>(cpu, op.a, value)
}

/// DecodeBitMasks: the logical immediate, and the masks of the bitfield
/// instructions. `None` for a reserved pattern.
pub(super) fn bit_masks(n: u32, imms: u32, immr: u32, logical: bool) -> Option<(u64, u64)> {
    let pattern = n << 6 | !imms & 0x3f;
    if pattern == 0 {
        return None;
    }
    let len = 31 - pattern.leading_zeros();
    if len == 0 {
        return None;
    }
    let size = 1u32 << len;
    let levels = size - 1;
    if logical && imms & levels == levels {
        return None;
    }
    let s = imms & levels;
    let r = immr & levels;
    let diff = s.wrapping_sub(r) & levels;
    let ones = |n: u32| if n >= 64 { u64::MAX } else { (1u64 << n) - 1 };
    let rotate = |x: u64, by: u32| {
        if by == 0 {
            x
        } else {
            (x >> by | x << (size - by)) & ones(size)
        }
    };
    let replicate = |x: u64| {
        let mut x = x;
        let mut at = size;
        while at < 64 {
            x |= x << at;
            at *= 2;
        }
        x
    };
    let wmask = replicate(rotate(ones(s + 1), r));
    let tmask = replicate(ones(diff + 1));
    Some((wmask, tmask))
}

fn logical(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let n = bits(insn, 22, 1);
    if !sf && n != 0 {
        return None;
    }
    let (mask, _) = bit_masks(n, bits(insn, 10, 6), bits(insn, 16, 6), true)?;
    let mask = if sf { mask } else { mask & 0xffff_ffff };
    let (code, run) = match bits(insn, 29, 2) {
        0 => (Code::AndImm, choose!(bool sf, X => and::<X> as H)),
        1 => (Code::OrrImm, choose!(bool sf, X => orr::<X> as H)),
        2 => (Code::EorImm, choose!(bool sf, X => eor::<X> as H)),
        _ => (Code::AndsImm, choose!(bool sf, X => ands::<X> as H)),
    };
    let rd = reg(insn, 0);
    let rn = reg(insn, 5);
    if code == Code::OrrImm && rn == 31 {
        return Some(constant(rd, mask));
    }
    Some(O {
        a: if code == Code::AndsImm { dest(rd) } else { rd },
        b: source(rn),
        e: sf.into(),
        imm: mask,
        ..op(code, run)
    })
}
fn and<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) & op.imm;
    set::<X>(cpu, op.a, value)
}
fn orr<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) | op.imm;
    set::<X>(cpu, op.a, value)
}
fn eor<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) ^ op.imm;
    set::<X>(cpu, op.a, value)
}
fn ands<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) & op.imm;
    flags::logic::<X>(&mut cpu.s.p, value);
    set::<X>(cpu, op.a, value)
}

/// Sets register index `a` to a constant.
fn constant(a: u8, imm: u64) -> O {
    O {
        a,
        imm,
        ..op(Code::Constant, constant_run)
    }
}
fn constant_run(cpu: &mut C, op: &O) -> Flow {
    set::<true>(cpu, op.a, op.imm)
}

fn mov_wide(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let shift = bits(insn, 21, 2) * 16;
    if !sf && shift > 16 {
        return None;
    }
    let rd = dest(reg(insn, 0));
    let imm = u64::from(bits(insn, 5, 16)) << shift;
    let cut = if sf { u64::MAX } else { 0xffff_ffff };
    match bits(insn, 29, 2) {
        0 => Some(constant(rd, !imm & cut)),
        2 => Some(constant(rd, imm)),
        3 => Some(O {
            a: rd,
            b: source(reg(insn, 0)),
            c: shift as u8,
            e: sf.into(),
            imm,
            ..op(Code::Movk, choose!(bool sf, X => movk::<X> as H))
        }),
        _ => None,
    }
}
fn movk<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) & !(0xffff << (op.c & 63)) | op.imm;
    set::<X>(cpu, op.a, value)
}

fn bitfield(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let n = bits(insn, 22, 1);
    let (immr, imms) = (bits(insn, 16, 6), bits(insn, 10, 6));
    if u32::from(sf) != n || (!sf && (immr | imms) & 0x20 != 0) {
        return None;
    }
    let top = if sf { 63 } else { 31 };
    // UBFM and SBFM: shift left so that the field's top bit is on top, then
    // right to its place.
    let left = top - imms;
    let right = if imms >= immr {
        left + immr
    } else {
        left - (top + 1 - immr)
    };
    let base = O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: left as u8,
        d: right as u8,
        e: sf.into(),
        ..op(Code::Ubfm, undefined)
    };
    let opc = bits(insn, 29, 2);
    let with = |code: Code, run: H| {
        let mut op = base.clone();
        op.code = code as u16;
        op.run.set(run);
        op
    };
    Some(match opc {
        0 => match (left, right) {
            (32, 32) => with(Code::Sxtw, sxtw),
            _ => with(Code::Sbfm, choose!(bool sf, X => sbfm::<X> as H)),
        },
        1 => {
            let (wmask, tmask) = bit_masks(n, imms, immr, false)?;
            let mut op = with(Code::Bfm, choose!(bool sf, X => bfm::<X> as H));
            op.c = immr as u8;
            op.d = source(reg(insn, 0));
            op.imm = wmask & tmask & if sf { u64::MAX } else { 0xffff_ffff };
            op
        }
        2 => match (left, right) {
            (0, _) => with(Code::LsrImm, choose!(bool sf, X => lsr_imm::<X> as H)),
            (_, 0) => with(Code::LslImm, choose!(bool sf, X => lsl_imm::<X> as H)),
            (l, r) if l == r => {
                let mut op = with(Code::AndImm, choose!(bool sf, X => and::<X> as H));
                op.imm = u64::MAX >> (63 - imms);
                op
            }
            _ => with(Code::Ubfm, choose!(bool sf, X => ubfm::<X> as H)),
        },
        _ => return None,
    })
}
fn sxtw(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.b) as i32 as i64 as u64;
    set::<true>(cpu, op.a, value)
}
fn sbfm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = if X {
        ((cpu.s.r.get(op.b) << (op.c & 63)) as i64 >> (op.d & 63)) as u64
    } else {
        (((cpu.s.r.get(op.b) as u32) << (op.c & 31)) as i32 >> (op.d & 31)) as u64
    };
    set::<X>(cpu, op.a, value)
}
fn ubfm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = if X {
        cpu.s.r.get(op.b) << (op.c & 63) >> (op.d & 63)
    } else {
        ((cpu.s.r.get(op.b) as u32) << (op.c & 31) >> (op.d & 31)).into()
    };
    set::<X>(cpu, op.a, value)
}
fn lsr_imm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) >> (op.d & 63);
    set::<X>(cpu, op.a, value)
}
fn lsl_imm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let value = get::<X>(cpu, op.b) << (op.c & 63);
    set::<X>(cpu, op.a, value)
}
fn bfm<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let moved = if X {
        cpu.s.r.get(op.b).rotate_right(op.c.into())
    } else {
        (cpu.s.r.get(op.b) as u32).rotate_right(op.c.into()).into()
    };
    let value = cpu.s.r.get(op.d) & !op.imm | moved & op.imm;
    set::<X>(cpu, op.a, value)
}

fn extract(insn: u32) -> Option<O> {
    let sf = bit(insn, 31);
    let lsb = bits(insn, 10, 6);
    if bits(insn, 29, 2) != 0 || bit(insn, 21) || sf != bit(insn, 22) || (!sf && lsb > 31) {
        return None;
    }
    Some(O {
        a: dest(reg(insn, 0)),
        b: source(reg(insn, 5)),
        c: source(reg(insn, 16)),
        d: lsb as u8,
        e: sf.into(),
        ..op(Code::Extr, choose!(bool sf, X => extr::<X> as H))
    })
}
fn extr<const X: bool>(cpu: &mut C, op: &O) -> Flow {
    let (high, low) = (cpu.s.r.get(op.b), cpu.s.r.get(op.c));
    let value = if X {
        ((u128::from(high) << 64 | u128::from(low)) >> (op.d & 63)) as u64
    } else {
        (high << 32 | low & 0xffff_ffff) >> (op.d & 31)
    };
    set::<X>(cpu, op.a, value)
}
