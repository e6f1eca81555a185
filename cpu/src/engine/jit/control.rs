//! What ops of compiled code do to the engine and not to guest state, and
//! accesses that have to be atomic.

use super::dispatch::field;
use super::{At, Lower};
use crate::Signal;
use crate::engine::{Access, Cpu, Isa};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlags, Type, Value};
use std::mem::offset_of;

impl<I: Isa> Lower<'_, I> {
    /// The pending word, as bits of 32.
    pub fn pending_word(&mut self) -> Value {
        let signal = self.cpu_load(I64, field!(shared.signal));
        let flags = MemFlags::trusted();
        self.b.ins().load(I32, flags, signal, Signal::WORD)
    }
    /// [`Cpu::signal_mask`], 32 bits.
    pub fn signal_mask(&mut self) -> Value {
        self.cpu_load(I32, field!(signal_mask))
    }
    /// As [`Cpu::set_signal_mask`]. The op leaves it to its handler where a bit
    /// that is new in the mask is pending.
    pub fn set_signal_mask(&mut self, mask: Value) {
        self.cpu_store(mask, field!(signal_mask));
    }
    /// As [`Cpu::set_mode`], in the last op of a block.
    pub fn set_mode(&mut self, mode: u8) {
        let mode = self.b.ins().iconst(I8, i64::from(mode));
        self.cpu_store(mode, field!(mode));
    }
    /// Instructions started once the op is done.
    pub fn count(&mut self) -> Value {
        self.sum(self.icount.plus(self.op.n.into()))
    }

    /// The host address of memory to change atomically. Where the access misses
    /// the soft TLB or is not aligned it leaves the op to its handler: nothing
    /// of the op may be done before.
    pub fn locked(&mut self, at: At, ty: Type) -> Value {
        let bytes = i64::from(ty.bytes());
        let (hit, host) = self.look_up(at, bytes, Access::Write);
        let mut unusual = self.b.ins().icmp_imm(IntCC::Equal, hit, 0);
        if bytes > 1 {
            let va = self.sum(at);
            let low = self.b.ins().band_imm(va, bytes - 1);
            let crooked = self.b.ins().icmp_imm(IntCC::NotEqual, low, 0);
            unusual = self.b.ins().bor(unusual, crooked);
        }
        self.unless(unusual);
        host
    }
    /// Changes memory at the host address from [`Lower::locked`]; what was there.
    pub fn exchange(&mut self, host: Value, how: AtomicRmwOp, with: Value) -> Value {
        let ty = self.b.func.dfg.value_type(with);
        let flags = MemFlags::new().with_notrap();
        self.b.ins().atomic_rmw(ty, flags, how, host, with)
    }
    /// As [`Lower::exchange`]: stores `new` where there is `expected`.
    pub fn compare_exchange(&mut self, host: Value, expected: Value, new: Value) -> Value {
        let flags = MemFlags::new().with_notrap();
        self.b.ins().atomic_cas(flags, host, expected, new)
    }
}
