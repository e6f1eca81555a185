//! Branches.

use super::{L, O, get, width};
use crate::aarch64::Code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, types::I64};

const LR: u8 = 30;

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    match code {
        Code::B => {
            l.leave(0, op.imm);
        }
        Code::Bl => {
            link(l, op);
            l.leave(0, op.imm);
        }
        Code::BCond => {
            let taken = l.pending.holds(l, op.d);
            l.branch(taken, op.imm);
        }
        Code::CompareBranch => {
            let v = get(l, op.a, width(op));
            let cc = if op.e & 2 != 0 {
                IntCC::NotEqual
            } else {
                IntCC::Equal
            };
            let taken = l.b.ins().icmp_imm(cc, v, 0);
            l.branch(taken, op.imm);
        }
        Code::TestBranch => {
            let v = get(l, op.a, I64);
            let bit = l.b.ins().band_imm(v, 1i64.wrapping_shl(op.d.into()));
            let cc = if op.e & 2 != 0 {
                IntCC::NotEqual
            } else {
                IntCC::Equal
            };
            let taken = l.b.ins().icmp_imm(cc, bit, 0);
            l.branch(taken, op.imm);
        }
        Code::Br | Code::Ret | Code::Blr => {
            let target = get(l, op.a, I64);
            // The handler knows what becomes of address tags.
            let top = l.b.ins().sshr_imm(target, 48);
            let top = l.b.ins().iadd_imm(top, 1);
            let tagged = l.b.ins().icmp_imm(IntCC::UnsignedGreaterThan, top, 1);
            l.unless(tagged);
            if code == Code::Blr {
                link(l, op);
            }
            l.indirect(target);
        }
        _ => return false,
    }
    true
}

/// The address of the next instruction to the link register.
fn link(l: &mut L<'_>, op: &O) {
    let next = l.block_va(u64::from(op.off) + u64::from(op.len));
    l.set(LR, next);
}
