//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::LazyFlags;
use crate::x86_64::operand::{Any, Base, Ea, Width, by_width, ea, is_memory, operand_size, pack};
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// An operation on two operands.
trait Alu {
    /// Whether the result is kept.
    const WRITES: bool = true;
    /// The result; sets the flags.
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, b: W) -> W;
}

macro_rules! alu {
    ($($name:ident, $writes:literal, |$cc:ident, $a:ident, $b:ident| $e:expr;)*) => {$(
        struct $name;
        impl Alu for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn apply<W: Width>($cc: &mut LazyFlags, $a: W, $b: W) -> W {
                $e
            }
        }
    )*};
}

#[inline(always)]
fn add<W: Width>(cc: &mut LazyFlags, a: W, b: W, carry: u64) -> W {
    let sum = a.zero_extend().wrapping_add(b.zero_extend());
    let r = W::truncate(sum.wrapping_add(carry));
    cc.set_add(a, b, r);
    r
}
#[inline(always)]
fn sub<W: Width>(cc: &mut LazyFlags, a: W, b: W, borrow: u64) -> W {
    let difference = a.zero_extend().wrapping_sub(b.zero_extend());
    let r = W::truncate(difference.wrapping_sub(borrow));
    cc.set_sub(a, b, r);
    r
}
#[inline(always)]
fn logic<W: Width>(cc: &mut LazyFlags, r: u64) -> W {
    let r = W::truncate(r);
    cc.set_logic(r);
    r
}

alu! {
    Add, true, |cc, a, b| add(cc, a, b, 0);
    Adc, true, |cc, a, b| { let cf = cc.cf().into(); add(cc, a, b, cf) };
    Sub, true, |cc, a, b| sub(cc, a, b, 0);
    Sbb, true, |cc, a, b| { let cf = cc.cf().into(); sub(cc, a, b, cf) };
    Cmp, false, |cc, a, b| sub(cc, a, b, 0);
    And, true, |cc, a, b| logic(cc, a.zero_extend() & b.zero_extend());
    Or, true, |cc, a, b| logic(cc, a.zero_extend() | b.zero_extend());
    Xor, true, |cc, a, b| logic(cc, a.zero_extend() ^ b.zero_extend());
    Test, false, |cc, a, b| logic(cc, a.zero_extend() & b.zero_extend());
    Inc, true, |cc, a, _b| {
        let old = cc.carry;
        let r = add(cc, a, W::truncate(1), 0);
        cc.keep_cf(old);
        r
    };
    Dec, true, |cc, a, _b| {
        let old = cc.carry;
        let r = sub(cc, a, W::truncate(1), 0);
        cc.keep_cf(old);
        r
    };
    Neg, true, |cc, a, _b| sub(cc, W::default(), a, 0);
    Not, true, |_cc, a, _b| W::truncate(!a.zero_extend());
}

fn rr<O: Alu, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    let b = W::get(&cpu.s.gpr, op.b);
    let r = O::apply(&mut cpu.s.cc, a, b);
    if O::WRITES {
        W::set(&mut cpu.s.gpr, op.a, r);
    }
    Flow::Next
}
fn ri<O: Alu, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    let r = O::apply(&mut cpu.s.cc, a, W::truncate(op.imm));
    if O::WRITES {
        W::set(&mut cpu.s.gpr, op.a, r);
    }
    Flow::Next
}
/// Register and memory.
fn rm<O: Alu, W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b = access!(cpu.load::<W>(E::ea(cpu, op)));
    let a = W::get(&cpu.s.gpr, op.a);
    let r = O::apply(&mut cpu.s.cc, a, b);
    if O::WRITES {
        W::set(&mut cpu.s.gpr, op.a, r);
    }
    Flow::Next
}
#[inline(always)]
fn memory<O: Alu, W: Width>(cpu: &mut Cpu, at: u64, b: W) -> Flow {
    let a = access!(if O::WRITES {
        cpu.load_to_update::<W>(at)
    } else {
        cpu.load::<W>(at)
    });
    let mut cc = cpu.s.cc;
    let r = O::apply(&mut cc, a, b);
    if O::WRITES {
        access!(cpu.store(at, r));
    }
    cpu.s.cc = cc;
    Flow::Next
}
/// Memory and register.
fn mr<O: Alu, W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b = W::get(&cpu.s.gpr, op.a);
    memory::<O, W>(cpu, E::ea(cpu, op), b)
}
/// Memory and immediate, or memory alone.
fn mi<O: Alu, W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    memory::<O, W>(cpu, E::ea(cpu, op), W::truncate(op.imm))
}
#[inline(always)]
fn locked<O: Alu, W: Width>(cpu: &mut Cpu, at: u64, b: W) -> Flow {
    let cc = cpu.s.cc;
    let apply = |old: W| {
        let mut cc = cc;
        O::apply(&mut cc, old, b)
    };
    let old = access!(cpu.update::<W>(at, apply));
    O::apply(&mut cpu.s.cc, old, b);
    Flow::Next
}
fn locked_mr<O: Alu, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b = W::get(&cpu.s.gpr, op.a);
    locked::<O, W>(cpu, ea(cpu, op), b)
}
fn locked_mi<O: Alu, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    locked::<O, W>(cpu, ea(cpu, op), W::truncate(op.imm))
}

/// TEST of a register with itself, the usual compare with zero.
fn test_self<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    cpu.s.cc.set_logic(a);
    Flow::Next
}
/// XOR or SUB of a register with itself.
fn clear<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    W::set(&mut cpu.s.gpr, op.a, W::default());
    cpu.s.cc.set_logic(W::default());
    Flow::Next
}

macro_rules! by_base {
    ($op:expr, $f:ident, $o:ty, $w:ty) => {
        if crate::x86_64::operand::ea_kind($op) == crate::x86_64::operand::EaKind::Base {
            $f::<$o, $w, Base> as Handler<X86>
        } else {
            $f::<$o, $w, Any>
        }
    };
}

fn choose<O: Alu>(i: &Instruction, op: &Op<X86>) -> Handler<X86> {
    let two = i.op_count() == 2;
    let register = two && i.op_kind(1) == OpKind::Register;
    by_width!(operand_size(i, 0), W => if is_memory(i, 0) {
        match (i.has_lock_prefix(), register) {
            (true, true) => locked_mr::<O, W> as Handler<X86>,
            (true, false) => locked_mi::<O, W>,
            (false, true) => by_base!(op, mr, O, W),
            (false, false) => by_base!(op, mi, O, W),
        }
    } else if two && is_memory(i, 1) {
        by_base!(op, rm, O, W)
    } else if register {
        rr::<O, W>
    } else {
        ri::<O, W>
    })
}

fn unchosen(_: &mut Cpu, _: &Op<X86>) -> Flow {
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    use Mnemonic as M;
    if !matches!(
        i.mnemonic(),
        M::Add
            | M::Or
            | M::Adc
            | M::Sbb
            | M::And
            | M::Sub
            | M::Xor
            | M::Cmp
            | M::Test
            | M::Inc
            | M::Dec
            | M::Neg
            | M::Not
    ) {
        return None;
    }
    let op = pack(i, unchosen);
    let same = i.op_count() == 2
        && i.op_kind(0) == OpKind::Register
        && i.op_kind(1) == OpKind::Register
        && i.op_register(0) == i.op_register(1);
    let size = operand_size(i, 0);
    let run = match i.mnemonic() {
        Mnemonic::Test if same => by_width!(size, W => test_self::<W> as Handler<X86>),
        Mnemonic::Xor if same => by_width!(size, W => clear::<W> as Handler<X86>),
        Mnemonic::Add => choose::<Add>(i, &op),
        Mnemonic::Or => choose::<Or>(i, &op),
        Mnemonic::Adc => choose::<Adc>(i, &op),
        Mnemonic::Sbb => choose::<Sbb>(i, &op),
        Mnemonic::And => choose::<And>(i, &op),
        Mnemonic::Sub => choose::<Sub>(i, &op),
        Mnemonic::Xor => choose::<Xor>(i, &op),
        Mnemonic::Cmp => choose::<Cmp>(i, &op),
        Mnemonic::Test => choose::<Test>(i, &op),
        Mnemonic::Inc => choose::<Inc>(i, &op),
        Mnemonic::Dec => choose::<Dec>(i, &op),
        Mnemonic::Neg => choose::<Neg>(i, &op),
        Mnemonic::Not => choose::<Not>(i, &op),
        _ => return None,
    };
    op.run.set(run);
    Some(op)
}
