//! Jumps, calls and returns.

use super::form::{Form, Operand};
use super::{L, O, address};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types::I64};
use iced_x86::{Code, Mnemonic as M};

const RSP: u8 = 4;

pub(super) fn lower(l: &mut L<'_>, op: &O, form: &Form) -> bool {
    let near = form.operands[0] == Operand::Immediate;
    match form.mnemonic {
        M::Jmp if near => {
            l.leave(0, op.imm);
            true
        }
        M::Call if near => {
            push_next(l, op);
            l.leave(0, op.imm);
            true
        }
        M::Jmp | M::Call => {
            let target = match form.operands[0] {
                Operand::Register(r, 8) => l.get(r & 15),
                Operand::Memory(8) => {
                    let at = address(l, op);
                    l.load(at, I64)
                }
                _ => return false,
            };
            canonical(l, target);
            if form.mnemonic == M::Call {
                push_next(l, op);
            }
            l.indirect(target);
            true
        }
        M::Ret if op.code == Code::Retnq as u16 || op.code == Code::Retnq_imm16 as u16 => {
            let sp = l.get_at(RSP);
            let target = l.load(sp, I64);
            canonical(l, target);
            l.set_at(RSP, sp.plus(8i64.wrapping_add(op.imm as i64)));
            l.indirect(target);
            true
        }
        _ => {
            let Ok(code) = Code::try_from(usize::from(op.code)) else {
                return false;
            };
            if !near || !code.is_jcc_short_or_near() {
                return false;
            }
            let cc = code.condition_code() as u8 - 1;
            let taken = l.pending.condition(l, cc);
            l.branch(taken, op.imm);
            true
        }
    }
}

/// Pushes the address of the next instruction.
fn push_next(l: &mut L<'_>, op: &O) {
    let next = l.block_va(u64::from(op.off) + u64::from(op.len));
    let sp = l.get_at(RSP).plus(-8);
    l.store(sp, next);
    l.set_at(RSP, sp);
}

/// Leaves the op to its handler where `target` is no canonical address.
fn canonical(l: &mut L<'_>, target: Value) {
    let up = l.b.ins().ishl_imm(target, 16);
    let same = l.b.ins().sshr_imm(up, 16);
    let unusual = l.b.ins().icmp(IntCC::NotEqual, same, target);
    l.unless(unusual);
}
