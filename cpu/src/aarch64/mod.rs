//! AArch64: v8.0 base, LSE, FP and AdvSIMD, EL1 and EL0.
//!
//! | file | idea |
//! |---|---|
//! | `state`, `regs` | what a snapshot needs |
//! | `decode`, `build` | the top of the decoder, and what its parts share |
//! | `imm`, `reg`, `dp3`, `flags` | data processing |
//! | `ldst`, `pair`, `exclusive`, `atomic` | loads and stores of general registers |
//! | `branch`, `system`, `sysreg`, `maintain`, `idregs` | control and system |
//! | `mmu`, `context` | translation, and what the soft TLB holds of it |
//! | `exception`, `trap`, `step` | exceptions |
//! | `jit` | ops to host code (feature `jit`) |
//! | `timer` | generic timers |
//! | `fp`, `simd` | floating point and AdvSIMD |

mod atomic;
mod branch;
mod build;
mod code;
mod context;
mod decode;
mod dp3;
mod exception;
mod exclusive;
mod flags;
mod fp;
mod idregs;
mod imm;
#[cfg(feature = "jit")]
mod jit;
mod ldst;
mod maintain;
mod mmu;
mod pair;
mod reg;
mod regs;
mod simd;
mod state;
mod step;
mod sysreg;
mod system;
mod timer;
mod trap;

pub use code::{Code, FP_CODES, SIMD_CODES};
pub use regs::Regs;
pub use state::{Aarch64State, Exclusive, Pstate, SystemRegs, Timer, boot_state};
pub use timer::FREQUENCY as TIMER_FREQUENCY;
pub use trap::{Trap, ec};

#[cfg(feature = "jit")]
use crate::engine::jit::sticky;
use crate::engine::{Access, BlockBuilder, Cpu, Decoded, Flow, Isa, Page};
use crate::{Signal, VmExit};
use bus::{IrqLine, SimTime};

/// The AArch64 instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Aarch64;

/// Run-time connections of an AArch64 vCPU, and what it knows about its caches.
#[derive(Debug)]
pub struct Extra {
    vtimer: IrqLine,
    ptimer: IrqLine,
    strict_alignment: bool,
    context: context::Context,
    step: step::Step,
}

impl Extra {
    /// Connects the outputs of the virtual and the physical timer.
    pub fn new(vtimer: IrqLine, ptimer: IrqLine) -> Self {
        Self {
            vtimer,
            ptimer,
            strict_alignment: false,
            context: context::Context::default(),
            step: step::Step::default(),
        }
    }
    /// Makes unaligned accesses to Device memory fault, as hardware does. Set
    /// it before the vCPU runs.
    pub fn set_strict_alignment(&mut self, strict: bool) {
        self.strict_alignment = strict;
    }
}

impl Isa for Aarch64 {
    type State = Aarch64State;
    type Trap = Trap;
    type Extra = Extra;
    const MAX_LEN: usize = 4;
    const ALIGN_BITS: u32 = 2;

    #[cfg(feature = "jit")]
    type Pending = jit::Pending;
    #[cfg(feature = "jit")]
    const PC_OFFSET: usize = std::mem::offset_of!(Aarch64State, pc);
    #[cfg(feature = "jit")]
    const GPR_OFFSET: usize = std::mem::offset_of!(Aarch64State, r);
    #[cfg(feature = "jit")]
    fn lower(to: &mut crate::engine::jit::Lower<'_, Self>, op: &crate::engine::Op<Self>) -> bool {
        jit::lower(to, op)
    }
    #[cfg(feature = "jit")]
    fn name(code: u16) -> String {
        jit::name(code)
    }
    #[cfg(feature = "jit")]
    fn is_jump(op: &crate::engine::Op<Self>) -> bool {
        jit::is_jump(op)
    }
    #[cfg(feature = "jit")]
    fn describe_flags(
        to: &mut crate::engine::jit::Lower<'_, Self>,
        pending: jit::Pending,
    ) -> Option<(u64, [crate::engine::jit::Value; 3])> {
        pending.describe(to)
    }
    #[cfg(feature = "jit")]
    extern "C" fn write_flags(cpu: &mut Cpu<Self>, what: u64, a: u64, b: u64, r: u64) {
        jit::write_flags(cpu, what, a, b, r);
    }
    #[cfg(feature = "jit")]
    fn is_float(op: &crate::engine::Op<Self>) -> bool {
        jit::is_float(op)
    }
    #[cfg(feature = "jit")]
    #[inline(always)]
    fn end_floats(s: &mut Aarch64State) {
        s.fpsr |= fp::status(sticky::raised());
    }
    #[cfg(feature = "jit")]
    #[inline(always)]
    fn begin_floats(s: &Aarch64State) {
        if fp::status(sticky::raised()) & !s.fpsr != 0 {
            sticky::clear();
        }
    }
    #[cfg(feature = "jit")]
    fn store_flags(to: &mut crate::engine::jit::Lower<'_, Self>, pending: jit::Pending) {
        pending.store(to);
    }

    #[inline(always)]
    fn pc(state: &Aarch64State) -> u64 {
        state.pc
    }
    #[inline(always)]
    fn set_pc(state: &mut Aarch64State, pc: u64) {
        state.pc = pc;
    }
    #[inline]
    fn canonical(state: &Aarch64State, va: u64) -> u64 {
        mmu::untag(state, va)
    }
    fn walk(cpu: &mut Cpu<Self>, va: u64, access: Access, mode: u8) -> Result<Page, Flow> {
        mmu::walk(cpu, va, access, mode)
    }
    fn check_slow(cpu: &mut Cpu<Self>, va: u64, size: u64, access: Access) -> Result<(), Flow> {
        mmu::check_slow(cpu, va, size, access)
    }
    fn decode(cpu: &Cpu<Self>, va: u64, bytes: &[u8], out: &mut BlockBuilder<Self>) -> Decoded {
        decode::block(cpu, va, bytes, out)
    }
    fn deliver(cpu: &mut Cpu<Self>) -> Option<VmExit> {
        exception::deliver(cpu);
        None
    }
    fn poll(cpu: &mut Cpu<Self>, now: SimTime) -> Option<VmExit> {
        // The state may have been replaced since.
        cpu.set_mode(1 - (cpu.s.p.el & 1));
        exception::update_mask(cpu);
        timer::update(cpu, now);
        step::poll(cpu);
        exception::interrupts(cpu);
        None
    }
    fn next_timer(cpu: &Cpu<Self>) -> SimTime {
        if step::is_active(cpu) {
            return SimTime::ZERO;
        }
        timer::next(cpu)
    }
    fn wakes(cpu: &Cpu<Self>) -> bool {
        cpu.signal.word() & (Signal::IRQ | Signal::FIQ) != 0
    }
    fn dump(state: &Aarch64State) -> String {
        state.dump()
    }
}
