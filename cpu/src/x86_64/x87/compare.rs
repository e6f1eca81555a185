//! Compares, classification, conditional moves, exchanges.

use super::fpu::*;
use super::memory::Operand;
use crate::engine::{Flow, Op};
use crate::softfloat::{self as soft, Class, Ext, Relation, X80, flags};
use crate::x86_64::{X86, X86State};
use crate::{Cpu, access};

/// Compares ST(0) with `b`: the relation, and whether the instruction goes on
/// (no unmasked exception). The codes are set in any case, as AMD CPUs do; Intel
/// leaves them as they are after an unmasked one.
fn relate(s: &mut X86State, b: Option<Ext>, quiet: bool, denormal: bool) -> (Relation, bool) {
    let (Some(a), Some(b)) = (s.get(0), b) else {
        return (Relation::Unordered, s.stack_fault(false));
    };
    let mut env = s.env();
    let relation = soft::compare::<X80>(a, b, !quiet, &mut env);
    if denormal && relation != Relation::Unordered {
        env.raise(flags::DENORMAL);
    }
    (relation, s.settle(env.flags))
}

fn codes(relation: Relation) -> u16 {
    match relation {
        Relation::Greater => 0,
        Relation::Less => C0,
        Relation::Equal => C3,
        Relation::Unordered => C0 | C2 | C3,
    }
}

fn set_relation(s: &mut X86State, (relation, done): (Relation, bool), pops: u8) {
    s.set_codes(codes(relation));
    if done {
        for _ in 0..pops {
            s.pop();
        }
    }
}

/// `fcom`, `fcomp`, `fcompp` and, with `QUIET`, `fucom` and its kin.
pub fn stack<const QUIET: bool, const POPS: u8>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let i = if POPS == 2 { 1 } else { op.b & 7 };
    let b = cpu.s.get(i);
    let relation = relate(&mut cpu.s, b, QUIET, false);
    set_relation(&mut cpu.s, relation, POPS);
    Flow::Next
}
/// `fcom m32`, `ficom m16` and so on.
pub fn memory<M: Operand, const POPS: u8>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let (b, denormal) = access!(M::load(cpu, op));
    let relation = relate(&mut cpu.s, Some(b), false, denormal);
    set_relation(&mut cpu.s, relation, POPS);
    Flow::Next
}
/// `ftst`
pub fn test(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let relation = relate(&mut cpu.s, Some(Ext::default()), false, false);
    set_relation(&mut cpu.s, relation, 0);
    Flow::Next
}
/// `fcomi`, `fcomip`, `fucomi`, `fucomip`
pub fn flags<const QUIET: bool, const POP: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let b = cpu.s.get(op.b & 7);
    let c1 = cpu.s.fsw & C1;
    let (relation, done) = relate(&mut cpu.s, b, QUIET, false);
    if b.is_some() && cpu.s.get(0).is_some() {
        cpu.s.fsw |= c1;
    }
    let (z, p, c) = match relation {
        Relation::Greater => (false, false, false),
        Relation::Less => (false, false, true),
        Relation::Equal => (true, false, false),
        Relation::Unordered => (true, true, true),
    };
    cpu.s.cc.set_zpc(z, p, c);
    if POP && done {
        cpu.s.pop();
    }
    Flow::Next
}
/// `fxam`
pub fn examine(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let a = s.raw(0);
    let class = match s.get(0) {
        None => C3 | C0,
        Some(a) => {
            let value = soft::unpack::<X80>(a, &mut s.env());
            match value.class {
                Class::Unsupported => 0,
                Class::Quiet | Class::Signaling => C0,
                Class::Infinity => C2 | C0,
                Class::Zero => C3,
                Class::Finite if a.sign_exp & 0x7fff == 0 => C3 | C2,
                Class::Finite => C2,
            }
        }
    };
    s.set_codes(class | if a.sign_exp >> 15 != 0 { C1 } else { 0 });
    Flow::Next
}
/// `fcmovcc` with the condition code in `CC` as in Jcc.
pub fn conditional_move<const CC: u8>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let holds = s.cc.condition::<CC>();
    match (s.get(0), s.get(op.b & 7)) {
        (Some(_), Some(b)) => {
            if holds {
                s.set(0, b);
            }
        }
        _ => {
            if s.stack_fault(false) {
                s.set(0, INDEFINITE);
            }
        }
    }
    Flow::Next
}
/// `fxch`
pub fn exchange(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let i = op.b & 7;
    let (a, b) = (s.get(0), s.get(i));
    if (a.is_none() || b.is_none()) && !s.stack_fault(false) {
        return Flow::Next;
    }
    if a.is_some() && b.is_some() {
        s.fsw &= !C1;
    }
    s.set(0, b.unwrap_or(INDEFINITE));
    s.set(i, a.unwrap_or(INDEFINITE));
    Flow::Next
}
/// `fld st(i)`
pub fn duplicate(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    match s.get(op.a & 7) {
        Some(value) => s.push(value, 0),
        None => {
            if s.stack_fault(false) {
                s.push_value(INDEFINITE);
            }
        }
    }
    Flow::Next
}
/// `fst st(i)`, `fstp st(i)`
pub fn copy<const POP: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let s = &mut cpu.s;
    let value = match s.get(0) {
        Some(value) => {
            s.fsw &= !C1;
            value
        }
        None => {
            if !s.stack_fault(false) {
                return Flow::Next;
            }
            INDEFINITE
        }
    };
    s.set(op.a & 7, value);
    if POP {
        s.pop();
    }
    Flow::Next
}
/// `fldz`, `fld1`, `fldpi` and so on: `imm` is the significand rounded down,
/// `disp` sign and exponent, `e` a mask of rounding modes that add one.
pub fn constant(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let mode = cpu.s.fcw >> 10 & 3;
    let up = u64::from(op.e >> mode & 1);
    let value = Ext {
        sig: op.imm + up,
        sign_exp: op.disp as u16,
    };
    cpu.s.push(value, 0);
    Flow::Next
}
/// `ffree st(i)`, and with `POP` the undocumented `ffreep`.
pub fn free<const POP: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    cpu.s.fsw &= !C1;
    cpu.s.free(op.a & 7);
    if POP {
        cpu.s.pop();
    }
    Flow::Next
}
/// `fincstp`, `fdecstp`: `BY` is 1 or 7.
pub fn rotate<const BY: u16>(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    cpu.s.fsw &= !C1;
    cpu.s.rotate(BY);
    Flow::Next
}
/// `fnop`, `fwait`
pub fn nothing(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(wait(cpu));
    Flow::Next
}
