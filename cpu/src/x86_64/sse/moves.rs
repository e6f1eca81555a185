//! Loads, stores and moves between registers.

use super::integer::{signs_pd, signs_ps};
use super::lanes::byte_mask;
use super::source::{Source, misaligned};
use crate::engine::{Flow, Op, Scalar};
use crate::x86_64::X86;
use crate::x86_64::operand::{Ea, ea};
use crate::{Cpu, access};

const LOW: u128 = u64::MAX as u128;

#[inline(always)]
fn a(op: &Op<X86>) -> usize {
    (op.a & 15) as usize
}
#[inline(always)]
fn b(op: &Op<X86>) -> usize {
    (op.b & 15) as usize
}

/// `xmm[a] = source`
pub fn load<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.xmm[a(op)] = access!(S::get(cpu, op));
    Flow::Next
}
/// Stores all of `xmm[a]`.
pub fn store<E: Ea>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = E::ea(cpu, op);
    access!(cpu.store(at, cpu.s.xmm[a(op)]));
    Flow::Next
}
/// Stores all of `xmm[a]` at an address that must be aligned.
pub fn store_aligned<E: Ea>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = E::ea(cpu, op);
    if at & 15 != 0 {
        return misaligned(cpu);
    }
    access!(cpu.store(at, cpu.s.xmm[a(op)]));
    Flow::Next
}
/// Stores the low bytes of `xmm[a]`.
pub fn store_low<T: Scalar, E: Ea>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = E::ea(cpu, op);
    access!(cpu.store(at, T::from_u128(cpu.s.xmm[a(op)])));
    Flow::Next
}
/// `movhps` to memory.
pub fn store_high<E: Ea>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = E::ea(cpu, op);
    access!(cpu.store(at, (cpu.s.xmm[a(op)] >> 64) as u64));
    Flow::Next
}
/// `movlps` from memory.
pub fn load_low<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = access!(S::get(cpu, op));
    let d = &mut cpu.s.xmm[a(op)];
    *d = *d & !LOW | value;
    Flow::Next
}
/// `movhps` from memory.
pub fn load_high<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = access!(S::get(cpu, op));
    let d = &mut cpu.s.xmm[a(op)];
    *d = *d & LOW | value << 64;
    Flow::Next
}
/// `movss` between registers.
pub fn merge32(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = cpu.s.xmm[b(op)] & 0xffff_ffff;
    let d = &mut cpu.s.xmm[a(op)];
    *d = *d & !0xffff_ffff | value;
    Flow::Next
}
/// `movsd` between registers.
pub fn merge64(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = cpu.s.xmm[b(op)] & LOW;
    let d = &mut cpu.s.xmm[a(op)];
    *d = *d & !LOW | value;
    Flow::Next
}
/// `movq` between registers.
pub fn copy_low(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.xmm[a(op)] = cpu.s.xmm[b(op)] & LOW;
    Flow::Next
}
/// `movd xmm, r32`
pub fn from_gpr32(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.xmm[a(op)] = u128::from(cpu.s.gpr[b(op)] as u32);
    Flow::Next
}
/// `movq xmm, r64`
pub fn from_gpr64(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.xmm[a(op)] = u128::from(cpu.s.gpr[b(op)]);
    Flow::Next
}
/// `movd r32, xmm`
pub fn to_gpr32(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.gpr[a(op)] = u64::from(cpu.s.xmm[b(op)] as u32);
    Flow::Next
}
/// `movq r64, xmm`
pub fn to_gpr64(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.gpr[a(op)] = cpu.s.xmm[b(op)] as u64;
    Flow::Next
}
/// `pmovmskb`
pub fn byte_signs(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.gpr[a(op)] = u64::from(byte_mask(cpu.s.xmm[b(op)]));
    Flow::Next
}
/// `movmskps`
pub fn single_signs(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.gpr[a(op)] = u64::from(signs_ps(cpu.s.xmm[b(op)]));
    Flow::Next
}
/// `movmskpd`
pub fn double_signs(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    cpu.s.gpr[a(op)] = u64::from(signs_pd(cpu.s.xmm[b(op)]));
    Flow::Next
}
/// `maskmovdqu`: bytes of `xmm[a]` whose mask byte in `xmm[b]` is negative, to
/// RDI. Bytes that are not stored are not touched.
pub fn masked_store(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    let (value, mask) = (cpu.s.xmm[a(op)], byte_mask(cpu.s.xmm[b(op)]));
    store_bytes(cpu, at, value, mask)
}
/// Stores the bytes of `value` that `mask` names, all or none.
pub fn store_bytes(cpu: &mut Cpu<X86>, at: u64, value: u128, mask: u32) -> Flow {
    let mode = cpu.mode();
    for i in (0..16).filter(|i| mask >> i & 1 != 0) {
        access!(cpu.probe_write(at.wrapping_add(i), 1, mode));
    }
    for i in (0..16).filter(|i| mask >> i & 1 != 0) {
        access!(cpu.store(at.wrapping_add(i), (value >> (8 * i)) as u8));
    }
    Flow::Next
}
/// `pinsrb`, `pinsrw`, `pinsrd`, `pinsrq` from a general register.
pub fn insert<T: Scalar>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = cpu.s.gpr[b(op)];
    insert_value::<T>(&mut cpu.s.xmm[a(op)], value.into(), op.imm);
    Flow::Next
}
/// As [`insert`], from memory.
pub fn insert_memory<T: Scalar, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = access!(S::get(cpu, op));
    insert_value::<T>(&mut cpu.s.xmm[a(op)], value, op.imm);
    Flow::Next
}
#[inline(always)]
fn insert_value<T: Scalar>(d: &mut u128, value: u128, imm: u64) {
    let bits = 8 * size_of::<T>() as u32;
    let at = bits * (imm as u32 & (128 / bits - 1));
    let lane = u128::MAX >> (128 - bits);
    *d = *d & !(lane << at) | (value & lane) << at;
}
#[inline(always)]
fn lane<T: Scalar>(x: u128, imm: u64) -> T {
    let bits = 8 * size_of::<T>() as u32;
    T::from_u128(x >> (bits * (imm as u32 & (128 / bits - 1))))
}
/// `pextrb`, `pextrw`, `pextrd`, `pextrq`, `extractps` to a general register:
/// from `xmm[b]` to `gpr[a]`.
pub fn extract<T: Scalar>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = lane::<T>(cpu.s.xmm[b(op)], op.imm);
    cpu.s.gpr[a(op)] = value.to_u128() as u64;
    Flow::Next
}
/// As [`extract`], to memory.
pub fn extract_memory<T: Scalar>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = lane::<T>(cpu.s.xmm[a(op)], op.imm);
    let at = ea(cpu, op);
    access!(cpu.store(at, value));
    Flow::Next
}
