//! How a block is put together while it is decoded.

use super::{Block, END, NO_LINK};
use crate::engine::{Cpu, Flow, Isa, Op};
use std::fmt;

/// Collects the ops of a block.
pub struct BlockBuilder<I: Isa> {
    ops: Vec<Op<I>>,
    bytes: usize,
    ended: bool,
    most: usize,
    /// Ops in front that are no instructions.
    guards: usize,
    /// Mode the block is decoded for.
    pub mode: u8,
}

impl<I: Isa> BlockBuilder<I> {
    pub(in crate::engine) fn new(mode: u8, most: usize) -> Self {
        Self {
            ops: Vec::with_capacity(most.min(16)),
            bytes: 0,
            ended: false,
            most,
            guards: 0,
            mode,
        }
    }
    /// Whether no more ops fit.
    pub fn is_full(&self) -> bool {
        self.ended || self.len() >= self.most
    }
    /// Byte offset of the next instruction from the start of the block.
    pub fn offset(&self) -> usize {
        self.bytes
    }
    /// Instructions so far.
    pub fn len(&self) -> usize {
        self.ops.len() - self.guards
    }
    /// Whether there is no instruction yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Puts an op in front of the first instruction that has to let it run. Where
    /// it does not, it counts as that instruction.
    pub(in crate::engine) fn guard(&mut self, mut op: Op<I>) {
        op.n = 1;
        self.guards += 1;
        self.ops.insert(0, op);
    }
    /// Appends an instruction of `len` bytes.
    pub fn push(&mut self, mut op: Op<I>, len: usize) {
        op.off = self.bytes as u16;
        op.n = self.len() as u16 + 1;
        op.len = len as u8;
        self.bytes += len;
        self.ops.push(op);
    }
    /// Appends an instruction after which control never goes on in the block
    /// (it returns something else than [`Flow::Next`], always).
    pub fn push_last(&mut self, op: Op<I>, len: usize) {
        self.push(op, len);
        self.ended = true;
    }
    fn finish(mut self, pa: u64) -> Block<I> {
        let n = self.len() as u16;
        if !self.ended {
            let mut end = Op::new(END, end_of_block::<I> as _);
            end.off = self.bytes as u16;
            end.n = n;
            self.ops.push(end);
        }
        Block {
            ops: self.ops.into_boxed_slice(),
            links: [NO_LINK; 2],
            pa,
            bytes: self.bytes as u16,
            n,
            mode: self.mode,
            dead: false,
            #[cfg(feature = "jit")]
            code: 0,
            #[cfg(feature = "jit")]
            heat: 0,
            #[cfg(feature = "jit")]
            serial: 0,
            #[cfg(feature = "jit")]
            cached: false,
            #[cfg(feature = "jit")]
            incoming: Vec::new(),
            #[cfg(feature = "jit")]
            covered: Vec::new(),
        }
    }
    pub(in crate::engine) fn into_block(self, pa: u64) -> Box<Block<I>> {
        Box::new(self.finish(pa))
    }
}

impl<I: Isa> fmt::Debug for BlockBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockBuilder")
            .field("ops", &self.ops)
            .finish()
    }
}

fn end_of_block<I: Isa>(cpu: &mut Cpu<I>, op: &Op<I>) -> Flow {
    cpu.set_pc(cpu.block_va().wrapping_add(u64::from(op.off)));
    Flow::Fall
}
