//! The ways in and out of compiled code. From block to block it goes by itself:
//! see `Lower::leave` and `Lower::indirect`.

use super::lower::block_signature;
use crate::engine::{Cpu, Isa};
use cranelift_codegen::ir::{InstBuilder, MemFlags, types::I32};
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
pub(super) fn enter(mut b: FunctionBuilder<'_>) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let p = b.block_params(entry);
    let (args, code) = ([p[0], p[1], p[2], p[3]], p[3]);
    let sig = b.import_signature(block_signature());
    let call = b.ins().call_indirect(sig, code, &args);
    let how = b.inst_results(call)[0];
    b.ins().return_(&[how]);
    b.seal_all_blocks();
    b.finalize();
}
