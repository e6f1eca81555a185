//! Read-modify-write instructions that are atomic, on memory.

use super::alu::{compute, compute_one, set_cf};
use super::flags::Pending;
use super::form::{Form, Operand};
use super::moves::source;
use super::{L, O, address, int, read, write};
use crate::x86_64::operand::{ADDR32, LOCKED, MEM};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder};
use iced_x86::Mnemonic as M;

const RAX: u8 = 0;

pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    if op.e & MEM == 0 {
        return false;
    }
    let locked = op.e & LOCKED != 0;
    let mut plain = op.clone();
    plain.e &= !LOCKED;
    let Some(form) = Form::of(&plain) else {
        return false;
    };
    let [Operand::Memory(bytes @ 1..), from, _] = form.operands else {
        return false;
    };
    let name = form.mnemonic;
    match name {
        M::Add | M::Sub | M::And | M::Or | M::Xor if locked => {
            let Some(b) = source(l, op, from, bytes) else {
                return false;
            };
            let how = match name {
                M::Add => AtomicRmwOp::Add,
                M::Sub => AtomicRmwOp::Sub,
                M::And => AtomicRmwOp::And,
                M::Or => AtomicRmwOp::Or,
                _ => AtomicRmwOp::Xor,
            };
            let at = address(l, op);
            let host = l.locked(at, int(bytes));
            let a = l.exchange(host, how, b);
            if let Some((_, pending)) = compute(l, name, a, b, None) {
                l.pending = pending;
            }
        }
        M::Inc | M::Dec if locked => {
            let at = address(l, op);
            let host = l.locked(at, int(bytes));
            let by = if name == M::Inc { 1 } else { -1 };
            let by = l.b.ins().iconst(int(bytes), by);
            let a = l.exchange(host, AtomicRmwOp::Add, by);
            if let Some((_, pending)) = compute_one(l, name, a) {
                l.pending = pending;
            }
        }
        M::Bts | M::Btr | M::Btc if locked && bytes >= 4 => return bit(l, op, &form, bytes),
        M::Xchg | M::Xadd | M::Cmpxchg => {
            let Operand::Register(r, _) = from else {
                return false;
            };
            let b = read(l, r, bytes);
            let accumulator = read(l, RAX, bytes);
            let at = address(l, op);
            let host = l.locked(at, int(bytes));
            match name {
                M::Xchg => {
                    let a = l.exchange(host, AtomicRmwOp::Xchg, b);
                    write(l, r, a);
                }
                M::Xadd => {
                    let a = l.exchange(host, AtomicRmwOp::Add, b);
                    if let Some((_, pending)) = compute(l, M::Add, a, b, None) {
                        l.pending = pending;
                    }
                    write(l, r, a);
                }
                _ => {
                    let found = l.compare_exchange(host, accumulator, b);
                    let (a, b) = (accumulator, found);
                    let r = l.b.ins().isub(a, b);
                    let plain = true;
                    l.pending = Pending::Sub { a, b, r, plain };
                    // RAX stays whole where the values are equal.
                    let old = l.get(RAX);
                    write(l, RAX, found);
                    let new = l.get(RAX);
                    let same = l.b.ins().icmp(IntCC::Equal, a, b);
                    let rax = l.b.ins().select(same, old, new);
                    l.set(RAX, rax);
                }
            }
        }
        _ => return false,
    }
    true
}

/// BTS, BTR and BTC. A register counts bits from the operand's address, in both
/// directions.
fn bit(l: &mut L<'_>, op: &O, form: &Form, bytes: u8) -> bool {
    let ty = int(bytes);
    let bits = 8 * i64::from(bytes);
    let (n, at) = match form.operands[1] {
        Operand::Immediate => {
            let n = l.constant(op.imm & (bits as u64 - 1));
            (n, address(l, op))
        }
        Operand::Register(r, _) if op.e & ADDR32 == 0 => {
            let n = read(l, r, bytes);
            let n = super::flags::sign_extend(l, n);
            let words = l.b.ins().sshr_imm(n, i64::from(bits.trailing_zeros()));
            let far = l.b.ins().imul_imm(words, i64::from(bytes));
            let mut at = address(l, op);
            at.base = l.b.ins().iadd(at.base, far);
            (l.b.ins().band_imm(n, bits - 1), at)
        }
        _ => return false,
    };
    let one = l.b.ins().iconst(ty, 1);
    let mask = l.b.ins().ishl(one, n);
    let (how, with) = match form.mnemonic {
        M::Bts => (AtomicRmwOp::Or, mask),
        M::Btr => (AtomicRmwOp::And, l.b.ins().bnot(mask)),
        _ => (AtomicRmwOp::Xor, mask),
    };
    let host = l.locked(at, ty);
    let old = l.exchange(host, how, with);
    let old = super::zero_extend(l, old);
    let old = l.b.ins().ushr(old, n);
    let cf = l.b.ins().band_imm(old, 1);
    set_cf(l, cf);
    true
}
