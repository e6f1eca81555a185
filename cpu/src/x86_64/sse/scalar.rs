//! Compares that set flags, and conversions to and from general registers.

use super::float::{self, Fp, may_be_inexact, may_round};
use super::source::{Source, finish};
use crate::engine::{Flow, Op};
use crate::softfloat::{self as soft, Env, F32, F64, Relation};
use crate::x86_64::X86;
use crate::x86_64::operand::{Ea, Width};
use crate::{Cpu, access};
use std::cmp::Ordering;

/// `comiss`, `ucomiss` and their double forms.
pub fn compare<F: Fp, const SIGNALING: bool, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = F::lane0(access!(S::get(cpu, op)));
    let a = F::lane0(cpu.s.xmm[(op.a & 15) as usize]);
    if let Some(order) = F::fast_compare(a, b) {
        cpu.s
            .cc
            .set_zpc(order == Ordering::Equal, false, order == Ordering::Less);
        return Flow::Next;
    }
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let relation = soft::compare::<F>(a, b, SIGNALING, &mut env);
    access!(finish(cpu, env.flags));
    let (z, p, c) = match relation {
        Relation::Greater => (false, false, false),
        Relation::Less => (false, false, true),
        Relation::Equal => (true, false, false),
        Relation::Unordered => (true, true, true),
    };
    cpu.s.cc.set_zpc(z, p, c);
    Flow::Next
}

/// Where an integer operand comes from.
pub trait Integer {
    /// Reads it, sign-extended.
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<i64, Flow>;
}
/// A general register, in `b`.
#[derive(Debug)]
pub struct Gpr<W>(std::marker::PhantomData<W>);
/// Memory.
#[derive(Debug)]
pub struct IntMem<W, E>(std::marker::PhantomData<(W, E)>);

impl<W: Width> Integer for Gpr<W> {
    #[inline(always)]
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<i64, Flow> {
        Ok(W::get(&cpu.s.gpr, op.b).sign_extend() as i64)
    }
}
impl<W: Width, E: Ea> Integer for IntMem<W, E> {
    #[inline(always)]
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<i64, Flow> {
        let at = E::ea(cpu, op);
        Ok(cpu.load::<W>(at)?.sign_extend() as i64)
    }
}

/// `cvtsi2sd`
pub fn from_int64f<I: Integer>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = access!(I::get(cpu, op));
    let d = (op.a & 15) as usize;
    if value == value << 11 >> 11 || may_round(cpu.s.mxcsr) {
        cpu.s.xmm[d] = F64::with_lane0(cpu.s.xmm[d], (value as f64).to_bits());
        return Flow::Next;
    }
    from_int::<F64>(cpu, d, value)
}
/// `cvtsi2ss`
pub fn from_int32f<I: Integer>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let value = access!(I::get(cpu, op));
    let d = (op.a & 15) as usize;
    if value == value << 40 >> 40 || may_round(cpu.s.mxcsr) {
        cpu.s.xmm[d] = F32::with_lane0(cpu.s.xmm[d], (value as f32).to_bits());
        return Flow::Next;
    }
    from_int::<F32>(cpu, d, value)
}
#[cold]
#[inline(never)]
fn from_int<F: Fp>(cpu: &mut Cpu<X86>, d: usize, value: i64) -> Flow {
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = float::from_int::<F>(value, &mut env);
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d & 15] = F::with_lane0(cpu.s.xmm[d & 15], r);
    Flow::Next
}

/// `cvttsd2si` and its kin.
pub fn to_int<F: Fp, W: Width, const TRUNCATE: bool, S: Source>(
    cpu: &mut Cpu<X86>,
    op: &Op<X86>,
) -> Flow {
    let b = F::lane0(access!(S::get(cpu, op)));
    if let Some(value) = F::fast_to_i64(b) {
        let fits = W::BITS == 64 || value == i64::from(value as i32);
        if fits && (F::is_integer(b, value) || TRUNCATE && may_be_inexact(cpu.s.mxcsr)) {
            W::set(&mut cpu.s.gpr, op.a, W::truncate(value as u64));
            return Flow::Next;
        }
    }
    to_int_slow::<F, W, TRUNCATE>(cpu, op.a, b)
}
#[cold]
#[inline(never)]
fn to_int_slow<F: Fp, W: Width, const TRUNCATE: bool>(
    cpu: &mut Cpu<X86>,
    a: u8,
    b: F::Int,
) -> Flow {
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = float::to_int::<F>(b, W::BITS, TRUNCATE, &mut env);
    access!(finish(cpu, env.flags));
    W::set(&mut cpu.s.gpr, a, W::truncate(r));
    Flow::Next
}

/// `cvtss2sd`
pub fn widen<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op)) as u32;
    let d = (op.a & 15) as usize;
    if let Some(r) = soft::fast::widen(b) {
        cpu.s.xmm[d] = F64::with_lane0(cpu.s.xmm[d], r);
        return Flow::Next;
    }
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = soft::convert::<F32, F64>(b, &mut env);
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d] = F64::with_lane0(cpu.s.xmm[d], r);
    Flow::Next
}
/// `cvtsd2ss`
pub fn narrow<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op)) as u64;
    let d = (op.a & 15) as usize;
    if let Some(r) = soft::fast::narrow(b)
        && may_round(cpu.s.mxcsr)
    {
        cpu.s.xmm[d] = F32::with_lane0(cpu.s.xmm[d], r);
        return Flow::Next;
    }
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = soft::convert::<F64, F32>(b, &mut env);
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d] = F32::with_lane0(cpu.s.xmm[d], r);
    Flow::Next
}

/// `ptest`
pub fn test<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op));
    let a = cpu.s.xmm[(op.a & 15) as usize];
    let (z, c) = super::integer::test(a, b);
    cpu.s.cc.set_zpc(z, false, c);
    Flow::Next
}
