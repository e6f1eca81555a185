//! Branches.

use super::build::*;
use super::regs::source;
use super::{Code, flags};
use crate::engine::Flow;

/// B and BL.
pub(super) fn immediate(insn: u32) -> O {
    let link = bit(insn, 31);
    O {
        imm: (sbits(insn, 0, 26) << 2) as u64,
        e: link.into(),
        ..op(
            if link { Code::Bl } else { Code::B },
            if link { bl as H } else { b as H },
        )
    }
}
// Targets are kept relative to the block's start: see `settle`.
fn b(cpu: &mut C, op: &O) -> Flow {
    cpu.set_pc(cpu.block_va().wrapping_add(op.imm));
    Flow::Jump
}
fn bl(cpu: &mut C, op: &O) -> Flow {
    let link = cpu.next_pc(op);
    cpu.s.r.set(30, link);
    cpu.set_pc(cpu.block_va().wrapping_add(op.imm));
    Flow::Jump
}
#[inline(always)]
fn either(cpu: &mut C, op: &O, taken: bool) -> Flow {
    if taken {
        cpu.set_pc(cpu.block_va().wrapping_add(op.imm));
        Flow::Jump
    } else {
        cpu.set_pc(cpu.next_pc(op));
        Flow::Fall
    }
}

/// B.cond.
pub(super) fn conditional(insn: u32) -> Option<O> {
    if bit(insn, 24) || bit(insn, 4) {
        return None;
    }
    let cond = bits(insn, 0, 4) as u8;
    let run = choose!(u8 cond, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        D => b_cond::<D> as H);
    Some(O {
        d: cond,
        imm: (sbits(insn, 5, 19) << 2) as u64,
        ..op(Code::BCond, run)
    })
}
fn b_cond<const D: u8>(cpu: &mut C, op: &O) -> Flow {
    let taken = flags::holds(&cpu.s.p, D);
    either(cpu, op, taken)
}

/// CBZ and CBNZ.
pub(super) fn compare(insn: u32) -> O {
    let (sf, nonzero) = (bit(insn, 31), bit(insn, 24));
    let run = choose!(bool sf, X => choose!(bool nonzero, N => cb::<X, N> as H));
    O {
        a: source(reg(insn, 0)),
        e: u8::from(sf) | u8::from(nonzero) << 1,
        imm: (sbits(insn, 5, 19) << 2) as u64,
        ..op(Code::CompareBranch, run)
    }
}
fn cb<const X: bool, const N: bool>(cpu: &mut C, op: &O) -> Flow {
    let taken = (get::<X>(cpu, op.a) != 0) == N;
    either(cpu, op, taken)
}

/// TBZ and TBNZ.
pub(super) fn test(insn: u32) -> O {
    let nonzero = bit(insn, 24);
    let run = choose!(bool nonzero, N => tb::<N> as H);
    O {
        a: source(reg(insn, 0)),
        d: (bits(insn, 31, 1) << 5 | bits(insn, 19, 5)) as u8,
        e: u8::from(nonzero) << 1,
        imm: (sbits(insn, 5, 14) << 2) as u64,
        ..op(Code::TestBranch, run)
    }
}
fn tb<const N: bool>(cpu: &mut C, op: &O) -> Flow {
    let taken = (cpu.s.r.get(op.a) >> (op.d & 63) & 1 != 0) == N;
    either(cpu, op, taken)
}

/// BR, BLR and RET.
pub(super) fn register(insn: u32) -> Option<O> {
    if bits(insn, 16, 5) != 31 || bits(insn, 10, 6) != 0 || bits(insn, 0, 5) != 0 {
        return None;
    }
    let (code, run) = match bits(insn, 21, 4) {
        0 => (Code::Br, br as H),
        1 => (Code::Blr, blr as H),
        2 => (Code::Ret, br as H),
        _ => return None,
    };
    Some(O {
        a: source(reg(insn, 5)),
        ..op(code, run)
    })
}
fn br(cpu: &mut C, op: &O) -> Flow {
    let target = cpu.s.r.get(op.a);
    jump(cpu, target)
}
fn blr(cpu: &mut C, op: &O) -> Flow {
    let target = cpu.s.r.get(op.a);
    let link = cpu.next_pc(op);
    cpu.s.r.set(30, link);
    jump(cpu, target)
}
#[inline(always)]
pub(super) fn jump(cpu: &mut C, target: u64) -> Flow {
    cpu.set_pc(target);
    if (target >> 48).wrapping_add(1) & 0xffff > 1 {
        // With address tags on, the program counter holds no tag.
        let target = super::mmu::untag(&cpu.s, target);
        cpu.set_pc(target);
    }
    Flow::Indirect
}

/// Makes a branch's offset relative to the start of the block.
pub(super) fn settle(mut op: O, offset: usize) -> O {
    op.imm = op.imm.wrapping_add(offset as u64);
    op
}
