//! Addition, subtraction, multiplication, division, and what else has one or
//! two operands and one result.

use super::fpu::*;
use super::memory::Operand;
use crate::engine::{Flow, Op};
use crate::softfloat::{self as soft, Class, Env, Ext, X80, flags};
use crate::x86_64::{X86, X86State};
use crate::{Cpu, access};

/// An operation on the destination and the source.
pub trait Binary {
    /// The new destination.
    fn f(dst: Ext, src: Ext, env: &mut Env) -> Ext;
}
macro_rules! binary {
    ($($name:ident = |$a:ident, $b:ident, $env:ident| $e:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn f($a: Ext, $b: Ext, $env: &mut Env) -> Ext {
                $e
            }
        }
    )*};
}
binary! {
    Add = |a, b, env| soft::add::<X80>(a, b, env);
    Sub = |a, b, env| soft::sub::<X80>(a, b, env);
    SubReversed = |a, b, env| soft::sub::<X80>(b, a, env);
    Mul = |a, b, env| soft::mul::<X80>(a, b, env);
    Div = |a, b, env| soft::div::<X80>(a, b, env);
    DivReversed = |a, b, env| soft::div::<X80>(b, a, env);
}

/// Carries out `ST(dst) = f(ST(dst), src)`; whether it was.
fn binary<B: Binary>(s: &mut X86State, dst: u8, src: Option<Ext>, denormal: bool) -> bool {
    let (Some(a), Some(b)) = (s.get(dst), src) else {
        let masked = s.stack_fault(false);
        if masked {
            s.set(dst, INDEFINITE);
        }
        return masked;
    };
    let mut env = s.env();
    let r = B::f(a, b, &mut env);
    if denormal && env.flags & (flags::INVALID | flags::DIV_BY_ZERO) == 0 && !is_nan(a) {
        env.raise(flags::DENORMAL);
    }
    let store = s.settle(env.flags);
    if store {
        s.set(dst, r);
    }
    store
}

fn is_nan(a: Ext) -> bool {
    a.sign_exp & 0x7fff == 0x7fff && a.sig << 1 != 0
}

/// `fadd st, st(i)`
pub fn from_stack<B: Binary>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let src = cpu.s.get(op.b & 7);
    binary::<B>(&mut cpu.s, 0, src, false);
    Flow::Next
}
/// `fadd st(i), st` and, with `POP`, `faddp st(i), st`.
pub fn to_stack<B: Binary, const POP: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let src = cpu.s.get(0);
    if binary::<B>(&mut cpu.s, op.a & 7, src, false) && POP {
        cpu.s.pop();
    }
    Flow::Next
}
/// `fadd m32`, `fiadd m16` and so on.
pub fn from_memory<B: Binary, M: Operand>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let (value, denormal) = access!(M::load(cpu, op));
    binary::<B>(&mut cpu.s, 0, Some(value), denormal);
    Flow::Next
}

/// An operation on ST(0).
pub trait Unary {
    /// The new ST(0).
    fn f(a: Ext, env: &mut Env) -> Ext;
}
/// `fsqrt`
#[derive(Debug)]
pub struct Sqrt;
/// `frndint`
#[derive(Debug)]
pub struct Round;
impl Unary for Sqrt {
    fn f(a: Ext, env: &mut Env) -> Ext {
        soft::sqrt::<X80>(a, env)
    }
}
impl Unary for Round {
    fn f(a: Ext, env: &mut Env) -> Ext {
        let rounding = env.rounding;
        soft::round_to_integral::<X80>(a, rounding, true, env)
    }
}

/// `ST(0) = f(ST(0))`
pub fn unary<U: Unary>(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let Some(a) = s.get(0) else {
        if s.stack_fault(false) {
            s.set(0, INDEFINITE);
        }
        return Flow::Next;
    };
    let mut env = s.env();
    let r = U::f(a, &mut env);
    if s.settle(env.flags) {
        s.set(0, r);
    }
    Flow::Next
}

/// `fchs` and `fabs`: sign bits.
pub fn sign<const ABS: bool>(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    match s.get(0) {
        Some(mut a) => {
            s.fsw &= !C1;
            a.sign_exp = if ABS {
                a.sign_exp & 0x7fff
            } else {
                a.sign_exp ^ 0x8000
            };
            s.set(0, a);
        }
        None => {
            if s.stack_fault(false) {
                s.set(0, INDEFINITE);
            }
        }
    }
    Flow::Next
}

/// An operation on ST(0) and ST(1) whose result replaces ST(0).
fn with_second(
    cpu: &mut Cpu<X86>,
    f: impl FnOnce(&mut X86State, Ext, Ext, &mut Env) -> Ext,
) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let (Some(a), Some(b)) = (s.get(0), s.get(1)) else {
        if s.stack_fault(false) {
            s.set(0, INDEFINITE);
        }
        return Flow::Next;
    };
    let mut env = s.env();
    let r = f(s, a, b, &mut env);
    let codes = s.fsw;
    if s.settle(env.flags) {
        s.set(0, r);
        if env.flags & flags::INVALID == 0 {
            // Bits of a quotient survive.
            s.fsw |= codes & C1 & quotient_bit(env.flags);
        }
    }
    Flow::Next
}

/// C1 is kept where an operation set it itself.
fn quotient_bit(raised: u16) -> u16 {
    if raised & KEEP_C1 != 0 { C1 } else { 0 }
}
const KEEP_C1: u16 = 0x8000;

/// `fscale`: `ST(0) * 2^trunc(ST(1))`.
pub fn scale(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    with_second(cpu, |_, a, b, env| {
        let (x, y) = (soft::unpack::<X80>(a, env), soft::unpack::<X80>(b, env));
        if x.is_nan() || y.is_nan() {
            return soft::add::<X80>(a, b, env);
        }
        let wrong = |env: &mut Env| {
            env.raise(flags::INVALID);
            INDEFINITE
        };
        if y.is_infinite() {
            return match (y.sign, x.class) {
                (false, Class::Zero) | (true, Class::Infinity) => wrong(env),
                (false, _) => {
                    note(env, &x, &x);
                    Ext {
                        sig: 1 << 63,
                        sign_exp: a.sign_exp | 0x7fff,
                    }
                }
                (true, _) => {
                    note(env, &x, &x);
                    Ext {
                        sig: 0,
                        sign_exp: a.sign_exp & 0x8000,
                    }
                }
            };
        }
        note(env, &x, &y);
        if x.class != Class::Finite || y.is_zero() || y.exp < 0 {
            if x.class == Class::Finite && x.denormal {
                // Passes through rounding, which may find it tiny.
                return soft::round::<X80>(x.sign, x.exp, u128::from(x.sig) << 64, env);
            }
            return a;
        }
        let by = if y.exp > 16 {
            0x1_0000
        } else {
            (y.sig >> (63 - y.exp)) as i32
        };
        let by = if y.sign { -by } else { by };
        soft::round::<X80>(x.sign, x.exp + by, u128::from(x.sig) << 64, env)
    })
}

fn note(env: &mut Env, x: &soft::Value, y: &soft::Value) {
    if x.denormal || y.denormal {
        env.raise(flags::DENORMAL);
    }
}

/// `fprem` (truncating) and `fprem1` (`NEAREST`).
pub fn remainder<const NEAREST: bool>(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    if cpu.s.fsw & 0x80 == 0 {
        cpu.s.fsw &= !C2;
    }
    with_second(cpu, |s, a, b, env| {
        let (x, y) = (soft::unpack::<X80>(a, env), soft::unpack::<X80>(b, env));
        if x.is_nan() || y.is_nan() {
            return soft::add::<X80>(a, b, env);
        }
        if x.is_infinite() || y.is_zero() {
            env.raise(flags::INVALID);
            return INDEFINITE;
        }
        note(env, &x, &y);
        if env.flags & !s.fcw & DE != 0 {
            return a;
        }
        env.raise(KEEP_C1);
        s.fsw &= !(C0 | C1 | C2 | C3);
        if x.is_zero() || y.is_infinite() {
            return pass(a, &x, env);
        }
        let distance = x.exp - y.exp;
        if distance < -1 || distance < 0 && !NEAREST {
            return pass(a, &x, env);
        }
        if distance >= 64 {
            // Reduces partly, by between 32 and 63 bits.
            let bits = distance & 31 | 32;
            let (rest, _) = divide(x.sig, y.sig, bits);
            s.fsw |= C2;
            return result(x.sign, x.exp - bits, rest, env);
        }
        if distance < 0 {
            // Half or more of the divisor is rounded up to one of it.
            let (half, exact) = (y.sig, x.sig == y.sig);
            if x.sig < half || exact {
                return pass(a, &x, env);
            }
            s.fsw |= C1;
            let rest = (u128::from(y.sig) << 1) - u128::from(x.sig);
            return wide_result(!x.sign, x.exp, rest, env);
        }
        let (mut rest, mut quotient) = divide(x.sig, y.sig, distance);
        let mut sign = x.sign;
        if NEAREST {
            let double = u128::from(rest) << 1;
            let divisor = u128::from(y.sig);
            if double > divisor || double == divisor && quotient & 1 != 0 {
                rest = y.sig - rest;
                sign = !sign;
                quotient = quotient.wrapping_add(1);
            }
        }
        for (bit, code) in [(4, C0), (2, C3), (1, C1)] {
            if quotient & bit != 0 {
                s.fsw |= code;
            }
        }
        if rest == 0 {
            return Ext {
                sig: 0,
                sign_exp: u16::from(x.sign) << 15,
            };
        }
        result(sign, y.exp, rest, env)
    })
}

/// An operand that is its own remainder.
fn pass(a: Ext, x: &soft::Value, env: &mut Env) -> Ext {
    if x.class == Class::Finite && x.denormal {
        return soft::round::<X80>(x.sign, x.exp, u128::from(x.sig) << 64, env);
    }
    a
}

/// `x * 2^bits / y`: remainder and the quotient's low bits.
fn divide(x: u64, y: u64, bits: i32) -> (u64, u64) {
    let (mut rest, mut quotient) = (u128::from(x), 0u64);
    let y = u128::from(y);
    for i in 0..=bits {
        if i > 0 {
            rest <<= 1;
        }
        quotient <<= 1;
        if rest >= y {
            rest -= y;
            quotient |= 1;
        }
    }
    (rest as u64, quotient)
}

fn result(sign: bool, exp: i32, rest: u64, env: &mut Env) -> Ext {
    wide_result(sign, exp, rest.into(), env)
}

/// `rest / 2^63 * 2^exp`, which needs no rounding.
fn wide_result(sign: bool, exp: i32, rest: u128, env: &mut Env) -> Ext {
    if rest == 0 {
        return Ext {
            sig: 0,
            sign_exp: u16::from(sign) << 15,
        };
    }
    let shift = rest.leading_zeros();
    soft::round::<X80>(sign, exp + 64 - shift as i32, rest << shift, env)
}

/// `fxtract`
pub fn extract(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let Some(a) = s.get(0) else {
        if s.stack_fault(false) {
            s.set(0, INDEFINITE);
            s.push_value(INDEFINITE);
        }
        return Flow::Next;
    };
    if s.is_full() {
        if s.stack_fault(true) {
            s.set(0, INDEFINITE);
            s.push_value(INDEFINITE);
        }
        return Flow::Next;
    }
    let mut env = s.env();
    let x = soft::unpack::<X80>(a, &mut env);
    let (exponent, significand) = match x.class {
        Class::Zero => {
            env.raise(flags::DIV_BY_ZERO);
            (
                Ext {
                    sig: 1 << 63,
                    sign_exp: 0xffff,
                },
                a,
            )
        }
        Class::Infinity => (
            Ext {
                sig: 1 << 63,
                sign_exp: 0x7fff,
            },
            a,
        ),
        Class::Finite => {
            note(&mut env, &x, &x);
            let e = soft::from_integer::<X80>(x.exp < 0, x.exp.unsigned_abs().into(), 0, &mut env);
            let m = Ext {
                sig: x.sig,
                sign_exp: u16::from(x.sign) << 15 | 0x3fff,
            };
            (e, m)
        }
        _ => {
            let nan = soft::add::<X80>(a, a, &mut env);
            (nan, nan)
        }
    };
    if s.settle(env.flags) {
        s.set(0, exponent);
        s.push_value(significand);
    }
    Flow::Next
}
