//! System registers that are plain words, barriers, ordered accesses, DC ZVA.

use super::memory::{base, int};
use super::{L, O, get, set};
use crate::aarch64::state::{Aarch64State, Pstate};
use crate::aarch64::{Code, maintain, sysreg};
use crate::engine::jit::At;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, types::I8, types::I64};
use std::mem::offset_of;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    match code {
        Code::Mrs | Code::Msr => {
            let Some(at) = register(l, op) else {
                return false;
            };
            if code == Code::Mrs {
                let v = l.state(I64, at);
                set(l, op.a, v);
            } else {
                let v = get(l, op.a, I64);
                l.set_state(v, at);
            }
        }
        Code::Barrier => l.fence(),
        Code::LoadAcquire => {
            let va = aligned(l, op);
            let v = l.load(va, int(op.e & 3));
            set(l, op.a, v);
        }
        Code::StoreRelease => {
            let va = aligned(l, op);
            let v = get(l, op.a, int(op.e & 3));
            l.store(va, v);
            l.fence();
        }
        // EL0 may not be allowed to.
        Code::DcZva if l.mode() == 0 => {
            let va = get(l, op.a, I64);
            let va = l.b.ins().band_imm(va, -(maintain::ZVA as i64));
            l.store_zeros(va, maintain::ZVA);
        }
        _ => return false,
    }
    true
}

/// Where the register is in the state, if that is all that there is to it.
fn register(l: &mut L<'_>, op: &O) -> Option<usize> {
    if !sysreg::is_sp_el0(op) {
        return sysreg::plain_offset(op);
    }
    // Undefined while it is the stack pointer in use.
    let at = offset_of!(Aarch64State, p) + offset_of!(Pstate, sp_sel);
    let own = l.state(I8, at);
    let in_use = l.b.ins().icmp_imm(IntCC::Equal, own, 0);
    l.unless(in_use);
    Some(offset_of!(Aarch64State, sp_bank))
}

/// The base register. Where the access is not aligned the handler takes it.
pub(super) fn aligned(l: &mut L<'_>, op: &O) -> At {
    let at = base(l, op);
    let size = 1i64 << (op.e & 3);
    if size > 1 && !l.is_aligned(at, size) {
        let va = l.sum(at);
        let low = l.b.ins().band_imm(va, size - 1);
        l.unless(low);
    }
    at
}
