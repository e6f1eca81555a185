//! Software step of EL0 code from EL1 (Arm ARM D2.10).

use super::build::C;
use super::exception;
use super::{Trap, ec};
use crate::Signal;
use crate::engine::Flow;

/// A step in flight.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The instruction count before the instruction that is stepped.
    from: Option<u64>,
    /// The slice length that was in force before.
    slice: Option<u64>,
}

/// An exception return to EL0; `spsr` says whether to step.
#[inline(always)]
pub(super) fn begin(cpu: &mut C, spsr: u64) -> Flow {
    if cpu.s.sys.mdscr & 1 == 0 {
        return Flow::Indirect;
    }
    // SS in SPSR: one instruction runs first. Clear: the step is due at once.
    cpu.s.p.ss_il = (spsr >> 20 & 2) as u8;
    cpu.extra.step.from = None;
    // The run loop has to look at its limit anew, at the next block head.
    cpu.signal.raise(Signal::MESSAGE);
    cpu.set_signal_mask(cpu.signal_mask() | Signal::MESSAGE);
    Flow::Indirect
}

/// Whether the next instruction is to run alone.
pub(super) fn is_active(cpu: &C) -> bool {
    cpu.s.sys.mdscr & 1 != 0 && cpu.s.p.el == 0
}

/// Called between runs of blocks.
pub(super) fn poll(cpu: &mut C) {
    if !is_active(cpu) {
        cpu.extra.step.from = None;
        if let Some(slice) = cpu.extra.step.slice.take() {
            cpu.slice = slice;
        }
        return;
    }
    cpu.signal.clear(Signal::MESSAGE);
    if cpu.extra.step.slice.is_none() {
        cpu.extra.step.slice = Some(cpu.slice);
        cpu.slice = 1;
    }
    let count = cpu.icount();
    if cpu.s.p.ss_il & 2 != 0 {
        match cpu.extra.step.from {
            None => {
                cpu.extra.step.from = Some(count);
                return;
            }
            Some(from) if count <= from => return,
            Some(_) => cpu.s.p.ss_il &= !2,
        }
    }
    cpu.extra.step.from = None;
    let esr = 1 << 24 | 0b10_0010;
    cpu.trap = Trap::new(ec::SOFTWARE_STEP, esr);
    exception::deliver(cpu);
}
