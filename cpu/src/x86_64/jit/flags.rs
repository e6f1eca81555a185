//! Flags of compiled code: kept as what they are computed from until somebody
//! looks. The words are those of [`super::super::flags::LazyFlags`], bit by bit.

use super::L;
use crate::x86_64::flags::carry_word as words_of;
use crate::x86_64::operand::{Width, by_width};
use crate::x86_64::{LazyFlags, X86, X86State};
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types::I8, types::I64};
use std::mem::offset_of;

/// Where the flags in force come from. Operands have the width of the operation.
#[derive(Clone, Copy, Debug, Default)]
pub enum Pending {
    /// The words of the state.
    #[default]
    Stored,
    /// `r = a + b`; `plain` without a carry in.
    Add {
        a: Value,
        b: Value,
        r: Value,
        plain: bool,
    },
    /// `r = a - b`; `plain` without a borrow in.
    Sub {
        a: Value,
        b: Value,
        r: Value,
        plain: bool,
    },
    /// A logic operation.
    Logic { r: Value },
    /// `r = a + 1` or `a - 1`, with CF (0 or 1, 64 bits) as it was.
    Step {
        a: Value,
        r: Value,
        down: bool,
        cf: Value,
    },
    /// A shift by a constant: the bit of `a` that is CF.
    Shift {
        a: Value,
        r: Value,
        cf_bit: u8,
        kind: Shift,
    },
    /// `r` is the low half of the signed product.
    Product { a: Value, b: Value, r: Value },
    /// The words.
    Words {
        zero: Value,
        sign: Value,
        carry: Value,
    },
}

// Kinds of operations in a description.
const ADD: u64 = 0;
const SUB: u64 = 1;
const LOGIC: u64 = 2;
const UP: u64 = 3;
const DOWN: u64 = 4;
const LEFT: u64 = 5;
const RIGHT: u64 = 6;
const ARITHMETIC: u64 = 7;
const PRODUCT: u64 = 8;

/// Writes the flags that [`Pending::describe`] describes: for paths that are too
/// seldom taken to compute them in line.
pub extern "C" fn write_flags(cpu: &mut crate::Cpu<X86>, what: u64, a: u64, b: u64, r: u64) {
    by_width!(what >> 8 & 0xff, W => {
        write::<W>(&mut cpu.s.cc, what & 0xff, (what >> 16) as u32 & 63, [a, b, r]);
    });
}

fn write<W: Width>(cc: &mut LazyFlags, kind: u64, cf_bit: u32, [a, b, r]: [u64; 3]) {
    let (x, y, z) = (W::truncate(a), W::truncate(b), W::truncate(r));
    let top = W::BITS - 1;
    let bit = |v: u64, n: u32| v >> (n & 63) & 1 != 0;
    match kind {
        ADD => cc.set_add(x, y, z),
        SUB => cc.set_sub(x, y, z),
        UP | DOWN => {
            if kind == UP {
                cc.set_add(x, W::truncate(1), z);
            } else {
                cc.set_sub(x, W::truncate(1), z);
            }
            cc.keep_cf(b << 63);
        }
        _ => {
            cc.set_logic(z);
            let cf = bit(a, cf_bit);
            cc.carry = match kind {
                LEFT => words_of(cf, cf ^ bit(r, top)),
                RIGHT => words_of(cf, bit(a, top)),
                ARITHMETIC => words_of(cf, false),
                PRODUCT => {
                    let (a, b) = (x.sign_extend() as i64, y.sign_extend() as i64);
                    let over = i128::from(a) * i128::from(b) != i128::from(z.sign_extend() as i64);
                    words_of(over, over)
                }
                _ => 0,
            };
        }
    }
}

/// Kinds of shifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Left,
    Right,
    Arithmetic,
}

pub(super) const ZERO: usize = offset_of!(X86State, cc) + offset_of!(LazyFlags, zero);
pub(super) const SIGN: usize = offset_of!(X86State, cc) + offset_of!(LazyFlags, sign);
pub(super) const CARRY: usize = offset_of!(X86State, cc) + offset_of!(LazyFlags, carry);

fn bits(l: &L<'_>, v: Value) -> u32 {
    l.b.func.dfg.value_type(v).bits()
}
pub(super) fn sign_extend(l: &mut L<'_>, v: Value) -> Value {
    match bits(l, v) {
        64 => v,
        _ => l.b.ins().sextend(I64, v),
    }
}
pub(super) fn zero_extend(l: &mut L<'_>, v: Value) -> Value {
    match bits(l, v) {
        64 => v,
        _ => l.b.ins().uextend(I64, v),
    }
}

/// [`crate::x86_64::operand::Width::carries`].
fn carries(l: &mut L<'_>, c: Value, bits: u32) -> Value {
    if bits == 64 {
        return c;
    }
    let top = l.b.ins().ishl_imm(c, i64::from(64 - bits));
    let half = l.b.ins().band_imm(c, 8);
    l.b.ins().bor(top, half)
}

/// CF in bit 63 and OF xor CF in bit 62, from words of 0 or 1.
pub(super) fn carry_word(l: &mut L<'_>, cf: Value, differs: Value) -> Value {
    let high = l.b.ins().ishl_imm(cf, 63);
    let low = l.b.ins().ishl_imm(differs, 62);
    l.b.ins().bor(high, low)
}

/// A bit of a value, as a word of 0 or 1.
fn bit(l: &mut L<'_>, v: Value, n: u32) -> Value {
    let v = zero_extend(l, v);
    let v = l.b.ins().ushr_imm(v, i64::from(n));
    l.b.ins().band_imm(v, 1)
}

impl Pending {
    /// The words `zero`, `sign` and `carry`.
    pub fn words(self, l: &mut L<'_>) -> [Value; 3] {
        let (r, carry) = match self {
            Self::Stored => return [ZERO, SIGN, CARRY].map(|at| l.state(I64, at)),
            Self::Words { zero, sign, carry } => return [zero, sign, carry],
            Self::Logic { r } => (r, l.constant(0)),
            Self::Add { a, b, r, .. } => {
                let c = added(l, a, b, r);
                (r, c)
            }
            Self::Sub { a, b, r, .. } => {
                let c = subtracted(l, a, b, r);
                (r, c)
            }
            Self::Step { a, r, down, cf } => {
                let ty = l.b.func.dfg.value_type(a);
                let one = l.b.ins().iconst(ty, 1);
                let c = if down {
                    subtracted(l, a, one, r)
                } else {
                    added(l, a, one, r)
                };
                // LazyFlags::keep_cf
                let old = l.b.ins().ishl_imm(cf, 63);
                let differs = l.b.ins().bxor(c, old);
                let differs = l.b.ins().band_imm(differs, i64::MIN);
                let low = l.b.ins().ushr_imm(differs, 1);
                let both = l.b.ins().bxor(differs, low);
                (r, l.b.ins().bxor(c, both))
            }
            Self::Shift { a, r, cf_bit, kind } => {
                let cf = bit(l, a, cf_bit.into());
                let top = bits(l, a) - 1;
                let differs = match kind {
                    Shift::Left => bit(l, r, top),
                    Shift::Right => {
                        let of = bit(l, a, top);
                        l.b.ins().bxor(cf, of)
                    }
                    Shift::Arithmetic => cf,
                };
                (r, carry_word(l, cf, differs))
            }
            Self::Product { a, b, r } => {
                let wide = bits(l, a) == 64;
                let (a, b) = (sign_extend(l, a), sign_extend(l, b));
                let low = sign_extend(l, r);
                let over = if wide {
                    let high = l.b.ins().smulhi(a, b);
                    let sign = l.b.ins().sshr_imm(low, 63);
                    l.b.ins().icmp(IntCC::NotEqual, high, sign)
                } else {
                    let product = l.b.ins().imul(a, b);
                    l.b.ins().icmp(IntCC::NotEqual, product, low)
                };
                let over = l.b.ins().uextend(I64, over);
                (r, l.b.ins().ishl_imm(over, 63))
            }
        };
        let r = sign_extend(l, r);
        [r, r, carry]
    }

    /// Writes the words to the state.
    pub fn store(self, l: &mut L<'_>) {
        if !matches!(self, Self::Stored) {
            let words = self.words(l);
            for (word, at) in words.into_iter().zip([ZERO, SIGN, CARRY]) {
                l.set_state(word, at);
            }
        }
    }

    /// What [`write_flags`] needs to know: a description and three operands.
    pub fn describe(self, l: &mut L<'_>) -> Option<(u64, [Value; 3])> {
        let (kind, bit, [a, b, r]) = match self {
            Self::Stored | Self::Words { .. } => return None,
            Self::Add { a, b, r, .. } => (ADD, 0, [a, b, r]),
            Self::Sub { a, b, r, .. } => (SUB, 0, [a, b, r]),
            Self::Logic { r } => (LOGIC, 0, [r, r, r]),
            Self::Step { a, r, down, cf, .. } => (if down { DOWN } else { UP }, 0, [a, cf, r]),
            Self::Shift { a, r, cf_bit, kind } => {
                let kind = match kind {
                    Shift::Left => LEFT,
                    Shift::Right => RIGHT,
                    Shift::Arithmetic => ARITHMETIC,
                };
                (kind, cf_bit, [a, a, r])
            }
            Self::Product { a, b, r } => (PRODUCT, 0, [a, b, r]),
        };
        let bytes = u64::from(bits(l, a)) / 8;
        let operands = [a, b, r].map(|v| zero_extend(l, v));
        Some((kind | bytes << 8 | u64::from(bit) << 16, operands))
    }

    fn result(self) -> Option<Value> {
        match self {
            Self::Stored | Self::Words { .. } => None,
            Self::Add { r, .. }
            | Self::Sub { r, .. }
            | Self::Logic { r }
            | Self::Step { r, .. }
            | Self::Shift { r, .. }
            | Self::Product { r, .. } => Some(r),
        }
    }

    /// CF as a word of 0 or 1.
    pub fn cf(self, l: &mut L<'_>) -> Value {
        match self {
            Self::Step { cf, .. } => return cf,
            Self::Stored => {
                let carry = l.state(I64, CARRY);
                return l.b.ins().ushr_imm(carry, 63);
            }
            Self::Words { carry, .. } => return l.b.ins().ushr_imm(carry, 63),
            _ => {}
        }
        let cf = self.condition(l, 2);
        l.b.ins().uextend(I64, cf)
    }

    /// Whether condition `cc`, as Jcc encodes it, holds.
    pub fn condition(self, l: &mut L<'_>, cc: u8) -> Value {
        if let Some(known) = self.compare(l, cc) {
            return known;
        }
        let negate = cc & 1 != 0;
        match (cc >> 1, self.result()) {
            (2, Some(r)) => return against_zero(l, IntCC::Equal, r, negate),
            (4, Some(r)) => return against_zero(l, IntCC::SignedLessThan, r, negate),
            _ => {}
        }
        // Of the state only what is needed is loaded.
        let words = (!matches!(self, Self::Stored)).then(|| self.words(l));
        let word = |l: &mut L<'_>, n: usize| match words {
            Some(words) => words[n],
            None => l.state(I64, [ZERO, SIGN, CARRY][n]),
        };
        let test = |l: &mut L<'_>, v| against_zero(l, IntCC::SignedLessThan, v, false);
        let of = |l: &mut L<'_>| {
            let carry = word(l, 2);
            let up = l.b.ins().ishl_imm(carry, 1);
            l.b.ins().bxor(carry, up)
        };
        let cf = |l: &mut L<'_>| {
            let carry = word(l, 2);
            test(l, carry)
        };
        let less = |l: &mut L<'_>| {
            let (sign, of) = (word(l, 1), of(l));
            let differs = l.b.ins().bxor(sign, of);
            test(l, differs)
        };
        let zf = |l: &mut L<'_>| {
            let zero = word(l, 0);
            against_zero(l, IntCC::Equal, zero, false)
        };
        let base = match cc >> 1 {
            0 => {
                let of = of(l);
                test(l, of)
            }
            1 => cf(l),
            2 => zf(l),
            3 => {
                let (cf, zf) = (cf(l), zf(l));
                l.b.ins().bor(cf, zf)
            }
            4 => {
                let sign = word(l, 1);
                test(l, sign)
            }
            5 => {
                let sign = word(l, 1);
                let low = l.b.ins().ireduce(I8, sign);
                let ones = l.b.ins().popcnt(low);
                let odd = l.b.ins().band_imm(ones, 1);
                l.b.ins().bxor_imm(odd, 1)
            }
            6 => less(l),
            _ => {
                let (less, zf) = (less(l), zf(l));
                l.b.ins().bor(less, zf)
            }
        };
        if negate {
            l.b.ins().bxor_imm(base, 1)
        } else {
            base
        }
    }

    /// Conditions that one compare tells.
    fn compare(self, l: &mut L<'_>, cc: u8) -> Option<Value> {
        use IntCC::*;
        let conditions = match self {
            Self::Sub { plain: true, .. } => [
                UnsignedLessThan,
                UnsignedGreaterThanOrEqual,
                Equal,
                NotEqual,
                UnsignedLessThanOrEqual,
                UnsignedGreaterThan,
            ],
            Self::Logic { r } => {
                // CF and OF are clear.
                return match cc {
                    0 | 2 => Some(l.b.ins().iconst(I8, 0)),
                    1 | 3 => Some(l.b.ins().iconst(I8, 1)),
                    4 | 6 => Some(against_zero(l, Equal, r, false)),
                    5 | 7 => Some(against_zero(l, NotEqual, r, false)),
                    8 | 12 => Some(against_zero(l, SignedLessThan, r, false)),
                    9 | 13 => Some(against_zero(l, SignedGreaterThanOrEqual, r, false)),
                    14 => Some(against_zero(l, SignedLessThanOrEqual, r, false)),
                    15 => Some(against_zero(l, SignedGreaterThan, r, false)),
                    _ => None,
                };
            }
            Self::Add {
                a, r, plain: true, ..
            } => {
                return match cc {
                    2 => Some(l.b.ins().icmp(UnsignedLessThan, r, a)),
                    3 => Some(l.b.ins().icmp(UnsignedGreaterThanOrEqual, r, a)),
                    _ => None,
                };
            }
            _ => return None,
        };
        let Self::Sub { a, b, .. } = self else {
            return None;
        };
        let condition = match cc {
            2..=7 => conditions[usize::from(cc) - 2],
            12 => SignedLessThan,
            13 => SignedGreaterThanOrEqual,
            14 => SignedLessThanOrEqual,
            15 => SignedGreaterThan,
            _ => return None,
        };
        Some(l.b.ins().icmp(condition, a, b))
    }
}

fn against_zero(l: &mut L<'_>, cc: IntCC, v: Value, negate: bool) -> Value {
    let cc = if negate { cc.complement() } else { cc };
    l.b.ins().icmp_imm(cc, v, 0)
}

/// [`LazyFlags::set_add`]
fn added(l: &mut L<'_>, a: Value, b: Value, r: Value) -> Value {
    let width = bits(l, a);
    let (a, b, s) = (zero_extend(l, a), zero_extend(l, b), sign_extend(l, r));
    let both = l.b.ins().band(a, b);
    let either = l.b.ins().bor(a, b);
    let clear = l.b.ins().bnot(s);
    let rest = l.b.ins().band(either, clear);
    let c = l.b.ins().bor(both, rest);
    carries(l, c, width)
}

/// [`LazyFlags::set_sub`]
fn subtracted(l: &mut L<'_>, a: Value, b: Value, r: Value) -> Value {
    let width = bits(l, a);
    let (a, b, s) = (zero_extend(l, a), zero_extend(l, b), sign_extend(l, r));
    let not = l.b.ins().bnot(a);
    let both = l.b.ins().band(not, b);
    let either = l.b.ins().bor(not, b);
    let rest = l.b.ins().band(either, s);
    let c = l.b.ins().bor(both, rest);
    carries(l, c, width)
}
