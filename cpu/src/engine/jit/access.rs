//! Accesses of compiled code to guest memory: by the soft TLB in place, and by a
//! helper where it misses.

use super::Lower;
use super::dispatch::own;
use crate::engine::tlb::{Entry, READ_TO_WRITE};
use crate::engine::{Isa, PAGE_MASK, PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlags, Type, Value, types::I32, types::I64};
use std::mem::offset_of;

/// What an access does with memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Update,
}

/// Flags of an access to guest memory: any alignment.
fn guest() -> MemFlags {
    MemFlags::new().with_notrap()
}

impl<I: Isa> Lower<'_, I> {
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
}
