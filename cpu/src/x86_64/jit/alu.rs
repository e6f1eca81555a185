//! Arithmetic, logic, shifts by constants, bit tests.

use super::flags::{Pending, Shift};
use super::form::{Form, Operand};
use super::moves::source;
use super::{L, O, address, int, read, write};
use cranelift_codegen::ir::{InstBuilder, Value, types::I64};
use iced_x86::Mnemonic as M;

/// Result and flags of `a` and `b`; `cf` is CF where the operation uses it.
pub(super) fn compute(
    l: &mut L<'_>,
    name: M,
    a: Value,
    b: Value,
    cf: Option<Value>,
) -> Option<(Value, Pending)> {
    let logic = |r| Some((r, Pending::Logic { r }));
    match name {
        M::Add => {
            let r = l.b.ins().iadd(a, b);
            let plain = true;
            Some((r, Pending::Add { a, b, r, plain }))
        }
        M::Sub | M::Cmp => {
            let r = l.b.ins().isub(a, b);
            let plain = true;
            Some((r, Pending::Sub { a, b, r, plain }))
        }
        M::Adc | M::Sbb => {
            let ty = l.b.func.dfg.value_type(a);
            let mut cf = cf?;
            if ty != I64 {
                cf = l.b.ins().ireduce(ty, cf);
            }
            let plain = false;
            Some(if name == M::Adc {
                let r = l.b.ins().iadd(a, b);
                let r = l.b.ins().iadd(r, cf);
                (r, Pending::Add { a, b, r, plain })
            } else {
                let r = l.b.ins().isub(a, b);
                let r = l.b.ins().isub(r, cf);
                (r, Pending::Sub { a, b, r, plain })
            })
        }
        M::And | M::Test => logic(if a == b { a } else { l.b.ins().band(a, b) }),
        M::Or => logic(l.b.ins().bor(a, b)),
        M::Xor => logic(l.b.ins().bxor(a, b)),
        _ => None,
    }
}

/// Result and flags of `a` alone.
pub(super) fn compute_one(l: &mut L<'_>, name: M, a: Value) -> Option<(Value, Pending)> {
    let ty = l.b.func.dfg.value_type(a);
    match name {
        M::Inc | M::Dec => {
            let cf = l.pending.cf(l);
            let down = name == M::Dec;
            let r = l.b.ins().iadd_imm(a, if down { -1 } else { 1 });
            Some((r, Pending::Step { a, r, down, cf }))
        }
        M::Neg => {
            let zero = l.b.ins().iconst(ty, 0);
            let r = l.b.ins().ineg(a);
            let plain = true;
            Some((
                r,
                Pending::Sub {
                    a: zero,
                    b: a,
                    r,
                    plain,
                },
            ))
        }
        M::Not => Some((l.b.ins().bnot(a), l.pending)),
        _ => None,
    }
}

/// Result and flags of a shift by `n`, not zero and less than the width.
fn compute_shift(l: &mut L<'_>, name: M, a: Value, n: u8, bits: u8) -> Option<(Value, Pending)> {
    let by = i64::from(n);
    let (r, cf_bit, kind) = match name {
        M::Shl | M::Sal => (l.b.ins().ishl_imm(a, by), bits - n, Shift::Left),
        M::Shr => (l.b.ins().ushr_imm(a, by), n - 1, Shift::Right),
        M::Sar => (l.b.ins().sshr_imm(a, by), n - 1, Shift::Arithmetic),
        _ => return None,
    };
    Some((r, Pending::Shift { a, r, cf_bit, kind }))
}

const RCX: u8 = 1;

pub(super) fn lower(l: &mut L<'_>, op: &O, form: &Form) -> bool {
    let [to, from, third] = form.operands;
    let bytes = to.bytes();
    match form.mnemonic {
        name @ (M::Cmp | M::Test) => {
            // Only memory may leave the block, and there is one at most.
            let (Some(a), Some(b)) = (source(l, op, to, bytes), source(l, op, from, bytes)) else {
                return false;
            };
            let Some((_, pending)) = compute(l, name, a, b, None) else {
                return false;
            };
            l.pending = pending;
            true
        }
        M::Xor if to == from && matches!(to, Operand::Register(..)) => {
            let zero = l.b.ins().iconst(int(bytes), 0);
            l.pending = Pending::Logic { r: zero };
            assign(l, to, zero)
        }
        name @ (M::Add | M::Sub) if from == Operand::Immediate && bytes == 8 => {
            let Operand::Register(r, _) = to else {
                return replace(l, op, name, to, from);
            };
            let by = op.imm as i64;
            let at = l.get_at(r & 15);
            let at = at.plus(if name == M::Add {
                by
            } else {
                by.wrapping_neg()
            });
            replace(l, op, name, to, from) && {
                l.known_as(r & 15, at);
                true
            }
        }
        name @ (M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor) => {
            replace(l, op, name, to, from)
        }
        name @ (M::Inc | M::Dec | M::Neg | M::Not) => {
            modify(l, op, to, |l, a| compute_one(l, name, a))
        }
        name @ (M::Shl | M::Sal | M::Shr | M::Sar) => {
            let mask = if bytes == 8 { 63 } else { 31 };
            let n = (op.imm & mask) as u8;
            if matches!(from, Operand::Register(..)) {
                return shift_by_cl(l, name, to);
            }
            if from != Operand::Immediate || n == 0 || n >= 8 * bytes {
                return false;
            }
            modify(l, op, to, |l, a| compute_shift(l, name, a, n, 8 * bytes))
        }
        name @ (M::Rol | M::Ror) => {
            let n = (op.imm & (8 * u64::from(bytes) - 1)) as u8;
            if from != Operand::Immediate || n == 0 || bytes < 4 {
                return false;
            }
            let Operand::Register(r, _) = to else {
                return false;
            };
            let a = read(l, r, bytes);
            let v = match name {
                M::Rol => l.b.ins().rotl_imm(a, i64::from(n)),
                _ => l.b.ins().rotr_imm(a, i64::from(n)),
            };
            rotated(l, name, v);
            write(l, r, v);
            true
        }
        M::Imul if bytes >= 2 => {
            let (x, y) = match (from, third) {
                (Operand::Nothing, _) => return false,
                (_, Operand::Nothing) => (to, from),
                _ => (from, third),
            };
            // The one that may leave the block first.
            let Some(b) = source(l, op, y, bytes) else {
                return false;
            };
            let Some(a) = source(l, op, x, bytes) else {
                return false;
            };
            let r = l.b.ins().imul(a, b);
            l.pending = Pending::Product { a, b, r };
            assign(l, to, r)
        }
        M::Bt => {
            let Operand::Register(r, n) = to else {
                return false;
            };
            let v = read(l, r, n);
            let at = match from {
                Operand::Immediate => l.constant(op.imm & (8 * u64::from(n) - 1)),
                Operand::Register(by, n) => {
                    let by = l.get(by & 15);
                    l.b.ins().band_imm(by, 8 * i64::from(n) - 1)
                }
                _ => return false,
            };
            let v = super::zero_extend(l, v);
            let v = l.b.ins().ushr(v, at);
            let cf = l.b.ins().band_imm(v, 1);
            set_cf(l, cf);
            true
        }
        _ => false,
    }
}

/// Replaces the first operand by the result of it and the second.
fn replace(l: &mut L<'_>, op: &O, name: M, to: Operand, from: Operand) -> bool {
    // Before the access: behind it, its handler may have run.
    let cf = matches!(name, M::Adc | M::Sbb).then(|| l.pending.cf(l));
    modify(l, op, to, |l, a| {
        let b = source(l, op, from, to.bytes())?;
        compute(l, name, a, b, cf)
    })
}

/// Shifts a register of 32 or 64 bits by CL, which may be zero: then nothing
/// happens, but that the upper half of 64 bits is cleared.
fn shift_by_cl(l: &mut L<'_>, name: M, to: Operand) -> bool {
    let Operand::Register(r, bytes @ (4 | 8)) = to else {
        return false;
    };
    let bits = 8 * i64::from(bytes);
    let n = l.get(RCX);
    let n = l.b.ins().band_imm(n, bits - 1);
    let a = read(l, r, bytes);
    // The last bit that is shifted out ends up at the bottom.
    let less = l.b.ins().iadd_imm(n, -1);
    let (v, last) = match name {
        M::Shl | M::Sal => {
            let left = l.b.ins().ineg(n);
            (l.b.ins().ishl(a, n), l.b.ins().ushr(a, left))
        }
        M::Shr => (l.b.ins().ushr(a, n), l.b.ins().ushr(a, less)),
        _ => (l.b.ins().sshr(a, n), l.b.ins().sshr(a, less)),
    };
    let cf = super::zero_extend(l, last);
    let cf = l.b.ins().band_imm(cf, 1);
    let top = |l: &mut L<'_>, v| {
        let v = super::zero_extend(l, v);
        let v = l.b.ins().ushr_imm(v, bits - 1);
        l.b.ins().band_imm(v, 1)
    };
    let differs = match name {
        M::Shl | M::Sal => top(l, v),
        M::Shr => {
            let sign = top(l, a);
            l.b.ins().bxor(sign, cf)
        }
        _ => cf,
    };
    let carry = super::flags::carry_word(l, cf, differs);
    let result = super::flags::sign_extend(l, v);
    let mut words = l.pending.words(l);
    for (word, new) in words.iter_mut().zip([result, result, carry]) {
        *word = l.b.ins().select(n, new, *word);
    }
    let [zero, sign, carry] = words;
    l.pending = Pending::Words { zero, sign, carry };
    write(l, r, v);
    true
}

/// Flags of a rotation to `v`: CF and OF, from its ends.
fn rotated(l: &mut L<'_>, name: M, v: Value) {
    let bits = i64::from(l.b.func.dfg.value_type(v).bits());
    let v = super::zero_extend(l, v);
    let bit = |l: &mut L<'_>, n| {
        let v = l.b.ins().ushr_imm(v, n);
        l.b.ins().band_imm(v, 1)
    };
    // OF xor CF is the other bit that OF is made from.
    let (cf, differs) = match name {
        M::Rol => (bit(l, 0), bit(l, bits - 1)),
        _ => (bit(l, bits - 1), bit(l, bits - 2)),
    };
    let [zero, sign, old] = l.pending.words(l);
    let carry = super::flags::carry_word(l, cf, differs);
    let half = l.b.ins().band_imm(old, 8);
    let carry = l.b.ins().bor(carry, half);
    l.pending = Pending::Words { zero, sign, carry };
}

/// [`crate::x86_64::LazyFlags::set_cf`] with a word of 0 or 1.
pub(super) fn set_cf(l: &mut L<'_>, cf: Value) {
    let [zero, sign, carry] = l.pending.words(l);
    let new = l.b.ins().ishl_imm(cf, 63);
    let differs = l.b.ins().bxor(carry, new);
    let differs = l.b.ins().band_imm(differs, i64::MIN);
    let low = l.b.ins().ushr_imm(differs, 1);
    let both = l.b.ins().bxor(differs, low);
    let carry = l.b.ins().bxor(carry, both);
    l.pending = Pending::Words { zero, sign, carry };
}

fn assign(l: &mut L<'_>, to: Operand, v: Value) -> bool {
    if let Operand::Register(r, _) = to {
        write(l, r, v);
        return true;
    }
    false
}

/// Replaces an operand by a function of it, and sets flags.
fn modify(
    l: &mut L<'_>,
    op: &O,
    to: Operand,
    f: impl FnOnce(&mut L<'_>, Value) -> Option<(Value, Pending)>,
) -> bool {
    match to {
        Operand::Register(r, bytes) => {
            // A source in memory is loaded by `f`, which may leave the block:
            // the register it reads first is only read.
            let a = read(l, r, bytes);
            let Some((v, pending)) = f(l, a) else {
                return false;
            };
            l.pending = pending;
            write(l, r, v);
            true
        }
        Operand::Memory(bytes @ 1..) => {
            let at = address(l, op);
            let (a, host) = l.update(at, int(bytes));
            let Some((v, pending)) = f(l, a) else {
                unreachable!("{op:?} has a memory operand and no result");
            };
            l.put(host, v);
            l.pending = pending;
            true
        }
        _ => false,
    }
}
