//! Loads and stores of one general register (Arm ARM C4.1.88), and the decoder
//! of the whole load/store group.

use super::build::*;
use super::regs::{SP, dest, source};
use super::{Code, Trap, atomic, context, ec, exclusive, pair, simd};
use crate::access;
use crate::engine::{Flow, Scalar};

pub(super) fn decode(insn: u32) -> Option<O> {
    match bits(insn, 27, 3) {
        _ if bit(insn, 26) => simd::decode(insn),
        0b001 if !bit(insn, 24) => exclusive::decode(insn),
        0b011 if bits(insn, 24, 2) == 0 => literal(insn),
        0b101 => pair::decode(insn),
        0b111 => single(insn),
        _ => None,
    }
}

/// What a load makes of the bytes.
pub(super) trait Load {
    type T: Scalar;
    fn extend(value: Self::T) -> u64;
}
macro_rules! loads {
    ($($name:ident: $t:ty as $($via:ty)|+;)*) => {$(
        pub(super) struct $name;
        impl Load for $name {
            type T = $t;
            #[inline(always)]
            fn extend(value: $t) -> u64 {
                value $(as $via)+ as u64
            }
        }
    )*};
}
loads! {
    U8: u8 as u8;
    U16: u16 as u16;
    U32: u32 as u32;
    U64: u64 as u64;
    S8W: u8 as i8 | i32 | u32;
    S8X: u8 as i8;
    S16W: u16 as i16 | i32 | u32;
    S16X: u16 as i16;
    S32X: u32 as i32;
}

/// A stored width.
pub(super) trait Store: Scalar {
    fn cut(value: u64) -> Self;
}
macro_rules! stores {
    ($($t:ty),*) => {$(
        impl Store for $t {
            #[inline(always)]
            fn cut(value: u64) -> $t {
                value as $t
            }
        }
    )*};
}
stores!(u8, u16, u32, u64);

/// Chooses a handler by size and opc fields: stores, loads, sign extensions.
macro_rules! by_kind {
    ($insn:expr, |$k:ident| $load:expr, $store:expr) => {
        match bits($insn, 30, 2) << 2 | bits($insn, 22, 2) {
            0 => {
                type $k = u8;
                (Code::Store, $store as H)
            }
            1 => {
                type $k = U8;
                (Code::Load, $load as H)
            }
            2 => {
                type $k = S8X;
                (Code::Load, $load as H)
            }
            3 => {
                type $k = S8W;
                (Code::Load, $load as H)
            }
            4 => {
                type $k = u16;
                (Code::Store, $store as H)
            }
            5 => {
                type $k = U16;
                (Code::Load, $load as H)
            }
            6 => {
                type $k = S16X;
                (Code::Load, $load as H)
            }
            7 => {
                type $k = S16W;
                (Code::Load, $load as H)
            }
            8 => {
                type $k = u32;
                (Code::Store, $store as H)
            }
            9 => {
                type $k = U32;
                (Code::Load, $load as H)
            }
            10 => {
                type $k = S32X;
                (Code::Load, $load as H)
            }
            12 => {
                type $k = u64;
                (Code::Store, $store as H)
            }
            13 => {
                type $k = U64;
                (Code::Load, $load as H)
            }
            _ => return None,
        }
    };
}

/// The value of the base register; the stack pointer must be aligned.
#[inline(always)]
pub(super) fn base<const S: bool>(cpu: &mut C, index: u8) -> Result<u64, Flow> {
    if S {
        let sp = cpu.s.r.get(SP);
        if sp & 15 != 0 {
            misaligned_sp(cpu)?;
        }
        Ok(sp)
    } else {
        Ok(cpu.s.r.get(index))
    }
}

/// As [`base`], for any register index.
#[inline(always)]
pub(super) fn base_any(cpu: &mut C, index: u8) -> Result<u64, Flow> {
    let value = cpu.s.r.get(index);
    if index == SP && value & 15 != 0 {
        misaligned_sp(cpu)?;
    }
    Ok(value)
}

#[cold]
fn misaligned_sp(cpu: &mut C) -> Result<(), Flow> {
    // SCTLR_EL1.SA0 and SA.
    let enabled = if cpu.mode() == 1 { 1 << 4 } else { 1 << 3 };
    if cpu.s.sys.sctlr & enabled == 0 {
        return Ok(());
    }
    Err(cpu.raise(Trap::new(ec::SP_ALIGNMENT, 0)))
}

/// Bits of `e` in single loads and stores: size and opc fields, and how the
/// address is made.
fn variant(insn: u32, addressing: u8) -> u8 {
    (bits(insn, 30, 2) << 2 | bits(insn, 22, 2)) as u8 | addressing << 4
}

/// Addressing in bits 4 and up of `e`.
const OFFSET: u8 = 0;
const POST: u8 = 1;
const PRE: u8 = 2;
const UNPRIVILEGED: u8 = 3;
const REGISTER: u8 = 4;

fn single(insn: u32) -> Option<O> {
    let size = bits(insn, 30, 2);
    if bit(insn, 24) {
        let disp = (bits(insn, 10, 12) << size) as i32;
        return if prefetch(insn) {
            Some(op(Code::Nop, nop))
        } else {
            offset(insn, disp)
        };
    }
    if bit(insn, 21) {
        return match bits(insn, 10, 2) {
            0 => atomic::decode(insn),
            2 => register(insn),
            _ => None,
        };
    }
    let disp = sbits(insn, 12, 9) as i32;
    match bits(insn, 10, 2) {
        0 if prefetch(insn) => Some(op(Code::Nop, nop)),
        0 => offset(insn, disp),
        1 => indexed::<false>(insn, disp),
        2 => unprivileged(insn, disp),
        _ => indexed::<true>(insn, disp),
    }
}

fn prefetch(insn: u32) -> bool {
    bits(insn, 30, 2) == 3 && bits(insn, 22, 2) == 2
}

pub(super) fn nop(_: &mut C, _: &O) -> Flow {
    Flow::Next
}

/// Operands: `a` the register, `b` the base, `disp`.
fn operands(insn: u32, code: Code, run: H, disp: i32, addressing: u8) -> O {
    let rt = reg(insn, 0);
    O {
        a: if code == Code::Store {
            source(rt)
        } else {
            dest(rt)
        },
        b: reg(insn, 5),
        disp,
        e: variant(insn, addressing),
        ..op(code, run)
    }
}

fn offset(insn: u32, disp: i32) -> Option<O> {
    let sp = reg(insn, 5) == 31;
    let (code, run) = choose!(bool sp, S =>
        by_kind!(insn, |K| load_offset::<K, S>, store_offset::<K, S>));
    Some(operands(insn, code, run, disp, OFFSET))
}
fn load_offset<K: Load, const S: bool>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(base::<S>(cpu, op.b)).wrapping_add_signed(op.disp.into());
    let value = access!(cpu.load::<K::T>(va));
    set::<true>(cpu, op.a, K::extend(value))
}
fn store_offset<T: Store, const S: bool>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(base::<S>(cpu, op.b)).wrapping_add_signed(op.disp.into());
    let value = T::cut(cpu.s.r.get(op.a));
    access!(cpu.store(va, value));
    Flow::Next
}

fn indexed<const PRE_INDEX: bool>(insn: u32, disp: i32) -> Option<O> {
    if prefetch(insn) {
        return None;
    }
    let sp = reg(insn, 5) == 31;
    let (code, run) = choose!(bool sp, S =>
        by_kind!(insn, |K| load_indexed::<K, S, PRE_INDEX>, store_indexed::<K, S, PRE_INDEX>));
    let addressing = if PRE_INDEX { PRE } else { POST };
    Some(operands(insn, code, run, disp, addressing))
}
fn load_indexed<K: Load, const S: bool, const P: bool>(cpu: &mut C, op: &O) -> Flow {
    let old = access!(base::<S>(cpu, op.b));
    let new = old.wrapping_add_signed(op.disp.into());
    let value = access!(cpu.load::<K::T>(if P { new } else { old }));
    cpu.s.r.set(op.b, new);
    set::<true>(cpu, op.a, K::extend(value))
}
fn store_indexed<T: Store, const S: bool, const P: bool>(cpu: &mut C, op: &O) -> Flow {
    let old = access!(base::<S>(cpu, op.b));
    let new = old.wrapping_add_signed(op.disp.into());
    let value = T::cut(cpu.s.r.get(op.a));
    access!(cpu.store(if P { new } else { old }, value));
    cpu.s.r.set(op.b, new);
    Flow::Next
}

fn unprivileged(insn: u32, disp: i32) -> Option<O> {
    if prefetch(insn) {
        return None;
    }
    let (code, run) = by_kind!(insn, |K| load_user::<K>, store_user::<K>);
    Some(operands(insn, code, run, disp, UNPRIVILEGED))
}
fn load_user<K: Load>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(base_any(cpu, op.b)).wrapping_add_signed(op.disp.into());
    context::settle(cpu);
    let value = access!(cpu.load_as::<K::T>(va, 1));
    set::<true>(cpu, op.a, K::extend(value))
}
fn store_user<T: Store>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(base_any(cpu, op.b)).wrapping_add_signed(op.disp.into());
    context::settle(cpu);
    let value = T::cut(cpu.s.r.get(op.a));
    access!(cpu.store_as(va, value, 1));
    Flow::Next
}

fn register(insn: u32) -> Option<O> {
    let extend = match bits(insn, 13, 3) {
        2 => 0u8,
        3 | 7 => 1,
        6 => 2,
        _ => return None,
    };
    if prefetch(insn) {
        return Some(op(Code::Nop, nop));
    }
    let scaled = bit(insn, 12);
    let (code, run) = choose!(u8 extend, [0, 1, 2], E => choose!(bool scaled, S =>
        by_kind!(insn, |K| load_register::<K, E, S>, store_register::<K, E, S>)));
    let mut op = operands(insn, code, run, 0, REGISTER);
    op.c = source(reg(insn, 16));
    op.d = extend | u8::from(scaled) << 2;
    Some(op)
}
#[inline(always)]
fn indexed_by<T, const E: u8, const S: bool>(cpu: &mut C, op: &O) -> Result<u64, Flow> {
    let base = base_any(cpu, op.b)?;
    let index = cpu.s.r.get(op.c);
    let index = match E {
        0 => index & 0xffff_ffff,
        1 => index,
        _ => index as i32 as u64,
    };
    let shift = if S {
        size_of::<T>().trailing_zeros()
    } else {
        0
    };
    Ok(base.wrapping_add(index << shift))
}
fn load_register<K: Load, const E: u8, const S: bool>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(indexed_by::<K::T, E, S>(cpu, op));
    let value = access!(cpu.load::<K::T>(va));
    set::<true>(cpu, op.a, K::extend(value))
}
fn store_register<T: Store, const E: u8, const S: bool>(cpu: &mut C, op: &O) -> Flow {
    let va = access!(indexed_by::<T, E, S>(cpu, op));
    let value = T::cut(cpu.s.r.get(op.a));
    access!(cpu.store(va, value));
    Flow::Next
}

fn literal(insn: u32) -> Option<O> {
    let (run, kind) = match bits(insn, 30, 2) {
        0 => (load_literal::<U32> as H, 9),
        1 => (load_literal::<U64> as H, 13),
        2 => (load_literal::<S32X> as H, 10),
        _ => return Some(op(Code::Nop, nop)),
    };
    Some(O {
        a: dest(reg(insn, 0)),
        disp: (sbits(insn, 5, 19) << 2) as i32,
        e: kind,
        ..op(Code::LoadLiteral, run)
    })
}
fn load_literal<K: Load>(cpu: &mut C, op: &O) -> Flow {
    let va = cpu.pc_of(op).wrapping_add_signed(op.disp.into());
    let value = access!(cpu.load::<K::T>(va));
    set::<true>(cpu, op.a, K::extend(value))
}
