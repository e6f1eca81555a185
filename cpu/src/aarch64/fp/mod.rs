//! Scalar floating point.
//!
//! Every op keeps the instruction word in `disp`. Operands: a = destination,
//! b = first source, c = second, d = addend, in V registers unless the
//! instruction moves to or from general registers (register indices then).

mod arith;
mod compare;
mod convert;
mod estimate;
mod float;
mod moves;
mod ops;
mod special;
#[cfg(test)]
mod tests;

pub(super) use convert::{
    between, from_half, number, rounding as convert_rounding, saturate, to_half,
};
pub(super) use estimate::{recip_estimate, recip_sqrt_estimate};
pub(super) use float::Float;
pub(super) use moves::expand_imm;
pub(super) use ops::*;
pub(super) use special::*;

use super::{Aarch64, FP_CODES, Trap, ec};
use crate::engine::{Cpu, Flow, Handler, Op};
use crate::softfloat::{Env, flags};

type A64Op = Op<Aarch64>;

/// FPSR.QC: an integer operation saturated.
pub(super) const QC: u32 = 1 << 27;
/// FPSR.IXC.
pub(super) const INEXACT: u32 = 1 << 4;
/// FPCR.RMode.
pub(super) const ROUNDING: u32 = 3 << 22;
/// FPCR.FZ.
#[cfg(feature = "jit")]
pub(super) const FLUSH: u32 = 1 << 24;
/// CPACR_EL1.FPEN.
pub(super) const FPEN: u64 = 3 << 20;

/// Leaves the handler with the FP access trap when FP and SIMD are off.
macro_rules! fp_on {
    ($cpu:expr) => {
        if $cpu.s.sys.cpacr & super::super::fp::FPEN != super::super::fp::FPEN
            && let Some(flow) = super::super::fp::access_trap($cpu)
        {
            return flow;
        }
    };
}
pub(super) use fp_on;

/// CPACR_EL1.FPEN: 0b01 traps at EL0 only, 0b00 and 0b10 trap always.
#[cold]
pub(super) fn access_trap(cpu: &mut Cpu<Aarch64>) -> Option<Flow> {
    if cpu.s.sys.cpacr & FPEN == 1 << 20 && cpu.mode() == 0 {
        return None;
    }
    // ISS: CV set, COND 0b1110.
    Some(cpu.raise(Trap::new(ec::FP_ACCESS, 0x1e << 20)))
}

/// Whether results of host arithmetic are good as they are: rounding to
/// nearest, and inexact has been raised before.
#[inline(always)]
pub(super) fn host_arithmetic(cpu: &Cpu<Aarch64>) -> bool {
    cpu.s.fpcr & ROUNDING == 0 && cpu.s.fpsr & INEXACT != 0
}

/// Raised flags as in FPSR: IOC 0, DZC 1, OFC 2, UFC 3, IXC 4, IDC 7.
#[inline(always)]
pub(super) fn status(raised: u16) -> u32 {
    let f = u32::from(raised);
    f & 1 | f >> 1 & 0x1e | f & u32::from(flags::FLUSHED_IN)
}

/// Adds the flags of `env` to FPSR.
#[inline]
pub(super) fn merge(cpu: &mut Cpu<Aarch64>, env: &Env) {
    cpu.s.fpsr |= status(env.flags);
}

/// Operation numbers: the families of handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    One = FP_CODES,
    Two,
    Three,
    Move,
    Select,
    Compare,
    ConditionalCompare,
    Convert,
    ToInteger,
    FromInteger,
    ToGeneral,
    FromGeneral,
    Immediate,
}

fn new_op(code: Code, run: Handler<Aarch64>, insn: u32) -> A64Op {
    let mut op = Op::new(code as u16, run);
    op.disp = insn as i32;
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    op.c = (insn >> 16) as u8 & 31;
    op.d = (insn >> 10) as u8 & 31;
    op
}

/// Decodes a scalar floating-point instruction; `None` where it is undefined.
pub(super) fn decode(insn: u32) -> Option<Op<Aarch64>> {
    // M (31) may be set as sf only in conversions; 30 and S (29) are 0.
    if insn >> 29 & 3 != 0 || insn >> 25 & 15 != 0b1111 {
        return None;
    }
    let sf = insn >> 31 != 0;
    if insn >> 24 & 1 != 0 {
        return if sf { None } else { arith::three(insn) };
    }
    if insn >> 21 & 1 == 0 {
        return convert::fixed(insn);
    }
    if insn >> 10 & 63 == 0 {
        return moves::general(insn).or_else(|| convert::integer(insn));
    }
    if sf {
        return None;
    }
    match insn >> 10 & 3 {
        1 => compare::conditional(insn),
        2 => arith::two(insn),
        3 => moves::select(insn),
        _ if insn >> 12 & 1 != 0 => moves::immediate(insn),
        _ if insn >> 13 & 1 != 0 => compare::decode(insn),
        _ if insn >> 14 & 1 != 0 => arith::one(insn),
        _ => None,
    }
}
