//! From block to block, and the ways in and out of compiled code.
//!
//! The head of a block looks at what the run loop looks at in front of it; its
//! end goes on by a link or by the jump cache. What is unusual goes back to the
//! run loop.

use super::lower::{At, Lower, block_signature};
use crate::Signal;
use crate::engine::block::{EPOCH_LOW, JUMP_FOLD};
use crate::engine::{Cpu, Isa, PAGE_MASK, PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlags, Value, types::I32, types::I64};
use cranelift_frontend::FunctionBuilder;
use std::mem::offset_of;

/// Where in the CPU the pointer of compiled code points: as many general
/// registers as can be are within 128 bytes of it, for short instructions.
pub(super) const fn middle<I: Isa>() -> i32 {
    (offset_of!(Cpu<I>, s) + I::GPR_OFFSET + 128) as i32
}

/// Offset of a field of the CPU from that pointer.
macro_rules! field {
    ($($name:ident).+) => {
        offset_of!(Cpu<I>, $($name).+) as i32 - $crate::engine::jit::dispatch::middle::<I>()
    };
}
pub(super) use field;

/// Flags of an access to the CPU itself.
pub(super) fn own() -> MemFlags {
    MemFlags::trusted()
}

/// Goes back to the run loop in front of a block: says `how`, and keeps the
/// last argument (a link, or the block) at offset `keep` of the CPU.
pub(super) fn back<I: Isa>(mut b: FunctionBuilder<'_>, how: u32, keep: i32) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let p = b.block_params(entry);
    let (cpu, va, icount, last) = (p[0], p[1], p[2], p[3]);
    let pc = field!(s) + I::PC_OFFSET as i32;
    b.ins().store(own(), va, cpu, pc);
    b.ins().store(own(), icount, cpu, field!(icount));
    b.ins().store(own(), last, cpu, keep);
    let how = b.ins().iconst(I32, i64::from(how));
    b.ins().return_(&[how]);
    b.seal_all_blocks();
    b.finalize();
}

/// Enters compiled code from the engine: CPU, address, count, code.
pub(super) fn enter<I: Isa>(mut b: FunctionBuilder<'_>) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let p = b.block_params(entry);
    let (cpu, va, icount, code) = (p[0], p[1], p[2], p[3]);
    let cpu = b.ins().iadd_imm(cpu, i64::from(middle::<I>()));
    let args = [cpu, va, icount, code];
    let sig = b.import_signature(block_signature());
    let call = b.ins().call_indirect(sig, code, &args);
    let how = b.inst_results(call)[0];
    b.ins().return_(&[how]);
    b.seal_all_blocks();
    b.finalize();
}

impl<I: Isa> Lower<'_, I> {
    /// What the run loop looks at in front of a block: budget and pending word,
    /// both by [`Signal::limit`].
    pub(super) fn head(&mut self) {
        let next = self.after();
        let next = self.sum(next);
        let signal = self.cpu_load(I64, field!(shared.signal));
        let limit = self.b.ins().load(I64, own(), signal, Signal::LIMIT);
        let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, next, limit);
        let (bail, go) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(bail);
        self.b.ins().brif(over, bail, &[], go, &[]);
        self.b.switch_to_block(bail);
        self.settle_here();
        let (va, count) = (self.block_va(0), self.sum(self.icount));
        let block = self.block_address();
        self.tail(self.layout.bail, [va, count, block]);
        self.b.switch_to_block(go);
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
    pub(super) fn after(&self) -> At {
        self.icount.plus(self.block.n.into())
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
    /// of this one.
    pub fn leave(&mut self, which: usize, offset: u64) {
        if let Some(member) = self.block.next[which] {
            return self.go_to_member(member);
        }
        self.settle_here();
        let next = self.after();
        let next = self.sum(next);
        let target = self.block_va(offset);
        let link = self.constant(self.block.links_at[which] as u64);
        let (at, back) = (self.layout.link, self.layout.back.link);
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
        match self.block.next {
            [Some(_), None] => self.b.set_cold_block(no),
            [None, Some(_)] => self.b.set_cold_block(yes),
            _ => {}
        }
        self.b.ins().brif(taken, yes, &[], no, &[]);
        self.b.switch_to_block(yes);
        self.leave(0, offset);
        self.b.switch_to_block(no);
        self.leave(1, u64::from(self.op.off) + u64::from(self.op.len));
    }
    /// Goes on at any address, by the jump cache.
    pub fn indirect(&mut self, target: Value) {
        self.indirect_in(target, self.block.mode);
    }
    /// As [`Lower::indirect`], in a mode that may be another one.
    pub fn indirect_in(&mut self, target: Value, mode: u8) {
        self.settle();
        let next = self.after();
        let next = self.sum(next);
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
        let mode = u64::from(mode) << 56;
        let wanted = self.b.ins().bxor_imm(target, mode as i64);
        self.only_if(key, wanted, back, args);
        let epoch = self.b.ins().load(I32, own(), at, jump.epoch);
        let now = self.epoch_of(target);
        self.only_if(epoch, now, back, args);
        let code = self.b.ins().load(I64, own(), at, jump.code);
        self.go(code, args);
    }
}
