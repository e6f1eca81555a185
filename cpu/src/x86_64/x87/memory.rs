//! Loads and stores.

use super::fpu::*;
use crate::engine::{Flow, Op, Scalar};
use crate::softfloat::{
    self as soft, Env, Ext, F32, F64, Format, Rounding, X80, default_nan, flags,
};
use crate::x86_64::X86;
use crate::x86_64::operand::ea;
use crate::{Cpu, access};

/// A memory operand of arithmetic.
pub trait Operand {
    /// Its value, and whether it is denormal. A signaling NaN stays one.
    fn load(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<(Ext, bool), Flow>;
}
macro_rules! float_operand {
    ($name:ident, $t:ty) => {
        impl Operand for $name {
            #[inline(always)]
            fn load(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<(Ext, bool), Flow> {
                let at = ea(cpu, op);
                Ok(widen::<$name>(cpu.load::<$t>(at)?))
            }
        }
    };
}
float_operand!(F32, u32);
float_operand!(F64, u64);

macro_rules! integer_operand {
    ($t:ty, $s:ty) => {
        impl Operand for $t {
            #[inline(always)]
            fn load(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<(Ext, bool), Flow> {
                let at = ea(cpu, op);
                Ok((from_integer(cpu.load::<$t>(at)? as $s as i64), false))
            }
        }
    };
}
integer_operand!(u16, i16);
integer_operand!(u32, i32);
integer_operand!(u64, i64);

/// Any number of the narrow format is one of 80 bits.
fn widen<F: Format>(bits: F::Bits) -> (Ext, bool) {
    let (sign, exp, sig) = F::split(bits);
    let join = |exp: i32, sig: u64| Ext {
        sig,
        sign_exp: u16::from(sign) << 15 | exp as u16,
    };
    if exp == F::EXP_MAX {
        (join(0x7fff, sig | 1 << 63), false)
    } else if exp != 0 {
        (join(exp as i32 - F::BIAS + X80::BIAS, sig | 1 << 63), false)
    } else if sig == 0 {
        (join(0, 0), false)
    } else {
        let shift = sig.leading_zeros();
        let exp = F::EMIN - shift as i32 + X80::BIAS;
        (join(exp, sig << shift), true)
    }
}

fn from_integer(value: i64) -> Ext {
    soft::from_integer::<X80>(value < 0, value.unsigned_abs(), 0, &mut Env::x87())
}

fn is_signaling(a: Ext) -> bool {
    a.sign_exp & 0x7fff == 0x7fff && a.sig << 2 != 0 && a.sig & 1 << 62 == 0
}

/// `fld m32`, `fld m64`, `fild`
pub fn load<M: Operand>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let (mut value, denormal) = access!(M::load(cpu, op));
    let mut raised = 0;
    if is_signaling(value) {
        raised = flags::INVALID;
        value.sig |= 1 << 62;
    }
    let full = cpu.s.is_full();
    cpu.s.push(value, raised);
    if denormal && !full {
        // The value is exact: it is pushed even where the exception is unmasked.
        cpu.s.fsw |= DE;
        update_summary(&mut cpu.s);
    }
    Flow::Next
}
/// `fld m80`
pub fn load80(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let value = access!(read80(cpu, ea(cpu, op)));
    cpu.s.push(value, 0);
    Flow::Next
}
/// Reads ten bytes.
pub fn read80(cpu: &mut Cpu<X86>, at: u64) -> Result<Ext, Flow> {
    let sig = cpu.load::<u64>(at)?;
    let sign_exp = cpu.load::<u16>(at.wrapping_add(8))?;
    Ok(Ext { sig, sign_exp })
}
/// Writes ten bytes, all or none.
pub fn write80(cpu: &mut Cpu<X86>, at: u64, value: Ext) -> Result<(), Flow> {
    let mode = cpu.mode();
    cpu.probe_write(at, 10, mode)?;
    cpu.store(at, value.sig)?;
    cpu.store(at.wrapping_add(8), value.sign_exp)
}
/// `fstp m80`
pub fn store80(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let at = ea(cpu, op);
    let Some(value) = cpu.s.get(0) else {
        if cpu.s.fcw & IE != 0 {
            access!(write80(cpu, at, INDEFINITE));
            cpu.s.stack_fault(false);
            cpu.s.pop();
        } else {
            let mode = cpu.mode();
            access!(cpu.probe_write(at, 10, mode));
            cpu.s.stack_fault(false);
        }
        return Flow::Next;
    };
    access!(write80(cpu, at, value));
    cpu.s.fsw &= !C1;
    cpu.s.pop();
    Flow::Next
}

/// A format that ST(0) is stored in.
pub trait Target {
    /// The memory operand.
    type T: Scalar;
    /// What a masked invalid operation stores.
    fn indefinite() -> Self::T;
    /// Converts.
    fn convert(value: Ext, env: &mut Env) -> Self::T;
}
macro_rules! float_target {
    ($name:ident, $t:ty) => {
        impl Target for $name {
            type T = $t;
            fn indefinite() -> $t {
                default_nan::<$name>(soft::NanRule::X87)
            }
            fn convert(value: Ext, env: &mut Env) -> $t {
                let r = soft::convert::<X80, $name>(value, env);
                // Storing knows no denormal operand.
                env.flags &= !flags::DENORMAL;
                r
            }
        }
    };
}
float_target!(F32, u32);
float_target!(F64, u64);

/// An integer target; `TRUNCATE` for `fisttp`.
#[derive(Debug)]
pub struct Int<T, const TRUNCATE: bool>(std::marker::PhantomData<T>);
macro_rules! integer_target {
    ($($t:ty),*) => {$(
        impl<const TRUNCATE: bool> Target for Int<$t, TRUNCATE> {
            type T = $t;
            fn indefinite() -> $t {
                1 << (<$t>::BITS - 1)
            }
            fn convert(value: Ext, env: &mut Env) -> $t {
                let mode = if TRUNCATE { Rounding::Zero } else { env.rounding };
                match soft::to_integer::<X80>(value, 0, true, <$t>::BITS, mode, env) {
                    Ok(r) => r as $t,
                    Err(_) => Self::indefinite(),
                }
            }
        }
    )*};
}
integer_target!(u16, u32, u64);

/// `fst`, `fist`, and with `POP` `fstp`, `fistp`, `fisttp`.
pub fn store<G: Target, const POP: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let at = ea(cpu, op);
    let mode = cpu.mode();
    access!(cpu.probe_write(at, size_of::<G::T>() as u64, mode));
    let Some(value) = cpu.s.get(0) else {
        if cpu.s.fcw & IE != 0 {
            access!(cpu.store(at, G::indefinite()));
            cpu.s.stack_fault(false);
            if POP {
                cpu.s.pop();
            }
        } else {
            cpu.s.stack_fault(false);
        }
        return Flow::Next;
    };
    let mut env = cpu.s.env();
    let r = G::convert(value, &mut env);
    let fsw = cpu.s.fsw;
    if cpu.s.settle_memory(env.flags) {
        if let Err(flow) = cpu.store(at, r) {
            cpu.s.fsw = fsw;
            return flow;
        }
        if POP {
            cpu.s.pop();
        }
    }
    Flow::Next
}

/// `fbld`: eighteen packed decimal digits and a sign.
pub fn load_decimal(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let bits = access!(read80(cpu, ea(cpu, op))).to_u128();
    let mut magnitude = 0u64;
    for i in (0..18).rev() {
        let digit = (bits >> (4 * i)) as u64 & 15;
        magnitude = magnitude.wrapping_mul(10).wrapping_add(digit);
    }
    let mut value = soft::from_integer::<X80>(false, magnitude, 0, &mut Env::x87());
    value.sign_exp |= (bits >> 64) as u16 & 0x8000;
    cpu.s.push(value, 0);
    Flow::Next
}

/// `fbstp`
pub fn store_decimal(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    const INDEFINITE_DECIMAL: Ext = Ext {
        sig: 0xc000_0000_0000_0000,
        sign_exp: 0xffff,
    };
    access!(wait(cpu));
    let at = ea(cpu, op);
    let mode = cpu.mode();
    access!(cpu.probe_write(at, 10, mode));
    let Some(value) = cpu.s.get(0) else {
        if cpu.s.fcw & IE != 0 {
            access!(write80(cpu, at, INDEFINITE_DECIMAL));
            cpu.s.stack_fault(false);
            cpu.s.pop();
        } else {
            cpu.s.stack_fault(false);
        }
        return Flow::Next;
    };
    let mut env = cpu.s.env();
    let rounding = env.rounding;
    let sign = value.sign_exp & 0x8000;
    let r = match soft::to_integer::<X80>(value, 0, true, 64, rounding, &mut env) {
        Ok(r) if (r as i64).unsigned_abs() < 1_000_000_000_000_000_000 => {
            let mut magnitude = (r as i64).unsigned_abs();
            let mut digits = 0u128;
            for i in 0..18 {
                digits |= u128::from(magnitude % 10) << (4 * i);
                magnitude /= 10;
            }
            Ext {
                sig: digits as u64,
                sign_exp: (digits >> 64) as u16 | sign,
            }
        }
        _ => {
            env.flags = flags::INVALID;
            INDEFINITE_DECIMAL
        }
    };
    let fsw = cpu.s.fsw;
    if cpu.s.settle_memory(env.flags) {
        if let Err(flow) = write80(cpu, at, r) {
            cpu.s.fsw = fsw;
            return flow;
        }
        cpu.s.pop();
    }
    Flow::Next
}
