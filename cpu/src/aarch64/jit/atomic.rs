//! Exclusive loads and stores, compare and swap, atomic memory operations.

use super::memory::{base, int};
use super::system::aligned;
use super::{L, O, get, set};
use crate::aarch64::Code;
use crate::aarch64::regs::{dest, source};
use crate::aarch64::state::{Aarch64State, Exclusive};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{AtomicRmwOp, BlockArg, InstBuilder, Value};
use std::mem::offset_of;

const MONITOR: usize = offset_of!(Aarch64State, exclusive);
const ADDRESS: usize = MONITOR + offset_of!(Exclusive, address);
const VALUE: usize = MONITOR + offset_of!(Exclusive, value);
const SIZE: usize = MONITOR + offset_of!(Exclusive, size);

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    let ty = int(op.e & 3);
    match code {
        Code::LoadExclusive => {
            let at = aligned(l, op);
            let v = l.load(at, ty);
            let va = l.sum(at);
            let wide = if ty == I64 {
                v
            } else {
                l.b.ins().uextend(I64, v)
            };
            monitor(l, va, wide, ty.bytes());
            set(l, op.a, wide);
        }
        Code::StoreExclusive => store_exclusive(l, op),
        Code::Cas => {
            let expected = get(l, source(op.c), ty);
            let new = get(l, op.a, ty);
            let at = base(l, op);
            let host = l.locked(at, ty);
            let old = l.compare_exchange(host, expected, new);
            set(l, dest(op.c), old);
        }
        Code::Atomic => {
            let mut operand = get(l, op.c, ty);
            let how = match op.d {
                0 => AtomicRmwOp::Add,
                1 => {
                    operand = l.b.ins().bnot(operand);
                    AtomicRmwOp::And
                }
                2 => AtomicRmwOp::Xor,
                3 => AtomicRmwOp::Or,
                4 => AtomicRmwOp::Smax,
                5 => AtomicRmwOp::Smin,
                6 => AtomicRmwOp::Umax,
                7 => AtomicRmwOp::Umin,
                _ => AtomicRmwOp::Xchg,
            };
            let at = base(l, op);
            let host = l.locked(at, ty);
            let old = l.exchange(host, how, operand);
            set(l, op.a, old);
        }
        _ => return false,
    }
    true
}

/// Sets the monitor. The value has 64 bits.
fn monitor(l: &mut L<'_>, address: Value, value: Value, size: u32) {
    let zero = l.constant(0);
    let size = l.b.ins().iconst(I8, i64::from(size));
    l.set_state(address, ADDRESS);
    l.set_state(value, VALUE);
    l.set_state(zero, VALUE + 8);
    l.set_state(size, SIZE);
}

fn store_exclusive(l: &mut L<'_>, op: &O) {
    let ty = int(op.e & 3);
    let new = get(l, op.a, ty);
    let at = base(l, op);
    let host = l.locked(at, ty);
    let va = l.sum(at);
    let address = l.state(I64, ADDRESS);
    let size = l.state(I8, SIZE);
    let here = l.b.ins().icmp(IntCC::Equal, address, va);
    let alike =
        l.b.ins()
            .icmp_imm(IntCC::Equal, size, i64::from(ty.bytes()));
    let seen = l.b.ins().band(here, alike);
    let (try_it, done) = (l.b.create_block(), l.b.create_block());
    let failed = l.b.append_block_param(done, I64);
    let one = l.constant(1);
    l.b.ins()
        .brif(seen, try_it, &[], done, &[BlockArg::Value(one)]);
    l.b.switch_to_block(try_it);
    // Little-endian hosts alone are compiled for: the first bytes are the low ones.
    let expected = l.state(ty, VALUE);
    let found = l.compare_exchange(host, expected, new);
    let differs = l.b.ins().icmp(IntCC::NotEqual, found, expected);
    let differs = l.b.ins().uextend(I64, differs);
    l.b.ins().jump(done, &[BlockArg::Value(differs)]);
    l.b.switch_to_block(done);
    let zero = l.constant(0);
    monitor(l, zero, zero, 0);
    set(l, op.c, failed);
}
