//! From block to block: the code between a block that ends and the next one.
//!
//! It looks at what the run loop looks at, in a link or in the jump cache, and
//! at the next block's head. Whatever is unusual goes back to the run loop.

use super::lower::block_signature;
use super::{DISPATCH, LINK, Layout};
use crate::engine::block::JUMP_FOLD;
use crate::engine::{Cpu, Isa};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, InstBuilder, MemFlags, Signature, Value, types::I32, types::I64,
};
use cranelift_frontend::FunctionBuilder;
use std::mem::offset_of;

/// Offset of a field of the CPU.
macro_rules! field {
    ($($name:ident).+) => {
        offset_of!(Cpu<I>, $($name).+) as i32
    };
}
pub(super) use field;

/// Flags of an access to the CPU itself.
pub(super) fn own() -> MemFlags {
    MemFlags::trusted()
}

/// The signature of [`link`]: CPU, target, instruction count, link.
pub(super) fn link_signature() -> Signature {
    let mut sig = block_signature();
    sig.params.push(AbiParam::new(I64));
    sig
}

/// Function under construction: its parameters, and where it goes back.
struct Way<'a> {
    b: FunctionBuilder<'a>,
    cpu: Value,
    va: Value,
    icount: Value,
    miss: ir::Block,
}

impl<'a> Way<'a> {
    fn new(mut b: FunctionBuilder<'a>) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let p = b.block_params(entry);
        let (cpu, va, icount) = (p[0], p[1], p[2]);
        let miss = b.create_block();
        b.set_cold_block(miss);
        Self {
            b,
            cpu,
            va,
            icount,
            miss,
        }
    }
    /// Goes back unless `condition`.
    fn need(&mut self, condition: Value) {
        let next = self.b.create_block();
        self.b.ins().brif(condition, next, &[], self.miss, &[]);
        self.b.switch_to_block(next);
    }
    /// Goes back where `condition`.
    fn refuse(&mut self, condition: Value) {
        let next = self.b.create_block();
        self.b.ins().brif(condition, self.miss, &[], next, &[]);
        self.b.switch_to_block(next);
    }
    /// Enters a block of `n` instructions if budget and pending word allow, and
    /// builds the way back, which says `how`.
    fn go<I: Isa>(mut self, code: Value, n: Value, how: u32, link: Option<Value>) {
        self.need(code);
        let after = self.b.ins().iadd(self.icount, n);
        let limit = self
            .b
            .ins()
            .load(I64, own(), self.cpu, field!(shared.limit));
        let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, after, limit);
        self.refuse(over);
        let signal = self
            .b
            .ins()
            .load(I64, own(), self.cpu, field!(shared.signal));
        let word = self.b.ins().load(I32, own(), signal, 0);
        let mask = self.b.ins().load(I32, own(), self.cpu, field!(signal_mask));
        let raised = self.b.ins().band(word, mask);
        self.refuse(raised);
        let Self {
            mut b,
            cpu,
            va,
            icount,
            miss,
        } = self;
        b.ins().store(own(), va, cpu, field!(block_va));
        b.ins().store(own(), icount, cpu, field!(icount));
        let sig = b.import_signature(block_signature());
        b.ins().return_call_indirect(sig, code, &[cpu, va, icount]);
        b.switch_to_block(miss);
        let pc = field!(s) + I::PC_OFFSET as i32;
        b.ins().store(own(), va, cpu, pc);
        b.ins().store(own(), icount, cpu, field!(icount));
        if let Some(link) = link {
            b.ins().store(own(), link, cpu, field!(shared.link));
        }
        let how = b.ins().iconst(I32, i64::from(how));
        b.ins().return_(&[how]);
        b.seal_all_blocks();
        b.finalize();
    }
}

/// Follows a link.
pub(super) fn link<I: Isa>(b: FunctionBuilder<'_>, layout: &Layout) {
    let mut w = Way::new(b);
    let entry = w.b.current_block().expect("in the entry block");
    let link = w.b.block_params(entry)[3];
    let at = layout.link;
    let kind = w.b.ins().uload8(I64, own(), link, at.kind);
    let kind = w.b.ins().ishl_imm(kind, 2);
    let epochs = w.b.ins().iadd(w.cpu, kind);
    let now = w.b.ins().load(I32, own(), epochs, layout.epochs);
    let epoch = w.b.ins().load(I32, own(), link, at.epoch);
    let valid = w.b.ins().icmp(IntCC::Equal, epoch, now);
    w.need(valid);
    // Stricter than the run loop for links within a page, which goes on the
    // same way.
    let va = w.b.ins().load(I64, own(), link, at.va);
    let same = w.b.ins().icmp(IntCC::Equal, va, w.va);
    w.need(same);
    let code = w.b.ins().load(I64, own(), link, at.code);
    let n = w.b.ins().uload32(own(), link, at.n);
    w.go::<I>(code, n, LINK, Some(link));
}

/// Looks a target up in the jump cache.
pub(super) fn jump<I: Isa>(b: FunctionBuilder<'_>, layout: &Layout) {
    let mut w = Way::new(b);
    let jump = &layout.jump;
    let near = w.b.ins().ushr_imm(w.va, i64::from(I::ALIGN_BITS));
    let far = w.b.ins().ushr_imm(w.va, i64::from(JUMP_FOLD));
    let slot = w.b.ins().bxor(near, far);
    let slot = w.b.ins().band_imm(slot, jump.mask);
    let slot = w.b.ins().imul_imm(slot, jump.size);
    let jumps = w.b.ins().load(I64, own(), w.cpu, jump.table);
    let at = w.b.ins().iadd(jumps, slot);
    let key = w.b.ins().load(I64, own(), at, jump.key);
    let mode = w.b.ins().uload8(I64, own(), w.cpu, field!(mode));
    let mode = w.b.ins().ishl_imm(mode, 56);
    let wanted = w.b.ins().bxor(w.va, mode);
    let same = w.b.ins().icmp(IntCC::Equal, key, wanted);
    w.need(same);
    // Kind of epoch: 1 for low addresses, 2 for high ones.
    let high = w.b.ins().ushr_imm(w.va, 63);
    let high = w.b.ins().ishl_imm(high, 2);
    let epochs = w.b.ins().iadd(w.cpu, high);
    let now = w.b.ins().load(I32, own(), epochs, layout.epochs + 4);
    let epoch = w.b.ins().load(I32, own(), at, jump.epoch);
    let valid = w.b.ins().icmp(IntCC::Equal, epoch, now);
    w.need(valid);
    let code = w.b.ins().load(I64, own(), at, jump.code);
    let n = w.b.ins().uload32(own(), at, jump.n);
    w.go::<I>(code, n, DISPATCH, None);
}

/// Enters compiled code from the engine: CPU, address, count, code.
pub(super) fn enter(mut b: FunctionBuilder<'_>) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let p = b.block_params(entry);
    let (args, code) = ([p[0], p[1], p[2]], p[3]);
    let sig = b.import_signature(block_signature());
    let call = b.ins().call_indirect(sig, code, &args);
    let how = b.inst_results(call)[0];
    b.ins().return_(&[how]);
    b.seal_all_blocks();
    b.finalize();
}
