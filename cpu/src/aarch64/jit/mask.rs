//! The interrupt mask, and ISB.

use super::{L, O, get, set};
use crate::Signal;
use crate::aarch64::state::{Aarch64State, Pstate};
use crate::aarch64::{Code, sysreg};
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use std::mem::offset_of;

const DAIF: usize = offset_of!(Aarch64State, p) + offset_of!(Pstate, daif);
/// Bits of DAIF in the register of that name.
const SHIFT: i64 = 6;
/// CRm of the instructions that set and clear bits.
const BITS: u8 = 15;
const DAIF_SET: u8 = 6;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    if code == Code::Isb {
        // What follows is found anew, through the translations of now.
        let next = l.block_va(u64::from(op.off) + u64::from(op.len));
        l.settle();
        l.indirect(next);
        return true;
    }
    // EL0 may not be allowed to.
    if l.mode() != 0 {
        return false;
    }
    match code {
        Code::Mrs if sysreg::is_daif(op) => {
            let v = l.state(I8, DAIF);
            let v = l.b.ins().uextend(I64, v);
            let v = l.b.ins().ishl_imm(v, SHIFT);
            set(l, op.a, v);
        }
        Code::Msr if sysreg::is_daif(op) => {
            let v = get(l, op.a, I64);
            let v = l.b.ins().ushr_imm(v, SHIFT);
            let v = l.b.ins().ireduce(I8, v);
            let v = l.b.ins().band_imm(v, i64::from(BITS));
            assign(l, v);
        }
        Code::Daif => {
            let old = l.state(I8, DAIF);
            let bits = i64::from(op.a & BITS);
            let new = if op.d == DAIF_SET {
                l.b.ins().bor_imm(old, bits)
            } else {
                l.b.ins().band_imm(old, !i64::from(op.a))
            };
            assign(l, new);
        }
        _ => return false,
    }
    true
}

/// [`sysreg::set_daif`]. The handler lets in what waits.
fn assign(l: &mut L<'_>, daif: Value) {
    let word = l.pending_word();
    let waits =
        l.b.ins()
            .band_imm(word, i64::from(Signal::IRQ | Signal::FIQ));
    l.unless(waits);
    l.set_state(daif, DAIF);
    let open = l.b.ins().bnot(daif);
    let open = l.b.ins().uextend(I32, open);
    // IRQ is bit 0 of a signal and bit 1 of DAIF, FIQ the other way round.
    let irq = l.b.ins().ushr_imm(open, 1);
    let irq = l.b.ins().band_imm(irq, i64::from(Signal::IRQ));
    let fiq = l.b.ins().ishl_imm(open, 1);
    let fiq = l.b.ins().band_imm(fiq, i64::from(Signal::FIQ));
    let mask = l.b.ins().bor(irq, fiq);
    let mask = l.b.ins().bor_imm(mask, i64::from(Signal::ATTENTION));
    l.set_signal_mask(mask);
}
