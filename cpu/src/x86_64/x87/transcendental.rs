//! Sine, tangent, logarithm and so on: computed to about 120 bits and rounded.
//! Hardware is within one unit in the last place; so is this, and the two may
//! differ by that.

use super::fpu::*;
use super::wide::{LN_2, LOG2_E, PI, Wide};
use crate::engine::{Flow, Op};
use crate::softfloat::{self as soft, Class, Env, Ext, Value, X80, flags};
use crate::x86_64::X86;
use crate::{Cpu, access};

const ONE: Ext = Ext {
    sig: 1 << 63,
    sign_exp: 0x3fff,
};

fn signed(neg: bool, value: Ext) -> Ext {
    Ext {
        sign_exp: value.sign_exp & 0x7fff | u16::from(neg) << 15,
        ..value
    }
}
fn zero(neg: bool) -> Ext {
    signed(neg, Ext::default())
}
fn infinity(neg: bool) -> Ext {
    signed(
        neg,
        Ext {
            sig: 1 << 63,
            sign_exp: 0x7fff,
        },
    )
}
fn invalid(env: &mut Env) -> Ext {
    env.raise(flags::INVALID);
    INDEFINITE
}
fn note(env: &mut Env, x: &Value) {
    if x.denormal {
        env.raise(flags::DENORMAL);
    }
}
fn one() -> Wide {
    Wide::int(1)
}

/// `f2xm1`: `2^x - 1` for x from -1 to 1.
pub fn exp2_minus_1(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let Some(a) = s.get(0) else {
        if s.stack_fault(false) {
            s.set(0, INDEFINITE);
        }
        return Flow::Next;
    };
    let mut env = s.env();
    let x = soft::unpack::<X80>(a, &mut env);
    let r = match x.class {
        Class::Zero => a,
        Class::Infinity if x.sign => signed(true, ONE),
        Class::Infinity => a,
        Class::Finite => {
            note(&mut env, &x);
            if x.exp >= 1 {
                // Undefined.
                a
            } else {
                let t = Wide::new(&x).times(LN_2);
                Wide::factorials(t, t, 2, 1).round(&mut env)
            }
        }
        _ => soft::add::<X80>(a, a, &mut env),
    };
    if s.settle(env.flags) {
        s.set(0, r);
    }
    Flow::Next
}

/// ST(1) becomes a function of ST(0) and ST(1), then ST(0) is popped.
fn two(cpu: &mut Cpu<X86>, f: impl FnOnce(&Value, &Value, &mut Env) -> Ext) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let (Some(a), Some(b)) = (s.get(0), s.get(1)) else {
        if s.stack_fault(false) {
            s.set(1, INDEFINITE);
            s.pop();
        }
        return Flow::Next;
    };
    let mut env = s.env();
    let (x, y) = (
        soft::unpack::<X80>(a, &mut env),
        soft::unpack::<X80>(b, &mut env),
    );
    let r = if x.is_nan() || y.is_nan() {
        soft::add::<X80>(a, b, &mut env)
    } else {
        f(&x, &y, &mut env)
    };
    if s.settle(env.flags) {
        s.set(1, r);
        s.pop();
    }
    Flow::Next
}

/// The logarithm to base 2 of a positive number.
fn log2(x: &Value) -> Wide {
    let mut m = Wide {
        neg: false,
        exp: 0,
        sig: u128::from(x.sig) << 64,
    };
    let mut e = x.exp;
    if x.sig > 0xb504_f333_f9de_6484 {
        m.exp = -1;
        e += 1;
    }
    let ratio = m.plus(one().minus()).over(m.plus(one()));
    let ln = ratio.odd_series(false).scaled(1);
    Wide::int(e.into()).plus(ln.times(LOG2_E))
}

/// `fyl2x`: `y * log2(x)`.
pub fn y_log2_x(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    two(cpu, |x, y, env| {
        if x.is_zero() {
            if y.is_zero() {
                return invalid(env);
            }
            if y.class == Class::Finite {
                env.raise(flags::DIV_BY_ZERO);
            }
            return infinity(!y.sign);
        }
        if x.sign || x.is_infinite() && y.is_zero() {
            return invalid(env);
        }
        if x.is_infinite() {
            note(env, y);
            return infinity(y.sign);
        }
        let is_one = x.exp == 0 && x.sig == 1 << 63;
        if y.is_infinite() {
            if is_one {
                return invalid(env);
            }
            note(env, x);
            return infinity(y.sign ^ (x.exp < 0));
        }
        note(env, x);
        note(env, y);
        if is_one || y.is_zero() {
            return zero(y.sign ^ (x.exp < 0));
        }
        // Inexact even where it is exact, as on hardware.
        log2(x).times(Wide::new(y)).round(env)
    })
}

/// `fyl2xp1`: `y * log2(x + 1)` for small x.
pub fn y_log2_x_plus_1(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    two(cpu, |x, y, env| {
        if x.is_zero() || y.is_zero() {
            if x.is_infinite() || y.is_infinite() {
                return invalid(env);
            }
            note(env, x);
            note(env, y);
            return zero(x.sign ^ y.sign);
        }
        if x.is_infinite() || x.sign && x.exp >= 0 {
            // Undefined.
            return invalid(env);
        }
        note(env, x);
        note(env, y);
        if y.is_infinite() {
            return infinity(x.sign ^ y.sign);
        }
        let w = Wide::new(x);
        let ln = if x.exp < -1 {
            w.over(w.plus(Wide::int(2))).odd_series(false).scaled(1)
        } else {
            let sum = w.plus(one());
            let value = Value {
                sign: false,
                exp: sum.exp,
                sig: (sum.sig >> 64) as u64,
                ..*x
            };
            return log2(&value).times(Wide::new(y)).round(env);
        };
        ln.times(LOG2_E).times(Wide::new(y)).round(env)
    })
}

/// The inverse tangent of a number from 0 to 1.
fn atan(r: Wide) -> Wide {
    if r.exp >= -1 {
        // Above one half.
        let t = r.plus(one().minus()).over(r.plus(one()));
        return PI.scaled(-2).plus(t.odd_series(true));
    }
    r.odd_series(true)
}

/// `fpatan`: the angle of the point (ST(0), ST(1)).
pub fn angle(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    two(cpu, |x, y, env| {
        let with_sign = |w: Wide, env: &mut Env| Wide { neg: y.sign, ..w }.round(env);
        note(env, x);
        note(env, y);
        if y.is_zero() || x.is_infinite() && !y.is_infinite() {
            return if x.sign {
                with_sign(PI, env)
            } else {
                zero(y.sign)
            };
        }
        if x.is_infinite() {
            let quarter = PI.scaled(-2);
            let w = if x.sign {
                quarter.plus(PI.scaled(-1))
            } else {
                quarter
            };
            return with_sign(w, env);
        }
        if x.is_zero() || y.is_infinite() {
            return with_sign(PI.scaled(-1), env);
        }
        let (a, b) = (
            Wide {
                neg: false,
                ..Wide::new(x)
            },
            Wide {
                neg: false,
                ..Wide::new(y)
            },
        );
        let steep = (b.exp, b.sig) > (a.exp, a.sig);
        let w = if steep {
            let t = atan(a.over(b));
            let t = if x.sign { t } else { t.minus() };
            PI.scaled(-1).plus(t)
        } else {
            let ratio = b.over(a);
            if x.sign {
                PI.plus(atan(ratio).minus())
            } else if ratio.exp < -70 {
                // Next to the quotient itself.
                ratio
            } else {
                atan(ratio)
            }
        };
        with_sign(w, env)
    })
}

/// Pi/2 as the range reduction of the hardware has it: pi cut to 66 bits.
const HALF_PI: u128 = 0xc90f_daa2_2168_c234_c000_0000_0000_0000;

/// The quadrant of a finite number, and its distance from the nearest multiple
/// of pi/2.
fn reduce(x: &Value) -> (u64, Wide) {
    let w = Wide {
        neg: false,
        ..Wide::new(x)
    };
    let (mut rest, mut quadrant) = (w.sig, 0u64);
    let mut exp = w.exp;
    if exp < 0 {
        if exp < -1 || w.sig <= HALF_PI {
            return (0, w);
        }
        // Between pi/4 and 1: round up to the first multiple.
        let p = Wide {
            neg: false,
            exp: 0,
            sig: HALF_PI,
        };
        return (1, w.plus(p.minus()));
    }
    // Long division; `rest` is scaled by 2^exp.
    let mut carry = false;
    loop {
        quadrant <<= 1;
        if carry || rest >= HALF_PI {
            rest = rest.wrapping_sub(HALF_PI);
            quadrant |= 1;
        }
        if exp == 0 {
            break;
        }
        carry = rest >> 127 != 0;
        rest <<= 1;
        exp -= 1;
    }
    let r = Wide {
        neg: false,
        exp: 0,
        sig: rest,
    };
    if rest > HALF_PI >> 1 {
        let p = Wide {
            neg: true,
            exp: 0,
            sig: HALF_PI,
        };
        return (quadrant.wrapping_add(1), normal(r).plus(p));
    }
    (quadrant, normal(r))
}

fn normal(w: Wide) -> Wide {
    if w.sig == 0 {
        return w;
    }
    let shift = w.sig.leading_zeros();
    Wide {
        sig: w.sig << shift,
        exp: w.exp - shift as i32,
        ..w
    }
}

/// Sine and cosine of a finite number below 2^63.
fn sine_cosine(x: &Value) -> (Wide, Wide) {
    let (quadrant, r) = reduce(x);
    let square = r.times(r).minus();
    let sin = Wide::factorials(r, square, 2, 2);
    let cos = Wide::factorials(one(), square, 1, 2);
    let (mut sin, cos) = match quadrant & 3 {
        0 => (sin, cos),
        1 => (cos, sin.minus()),
        2 => (sin.minus(), cos.minus()),
        _ => (cos.minus(), sin),
    };
    sin.neg ^= x.sign;
    (sin, cos)
}

/// What a trigonometric instruction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sine,
    Cosine,
    Both,
    Tangent,
}

fn trigonometric(cpu: &mut Cpu<X86>, kind: Kind) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let pushes = matches!(kind, Kind::Both | Kind::Tangent);
    s.fsw &= !C2;
    let Some(a) = s.get(0) else {
        if s.stack_fault(false) {
            s.set(0, INDEFINITE);
            if pushes {
                s.push_value(INDEFINITE);
            }
        }
        return Flow::Next;
    };
    if pushes && s.is_full() {
        if s.stack_fault(true) {
            s.set(0, INDEFINITE);
            s.push_value(INDEFINITE);
        }
        return Flow::Next;
    }
    let mut env = s.env();
    let x = soft::unpack::<X80>(a, &mut env);
    let (first, second) = match x.class {
        Class::Zero => match kind {
            Kind::Cosine => (ONE, ONE),
            _ => (a, ONE),
        },
        Class::Infinity => {
            let r = invalid(&mut env);
            (r, r)
        }
        Class::Finite if x.exp >= 63 => {
            s.fsw = s.fsw & !C1 | C2;
            return Flow::Next;
        }
        Class::Finite => {
            note(&mut env, &x);
            let (sin, cos) = sine_cosine(&x);
            match kind {
                Kind::Sine => (sin.round(&mut env), ONE),
                Kind::Cosine => (cos.round(&mut env), ONE),
                Kind::Both => (sin.round(&mut env), cos.round(&mut env)),
                Kind::Tangent => (sin.over(cos).round(&mut env), ONE),
            }
        }
        _ => {
            let nan = soft::add::<X80>(a, a, &mut env);
            (nan, nan)
        }
    };
    if s.settle(env.flags) {
        s.set(0, first);
        if pushes {
            s.push_value(second);
        }
    }
    Flow::Next
}

/// `fsin`
pub fn sine(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    trigonometric(cpu, Kind::Sine)
}
/// `fcos`
pub fn cosine(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    trigonometric(cpu, Kind::Cosine)
}
/// `fsincos`
pub fn both(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    trigonometric(cpu, Kind::Both)
}
/// `fptan`
pub fn tangent(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    trigonometric(cpu, Kind::Tangent)
}
