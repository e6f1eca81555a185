//! Exclusive and ordered loads and stores, compare and swap.
//!
//! The local monitor remembers address and value of an exclusive load; the
//! exclusive store succeeds when memory still holds that value.

use super::build::*;
use super::ldst::base_any;
use super::regs::{dest, source};
use super::state::Exclusive;
use super::{Code, mmu};
use crate::access;
use crate::engine::{AtomicScalar, Flow};
use std::sync::atomic::{Ordering, fence};

pub(super) fn decode(insn: u32) -> Option<O> {
    let size = bits(insn, 30, 2) as u8;
    let (o2, load, o1, o0) = (bit(insn, 23), bit(insn, 22), bit(insn, 21), bit(insn, 15));
    let base = O {
        a: reg(insn, 0),
        b: reg(insn, 5),
        c: reg(insn, 16),
        d: reg(insn, 10),
        e: size | u8::from(o0) << 2,
        ..op(Code::Undefined, undefined)
    };
    let with = |code: Code, run: H| {
        let mut op = base.clone();
        op.code = code as u16;
        op.run.set(run);
        op
    };
    macro_rules! sized {
        ($f:ident) => {
            match size {
                0 => $f::<u8> as H,
                1 => $f::<u16> as H,
                2 => $f::<u32> as H,
                _ => $f::<u64> as H,
            }
        };
    }
    let mut op = match (o2, load, o1) {
        (false, true, false) => with(Code::LoadExclusive, sized!(load_exclusive)),
        (false, false, false) => with(Code::StoreExclusive, sized!(store_exclusive)),
        (false, _, true) if size < 2 => {
            // CASP: the size is in bit 30, and register pairs start even.
            if base.d != 31 || (base.a | base.c) & 1 != 0 {
                return None;
            }
            match size {
                0 => with(Code::CasPair, cas_pair_w),
                _ => with(Code::CasPair, cas_pair_x),
            }
        }
        (false, true, true) if size == 2 => with(Code::LoadExclusivePair, load_pair_w),
        (false, true, true) => with(Code::LoadExclusivePair, load_pair_x),
        (false, false, true) if size == 2 => with(Code::StoreExclusivePair, store_pair_w),
        (false, false, true) => with(Code::StoreExclusivePair, store_pair_x),
        // LDLAR and STLLR (limited ordering regions) are not there.
        (true, true, false) if o0 => with(Code::LoadAcquire, sized!(load_acquire)),
        (true, false, false) if o0 => with(Code::StoreRelease, sized!(store_release)),
        (true, _, true) if base.d == 31 => with(Code::Cas, sized!(cas)),
        _ => return None,
    };
    // From fields to register indices.
    let loads = op.code == Code::LoadExclusive as u16
        || op.code == Code::LoadExclusivePair as u16
        || op.code == Code::LoadAcquire as u16;
    if op.code == Code::CasPair as u16 {
        return Some(op);
    }
    op.a = if loads { dest(op.a) } else { source(op.a) };
    if op.code == Code::Cas as u16 {
        // c is both compared and loaded.
        return Some(op);
    }
    op.d = if loads { dest(op.d) } else { source(op.d) };
    op.c = dest(op.c);
    Some(op)
}

/// The address of an access that must be aligned to its size.
#[inline(always)]
pub(super) fn aligned(cpu: &mut C, op: &O, size: u64, write: bool) -> Result<u64, Flow> {
    let va = base_any(cpu, op.b)?;
    if va & (size - 1) != 0 {
        return Err(mmu::alignment_fault(cpu, va, write));
    }
    Ok(va)
}

fn load_exclusive<T: AtomicScalar>(cpu: &mut C, op: &O) -> Flow {
    let size = size_of::<T>() as u64;
    let va = access!(aligned(cpu, op, size, false));
    let value = access!(cpu.load::<T>(va)).to_u128();
    cpu.s.exclusive = Exclusive {
        address: va,
        value,
        size: size as u8,
    };
    cpu.s.r.set(op.a, value as u64);
    Flow::Next
}
fn store_exclusive<T: AtomicScalar>(cpu: &mut C, op: &O) -> Flow {
    let size = size_of::<T>() as u64;
    let va = access!(aligned(cpu, op, size, true));
    let mut failed = 1;
    let seen = cpu.s.exclusive;
    if seen.address == va && seen.size == size as u8 {
        let expected = T::from_u128(seen.value);
        let new = T::from_u128(cpu.s.r.get(op.a).into());
        failed = u64::from(access!(cpu.compare_exchange(va, expected, new)) != expected);
    }
    cpu.s.exclusive = Exclusive::default();
    cpu.s.r.set(op.c, failed);
    Flow::Next
}

fn load_pair_w(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 8, false));
    let value = access!(cpu.load::<u64>(va));
    cpu.s.exclusive = Exclusive {
        address: va,
        value: value.into(),
        size: 8,
    };
    cpu.s.r.set(op.a, value & 0xffff_ffff);
    cpu.s.r.set(op.d, value >> 32);
    Flow::Next
}
fn load_pair_x(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 16, false));
    let value = access!(cpu.load::<u128>(va));
    cpu.s.exclusive = Exclusive {
        address: va,
        value,
        size: 16,
    };
    cpu.s.r.set(op.a, value as u64);
    cpu.s.r.set(op.d, (value >> 64) as u64);
    Flow::Next
}
fn store_pair_w(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 8, true));
    let mut failed = 1;
    let seen = cpu.s.exclusive;
    if seen.address == va && seen.size == 8 {
        let expected = seen.value as u64;
        let new = cpu.s.r.get(op.d) << 32 | cpu.s.r.get(op.a) & 0xffff_ffff;
        failed = u64::from(access!(cpu.compare_exchange(va, expected, new)) != expected);
    }
    cpu.s.exclusive = Exclusive::default();
    cpu.s.r.set(op.c, failed);
    Flow::Next
}
fn store_pair_x(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 16, true));
    let mut failed = 1;
    let seen = cpu.s.exclusive;
    if seen.address == va && seen.size == 16 {
        let new = u128::from(cpu.s.r.get(op.d)) << 64 | u128::from(cpu.s.r.get(op.a));
        let found = access!(cpu.compare_exchange_16(va, seen.value, new));
        failed = u64::from(found != seen.value);
    }
    cpu.s.exclusive = Exclusive::default();
    cpu.s.r.set(op.c, failed);
    Flow::Next
}

fn load_acquire<T: AtomicScalar>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, size_of::<T>() as u64, false));
    let value = access!(cpu.load::<T>(va)).to_u128();
    cpu.s.r.set(op.a, value as u64);
    Flow::Next
}
fn store_release<T: AtomicScalar>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, size_of::<T>() as u64, true));
    let value = T::from_u128(cpu.s.r.get(op.a).into());
    access!(cpu.store(va, value));
    // A later LDAR must not pass this store; the host orders all else.
    fence(Ordering::SeqCst);
    Flow::Next
}

fn cas<T: AtomicScalar>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, size_of::<T>() as u64, true));
    let expected = T::from_u128(cpu.s.r.get(source(op.c)).into());
    let new = T::from_u128(cpu.s.r.get(op.a).into());
    let old = access!(mmu::atomic(cpu, va, |cpu| {
        cpu.compare_exchange(va, expected, new)
    }));
    cpu.s.r.set(dest(op.c), old.to_u128() as u64);
    Flow::Next
}
fn cas_pair_w(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 8, true));
    let pair = |cpu: &C, n: u8| cpu.s.x(n | 1) << 32 | cpu.s.x(n) & 0xffff_ffff;
    let (expected, new) = (pair(cpu, op.c), pair(cpu, op.a));
    let old = access!(mmu::atomic(cpu, va, |cpu| {
        cpu.compare_exchange(va, expected, new)
    }));
    cpu.s.set_x(op.c, old & 0xffff_ffff);
    cpu.s.set_x(op.c | 1, old >> 32);
    Flow::Next
}
fn cas_pair_x(cpu: &mut C, op: &O) -> Flow {
    let va = access!(aligned(cpu, op, 16, true));
    let pair = |cpu: &C, n: u8| u128::from(cpu.s.x(n | 1)) << 64 | u128::from(cpu.s.x(n));
    let (expected, new) = (pair(cpu, op.c), pair(cpu, op.a));
    let old = access!(mmu::atomic(cpu, va, |cpu| {
        cpu.compare_exchange_16(va, expected, new)
    }));
    cpu.s.set_x(op.c, old as u64);
    cpu.s.set_x(op.c | 1, (old >> 64) as u64);
    Flow::Next
}
