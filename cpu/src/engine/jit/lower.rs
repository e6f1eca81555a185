//! From the ops of a block to Cranelift's intermediate representation.
//!
//! A function stands for one block and gets the CPU, the virtual address of the
//! block and the instruction count at its head. Registers live in values
//! within the block; they are written to the state before anything that may
//! look at it: an access to memory, a handler, the end. Flags stay what they
//! were computed from until somebody looks ([`Isa::Pending`]); on the paths
//! that leave in the middle of a block they are written there.

use super::dispatch::{field, own};
use super::{Layout, stubs};
use crate::engine::block::{EPOCH_ALWAYS, EPOCH_LOW, JUMP_FOLD};
use crate::engine::tlb::{Entry, READ_TO_WRITE};
use crate::engine::{Block, Cpu, Flow, Isa, Op, PAGE_MASK, PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, InstBuilder, MemFlags, Signature, Type, Value, types::I32, types::I64,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use std::fmt;
use std::mem::offset_of;

/// Guest registers that an instruction set may keep in values.
const REGISTERS: usize = 64;

/// What an access does with memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Update,
}

/// What is compiled: a copy of a block's ops, and where in memory its parts are.
pub(super) struct Source<I: Isa> {
    ops: Box<[Op<I>]>,
    pa: u64,
    n: u16,
    mode: u8,
    ops_at: usize,
    block_at: usize,
    links_at: [usize; 2],
}

impl<I: Isa> Source<I> {
    pub fn of(block: &Block<I>) -> Self {
        Self {
            ops: block.ops.clone(),
            pa: block.pa,
            n: block.n,
            mode: block.mode,
            ops_at: block.ops.as_ptr() as usize,
            block_at: std::ptr::from_ref(block) as usize,
            links_at: [0, 1].map(|which| &raw const block.links[which] as usize),
        }
    }
}

/// One block on its way to host code.
pub struct Lower<'a, I: Isa> {
    /// Appends instructions.
    pub b: FunctionBuilder<'a>,
    /// What the flags in force are computed from; the default stands for the
    /// words in the state.
    pub pending: I::Pending,
    cpu: Value,
    va: Value,
    icount: Value,
    block: &'a Source<I>,
    op: &'a Op<I>,
    layout: &'a Layout,
    head: ir::Block,
    exit: ir::Block,
    registers: [Option<Value>; REGISTERS],
    dirty: u64,
    loops: bool,
    helper_3: ir::SigRef,
    helper_5: ir::SigRef,
    block_sig: ir::SigRef,
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

/// Flags of an access to guest memory: any alignment.
fn guest() -> MemFlags {
    MemFlags::new().with_notrap()
}

impl<'a, I: Isa> Lower<'a, I> {
    pub(super) fn new(
        mut b: FunctionBuilder<'a>,
        block: &'a Source<I>,
        layout: &'a Layout,
    ) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let cpu = b.block_params(entry)[0];
        let (va, count) = (b.block_params(entry)[1], b.block_params(entry)[2]);
        let head = b.create_block();
        let icount = b.append_block_param(head, I64);
        b.ins().jump(head, &[BlockArg::Value(count)]);
        let exit = b.create_block();
        b.append_block_param(exit, I64);
        b.set_cold_block(exit);
        let last = &block.ops[block.ops.len() - 1];
        let loops = last.imm == 0 && I::is_jump(last);
        let helper_3 = b.import_signature(helper_signature(3));
        let helper_5 = b.import_signature(helper_signature(5));
        let block_sig = b.import_signature(block_signature());
        Self {
            b,
            pending: I::Pending::default(),
            cpu,
            va,
            icount,
            block,
            op: &block.ops[0],
            layout,
            head,
            exit,
            registers: [None; REGISTERS],
            dirty: 0,
            loops,
            helper_3,
            helper_5,
            block_sig,
        }
    }

    /// Lowers all of the block.
    pub(super) fn run(mut self) {
        self.head();
        let block = self.block;
        for op in &block.ops {
            self.op = op;
            if op.len == 0 {
                // The marker behind a block that no instruction ends.
                self.settle();
                self.leave(1, u64::from(op.off));
            } else if !I::lower(&mut self, op) {
                self.handler();
            }
        }
        self.shared_exit();
        self.b.seal_all_blocks();
        self.b.finalize();
    }

    /// What the run loop looks at in front of a block: budget and pending word.
    fn head(&mut self) {
        self.b.switch_to_block(self.head);
        let next = self.after();
        let limit = self.cpu_load(I64, field!(shared.limit));
        let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, next, limit);
        let (bail, in_time, go) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        self.b.set_cold_block(bail);
        self.b.ins().brif(over, bail, &[], in_time, &[]);
        self.b.switch_to_block(in_time);
        let signal = self.cpu_load(I64, field!(shared.signal));
        let word = self.b.ins().load(I32, own(), signal, 0);
        let mask = self.cpu_load(I32, field!(signal_mask));
        let raised = self.b.ins().band(word, mask);
        self.b.ins().brif(raised, bail, &[], go, &[]);
        self.b.switch_to_block(bail);
        let block = self.block_address();
        self.tail(self.layout.bail, [self.va, self.icount, block]);
        self.b.switch_to_block(go);
        self.cpu_store(self.va, field!(block_va));
        self.cpu_store(self.icount, field!(icount));
    }

    /// Goes on at the constant address `code` with what blocks get.
    fn tail(&mut self, code: u64, [va, icount, last]: [Value; 3]) {
        let code = self.constant(code);
        self.go(code, [va, icount, last]);
    }
    fn go(&mut self, code: Value, [va, icount, last]: [Value; 3]) {
        let args = [self.cpu, va, icount, last];
        self.b
            .ins()
            .return_call_indirect(self.block_sig, code, &args);
    }

    /// The instruction count behind the block.
    fn after(&mut self) -> Value {
        let n = i64::from(self.block.n);
        self.b.ins().iadd_imm(self.icount, n)
    }

    /// The end that paths out of the middle share.
    fn shared_exit(&mut self) {
        self.b.switch_to_block(self.exit);
        let op = self.b.block_params(self.exit)[0];
        self.cpu_store(op, field!(shared.op));
        let block = self.block_address();
        self.cpu_store(block, field!(shared.block));
        let flow = self.cpu_load(I32, field!(shared.flow));
        self.b.ins().return_(&[flow]);
    }

    /// Where the block is.
    fn block_address(&mut self) -> Value {
        self.constant(self.block.block_at as u64)
    }
    /// Where the current op is.
    fn op_address(&mut self) -> Value {
        let offset = std::ptr::from_ref(self.op) as usize - self.block.ops.as_ptr() as usize;
        self.constant((self.block.ops_at + offset) as u64)
    }
    fn cpu_load(&mut self, ty: Type, at: i32) -> Value {
        self.b.ins().load(ty, own(), self.cpu, at)
    }
    fn cpu_store(&mut self, value: Value, at: i32) {
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
    /// The virtual address of the block plus an offset.
    pub fn block_va(&mut self, offset: u64) -> Value {
        self.b.ins().iadd_imm(self.va, offset as i64)
    }
    /// Reads a general register of 64 bits.
    pub fn get(&mut self, index: u8) -> Value {
        if let Some(value) = self.registers[usize::from(index)] {
            return value;
        }
        let value = self.state(I64, I::GPR_OFFSET + 8 * usize::from(index));
        self.registers[usize::from(index)] = Some(value);
        value
    }
    /// Writes a general register of 64 bits.
    pub fn set(&mut self, index: u8, value: Value) {
        self.registers[usize::from(index)] = Some(value);
        self.dirty |= 1 << index;
    }
    /// Writes changed registers to the state.
    fn flush_registers(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        while dirty != 0 {
            let index = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            if let Some(value) = self.registers[index] {
                self.set_state(value, I::GPR_OFFSET + 8 * index);
            }
        }
    }
    /// Writes all that is kept in values to the state.
    pub fn settle(&mut self) {
        self.flush_registers();
        let pending = std::mem::take(&mut self.pending);
        I::store_flags(self, pending);
    }
    /// Makes the state good for a handler of the current op. Registers are
    /// written already; address and count of the block were on the way here.
    fn sync(&mut self) {
        let pending = self.pending;
        let Some((what, [a, b, r])) = I::describe_flags(self, pending) else {
            return I::store_flags(self, pending);
        };
        let stub = self.constant(self.layout.flags);
        let what = self.constant(what);
        let args = [self.cpu, what, a, b, r];
        self.b.ins().call_indirect(self.helper_5, stub, &args);
    }

    fn call_op(&mut self) -> Value {
        let stub = self.constant(self.layout.op);
        let op = self.op_address();
        let block = self.block_address();
        let call = self
            .b
            .ins()
            .call_indirect(self.helper_3, stub, &[self.cpu, op, block]);
        self.b.inst_results(call)[0]
    }
    fn go_or_exit(&mut self, host: Value, go: ir::Block, args: &[BlockArg]) {
        let op = self.op_address();
        self.b
            .ins()
            .brif(host, go, args, self.exit, &[BlockArg::Value(op)]);
    }

    /// Carries the current op out by its handler.
    pub fn handler(&mut self) {
        self.settle();
        let host = self.call_op();
        self.registers = [None; REGISTERS];
        if self.is_last() {
            let op = self.op_address();
            self.b.ins().jump(self.exit, &[BlockArg::Value(op)]);
        } else {
            let next = self.b.create_block();
            self.go_or_exit(host, next, &[]);
            self.b.switch_to_block(next);
        }
    }

    /// The host address of `size` bytes at `va`.
    fn access(&mut self, va: Value, size: u64, kind: Kind) -> Value {
        self.flush_registers();
        let bytes = size & !super::helpers::PAIR;
        let shift = PAGE_SIZE.trailing_zeros() - size_of::<Entry>().trailing_zeros();
        let slot = self.b.ins().ushr_imm(va, i64::from(shift));
        let slot = self.b.ins().band_imm(slot, self.layout.tlb_mask);
        let tlb = self.cpu_load(I64, self.layout.tlb);
        let entry = self.b.ins().iadd(slot, tlb);
        let mode = self.layout.tlb_mode * i32::from(self.block.mode);
        let tag = mode + if kind == Kind::Load { 0 } else { READ_TO_WRITE };
        let tag = self.b.ins().load(I64, own(), entry, tag);
        let last = match bytes {
            1 => va,
            _ => self.b.ins().iadd_imm(va, bytes as i64 - 1),
        };
        let page = self.b.ins().band_imm(last, PAGE_MASK as i64);
        let hit = self.b.ins().icmp(IntCC::Equal, page, tag);
        let addend = mode + offset_of!(Entry, addend) as i32;
        let addend = self.b.ins().load(I64, own(), entry, addend);
        let host = self.b.ins().iadd(va, addend);
        let (cold, join) = (self.b.create_block(), self.b.create_block());
        let at = self.b.append_block_param(join, I64);
        self.b.set_cold_block(cold);
        self.b
            .ins()
            .brif(hit, join, &[BlockArg::Value(host)], cold, &[]);
        self.b.switch_to_block(cold);
        self.sync();
        let size = self.constant(size);
        let host = match kind {
            Kind::Load => {
                let stub = self.constant(self.layout.load);
                let args = [self.cpu, va, size];
                let call = self.b.ins().call_indirect(self.helper_3, stub, &args);
                self.b.inst_results(call)[0]
            }
            Kind::Store => self.call_op(),
            Kind::Update => {
                let stub = self.constant(self.layout.update);
                let op = self.op_address();
                let block = self.block_address();
                let args = [self.cpu, op, block, va, size];
                let call = self.b.ins().call_indirect(self.helper_5, stub, &args);
                self.b.inst_results(call)[0]
            }
        };
        self.go_or_exit(host, join, &[BlockArg::Value(host)]);
        self.b.switch_to_block(join);
        at
    }
    /// Loads from guest memory. May leave the block: nothing of the op may be
    /// done before.
    pub fn load(&mut self, va: Value, ty: Type) -> Value {
        let host = self.access(va, u64::from(ty.bytes()), Kind::Load);
        self.b.ins().load(ty, guest(), host, 0)
    }
    /// As [`Lower::load`], for bytes to [`Lower::take`] in parts before anything
    /// else is accessed.
    pub fn load_later(&mut self, va: Value, bytes: u64) -> Value {
        self.access(va, bytes, Kind::Load)
    }
    /// A part of what [`Lower::load_later`] loaded.
    pub fn take(&mut self, host: Value, ty: Type, at: i32) -> Value {
        self.b.ins().load(ty, guest(), host, at)
    }
    /// Loads 16 bytes as two halves.
    pub fn load_16(&mut self, va: Value) -> [Value; 2] {
        let host = self.access(va, 16, Kind::Load);
        [0, 8].map(|at| self.b.ins().load(I64, guest(), host, at))
    }
    /// Loads two words, which are two accesses where they are no plain memory.
    pub fn load_words(&mut self, va: Value) -> [Value; 2] {
        let host = self.access(va, 8 | super::helpers::PAIR, Kind::Load);
        [0, 4].map(|at| self.b.ins().load(I32, guest(), host, at))
    }
    /// Stores to guest memory. May leave the block, or have the handler carry
    /// the whole op out: nothing of the op may be done before, and what is done
    /// after has to be what the handler did.
    pub fn store(&mut self, va: Value, value: Value) {
        let bytes = self.b.func.dfg.value_type(value).bytes();
        let host = self.access(va, bytes.into(), Kind::Store);
        self.b.ins().store(guest(), value, host, 0);
    }
    /// As [`Lower::store`], for a value that is read only now: gives where to
    /// [`Lower::put`] it.
    pub fn store_later(&mut self, va: Value, bytes: u64) -> Value {
        self.access(va, bytes, Kind::Store)
    }
    /// Whether the op is the last of its block.
    pub fn is_last(&self) -> bool {
        std::ptr::eq(self.op, &self.block.ops[self.block.ops.len() - 1])
    }
    /// Stores zeros; as [`Lower::store`].
    pub fn store_zeros(&mut self, va: Value, bytes: u64) {
        let host = self.access(va, bytes, Kind::Store);
        let zero = self.constant(0);
        for at in (0..bytes as i32).step_by(8) {
            self.b.ins().store(guest(), zero, host, at);
        }
    }
    /// As [`Lower::store`], for two adjacent values of one type.
    pub fn store_two(&mut self, va: Value, values: [Value; 2]) {
        let bytes = self.b.func.dfg.value_type(values[0]).bytes();
        let host = self.access(va, 2 * u64::from(bytes), Kind::Store);
        for (n, value) in values.into_iter().enumerate() {
            let at = n as i32 * bytes as i32;
            self.b.ins().store(guest(), value, host, at);
        }
    }
    /// Loads what the op is going to store to; gives the value and where to
    /// [`Lower::put`] the new one. As for [`Lower::store`].
    pub fn update(&mut self, va: Value, ty: Type) -> (Value, Value) {
        let host = self.access(va, u64::from(ty.bytes()), Kind::Update);
        (self.b.ins().load(ty, guest(), host, 0), host)
    }
    /// The second half of [`Lower::update`] and [`Lower::store_later`].
    pub fn put(&mut self, host: Value, value: Value) {
        self.put_at(host, value, 0);
    }
    /// As [`Lower::put`], so many bytes further on.
    pub fn put_at(&mut self, host: Value, value: Value, at: i32) {
        self.b.ins().store(guest(), value, host, at);
    }
    /// The mode that the block was decoded in.
    pub fn mode(&self) -> u8 {
        self.block.mode
    }

    /// The epoch in force for the half of the address space that `va` is in.
    fn epoch_of(&mut self, va: Value) -> Value {
        let high = self.b.ins().ushr_imm(va, 63);
        let high = self.b.ins().ishl_imm(high, 2);
        let epochs = self.b.ins().iadd(self.cpu, high);
        let low = self.layout.epochs + 4 * i32::from(EPOCH_LOW);
        self.b.ins().load(I32, own(), epochs, low)
    }
    /// Goes on where `a` equals `b`, and by the stub `back` where not.
    fn only_if(&mut self, a: Value, b: Value, back: u64, args: [Value; 3]) {
        let equal = self.b.ins().icmp(IntCC::Equal, a, b);
        let (next, miss) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(miss);
        self.b.ins().brif(equal, next, &[], miss, &[]);
        self.b.switch_to_block(miss);
        self.tail(back, args);
        self.b.switch_to_block(next);
    }

    /// Goes on at another block, by link `which`; `offset` counts from the start
    /// of this one. Everything is settled.
    pub fn leave(&mut self, which: usize, offset: u64) {
        let target = self.block_va(offset);
        let next = self.after();
        let link = self.constant(self.block.links_at[which] as u64);
        let (at, back) = (self.layout.link, self.layout.back.link);
        if self.loops && offset == 0 {
            let epoch = self.b.ins().load(I32, own(), link, at.epoch);
            let now = self.cpu_load(I32, self.layout.epochs + 4 * i32::from(EPOCH_ALWAYS));
            self.only_if(epoch, now, back, [target, next, link]);
            self.b.ins().jump(self.head, &[BlockArg::Value(next)]);
            return;
        }
        // A link within a page leads back when its target is gone; whatever is
        // mapped there, it is in the page of this block.
        let page_offset = (self.block.pa & !PAGE_MASK).wrapping_add(offset);
        if page_offset >= PAGE_SIZE {
            let epoch = self.b.ins().load(I32, own(), link, at.epoch);
            let now = self.epoch_of(target);
            self.only_if(epoch, now, back, [target, next, link]);
            let va = self.b.ins().load(I64, own(), link, at.va);
            self.only_if(va, target, back, [target, next, link]);
        }
        let code = self.b.ins().load(I64, own(), link, at.code);
        self.go(code, [target, next, link]);
    }
    /// Goes on by the first link where `taken`, else behind the block.
    pub fn branch(&mut self, taken: Value, offset: u64) {
        let (yes, no) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(taken, yes, &[], no, &[]);
        self.b.switch_to_block(yes);
        self.leave(0, offset);
        self.b.switch_to_block(no);
        self.leave(1, u64::from(self.op.off) + u64::from(self.op.len));
    }
    /// Goes on at any address, by the jump cache. Everything is settled.
    pub fn indirect(&mut self, target: Value) {
        let next = self.after();
        let jump = self.layout.jump;
        let near = self.b.ins().ushr_imm(target, i64::from(I::ALIGN_BITS));
        let far = self.b.ins().ushr_imm(target, i64::from(JUMP_FOLD));
        let slot = self.b.ins().bxor(near, far);
        let slot = self.b.ins().band_imm(slot, jump.mask);
        let slot = self.b.ins().ishl_imm(slot, jump.shift);
        let jumps = self.cpu_load(I64, jump.table);
        let at = self.b.ins().iadd(jumps, slot);
        let args = [target, next, at];
        let back = self.layout.back.jump;
        let key = self.b.ins().load(I64, own(), at, jump.key);
        let mode = u64::from(self.block.mode) << 56;
        let wanted = self.b.ins().bxor_imm(target, mode as i64);
        self.only_if(key, wanted, back, args);
        let epoch = self.b.ins().load(I32, own(), at, jump.epoch);
        let now = self.epoch_of(target);
        self.only_if(epoch, now, back, args);
        let code = self.b.ins().load(I64, own(), at, jump.code);
        self.go(code, args);
    }
    /// Where `unusual` holds, leaves the whole op to its handler, and what is
    /// behind it to the interpreter. Nothing of the op may be done before.
    pub fn unless(&mut self, unusual: Value) {
        self.flush_registers();
        let (cold, next) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(cold);
        self.b.ins().brif(unusual, cold, &[], next, &[]);
        self.b.switch_to_block(cold);
        self.sync();
        self.call_op();
        let op = self.op_address();
        self.b.ins().jump(self.exit, &[BlockArg::Value(op)]);
        self.b.switch_to_block(next);
    }
    /// Where `unusual` holds, leaves the op to its handler, else does `usual`, and
    /// goes on in the block. `usual` may store to the state, where the handler
    /// does; it reads no register that was not read before.
    pub fn or_handler(&mut self, unusual: Value, usual: impl FnOnce(&mut Self)) {
        self.flush_registers();
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
