//! From the ops of a block to Cranelift's intermediate representation.
//!
//! A function stands for a block, or a region of several, and gets the CPU, the
//! virtual address of the first block and the instruction count at its head. Registers live in values
//! within the block, and those that were made by adding a constant as a value and
//! that constant ([`At`]). They are written to the state before a handler and at
//! the end; on the paths that leave in the middle of a block they are written
//! there. So are flags, which stay what they were computed from until somebody
//! looks ([`Isa::Pending`]).

use super::access::Pages;
use super::dispatch::{field, middle, own};
use super::region::{Head, Member, Source};
use super::{Layout, sticky, stubs};
use crate::engine::block::GUARD;
use crate::engine::{Cpu, Flow, Isa, Op};
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, InstBuilder, Signature, Type, Value, types::I32, types::I64,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use std::fmt;
use std::mem::offset_of;

/// An address, or a register that holds one: a value and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// What the constant is added to.
    pub base: Value,
    /// The constant.
    pub offset: i64,
}

impl At {
    /// So many bytes further on.
    pub fn plus(self, bytes: i64) -> Self {
        Self {
            offset: self.offset.wrapping_add(bytes),
            ..self
        }
    }
}

impl From<Value> for At {
    fn from(base: Value) -> Self {
        Self { base, offset: 0 }
    }
}

/// What is known of a register: a sum, and its value where it was computed.
#[derive(Clone, Copy)]
pub(super) struct Known {
    at: At,
    whole: Option<Value>,
}

impl From<Value> for Known {
    fn from(value: Value) -> Self {
        Self {
            at: value.into(),
            whole: Some(value),
        }
    }
}

/// Guest registers that an instruction set may keep in values.
pub(super) const REGISTERS: usize = 64;

/// A region on its way to host code; one block at a time.
pub struct Lower<'a, I: Isa> {
    /// Appends instructions.
    pub b: FunctionBuilder<'a>,
    /// What the flags in force are computed from; the default stands for the
    /// words in the state.
    pub pending: I::Pending,
    /// Something that the instruction set made sure of for the rest of the block,
    /// or up to an op that only its handler does.
    pub assured: bool,
    pub(super) cpu: Value,
    pub(super) va: Value,
    /// Instruction count at the head of the current block.
    pub(super) icount: At,
    pub(super) source: &'a Source<I>,
    pub(super) heads: Vec<Head<I>>,
    pub(super) block: &'a Member<I>,
    pub(super) op: &'a Op<I>,
    pub(super) layout: &'a Layout,
    pub(super) exit: Option<ir::Block>,
    pub(super) registers: [Option<Known>; REGISTERS],
    pub(super) dirty: u64,
    pub(super) aligned: Option<(At, i64)>,
    // Whether address and count of the block are in the CPU.
    pub(super) placed: bool,
    pub(super) pages: Pages,
    pub(super) helper_3: ir::SigRef,
    pub(super) helper_5: ir::SigRef,
    pub(super) block_sig: ir::SigRef,
}

/// The signature of a compiled block: CPU, virtual address, instruction count,
/// and the link that it was reached by, in which only ways back look.
pub(super) fn block_signature() -> Signature {
    let mut sig = Signature::new(CallConv::Tail);
    sig.params.extend([AbiParam::new(I64); 4]);
    sig.returns.push(AbiParam::new(I32));
    sig
}

fn helper_signature(parameters: usize) -> Signature {
    let mut sig = Signature::new(stubs::HELPER);
    sig.params
        .extend(std::iter::repeat_n(AbiParam::new(I64), parameters));
    sig.returns.push(AbiParam::new(I64));
    sig
}

impl<'a, I: Isa> Lower<'a, I> {
    pub(super) fn new(
        mut b: FunctionBuilder<'a>,
        source: &'a Source<I>,
        layout: &'a Layout,
        pages: Pages,
    ) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let cpu = b.block_params(entry)[0];
        let (va, count) = (b.block_params(entry)[1], b.block_params(entry)[2]);
        let heads = Self::heads(&mut b, source);
        let block = &source.members[0];
        let helper_3 = b.import_signature(helper_signature(3));
        let helper_5 = b.import_signature(helper_signature(5));
        let block_sig = b.import_signature(block_signature());
        Self {
            b,
            pending: I::Pending::default(),
            assured: false,
            cpu,
            va,
            icount: count.into(),
            source,
            heads,
            block,
            op: &block.ops[0],
            layout,
            exit: None,
            registers: [None; REGISTERS],
            dirty: 0,
            aligned: None,
            placed: false,
            pages,
            helper_3,
            helper_5,
            block_sig,
        }
    }

    /// Where the block is.
    pub(super) fn block_address(&mut self) -> Value {
        self.constant(self.block.block_at as u64)
    }
    /// Where the current op is.
    pub(super) fn op_address(&mut self) -> Value {
        let offset = std::ptr::from_ref(self.op) as usize - self.block.ops.as_ptr() as usize;
        self.constant((self.block.ops_at + offset) as u64)
    }
    pub(super) fn cpu_load(&mut self, ty: Type, at: i32) -> Value {
        self.b.ins().load(ty, own(), self.cpu, at)
    }
    pub(super) fn cpu_store(&mut self, value: Value, at: i32) {
        self.b.ins().store(own(), value, self.cpu, at);
    }

    /// Loads from the state, at a byte offset.
    pub fn state(&mut self, ty: Type, at: usize) -> Value {
        self.cpu_load(ty, field!(s) + at as i32)
    }
    /// Stores to the state, at a byte offset that holds no kept register.
    pub fn set_state(&mut self, value: Value, at: usize) {
        self.cpu_store(value, field!(s) + at as i32);
    }
    /// A constant of 64 bits.
    pub fn constant(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }
    /// As [`Lower::block_va`], not yet added.
    pub fn block_at(&mut self, offset: u64) -> At {
        // All blocks of a region are in one page, wherever it is mapped.
        let from = self.block.pa.wrapping_sub(self.source.members[0].pa);
        At::from(self.va).plus(from.wrapping_add(offset) as i64)
    }
    /// The virtual address of the block plus an offset.
    pub fn block_va(&mut self, offset: u64) -> Value {
        let at = self.block_at(offset);
        self.sum(at)
    }
    /// Reads a general register of 64 bits.
    pub fn get(&mut self, index: u8) -> Value {
        let known = self.known(index);
        if let Some(value) = known.whole {
            return value;
        }
        let value = self.b.ins().iadd_imm(known.at.base, known.at.offset);
        self.registers[usize::from(index)] = Some(Known {
            whole: Some(value),
            ..known
        });
        value
    }
    /// A general register as an address, which costs nothing where it was made
    /// by adding a constant.
    pub fn get_at(&mut self, index: u8) -> At {
        self.known(index).at
    }
    fn known(&mut self, index: u8) -> Known {
        if let Some(known) = self.registers[usize::from(index)] {
            return known;
        }
        let value = self.state(I64, I::GPR_OFFSET + 8 * usize::from(index));
        let known = Known::from(value);
        self.registers[usize::from(index)] = Some(known);
        known
    }
    /// Writes a general register of 64 bits.
    pub fn set(&mut self, index: u8, value: Value) {
        self.set_known(index, Known::from(value));
    }
    /// Writes a sum to a general register, computed when it is needed.
    pub fn set_at(&mut self, index: u8, at: At) {
        let whole = (at.offset == 0).then_some(at.base);
        self.set_known(index, Known { at, whole });
    }
    /// Says that a general register, as it was just written, is this sum too.
    pub fn known_as(&mut self, index: u8, at: At) {
        if let Some(known) = &mut self.registers[usize::from(index)] {
            known.at = at;
        }
    }
    /// Whether an address is known to be a multiple of `bytes`, a power of two.
    pub fn is_aligned(&self, at: At, bytes: i64) -> bool {
        self.aligned.is_some_and(|(known, multiple)| {
            known.base == at.base
                && multiple % bytes == 0
                && at.offset.wrapping_sub(known.offset) % bytes == 0
        })
    }
    /// Says that an address is.
    pub fn found_aligned(&mut self, at: At, bytes: i64) {
        self.aligned = Some((at, bytes));
    }
    /// Copies a general register.
    pub fn copy(&mut self, to: u8, from: u8) {
        let known = self.known(from);
        self.set_known(to, known);
    }
    fn set_known(&mut self, index: u8, known: Known) {
        self.registers[usize::from(index)] = Some(known);
        self.dirty |= 1 << index;
    }
    /// Writes changed registers to the state; on a path of its own, which does
    /// not change what is known on others.
    pub(super) fn spill(&mut self) {
        let mut dirty = self.dirty;
        while dirty != 0 {
            let index = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            if let Some(known) = self.registers[index] {
                let value = known
                    .whole
                    .unwrap_or_else(|| self.b.ins().iadd_imm(known.at.base, known.at.offset));
                self.set_state(value, I::GPR_OFFSET + 8 * index);
            }
        }
    }
    /// Writes all that is kept in values to the state.
    pub fn settle(&mut self) {
        self.settle_here();
        self.dirty = 0;
        self.pending = I::Pending::default();
    }
    /// As [`Lower::settle`], on a path of its own.
    pub(super) fn settle_here(&mut self) {
        self.spill();
        let pending = self.pending;
        I::store_flags(self, pending);
    }
    /// Makes the CPU good for a handler of the current op, on a path of its own.
    pub(super) fn sync(&mut self) {
        self.spill();
        self.place();
        let pending = self.pending;
        let Some((what, [a, b, r])) = I::describe_flags(self, pending) else {
            return I::store_flags(self, pending);
        };
        let stub = self.constant(self.layout.flags);
        let what = self.constant(what);
        let args = [self.helper_cpu(), what, a, b, r];
        self.b.ins().call_indirect(self.helper_5, stub, &args);
    }

    /// The CPU, as helpers get it.
    pub(super) fn helper_cpu(&mut self) -> Value {
        if stubs::TAKES_MIDDLE {
            self.cpu
        } else {
            self.b.ins().iadd_imm(self.cpu, -i64::from(middle::<I>()))
        }
    }
    pub(super) fn call_op(&mut self) -> Value {
        let stub = self.constant(if self.op.code != GUARD && I::is_float(self.op) {
            self.layout.float_op
        } else {
            self.layout.op
        });
        let op = self.op_address();
        let block = self.block_address();
        let args = [self.helper_cpu(), op, block];
        let call = self.b.ins().call_indirect(self.helper_3, stub, &args);
        self.b.inst_results(call)[0]
    }
    pub(super) fn go_or_exit(&mut self, host: Value, go: ir::Block, args: &[BlockArg]) {
        let (op, exit) = (self.op_address(), self.exit());
        self.b
            .ins()
            .brif(host, go, args, exit, &[BlockArg::Value(op)]);
    }
    /// Where paths out of the middle of the block lead, with the op's address.
    fn exit(&mut self) -> ir::Block {
        *self.exit.get_or_insert_with(|| {
            let exit = self.b.create_block();
            self.b.append_block_param(exit, I64);
            self.b.set_cold_block(exit);
            exit
        })
    }

    /// Tells the CPU where the block is, as far as that is not done.
    fn place(&mut self) {
        if !self.placed {
            let va = self.block_va(0);
            self.cpu_store(va, field!(block_va));
            let count = self.sum(self.icount);
            self.cpu_store(count, field!(icount));
        }
    }

    /// Carries the current op out by its handler.
    pub fn handler(&mut self) {
        self.settle();
        self.place();
        self.placed = true;
        let host = self.call_op();
        self.registers = [None; REGISTERS];
        self.pages.forget();
        self.assured = false;
        if self.is_last() {
            let (op, exit) = (self.op_address(), self.exit());
            self.b.ins().jump(exit, &[BlockArg::Value(op)]);
        } else {
            let next = self.b.create_block();
            self.go_or_exit(host, next, &[]);
            self.b.switch_to_block(next);
        }
    }

    /// Whether the op is the last of its block.
    pub fn is_last(&self) -> bool {
        std::ptr::eq(self.op, &self.block.ops[self.block.ops.len() - 1])
    }
    /// The mode that the block was decoded in.
    pub fn mode(&self) -> u8 {
        self.block.mode
    }

    /// Where `unusual` holds, leaves the whole op to its handler, and what is
    /// behind it to the interpreter. Nothing of the op may be done before.
    pub fn unless(&mut self, unusual: Value) {
        let (cold, next) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(cold);
        self.b.ins().brif(unusual, cold, &[], next, &[]);
        self.b.switch_to_block(cold);
        self.sync();
        self.call_op();
        let (op, exit) = (self.op_address(), self.exit());
        self.b.ins().jump(exit, &[BlockArg::Value(op)]);
        self.b.switch_to_block(next);
    }
    /// Where `unusual` holds, leaves the op to its handler, else does `usual`, and
    /// goes on in the block. `usual` may store to the state, where the handler
    /// does; it reads no register that was not read before.
    pub fn or_handler(&mut self, unusual: Value, usual: impl FnOnce(&mut Self)) {
        let (cold, hot) = (self.b.create_block(), self.b.create_block());
        let next = self.b.create_block();
        self.b.set_cold_block(cold);
        self.b.ins().brif(unusual, cold, &[], hot, &[]);
        self.b.switch_to_block(cold);
        self.sync();
        let host = self.call_op();
        self.go_or_exit(host, next, &[]);
        self.b.switch_to_block(hot);
        usual(self);
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(next);
    }
    /// Has the host collect floating-point flags for the guest from here on, until
    /// compiled code is left. Every op that raises some needs it, before it reads.
    pub fn collect_floats(&mut self) {
        if !sticky::NATIVE {
            return;
        }
        let collected = self.cpu_load(I32, field!(shared.floats));
        let (cold, next) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(cold);
        self.b.ins().brif(collected, next, &[], cold, &[]);
        self.b.switch_to_block(cold);
        let (stub, none) = (self.constant(self.layout.floats), self.constant(0));
        let args = [self.helper_cpu(), none, none];
        self.b.ins().call_indirect(self.helper_3, stub, &args);
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(next);
    }
    /// Orders all accesses before it before all behind it.
    pub fn fence(&mut self) {
        self.b.ins().fence();
    }
}

/// Flows that a block head may bring back.
pub(super) fn flow_of(code: u32) -> Option<Flow> {
    use Flow::*;
    [
        Next, Jump, Fall, Indirect, Resync, Halt, Trap, Exit, ExitAfter, Stale,
    ]
    .into_iter()
    .find(|&flow| flow as u32 == code)
}

impl<I: Isa> fmt::Debug for Lower<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lower")
            .field("op", self.op)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
