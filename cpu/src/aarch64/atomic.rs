//! Atomic memory operations (FEAT_LSE).

use super::build::*;
use super::exclusive::aligned;
use super::regs::{dest, source};
use super::{Code, mmu};
use crate::access;
use crate::engine::{AtomicScalar, Flow};

pub(super) fn decode(insn: u32) -> Option<O> {
    let size = bits(insn, 30, 2);
    let kind = match (bits(insn, 15, 1), bits(insn, 12, 3) as u8) {
        (0, kind) => kind,
        (_, 0) => 8,
        // LDAPR and the 64-byte forms are not there.
        _ => return None,
    };
    let run = choose!(u8 kind, [0, 1, 2, 3, 4, 5, 6, 7, 8], K => match size {
        0 => update::<u8, K> as H,
        1 => update::<u16, K> as H,
        2 => update::<u32, K> as H,
        _ => update::<u64, K> as H,
    });
    Some(O {
        a: dest(reg(insn, 0)),
        b: reg(insn, 5),
        c: source(reg(insn, 16)),
        d: kind,
        e: size as u8,
        ..op(Code::Atomic, run)
    })
}

trait Word: AtomicScalar {
    fn apply<const K: u8>(old: Self, operand: Self) -> Self;
}
macro_rules! word {
    ($($t:ty, $s:ty);*) => {$(
        impl Word for $t {
            #[inline(always)]
            fn apply<const K: u8>(old: $t, operand: $t) -> $t {
                match K {
                    0 => old.wrapping_add(operand),
                    1 => old & !operand,
                    2 => old ^ operand,
                    3 => old | operand,
                    4 => (old as $s).max(operand as $s) as $t,
                    5 => (old as $s).min(operand as $s) as $t,
                    6 => old.max(operand),
                    7 => old.min(operand),
                    _ => operand,
                }
            }
        }
    )*};
}
word!(u8, i8; u16, i16; u32, i32; u64, i64);

fn update<T: Word, const K: u8>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, size_of::<T>() as u64, true));
    let operand = T::from_u128(cpu.s.r.get(op.c).into());
    let old = access!(mmu::atomic(cpu, va, |cpu| {
        cpu.update::<T>(va, |old| T::apply::<K>(old, operand))
    }));
    cpu.s.r.set(op.a, old.to_u128() as u64);
    Flow::Next
}
