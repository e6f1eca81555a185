//! Flags of compiled code: kept as what they are computed from until somebody
//! looks. The words are those of [`super::super::Pstate`], bit by bit.

use super::L;
use crate::aarch64::flags::{adds, logic, subs};
use crate::aarch64::{Aarch64, Aarch64State, Pstate};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types::I8, types::I64};
use std::mem::offset_of;

/// Where the flags in force come from. Operands have the width of the operation.
#[derive(Clone, Copy, Debug, Default)]
pub enum Pending {
    /// The words of the state.
    #[default]
    Stored,
    /// `r = a + b`.
    Add { a: Value, b: Value, r: Value },
    /// `r = a - b`.
    Sub { a: Value, b: Value, r: Value },
    /// A logic operation.
    Logic { r: Value },
    /// N, Z, C and V.
    Words([Value; 4]),
}

// Kinds of operations in a description.
const ADD: u64 = 0;
const SUB: u64 = 1;
const LOGIC: u64 = 2;

/// Writes the flags that [`Pending::describe`] describes: for paths that are too
/// seldom taken to compute them in line.
pub extern "C" fn write_flags(cpu: &mut crate::Cpu<Aarch64>, what: u64, a: u64, b: u64, r: u64) {
    let p = &mut cpu.s.p;
    match (what & 0xff, what >> 8 != 0) {
        (ADD, true) => adds::<true>(p, a, b),
        (ADD, false) => adds::<false>(p, a, b),
        (SUB, true) => subs::<true>(p, a, b),
        (SUB, false) => subs::<false>(p, a, b),
        (_, true) => logic::<true>(p, r),
        (_, false) => logic::<false>(p, r),
    };
}

pub(super) const WORDS: [usize; 4] = [
    offset_of!(Aarch64State, p) + offset_of!(Pstate, n),
    offset_of!(Aarch64State, p) + offset_of!(Pstate, z),
    offset_of!(Aarch64State, p) + offset_of!(Pstate, c),
    offset_of!(Aarch64State, p) + offset_of!(Pstate, v),
];

/// A word of 0 or 1 from a condition.
fn word(l: &mut L<'_>, condition: Value) -> Value {
    l.b.ins().uextend(I64, condition)
}

impl Pending {
    /// The words N, Z, C and V.
    pub fn words(self, l: &mut L<'_>) -> [Value; 4] {
        let (r, c, v) = match self {
            Self::Stored => return WORDS.map(|at| l.state(I64, at)),
            Self::Words(words) => return words,
            Self::Logic { r } => {
                let zero = l.constant(0);
                (r, zero, zero)
            }
            Self::Add { a, b, r } => {
                let c = l.b.ins().icmp(IntCC::UnsignedLessThan, r, a);
                let (x, y) = (l.b.ins().bxor(a, r), l.b.ins().bxor(b, r));
                (r, word(l, c), overflow(l, x, y))
            }
            Self::Sub { a, b, r } => {
                let c = l.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, a, b);
                let (x, y) = (l.b.ins().bxor(a, b), l.b.ins().bxor(a, r));
                (r, word(l, c), overflow(l, x, y))
            }
        };
        if l.b.func.dfg.value_type(r) == I64 {
            [r, r, c, v]
        } else {
            let z = l.b.ins().uextend(I64, r);
            [l.b.ins().ishl_imm(z, 32), z, c, v]
        }
    }

    /// Writes the words to the state.
    pub fn store(self, l: &mut L<'_>) {
        if !matches!(self, Self::Stored) {
            let words = self.words(l);
            for (word, at) in words.into_iter().zip(WORDS) {
                l.set_state(word, at);
            }
        }
    }

    /// What [`write_flags`] needs to know: a description and three operands.
    pub fn describe(self, l: &mut L<'_>) -> Option<(u64, [Value; 3])> {
        let (kind, [a, b, r]) = match self {
            Self::Stored | Self::Words(_) => return None,
            Self::Add { a, b, r } => (ADD, [a, b, r]),
            Self::Sub { a, b, r } => (SUB, [a, b, r]),
            Self::Logic { r } => (LOGIC, [r, r, r]),
        };
        let wide = l.b.func.dfg.value_type(a) == I64;
        let operands = [a, b, r].map(|v| if wide { v } else { l.b.ins().uextend(I64, v) });
        Some((kind | u64::from(wide) << 8, operands))
    }

    /// C as a word of 0 or 1.
    pub fn carry(self, l: &mut L<'_>) -> Value {
        match self {
            Self::Stored => l.state(I64, WORDS[2]),
            _ => self.words(l)[2],
        }
    }

    /// Whether condition `cond` (0 to 15) holds.
    pub fn holds(self, l: &mut L<'_>, cond: u8) -> Value {
        use IntCC::*;
        if cond >= 14 {
            return l.b.ins().iconst(I8, 1);
        }
        let compare = |l: &mut L<'_>, cc, x, y| l.b.ins().icmp(cc, x, y);
        let zero = |l: &mut L<'_>, cc, x| l.b.ins().icmp_imm(cc, x, 0);
        let known = match (self, cond) {
            (Self::Sub { a, b, .. }, _) => {
                let cc = match cond {
                    0 => Some(Equal),
                    1 => Some(NotEqual),
                    2 => Some(UnsignedGreaterThanOrEqual),
                    3 => Some(UnsignedLessThan),
                    8 => Some(UnsignedGreaterThan),
                    9 => Some(UnsignedLessThanOrEqual),
                    10 => Some(SignedGreaterThanOrEqual),
                    11 => Some(SignedLessThan),
                    12 => Some(SignedGreaterThan),
                    13 => Some(SignedLessThanOrEqual),
                    _ => None,
                };
                cc.map(|cc| compare(l, cc, a, b))
            }
            (Self::Add { a, r, .. }, 2) => Some(compare(l, UnsignedLessThan, r, a)),
            (Self::Add { a, r, .. }, 3) => Some(compare(l, UnsignedGreaterThanOrEqual, r, a)),
            // C and V are clear.
            (Self::Logic { .. }, 2 | 6 | 8) => Some(l.b.ins().iconst(I8, 0)),
            (Self::Logic { .. }, 3 | 7 | 9) => Some(l.b.ins().iconst(I8, 1)),
            (Self::Logic { r }, 10) => Some(zero(l, SignedGreaterThanOrEqual, r)),
            (Self::Logic { r }, 11) => Some(zero(l, SignedLessThan, r)),
            (Self::Logic { r }, 12) => Some(zero(l, SignedGreaterThan, r)),
            (Self::Logic { r }, 13) => Some(zero(l, SignedLessThanOrEqual, r)),
            _ => None,
        };
        if let Some(known) = known {
            return known;
        }
        if let Self::Add { r, .. } | Self::Sub { r, .. } | Self::Logic { r } = self {
            match cond {
                0 => return zero(l, Equal, r),
                1 => return zero(l, NotEqual, r),
                4 => return zero(l, SignedLessThan, r),
                5 => return zero(l, SignedGreaterThanOrEqual, r),
                _ => {}
            }
        }
        // Of the state only what is needed is loaded.
        let words = (!matches!(self, Self::Stored)).then(|| self.words(l));
        let zero = |l: &mut L<'_>, cc, index: usize| {
            let word = match words {
                Some(words) => words[index],
                None => l.state(I64, WORDS[index]),
            };
            l.b.ins().icmp_imm(cc, word, 0)
        };
        let [n, z, c, v] = [0, 1, 2, 3];
        let base = match cond >> 1 {
            0 => zero(l, Equal, z),
            1 => zero(l, NotEqual, c),
            2 => zero(l, SignedLessThan, n),
            3 => zero(l, NotEqual, v),
            4 => {
                let (c, z) = (zero(l, NotEqual, c), zero(l, NotEqual, z));
                l.b.ins().band(c, z)
            }
            pair => {
                let (n, v) = (zero(l, SignedLessThan, n), zero(l, NotEqual, v));
                let same = compare(l, Equal, n, v);
                if pair == 5 {
                    same
                } else {
                    let z = zero(l, NotEqual, z);
                    l.b.ins().band(same, z)
                }
            }
        };
        if cond & 1 != 0 {
            l.b.ins().bxor_imm(base, 1)
        } else {
            base
        }
    }
}

/// The top bit of `x & y`, as a word of 0 or 1.
fn overflow(l: &mut L<'_>, x: Value, y: Value) -> Value {
    let both = l.b.ins().band(x, y);
    let sign = l.b.ins().icmp_imm(IntCC::SignedLessThan, both, 0);
    word(l, sign)
}
