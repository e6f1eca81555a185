//! The run loop.

// Walks the ops of a block by raw pointer: a handler may need the whole CPU.
#![allow(unsafe_code)]

use super::block::{BlockBuilder, EPOCH_ALWAYS, Link, MAX_BLOCK_OPS};
use super::tlb::MMIO;
use super::{Access, Block, Cpu, Decoded, Flow, Isa, Op, PAGE_MASK, PAGE_SIZE};
use crate::{Signal, VmEntry, VmExit};
use bus::SimTime;

/// Bytes looked at for one block.
const WINDOW: usize = 512;

enum Stop {
    Limit,
    Signal,
    Exit(VmExit),
}

/// The block to run next: in the cache, or [`Cpu::no_code`].
pub(super) type BlockPtr<I> = *mut Block<I>;

/// Where compiled code came back.
#[allow(dead_code)]
pub(super) enum Compiled<I: Isa> {
    /// In front of a block, which may be unknown.
    Head(BlockPtr<I>),
    /// At an op of a block, with its flow.
    At(*const Op<I>, BlockPtr<I>, Flow),
}

impl<I: Isa> Cpu<I> {
    /// Runs until an exit, at most `budget` instructions more. `entry` answers
    /// the exit before.
    pub fn run(&mut self, entry: VmEntry, budget: Option<u64>) -> VmExit {
        let end = budget.map_or(u64::MAX, |budget| self.icount.saturating_add(budget));
        self.drop_code_written_by_devices();
        if self.io.is_waiting() {
            // Finish the instruction that waits before anything else happens.
            self.io.answer(entry);
            if let Stop::Exit(exit) = self.run_blocks(self.icount + 1) {
                return exit;
            }
        }
        loop {
            let now = self.now();
            if let Some(exit) = I::poll(self, now) {
                return exit;
            }
            if self.signal.word() & Signal::ATTENTION != 0 || now >= self.deadline {
                return VmExit::Attention;
            }
            if self.icount >= end {
                return VmExit::Budget;
            }
            let limit = match self.clock.count_at(I::next_timer(self).min(self.deadline)) {
                _ if self.step => self.icount + 1,
                Some(count) => count.max(self.icount + 1),
                None => self.icount.saturating_add(self.slice),
            };
            if let Stop::Exit(exit) = self.run_blocks(limit.min(end)) {
                return exit;
            }
        }
    }

    /// When a halted CPU has to run on by itself; [`SimTime::MAX`] for never.
    pub fn next_timer(&self) -> SimTime {
        I::next_timer(self)
    }

    /// Whether a halted CPU has a reason to run on.
    pub fn wakes(&self) -> bool {
        I::wakes(self)
    }

    fn run_blocks(&mut self, limit: u64) -> Stop {
        let mut block: BlockPtr<I> = std::ptr::null_mut();
        loop {
            if block.is_null() {
                match self.find_block(self.pc()) {
                    Ok(found) => block = found,
                    // What is due at this block head comes before the fetch.
                    Err(_) if self.is_signalled() => return Stop::Signal,
                    Err(flow) => {
                        let pc = self.pc();
                        self.icount += 1;
                        if let Some(stop) = self.not_done(flow, pc) {
                            return stop;
                        }
                        if self.icount >= limit {
                            return Stop::Limit;
                        }
                        continue;
                    }
                }
            }
            if self.is_signalled() {
                return Stop::Signal;
            }
            self.block_va = self.pc();
            // SAFETY: a block from the cache or the crossing slot; both keep it
            // in memory until the next block is decoded.
            let (first, n) = unsafe { ((*block).ops.as_ptr(), u64::from((*block).n)) };
            let mut op = first;
            let flow;
            #[cfg(feature = "jit")]
            let code = self.code_of(block);
            #[cfg(not(feature = "jit"))]
            let code = 0;
            if code != 0 && self.icount + n <= limit {
                match self.run_compiled(code, limit) {
                    Compiled::At(at, left, how) => (op, block, flow) = (at, left, how),
                    Compiled::Head(next) => {
                        block = next;
                        if self.icount >= limit {
                            return Stop::Limit;
                        }
                        continue;
                    }
                }
            } else if self.icount + n <= limit {
                loop {
                    // SAFETY: the last op of a block never returns `Next`.
                    let this = unsafe { &*op };
                    let f = (this.run.get())(self, this);
                    if f != Flow::Next {
                        flow = f;
                        break;
                    }
                    // SAFETY: as above.
                    op = unsafe { op.add(1) };
                }
            } else {
                let mut left = limit - self.icount;
                if left == 0 {
                    return Stop::Limit;
                }
                loop {
                    // SAFETY: fewer than `n` ops are run.
                    let this = unsafe { &*op };
                    let f = (this.run.get())(self, this);
                    left -= 1;
                    if f != Flow::Next {
                        flow = f;
                        break;
                    }
                    if left == 0 {
                        self.set_pc(self.next_pc(this));
                        self.icount = limit;
                        self.io.finish();
                        return Stop::Limit;
                    }
                    // SAFETY: as above.
                    op = unsafe { op.add(1) };
                }
            }
            // SAFETY: `op` points into the block, which is still in memory.
            let op = unsafe { &*op };
            match flow {
                Flow::Jump => {
                    self.icount += u64::from(op.n);
                    // SAFETY: the block that ran just now; still in memory.
                    block = self.follow(unsafe { &raw mut (*block).links[0] });
                }
                Flow::Fall => {
                    self.icount += u64::from(op.n);
                    // SAFETY: as above.
                    block = self.follow(unsafe { &raw mut (*block).links[1] });
                }
                Flow::Indirect => {
                    self.icount += u64::from(op.n);
                    block = std::ptr::null_mut();
                }
                Flow::Next | Flow::Resync => {
                    self.icount += u64::from(op.n);
                    self.set_pc(self.next_pc(op));
                    block = std::ptr::null_mut();
                    self.io.finish();
                    if self.icount >= limit || flow == Flow::Resync {
                        return Stop::Limit;
                    }
                }
                Flow::Stale => {
                    self.icount += u64::from(op.n) - 1;
                    self.set_pc(self.pc_of(op));
                    block = std::ptr::null_mut();
                }
                Flow::Halt => {
                    self.icount += u64::from(op.n);
                    self.set_pc(self.next_pc(op));
                    self.io.finish();
                    return Stop::Exit(VmExit::Halt);
                }
                Flow::ExitAfter => {
                    self.icount += u64::from(op.n);
                    self.set_pc(self.next_pc(op));
                    self.io.finish();
                    return match self.exit.take() {
                        Some(exit) => Stop::Exit(exit),
                        None => Stop::Limit,
                    };
                }
                Flow::Trap | Flow::Exit => {
                    let pc = self.pc_of(op);
                    self.icount += u64::from(op.n) - u64::from(flow == Flow::Exit);
                    if let Some(stop) = self.not_done(flow, pc) {
                        return stop;
                    }
                    block = std::ptr::null_mut();
                }
            }
            if self.io.is_waiting() {
                self.io.finish();
            }
            if self.icount >= limit {
                return Stop::Limit;
            }
        }
    }

    /// Whether the run has to end at this block head.
    #[inline(always)]
    fn is_signalled(&self) -> bool {
        !self.io.is_waiting() && self.signal.word() & self.signal_mask != 0
    }

    /// An instruction at `pc` (or its fetch) was not carried out.
    fn not_done(&mut self, flow: Flow, pc: u64) -> Option<Stop> {
        self.set_pc(pc);
        match flow {
            Flow::Exit => {
                let exit = self.exit.take()?;
                Some(Stop::Exit(exit))
            }
            _ => {
                self.io.finish();
                let exit = I::deliver(self);
                // The handler may look at timers or masks anew.
                exit.map(Stop::Exit)
            }
        }
    }

    #[cfg(not(feature = "jit"))]
    fn run_compiled(&mut self, _code: u64, _limit: u64) -> Compiled<I> {
        Compiled::Head(std::ptr::null_mut())
    }

    #[inline(always)]
    pub(super) fn follow(&mut self, from: *mut Link) -> BlockPtr<I> {
        let pc = self.pc();
        // SAFETY: a link of the block that ran just now; still in memory.
        let link = unsafe { *from };
        if link.epoch == self.blocks.epochs[link.kind as usize]
            && (link.kind == EPOCH_ALWAYS || link.va == pc)
            && let Some(block) = self.blocks.get(link.to)
        {
            #[cfg(feature = "jit")]
            if block.code != 0 && link.code != block.code {
                // SAFETY: as above.
                unsafe { (*from).code = block.code };
            }
            return block;
        }
        self.find_link(from, pc)
    }

    #[inline(never)]
    fn find_link(&mut self, from: *mut Link, pc: u64) -> BlockPtr<I> {
        let Some(to) = self.blocks.jump(pc, self.mode) else {
            // Found or decoded at the head of the loop, and linked next time.
            return std::ptr::null_mut();
        };
        // A crossing block is not in the cache; its links are never followed
        // twice. A dead one is never entered again.
        // SAFETY: as in `follow`.
        unsafe { *from = self.blocks.link(*from, self.block_va, pc, to) };
        self.blocks
            .get(to)
            .map_or(std::ptr::null_mut(), |block| block)
    }

    fn find_block(&mut self, pc: u64) -> Result<BlockPtr<I>, Flow> {
        if let Some(index) = self.blocks.jump(pc, self.mode)
            && let Some(block) = self.blocks.get(index)
        {
            #[cfg(feature = "jit")]
            if block.code != 0 {
                let code = block.code;
                let block: BlockPtr<I> = block;
                self.blocks.remember_code(pc, code);
                return Ok(block);
            }
            return Ok(block);
        }
        self.fetch_block(pc)
    }

    #[inline(never)]
    fn fetch_block(&mut self, pc: u64) -> Result<BlockPtr<I>, Flow> {
        let mode = self.mode;
        let entry = self.translate(pc, Access::Fetch, mode)?;
        let va = I::canonical(&self.s, pc);
        if entry.exec & MMIO != 0 {
            // Code outside RAM is not worth an exit for each instruction: the
            // instruction set sees bytes that decode to nothing.
            return Ok(self.no_code());
        }
        let host = va.wrapping_add(entry.addend);
        let pa = self.physical_of_host(host);
        if let Some(index) = self.blocks.by_pa(pa, mode) {
            self.blocks.remember_jump(pc, mode, index);
            if let Some(block) = self.blocks.get(index) {
                return Ok(block);
            }
        }
        let left = (PAGE_SIZE - (va & (PAGE_SIZE - 1))) as usize;
        let mut bytes = [0u8; WINDOW];
        let bytes = &mut bytes[..left.min(WINDOW)];
        // SAFETY: `left` bytes of the page lie at `host`.
        unsafe {
            std::ptr::copy_nonoverlapping(host as *const u8, bytes.as_mut_ptr(), bytes.len())
        };
        let mut builder = BlockBuilder::new(mode, MAX_BLOCK_OPS);
        if I::decode(self, pc, bytes, &mut builder) == Decoded::NeedMore || builder.is_empty() {
            match self.decode_crossing(pc, bytes)? {
                Some(crossing) => builder = crossing,
                None => return Ok(self.no_code()),
            }
        }
        let (index, first) = self.blocks.insert(builder.into_block(pa));
        if first {
            self.watch_code(pa, host & PAGE_MASK);
        }
        self.blocks.remember_jump(pc, mode, index);
        Ok(self
            .blocks
            .get(index)
            .map_or(std::ptr::null_mut(), |block| block))
    }

    /// The block for where no instruction can be fetched.
    fn no_code(&mut self) -> BlockPtr<I> {
        let mode = self.mode;
        let block = self.no_code.get_or_insert_with(|| {
            let mut builder = BlockBuilder::new(mode, 1);
            builder.push_last(Op::new(u16::MAX, no_code::<I> as _), 0);
            builder.into_block(0)
        });
        &raw mut **block
    }

    fn physical_of_host(&self, host: u64) -> u64 {
        self.phys
            .regions()
            .iter()
            .find_map(|region| {
                let offset = host.wrapping_sub(region.host as u64);
                (offset < region.len).then(|| region.start + offset)
            })
            .unwrap_or(u64::MAX)
    }

    fn watch_code(&mut self, pa: u64, host_page: u64) {
        if let Some((region, offset)) = self.phys.find(pa & PAGE_MASK, PAGE_SIZE) {
            region.watch.set_code(offset as usize);
        }
        self.tlb.protect(host_page);
    }

    fn drop_code_written_by_devices(&mut self) {
        if !self
            .phys
            .regions()
            .iter()
            .any(|region| region.watch.any_written())
        {
            return;
        }
        let mut pages = Vec::new();
        for region in self.phys.regions() {
            region.watch.take_written(|offset| {
                pages.push((region.start + offset as u64, region.watch.clone(), offset))
            });
        }
        for (pa, watch, offset) in pages {
            if self.blocks.overwritten(pa, PAGE_SIZE) {
                watch.clear_code(offset);
            }
        }
    }
}

/// Nothing can be fetched here: code outside RAM.
fn no_code<I: Isa>(cpu: &mut Cpu<I>, op: &Op<I>) -> Flow {
    let pc = cpu.pc_of(op);
    let report = crate::CrashReport {
        reason: format!("the guest jumped to {pc:#x}, which is no memory"),
        registers: I::dump(&cpu.s),
        code: Vec::new(),
    };
    cpu.exit = Some(VmExit::Crash(Box::new(report)));
    Flow::ExitAfter
}
