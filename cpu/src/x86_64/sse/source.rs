//! Where a vector operand comes from, and the generic handlers.

use super::float::{self, Arith, Fp, may_round};
use super::integer::{F2, F3};
use crate::engine::{Flow, Op};
use crate::softfloat::Env;
use crate::x86_64::X86;
use crate::x86_64::operand::Ea;
use crate::x86_64::trap;
use crate::{Cpu, access};
use std::marker::PhantomData;

/// The second operand of a vector instruction.
pub trait Source {
    /// Reads it; narrow ones are zero-extended.
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<u128, Flow>;
}

/// A vector register, in `b`.
#[derive(Debug)]
pub struct Reg;
/// 16 bytes that must be aligned.
#[derive(Debug)]
pub struct Aligned<E>(PhantomData<E>);
/// Memory of the size of `T`, at any address.
#[derive(Debug)]
pub struct Mem<T, E>(PhantomData<(T, E)>);

impl Source for Reg {
    #[inline(always)]
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<u128, Flow> {
        Ok(cpu.s.xmm[(op.b & 15) as usize])
    }
}

impl<E: Ea> Source for Aligned<E> {
    #[inline(always)]
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<u128, Flow> {
        let at = E::ea(cpu, op);
        if at & 15 != 0 {
            return Err(misaligned(cpu));
        }
        cpu.load::<u128>(at)
    }
}

macro_rules! memory {
    ($($t:ty),*) => {$(
        impl<E: Ea> Source for Mem<$t, E> {
            #[inline(always)]
            fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<u128, Flow> {
                let at = E::ea(cpu, op);
                cpu.load::<$t>(at).map(u128::from)
            }
        }
    )*};
}
memory!(u8, u16, u32, u64, u128);

/// Raises the exception of a misaligned 16-byte operand.
#[cold]
#[inline(never)]
pub fn misaligned(cpu: &mut Cpu<X86>) -> Flow {
    trap::gp(cpu, 0)
}

/// `xmm[a] = f(xmm[a], source)`
pub fn bin<F: F2, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    cpu.s.xmm[d] = F::f(cpu.s.xmm[d], b);
    Flow::Next
}

/// `xmm[a] = f(xmm[a], source, imm)`
pub fn bin_imm<F: F3, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    cpu.s.xmm[d] = F::f(cpu.s.xmm[d], b, op.imm as u8);
    Flow::Next
}

/// Arithmetic on all lanes or lane 0, by host arithmetic where it gives the
/// same result and the same flags.
pub fn arith<O: Arith, F: Fp, const SCALAR: bool, S: Source>(
    cpu: &mut Cpu<X86>,
    op: &Op<X86>,
) -> Flow {
    let b = access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    let a = cpu.s.xmm[d];
    if let Some(r) = float::fast::<O, F, SCALAR>(a, b, may_round(cpu.s.mxcsr)) {
        cpu.s.xmm[d] = r;
        return Flow::Next;
    }
    arith_slow::<O, F, SCALAR>(cpu, op.a, b)
}

#[cold]
#[inline(never)]
fn arith_slow<O: Arith, F: Fp, const SCALAR: bool>(cpu: &mut Cpu<X86>, d: u8, b: u128) -> Flow {
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let d = (d & 15) as usize;
    let r = float::slow::<O, F, SCALAR>(cpu.s.xmm[d], b, &mut env);
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d] = r;
    Flow::Next
}

/// Puts raised flags into MXCSR; an unmasked one raises #XM.
#[inline]
pub fn finish(cpu: &mut Cpu<X86>, raised: u16) -> Result<(), Flow> {
    match float::merge(cpu.s.mxcsr, raised) {
        Ok(mxcsr) => {
            cpu.s.mxcsr = mxcsr;
            Ok(())
        }
        Err(mxcsr) => {
            cpu.s.mxcsr = mxcsr;
            Err(trap::xm(cpu))
        }
    }
}

/// A floating-point operation with flags that has no host arithmetic.
pub trait Slow {
    /// The new destination.
    fn f(a: u128, b: u128, imm: u8, env: &mut Env) -> u128;
}

/// `xmm[a] = f(xmm[a], source, imm)` with flags.
pub fn slow<O: Slow, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = O::f(cpu.s.xmm[d], b, op.imm as u8, &mut env);
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d] = r;
    Flow::Next
}

/// `dpps`, `dppd`
pub fn dot<F: Fp, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let b = access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    match float::dot::<F>(cpu.s.xmm[d], b, op.imm as u8, cpu.s.mxcsr) {
        Ok((r, mxcsr)) => {
            cpu.s.mxcsr = mxcsr;
            cpu.s.xmm[d] = r;
            Flow::Next
        }
        Err(mxcsr) => {
            cpu.s.mxcsr = mxcsr;
            trap::xm(cpu)
        }
    }
}
