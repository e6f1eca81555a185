//! What every decoder file uses: short names, fields, choice of handlers.

use super::{Aarch64, Code, Trap};
use crate::engine::{Cpu, Flow, Handler, Op};

pub(super) type C = Cpu<Aarch64>;
pub(super) type O = Op<Aarch64>;
pub(super) type H = Handler<Aarch64>;

/// An instruction, and whether it ends its block.
pub(super) type Last = (O, bool);

/// Bits `lo` to `lo + len - 1` of an instruction.
#[inline(always)]
pub(super) const fn bits(insn: u32, lo: u32, len: u32) -> u32 {
    insn >> lo & ((1 << len) - 1)
}

/// A bit of an instruction.
#[inline(always)]
pub(super) const fn bit(insn: u32, at: u32) -> bool {
    insn >> at & 1 != 0
}

/// A five-bit register field.
#[inline(always)]
pub(super) const fn reg(insn: u32, lo: u32) -> u8 {
    bits(insn, lo, 5) as u8
}

/// A sign-extended field.
#[inline(always)]
pub(super) const fn sbits(insn: u32, lo: u32, len: u32) -> i64 {
    ((insn >> lo) as i64) << (64 - len) >> (64 - len)
}

/// An op with no operands yet.
pub(super) fn op(code: Code, run: H) -> O {
    O::new(code as u16, run)
}

/// Turns run-time values into constants that handlers are specialised by:
/// `choose!(bool sf, X => handler::<X> as H)`.
macro_rules! choose {
    (bool $v:expr, $name:ident => $body:expr) => {
        if $v {
            const $name: bool = true;
            $body
        } else {
            const $name: bool = false;
            $body
        }
    };
    (u8 $v:expr, [$($n:literal),+], $name:ident => $body:expr) => {
        match $v {
            $($n => {
                const $name: u8 = $n;
                $body
            })+
            _ => return None,
        }
    };
}
pub(super) use choose;

/// Raises the undefined exception.
pub(super) fn undefined(cpu: &mut C, _: &O) -> Flow {
    cpu.raise(Trap::undefined())
}

/// Raises the exception whose syndrome is the immediate.
pub(super) fn raise_imm(cpu: &mut C, op: &O) -> Flow {
    cpu.raise(Trap {
        esr: op.imm as u32,
        far: cpu.pc_of(op),
        behind: op.e != 0,
    })
}

/// An op that raises `trap`; FAR is the address of the instruction.
pub(super) fn raising(code: Code, trap: Trap) -> O {
    O {
        imm: trap.esr.into(),
        e: trap.behind.into(),
        ..op(code, raise_imm)
    }
}

/// A register operand: 64 bits, or the low 32.
#[inline(always)]
pub(super) fn get<const X: bool>(cpu: &C, index: u8) -> u64 {
    let value = cpu.s.r.get(index);
    if X { value } else { value & 0xffff_ffff }
}

/// Sets a register: 64 bits, or 32 with the upper half zero.
#[inline(always)]
pub(super) fn set<const X: bool>(cpu: &mut C, index: u8, value: u64) -> Flow {
    cpu.s
        .r
        .set(index, if X { value } else { value & 0xffff_ffff });
    Flow::Next
}
