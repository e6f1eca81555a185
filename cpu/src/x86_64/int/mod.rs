//! Integer instructions.

mod alu;
mod atomic;
mod bits;
mod branch;
mod mov;
mod muldiv;
mod shift;
mod stack;
mod string;

pub(super) use branch::canonical;
pub(super) use string::pack_string;

use super::decode::Lowered;
use iced_x86::{FlowControl, Instruction};

/// Lowers an integer instruction. `va` is the start of the block.
pub(super) fn lower(i: &Instruction, va: u64) -> Option<Lowered> {
    if let Some(op) = mov::lower(i).or_else(|| alu::lower(i)) {
        return Some(op.into());
    }
    if i.flow_control() != FlowControl::Next
        && let Some(lowered) = branch::lower(i, va)
    {
        return Some(lowered);
    }
    let op = stack::lower(i)
        .or_else(|| shift::lower(i))
        .or_else(|| string::lower(i))
        .or_else(|| bits::lower(i))
        .or_else(|| muldiv::lower(i))
        .or_else(|| atomic::lower(i))?;
    Some(op.into())
}
