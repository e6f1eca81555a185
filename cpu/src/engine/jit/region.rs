//! What is compiled together: a block, and blocks of its page that follow it.
//!
//! Control within a region never leaves the compiled function. A block that only
//! one other leads to goes on with what that one keeps in values; where several
//! meet, all is in the state. The first block is entered from elsewhere, the
//! others from within only, though they may be the first of other regions.

use super::access::Hosts;
use super::dispatch::field;
use super::lower::{At, Known, Lower, REGISTERS};
use crate::engine::block::{END, GUARD};
use crate::engine::{Access, Block, Cpu, Isa, Op, PAGE_MASK, PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlags, types::I32, types::I64};
use std::mem::offset_of;

/// A copy of a block's ops, and where in memory its parts are.
pub(in crate::engine) struct Member<I: Isa> {
    pub ops: Box<[Op<I>]>,
    pub pa: u64,
    pub n: u16,
    pub mode: u8,
    pub ops_at: usize,
    pub block_at: usize,
    pub links_at: [usize; 2],
    /// Members that its links lead to.
    pub next: [Option<usize>; 2],
}

impl<I: Isa> Member<I> {
    fn of(block: &Block<I>) -> Self {
        Self {
            ops: block.ops.clone(),
            pa: block.pa,
            n: block.n,
            mode: block.mode,
            ops_at: block.ops.as_ptr() as usize,
            block_at: std::ptr::from_ref(block) as usize,
            links_at: [0, 1].map(|which| &raw const block.links[which] as usize),
            next: [None; 2],
        }
    }
}

/// What is compiled: copies of blocks that lie in one page.
pub(in crate::engine) struct Source<I: Isa> {
    pub members: Vec<Member<I>>,
}

impl<I: Isa> Source<I> {
    /// A region of one block.
    pub fn of(block: &Block<I>) -> Self {
        Self {
            members: vec![Member::of(block)],
        }
    }
    /// Adds a block that link `which` of member `from` leads to.
    pub fn add(&mut self, block: &Block<I>, from: usize, which: usize) {
        self.members.push(Member::of(block));
        self.lead(from, which, self.members.len() - 1);
    }
    /// Link `which` of member `from` leads to the member `to`.
    pub fn lead(&mut self, from: usize, which: usize, to: usize) {
        self.members[from].next[which] = Some(to);
    }
    /// Whether only one link leads to a member, and nothing else.
    fn has_one_way_in(&self, index: usize) -> bool {
        let ways = self.members.iter().flat_map(|member| member.next);
        index != 0 && ways.filter(|&next| next == Some(index)).count() == 1
    }
}

/// What is known at the only way into a block.
struct Arrival<I: Isa> {
    registers: [Option<Known>; REGISTERS],
    dirty: u64,
    aligned: Option<(At, i64)>,
    pending: I::Pending,
    assured: bool,
    hosts: Hosts,
    icount: At,
}

/// A member on its way.
pub(super) struct Head<I: Isa> {
    block: ir::Block,
    arrival: Option<Arrival<I>>,
    reached: bool,
    done: bool,
}

impl<I: Isa> Lower<'_, I> {
    /// A head for each member; the first is reached.
    pub(super) fn heads(
        b: &mut cranelift_frontend::FunctionBuilder<'_>,
        source: &Source<I>,
    ) -> Vec<Head<I>> {
        let head = |index| {
            let block = b.create_block();
            if !source.has_one_way_in(index) {
                b.append_block_param(block, I64);
            }
            Head {
                block,
                arrival: None,
                reached: index == 0,
                done: false,
            }
        };
        (0..source.members.len()).map(head).collect()
    }
    /// Lowers the region. Gives what it learnt of the accesses.
    pub(super) fn run(mut self) -> super::access::Pages {
        let first = self.heads[0].block;
        let count = self.sum(self.icount);
        self.b.ins().jump(first, &[BlockArg::Value(count)]);
        // A member that only a handler leads to is never reached.
        while let Some(index) = self.heads.iter().position(|h| h.reached && !h.done) {
            self.member(index);
        }
        self.b.seal_all_blocks();
        self.b.finalize();
        self.pages
    }

    fn member(&mut self, index: usize) {
        self.heads[index].done = true;
        self.block = &self.source.members[index];
        self.placed = false;
        self.exit = None;
        let head = self.heads[index].block;
        self.b.switch_to_block(head);
        match self.heads[index].arrival.take() {
            Some(arrival) => {
                (self.registers, self.dirty) = (arrival.registers, arrival.dirty);
                (self.aligned, self.pending) = (arrival.aligned, arrival.pending);
                self.assured = arrival.assured;
                self.icount = arrival.icount;
                self.pages.set_hosts(arrival.hosts);
            }
            None => {
                (self.registers, self.dirty) = ([None; REGISTERS], 0);
                (self.aligned, self.pending) = (None, I::Pending::default());
                self.assured = false;
                self.icount = self.b.block_params(head)[0].into();
                self.pages.set_hosts(Hosts::default());
            }
        }
        self.op = &self.block.ops[0];
        self.head();
        for op in &self.block.ops {
            self.op = op;
            if op.code == GUARD {
                self.guard();
            } else if op.code == END {
                // The marker behind a block that no instruction ends.
                self.leave(1, u64::from(op.off));
            } else if !I::lower(self, op) {
                self.handler();
            }
        }
        if let Some(exit) = self.exit {
            self.shared_exit(exit);
        }
    }

    /// Looks at the next page as the handler does, which decides where something
    /// is new or the guard keeps more than its immediate.
    fn guard(&mut self) {
        let bits = 8 * i64::from(self.op.e);
        if bits > 64 {
            return self.handler();
        }
        let page = PAGE_SIZE - (self.block.pa & !PAGE_MASK);
        let page = self.block_at(page);
        let (hit, host) = self.look_up(page, 8, Access::Fetch);
        // Where it misses, bytes that nobody asks for.
        let host = self.b.ins().select(hit, host, self.cpu);
        let seen = self.b.ins().load(I64, MemFlags::trusted(), host, 0);
        let unlike = self.b.ins().bxor_imm(seen, self.op.imm as i64);
        let unlike = self.b.ins().ishl_imm(unlike, 64 - bits);
        let same = self.b.ins().icmp_imm(IntCC::Equal, unlike, 0);
        let good = self.b.ins().band(hit, same);
        let unusual = self.b.ins().bxor_imm(good, 1);
        self.or_handler(unusual, |_| ());
    }

    /// The end that paths out of the middle of a block share.
    fn shared_exit(&mut self, exit: ir::Block) {
        self.b.switch_to_block(exit);
        let op = self.b.block_params(exit)[0];
        self.cpu_store(op, field!(shared.op));
        let block = self.block_address();
        self.cpu_store(block, field!(shared.block));
        let flow = self.cpu_load(I32, field!(shared.flow));
        self.b.ins().return_(&[flow]);
    }

    /// Goes on at another member.
    pub(super) fn go_to_member(&mut self, index: usize) {
        self.heads[index].reached = true;
        let head = self.heads[index].block;
        if self.source.has_one_way_in(index) {
            self.heads[index].arrival = Some(Arrival {
                registers: self.registers,
                dirty: self.dirty,
                aligned: self.aligned,
                pending: self.pending,
                assured: self.assured,
                hosts: self.pages.hosts(),
                icount: self.after(),
            });
            self.b.ins().jump(head, &[]);
        } else {
            self.settle_here();
            let count = self.after();
            let count = self.sum(count);
            self.b.ins().jump(head, &[BlockArg::Value(count)]);
        }
    }
}
