//! One emulated vCPU.

use super::block::{BlockCache, EPOCH_LOW};
use super::{Block, Flow, IoLog, Isa, PhysMap, Tlb};

use crate::{Clock, Signal, VmExit};
use bus::{GuestRam, SimTime};
use std::fmt;
use std::sync::Arc;

/// One emulated vCPU: guest-visible state, and caches that are rebuilt.
pub struct Cpu<I: Isa> {
    /// Guest-visible state.
    pub s: I::State,
    /// The exception to deliver, set with [`Flow::Trap`].
    pub trap: I::Trap,
    /// The exit to take, set with [`Flow::Exit`] and [`Flow::ExitAfter`].
    pub exit: Option<VmExit>,
    /// Connections of this vCPU.
    pub extra: I::Extra,
    /// Answers for an instruction that waits for a device.
    pub io: IoLog,
    /// Guest physical memory.
    pub phys: PhysMap,
    /// The pending word that others set.
    pub signal: Arc<Signal>,
    pub(super) signal_mask: u32,
    /// The vCPU comes back with [`VmExit::Attention`] at the first block head at
    /// or after this time.
    pub deadline: SimTime,
    /// Set by the instruction set: run one instruction, then [`Isa::poll`]
    /// (single-stepping, interrupt shadows).
    pub step: bool,
    pub(super) tlb: Tlb,
    pub(super) blocks: BlockCache<I>,
    pub(super) mode: u8,
    pub(super) block_va: u64,
    pub(super) icount: u64,
    pub(super) clock: Clock,
    /// The block for where no instruction can be fetched; made when it is needed.
    pub(super) no_code: Option<Box<Block<I>>>,
    #[cfg(feature = "jit")]
    pub(super) shared: super::jit::Shared,
    #[cfg(feature = "jit")]
    pub(super) jit: Option<Box<super::jit::Jit>>,
    #[cfg(feature = "jit")]
    pub(super) threshold: u32,
    /// Instructions that an instruction-count timer slice may run in `free`
    /// mode before time is looked at again.
    pub slice: u64,
}

impl<I: Isa> Cpu<I> {
    /// A vCPU in `state`.
    pub fn new(
        state: I::State,
        extra: I::Extra,
        ram: &GuestRam,
        signal: Arc<Signal>,
        clock: Clock,
    ) -> Self {
        #[allow(unused_mut)]
        let mut cpu = Self {
            s: state,
            trap: I::Trap::default(),
            exit: None,
            extra,
            io: IoLog::default(),
            phys: PhysMap::new(ram),
            signal,
            signal_mask: Signal::ATTENTION,
            step: false,
            deadline: SimTime::MAX,
            tlb: Tlb::default(),
            blocks: BlockCache::new(),
            mode: 0,
            block_va: 0,
            icount: 0,
            clock,
            no_code: None,
            slice: 20_000,
            #[cfg(feature = "jit")]
            shared: super::jit::Shared::default(),
            #[cfg(feature = "jit")]
            jit: None,
            #[cfg(feature = "jit")]
            threshold: 0,
        };
        #[cfg(feature = "jit")]
        {
            let free = matches!(cpu.clock, Clock::Source(_));
            cpu.set_jit(super::jit::JitConfig::from_env(free));
        }
        cpu
    }
    /// The program counter. Inside a handler it is stale: use
    /// [`Cpu::pc_of`].
    #[inline(always)]
    pub fn pc(&self) -> u64 {
        I::pc(&self.s)
    }
    /// Sets the program counter.
    #[inline(always)]
    pub fn set_pc(&mut self, pc: u64) {
        I::set_pc(&mut self.s, pc);
    }
    /// Virtual address of the first instruction of the running block.
    #[inline(always)]
    pub fn block_va(&self) -> u64 {
        self.block_va
    }
    /// Virtual address of the instruction of `op`, which runs now.
    #[inline(always)]
    pub fn pc_of(&self, op: &super::Op<I>) -> u64 {
        self.block_va.wrapping_add(u64::from(op.off))
    }
    /// Virtual address of the instruction behind `op`.
    #[inline(always)]
    pub fn next_pc(&self, op: &super::Op<I>) -> u64 {
        self.block_va
            .wrapping_add(u64::from(op.off) + u64::from(op.len))
    }
    /// 0 privileged, 1 user.
    #[inline(always)]
    pub fn mode(&self) -> u8 {
        self.mode
    }
    /// Switches mode; the op that does so ends its block
    /// ([`Flow::Indirect`], [`Flow::Resync`] or [`Flow::Trap`]).
    #[inline(always)]
    pub fn set_mode(&mut self, mode: u8) {
        self.mode = mode & 1;
    }
    /// Signal bits that end a run of blocks now.
    #[inline(always)]
    pub fn signal_mask(&self) -> u32 {
        self.signal_mask
    }
    /// Sets the signal bits that end a run of blocks.
    #[inline(always)]
    pub fn set_signal_mask(&mut self, mask: u32) {
        self.signal_mask = mask;
        if self.signal.word() & mask != 0 {
            self.signal.cut();
        }
    }
    /// Instructions that were started since the vCPU was made. An instruction
    /// that raised an exception counts; one that waits for a device does not
    /// until it is done.
    pub fn icount(&self) -> u64 {
        self.icount
    }
    /// Virtual time at a block head.
    pub fn now(&self) -> SimTime {
        self.clock.now(self.icount)
    }
    /// Virtual time at the instruction of `op`, exact with an instruction clock.
    pub fn now_at(&self, op: &super::Op<I>) -> SimTime {
        self.clock.now(self.icount + u64::from(op.n) - 1)
    }
    /// Moves an instruction clock forward; see [`Clock::advance`].
    pub fn advance(&mut self, to: SimTime) {
        self.clock.advance(to, self.icount);
    }
    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Forgets all translations.
    pub fn flush_tlb(&mut self) {
        self.tlb.flush_all();
        self.blocks.bump_all();
    }
    /// Forgets the translations of one address space: those that are not global.
    pub fn flush_nonglobal(&mut self) {
        self.tlb.flush_nonglobal();
        self.blocks.bump(EPOCH_LOW);
    }
    /// Forgets the non-global translations of one mode; costs nothing when
    /// there are none.
    pub fn flush_nonglobal_of(&mut self, mode: u8) {
        if self.tlb.flush_nonglobal_of(mode) {
            self.blocks.bump(EPOCH_LOW);
        }
    }
    /// Forgets the translation of the page at `va`.
    pub fn flush_page(&mut self, va: u64) {
        let va = I::canonical(&self.s, va);
        self.tlb.flush_page(va);
        self.blocks.flush_page(va);
    }
    /// Forgets all decoded blocks.
    pub fn flush_blocks(&mut self) {
        self.blocks.drop_all();
    }
    /// Numbers for benchmarks and reports.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            instructions: self.icount,
            blocks_decoded: self.blocks.decoded,
            blocks_cached: self.blocks.count() as u64,
            tlb_refills: self.tlb.refills,
            tlb_flushes: self.tlb.flushes,
        }
    }

    /// Leaves the instruction for an answer of the machine, or takes the
    /// answer when it is there.
    pub fn ask(&mut self, exit: impl FnOnce() -> VmExit) -> Result<u64, Flow> {
        if let Some(answer) = self.io.take() {
            return Ok(answer);
        }
        self.io.wait();
        self.exit = Some(exit());
        Err(Flow::Exit)
    }
    /// Raises an exception inside an op handler.
    #[inline]
    pub fn raise(&mut self, trap: I::Trap) -> Flow {
        self.trap = trap;
        Flow::Trap
    }
}

/// What the engine has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Instructions started.
    pub instructions: u64,
    /// Blocks decoded.
    pub blocks_decoded: u64,
    /// Blocks in the cache now.
    pub blocks_cached: u64,
    /// TLB entries filled by a page walk.
    pub tlb_refills: u64,
    /// TLB flushes, all or non-global.
    pub tlb_flushes: u64,
}

impl<I: Isa> fmt::Debug for Cpu<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu")
            .field("icount", &self.icount)
            .field("state", &self.s)
            .finish()
    }
}
