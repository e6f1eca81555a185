//! The engine's side of compiled code: when to compile, enter, come back.

// Follows pointers to blocks and ops that compiled code names.
#![allow(unsafe_code)]

use super::worker::Name;
use super::{DISPATCH, HEAD, Jit, JitConfig, LINK, flow_of};
use crate::engine::block::{BlockCache, Link};
use crate::engine::run::{BlockPtr, Compiled};
use crate::engine::{Cpu, Flow, Isa, Op, Tlb};
use std::mem::offset_of;

impl<I: Isa> Cpu<I> {
    pub(super) fn tlb_offset() -> i32 {
        (offset_of!(Self, tlb) + offset_of!(Tlb, entries)) as i32
    }
    pub(super) fn epochs_offset() -> i32 {
        (offset_of!(Self, blocks) + offset_of!(BlockCache<I>, epochs)) as i32
    }
    pub(super) fn jumps_offset() -> i32 {
        (offset_of!(Self, blocks) + offset_of!(BlockCache<I>, jumps)) as i32
    }

    /// Sets when blocks are compiled. What is compiled already is dropped.
    pub fn set_jit(&mut self, config: JitConfig) {
        self.jit = config
            .threshold
            .and_then(|_| Jit::new::<I>(config.code_bytes, config.background));
        self.blocks.ways_back = self
            .jit
            .as_ref()
            .map_or_else(Default::default, |jit| jit.back);
        self.blocks.forget_code();
        self.blocks.set_frugal(config.background);
        self.threshold = match (&self.jit, config.threshold) {
            (Some(_), Some(threshold)) => threshold,
            // Never reached: the count stops before.
            _ => u32::MAX,
        };
    }

    /// The compiled code of a block, compiled now if it is time.
    #[inline(always)]
    pub(in crate::engine) fn code_of(&mut self, block: BlockPtr<I>) -> u64 {
        // An instruction that waits for a device runs again, alone.
        if self.io.is_waiting() {
            return 0;
        }
        // SAFETY: the block to run now; in memory.
        let block = unsafe { &mut *block };
        if block.code != 0 {
            return block.code;
        }
        block.heat = block.heat.saturating_add(1).min(u32::MAX - 1);
        if block.heat >= self.threshold && block.cached {
            return self.compile(block);
        }
        0
    }

    #[cold]
    #[inline(never)]
    fn compile(&mut self, block: BlockPtr<I>) -> u64 {
        let Some(jit) = self.jit.as_mut() else {
            return 0;
        };
        // SAFETY: as in `code_of`.
        let now = unsafe { &mut *block };
        let first = now.heat == self.threshold;
        let background = jit.is_background();
        if first {
            let (names, source) = self.blocks.region(now, self.threshold);
            if !background {
                let code = jit.compile(&source);
                self.install(&names, code.as_deref());
            } else if !jit.ask(names.clone(), source) {
                self.blocks.begin_anew(&names);
            }
        }
        while background && let Some((names, code)) = self.jit.as_mut().and_then(|jit| jit.take()) {
            self.install(&names, code.as_deref());
        }
        // SAFETY: as in `code_of`.
        unsafe { (*block).code }
    }

    /// Gives a region its code, if all of its blocks are still there. All code is
    /// dropped first if it does not fit.
    fn install(&mut self, names: &[Name], code: Option<&[u8]>) {
        let (Some(jit), Some(code)) = (self.jit.as_mut(), code) else {
            // The first would be refused again.
            return self.blocks.begin_anew(names.get(1..).unwrap_or_default());
        };
        if !self.blocks.have(names) {
            self.blocks.begin_anew(names);
            return;
        }
        let mut at = jit.place(code);
        if at.is_none() {
            jit.clear();
            self.blocks.forget_code();
            at = jit.place(code);
        }
        self.blocks.set_code(names, at.unwrap_or(0));
    }

    /// Runs compiled code until it comes back.
    pub(in crate::engine) fn run_compiled(&mut self, code: u64, limit: u64) -> Compiled<I> {
        let Some(jit) = self.jit.as_ref() else {
            return Compiled::Head(std::ptr::null_mut());
        };
        let enter = jit.enter::<I>();
        self.blocks.broken = false;
        if self.signal.limit(limit, self.signal_mask) {
            return Compiled::Head(std::ptr::null_mut());
        }
        self.shared.signal = &raw const *self.signal as u64;
        let (va, count) = (self.pc(), self.icount);
        let how = enter(self, va, count, code);
        if self.shared.floats != 0 {
            I::end_floats(&mut self.s);
            self.shared.floats = 0;
        }
        let block = self.shared.block as BlockPtr<I>;
        match how {
            HEAD => Compiled::Head(block),
            LINK => {
                let link = self.shared.link as *mut Link;
                // SAFETY: a link of the block that ran just now; in memory.
                let (from, which) = unsafe { ((*link).from, (*link).which) };
                if let Some(block) = self.blocks.get(from) {
                    // Compiled code does not always say where its block was.
                    let offset = block.link_offset(which);
                    self.block_va = self.pc().wrapping_sub(offset);
                }
                Compiled::Head(self.follow(link))
            }
            DISPATCH => Compiled::Head(std::ptr::null_mut()),
            flow => {
                let mut op = self.shared.op as *const Op<I>;
                let mut flow = flow_of(flow).unwrap_or(Flow::Stale);
                // The rest of a dead block is marked, and ends at the mark.
                while matches!(flow, Flow::Next | Flow::Stale) {
                    // SAFETY: an op with one of these flows is not the last.
                    op = unsafe { op.add(1) };
                    // SAFETY: as above.
                    let next = unsafe { &*op };
                    flow = (next.run.get())(self, next);
                    if flow == Flow::Stale {
                        break;
                    }
                }
                Compiled::At(op, block, flow)
            }
        }
    }

    /// Blocks compiled, times that all code was dropped, bytes of code.
    pub fn jit_stats(&self) -> (u64, u64, usize) {
        self.jit
            .as_ref()
            .map_or((0, 0, 0), |jit| (jit.compiled, jit.dropped, jit.used()))
    }
}
