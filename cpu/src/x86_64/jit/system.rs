//! System calls and returns, SWAPGS, CLI and STI, PUSHF, and what handlers would
//! be called for only to do nothing.

use super::flags::Pending;
use super::{L, O, address};
use crate::Signal;
use crate::x86_64::flags::{AC, AF, ARITH, CF, DF, ID, IF, IOPL, NT, OF, PF, RF, SF, TF, VM, ZF};
use crate::x86_64::operand::MEM;
use crate::x86_64::state::{Msrs, Segment, X86State, seg};
use crate::x86_64::sys::{efer, flat_code, flat_data};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use iced_x86::Code;
use std::mem::offset_of;

const RCX: u8 = 1;
const RSP: u8 = 4;
const R11: u8 = 11;
const RFLAGS: usize = offset_of!(X86State, rflags);
const CPL: usize = offset_of!(X86State, cpl);

/// Offset of a model-specific register.
macro_rules! msr {
    ($name:ident) => {
        offset_of!(X86State, msr) + offset_of!(Msrs, $name)
    };
}
/// Offset of a field of a segment register.
macro_rules! segment {
    ($n:expr, $name:ident) => {
        offset_of!(X86State, seg) + $n * size_of::<Segment>() + offset_of!(Segment, $name)
    };
}

pub(super) fn lower(l: &mut L<'_>, op: &O) -> bool {
    let Ok(code) = Code::try_from(usize::from(op.code)) else {
        return false;
    };
    let kernel = l.mode() == 0;
    match code {
        Code::Push_rm64 if op.e & MEM != 0 => {
            let at = address(l, op);
            let v = l.load(at, I64);
            push(l, v);
        }
        Code::Pushfq => {
            let v = rflags(l);
            let v = l.b.ins().band_imm(v, !(RF | VM) as i64);
            push(l, v);
        }
        Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg if op.e & MEM == 0 && op.d != 2 => {
            let n = usize::from(op.b).min(5);
            let v = l.state(I16, segment!(n, selector));
            let v = l.b.ins().uextend(I64, v);
            l.set(op.a & 15, v);
        }
        Code::Swapgs if kernel => swapgs(l),
        Code::Cli if kernel => {
            let cpl = l.state(I8, CPL);
            l.unless(cpl);
            let flags = l.state(I64, RFLAGS);
            let flags = l.b.ins().band_imm(flags, !IF as i64);
            l.set_state(flags, RFLAGS);
            let mask = l.signal_mask();
            let mask = l.b.ins().band_imm(mask, !i64::from(Signal::MESSAGE));
            l.set_signal_mask(mask);
        }
        Code::Sti if kernel => sti(l),
        Code::Syscall => syscall(l, op),
        Code::Sysretq if kernel => sysret(l),
        Code::Lfence | Code::Mfence | Code::Sfence => l.fence(),
        Code::Prefetch_m8
        | Code::Prefetchw_m8
        | Code::Prefetchnta_m8
        | Code::Prefetcht0_m8
        | Code::Prefetcht1_m8
        | Code::Prefetcht2_m8 => {}
        _ => return false,
    }
    true
}

fn push(l: &mut L<'_>, v: Value) {
    let sp = l.get_at(RSP).plus(-8);
    l.store(sp, v);
    l.set_at(RSP, sp);
}

/// A bit of `v` moved from place `from` to place `to`; nothing else.
fn move_bit(l: &mut L<'_>, v: Value, from: u32, to: u64) -> Value {
    let to = to.trailing_zeros();
    let v = if from >= to {
        l.b.ins().ushr_imm(v, i64::from(from - to))
    } else {
        l.b.ins().ishl_imm(v, i64::from(to - from))
    };
    l.b.ins().band_imm(v, 1 << to)
}

/// [`X86State::rflags`].
fn rflags(l: &mut L<'_>) -> Value {
    let [zero, sign, carry] = l.pending.words(l);
    let shifted = l.b.ins().ishl_imm(carry, 1);
    let over = l.b.ins().bxor(carry, shifted);
    let low = l.b.ins().band_imm(sign, 0xff);
    let ones = l.b.ins().popcnt(low);
    let even = l.b.ins().bxor_imm(ones, 1);
    let is_zero = l.b.ins().icmp_imm(IntCC::Equal, zero, 0);
    let is_zero = l.b.ins().uextend(I64, is_zero);
    let mut v = l.state(I64, RFLAGS);
    v = l.b.ins().band_imm(v, !ARITH as i64);
    v = l.b.ins().bor_imm(v, 2);
    for (from, at, flag) in [
        (carry, 63, CF),
        (even, 0, PF),
        (carry, 3, AF),
        (is_zero, 0, ZF),
        (sign, 63, SF),
        (over, 63, OF),
    ] {
        let bit = move_bit(l, from, at, flag);
        v = l.b.ins().bor(v, bit);
    }
    v
}

/// [`X86State::set_rflags`].
fn set_rflags(l: &mut L<'_>, v: Value) {
    let not = l.b.ins().bnot(v);
    let zero = move_bit(l, not, ZF.trailing_zeros(), 1);
    let sign = move_bit(l, v, SF.trailing_zeros(), 1 << 63);
    let odd = move_bit(l, not, PF.trailing_zeros(), 1);
    let sign = l.b.ins().bor(sign, odd);
    let cf = move_bit(l, v, CF.trailing_zeros(), 1 << 63);
    let half = move_bit(l, v, CF.trailing_zeros(), 1 << 62);
    let of = move_bit(l, v, OF.trailing_zeros(), 1 << 62);
    let differs = l.b.ins().bxor(half, of);
    let af = move_bit(l, v, AF.trailing_zeros(), 8);
    let carry = l.b.ins().bor(cf, differs);
    let carry = l.b.ins().bor(carry, af);
    l.pending = Pending::Words { zero, sign, carry };
    let kept = TF | IF | DF | IOPL | NT | RF | AC | ID;
    let rest = l.b.ins().band_imm(v, kept as i64);
    l.set_state(rest, RFLAGS);
    let mask = move_bit(l, v, IF.trailing_zeros(), Signal::MESSAGE.into());
    let mask = l.b.ins().ireduce(I32, mask);
    let always = i64::from(Signal::ATTENTION | Signal::FIQ);
    let mask = l.b.ins().bor_imm(mask, always);
    l.set_signal_mask(mask);
}

/// Loads CS and SS as SYSCALL and SYSRET do, with selectors so far from `base`.
fn flat(l: &mut L<'_>, base: Value, code: i64, data: i64, dpl: u8) {
    for (n, far, like) in [
        (seg::CS, code, flat_code(0, dpl.into())),
        (seg::SS, data, flat_data(0, dpl.into())),
    ] {
        let selector = l.b.ins().iadd_imm(base, far);
        let selector = l.b.ins().bor_imm(selector, i64::from(dpl));
        let selector = l.b.ins().ireduce(I16, selector);
        l.set_state(selector, segment!(n, selector));
        let zero = l.constant(like.base);
        l.set_state(zero, segment!(n, base));
        for (value, at) in [
            (like.limit, segment!(n, limit)),
            (like.rights, segment!(n, rights)),
        ] {
            let value = l.b.ins().iconst(I32, i64::from(value));
            l.set_state(value, at);
        }
    }
    let cpl = l.b.ins().iconst(I8, i64::from(dpl));
    l.set_state(cpl, CPL);
}

/// EFER.SCE as 1 where it is off.
fn no_syscalls(l: &mut L<'_>) -> Value {
    let efer = l.state(I64, msr!(efer));
    let on = l.b.ins().band_imm(efer, efer::SCE as i64);
    l.b.ins().bxor_imm(on, efer::SCE as i64)
}

/// What a new mask may let in; not zero where anything waits.
fn interrupts(l: &mut L<'_>) -> Value {
    let word = l.pending_word();
    let bits = i64::from(Signal::MESSAGE | Signal::FIQ);
    let word = l.b.ins().band_imm(word, bits);
    l.b.ins().uextend(I64, word)
}

fn syscall(l: &mut L<'_>, op: &O) {
    // The handler knows what single-stepping asks for.
    let off = no_syscalls(l);
    let old = l.state(I64, RFLAGS);
    let step = l.b.ins().band_imm(old, TF as i64);
    let unusual = l.b.ins().bor(off, step);
    let word = interrupts(l);
    let unusual = l.b.ins().bor(unusual, word);
    l.unless(unusual);
    let flags = rflags(l);
    let flags = l.b.ins().band_imm(flags, !RF as i64);
    let back = l.block_va(u64::from(op.off) + u64::from(op.len));
    l.set(RCX, back);
    l.set(R11, flags);
    let mask = l.state(I64, msr!(fmask));
    let flags = l.b.ins().band_not(flags, mask);
    set_rflags(l, flags);
    let star = l.state(I64, msr!(star));
    let base = l.b.ins().ushr_imm(star, 32);
    let base = l.b.ins().band_imm(base, 0xfffc);
    flat(l, base, 0, 8, 0);
    l.set_mode(0);
    let to = l.state(I64, msr!(lstar));
    l.settle();
    l.indirect_in(to, 0);
}

fn sysret(l: &mut L<'_>) {
    let off = no_syscalls(l);
    let cpl = l.state(I8, CPL);
    let cpl = l.b.ins().uextend(I64, cpl);
    let to = l.get(RCX);
    let short = l.b.ins().ishl_imm(to, 16);
    let short = l.b.ins().sshr_imm(short, 16);
    let crooked = l.b.ins().bxor(short, to);
    let flags = l.get(R11);
    let step = l.b.ins().band_imm(flags, TF as i64);
    let word = interrupts(l);
    let mut unusual = off;
    for more in [cpl, crooked, step, word] {
        unusual = l.b.ins().bor(unusual, more);
    }
    l.unless(unusual);
    let may = ARITH | TF | IF | DF | IOPL | NT | AC | ID;
    let flags = l.b.ins().band_imm(flags, may as i64);
    set_rflags(l, flags);
    let star = l.state(I64, msr!(star));
    let base = l.b.ins().ushr_imm(star, 48);
    flat(l, base, 16, 8, 3);
    l.set_mode(1);
    l.settle();
    l.indirect_in(to, 1);
}

fn swapgs(l: &mut L<'_>) {
    let cpl = l.state(I8, CPL);
    l.unless(cpl);
    let places = [segment!(seg::GS, base), msr!(kernel_gs_base)];
    let [gs, other] = places.map(|at| l.state(I64, at));
    l.set_state(other, places[0]);
    l.set_state(gs, places[1]);
}

fn sti(l: &mut L<'_>) {
    let cpl = l.state(I8, CPL);
    let cpl = l.b.ins().uextend(I32, cpl);
    let word = l.pending_word();
    let word = l.b.ins().band_imm(word, i64::from(Signal::MESSAGE));
    let unusual = l.b.ins().bor(cpl, word);
    l.unless(unusual);
    let flags = l.state(I64, RFLAGS);
    let was = l.b.ins().band_imm(flags, IF as i64);
    let flags = l.b.ins().bor_imm(flags, IF as i64);
    l.set_state(flags, RFLAGS);
    let shadow = offset_of!(X86State, shadow_at);
    let (old, now) = (l.state(I64, shadow), l.count());
    let at = l.b.ins().select(was, old, now);
    l.set_state(at, shadow);
    let old = l.signal_mask();
    let new = l.b.ins().bor_imm(old, i64::from(Signal::MESSAGE));
    let mask = l.b.ins().select(was, old, new);
    l.set_signal_mask(mask);
}
