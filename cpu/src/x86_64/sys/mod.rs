//! System instructions: flags, control registers, MSRs, CPUID, segments, ports,
//! and the changes of privilege.

mod control;
mod cpuid;
mod flag;
mod msr;
mod port;
mod segment;
mod transfer;

pub(super) use control::{cr0, cr4};
pub use cpuid::{CpuidLeaf, cpuid};
pub(super) use flag::{rflags_changed, update_mask};
pub use msr::TSC_HZ;
pub(super) use msr::tsc;
pub(super) use segment::read_descriptor;
pub(super) use transfer::{efer, set_cpl};
#[cfg(feature = "jit")]
pub(super) use transfer::{flat_code, flat_data};

use super::X86;
use super::decode::Lowered;
use super::trap::gp;
use crate::Cpu;
use crate::engine::Flow;
use iced_x86::Instruction;

/// Raises #GP(0) unless at the highest privilege.
#[inline(always)]
fn privileged(cpu: &mut Cpu<X86>) -> Result<(), Flow> {
    if cpu.s.cpl == 0 {
        Ok(())
    } else {
        Err(gp(cpu, 0))
    }
}

/// Lowers a system instruction.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    flag::lower(i)
        .or_else(|| transfer::lower(i))
        .or_else(|| control::lower(i))
        .or_else(|| msr::lower(i))
        .or_else(|| segment::lower(i))
        .or_else(|| port::lower(i))
}
