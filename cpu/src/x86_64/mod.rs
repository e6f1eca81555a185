//! x86-64 in long mode (64-bit code segments).
//!
//! | file | idea |
//! |---|---|
//! | `state` | all that a snapshot holds |
//! | `flags` | arithmetic flags as carry words |
//! | `operand` | how operands lie in an op |
//! | `decode` | bytes to ops |
//! | `int` | integer instructions |
//! | `sse`, `x87` | vector and floating-point instructions |
//! | `trap`, `stack_fault` | exceptions as values; which are of the stack |
//! | `sys` | system instructions |
//! | `paging` | page tables |
//! | `interrupt` | delivery through the IDT, block heads |
//! | `lapic` | the local APIC |
//! | `jit` | ops to host code (feature `jit`) |
//! | `boot` | the state at kernel entry |

mod boot;
mod decode;
mod dump;
pub mod flags;
mod int;
mod interrupt;
#[cfg(feature = "jit")]
mod jit;
mod lapic;
pub mod operand;
mod paging;
mod sse;
mod stack_fault;
mod state;
mod sys;
pub mod trap;
mod x87;

pub use boot::{BOOT_GDT, Boot64, boot_state_64};
pub use flags::LazyFlags;
pub use lapic::{LapicInbox, LapicState, VectorSet};
pub use paging::PHYSICAL_BITS;
pub use state::{Msrs, Segment, TableRegister, X86State, seg};
pub use sys::{CpuidLeaf, TSC_HZ, cpuid};
pub use trap::{Cause, X86Trap};

#[cfg(feature = "jit")]
use crate::engine::jit::sticky;
use crate::engine::{Access, BlockBuilder, Decoded, Flow, Page};
use crate::{Cpu, Isa, VmExit};
use bus::SimTime;
use std::sync::Arc;

/// The x86-64 instruction set.
#[derive(Clone, Copy, Debug)]
pub struct X86;

/// Run-time connections of a vCPU.
#[derive(Debug)]
pub struct Extra {
    inbox: Arc<LapicInbox>,
    /// Instruction count at which single-stepping saw TF set.
    step_from: Option<u64>,
}

impl Extra {
    /// Connections of a vCPU whose interrupts arrive in `inbox`.
    pub fn new(inbox: Arc<LapicInbox>) -> Self {
        Self {
            inbox,
            step_from: None,
        }
    }
}

impl Isa for X86 {
    type State = X86State;
    type Trap = X86Trap;
    type Extra = Extra;
    const MAX_LEN: usize = 15;
    const ALIGN_BITS: u32 = 0;

    #[cfg(feature = "jit")]
    type Pending = jit::Pending;
    #[cfg(feature = "jit")]
    const PC_OFFSET: usize = std::mem::offset_of!(X86State, rip);
    #[cfg(feature = "jit")]
    const GPR_OFFSET: usize = std::mem::offset_of!(X86State, gpr);
    #[cfg(feature = "jit")]
    fn lower(to: &mut crate::engine::jit::Lower<'_, X86>, op: &crate::engine::Op<X86>) -> bool {
        jit::lower(to, op)
    }
    #[cfg(feature = "jit")]
    fn name(code: u16) -> String {
        jit::name(code)
    }
    #[cfg(feature = "jit")]
    fn is_jump(op: &crate::engine::Op<X86>) -> bool {
        jit::is_jump(op)
    }
    #[cfg(feature = "jit")]
    fn describe_flags(
        to: &mut crate::engine::jit::Lower<'_, X86>,
        pending: jit::Pending,
    ) -> Option<(u64, [crate::engine::jit::Value; 3])> {
        pending.describe(to)
    }
    #[cfg(feature = "jit")]
    extern "C" fn write_flags(cpu: &mut Cpu<X86>, what: u64, a: u64, b: u64, r: u64) {
        jit::write_flags(cpu, what, a, b, r);
    }
    #[cfg(feature = "jit")]
    fn is_float(op: &crate::engine::Op<X86>) -> bool {
        jit::is_float(op)
    }
    #[cfg(feature = "jit")]
    #[inline(always)]
    fn end_floats(s: &mut X86State) {
        s.mxcsr |= u32::from(sticky::raised());
    }
    #[cfg(feature = "jit")]
    #[inline(always)]
    fn begin_floats(s: &X86State) {
        if u32::from(sticky::raised()) & !s.mxcsr != 0 {
            sticky::clear();
        }
    }
    #[cfg(feature = "jit")]
    fn store_flags(to: &mut crate::engine::jit::Lower<'_, X86>, pending: jit::Pending) {
        pending.store(to);
    }

    #[inline(always)]
    fn pc(state: &X86State) -> u64 {
        state.rip
    }
    #[inline(always)]
    fn set_pc(state: &mut X86State, pc: u64) {
        state.rip = pc;
    }
    fn walk(cpu: &mut Cpu<X86>, va: u64, access: Access, mode: u8) -> Result<Page, Flow> {
        paging::walk(cpu, va, access, mode)
    }
    fn decode(cpu: &Cpu<X86>, va: u64, bytes: &[u8], out: &mut BlockBuilder<X86>) -> Decoded {
        decode::decode(cpu, va, bytes, out)
    }
    fn deliver(cpu: &mut Cpu<X86>) -> Option<VmExit> {
        let trap = stack_fault::sort(cpu, cpu.trap);
        interrupt::deliver(cpu, trap)
    }
    fn poll(cpu: &mut Cpu<X86>, now: SimTime) -> Option<VmExit> {
        interrupt::poll(cpu, now)
    }
    fn next_timer(cpu: &Cpu<X86>) -> SimTime {
        cpu.s.apic.fires
    }
    fn wakes(cpu: &Cpu<X86>) -> bool {
        interrupt::wakes(cpu)
    }
    fn local_read(cpu: &mut Cpu<X86>, pa: u64, _size: u64) -> Option<u64> {
        lapic::read_page(cpu, pa)
    }
    fn local_write(cpu: &mut Cpu<X86>, pa: u64, _size: u64, data: u64) -> bool {
        lapic::write_page(cpu, pa, data)
    }
    fn dump(state: &X86State) -> String {
        dump::registers(state)
    }
}
