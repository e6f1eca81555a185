//! Shifts and rotates.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::{LazyFlags, carry_word};
use crate::x86_64::operand::{Width, by_width, ea, is_memory, operand_size, pack};
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// An operation on a value and a count from 1 to 31 (63 for 64 bits).
trait Shift {
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W;
}

#[inline(always)]
fn bit(v: u64, n: u32) -> bool {
    (v >> (n & 63)) & 1 != 0
}
#[inline(always)]
fn done<W: Width>(cc: &mut LazyFlags, r: W, cf: bool, of: bool) -> W {
    cc.zero = r.sign_extend();
    cc.sign = cc.zero;
    cc.carry = carry_word(cf, of);
    r
}

struct Shl;
impl Shift for Shl {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let a = a.zero_extend();
        let r = W::truncate(a << n);
        let cf = if W::BITS == 64 {
            bit(a, 64 - n)
        } else {
            bit(a << n, W::BITS)
        };
        let top = bit(r.zero_extend(), W::BITS - 1);
        done(cc, r, cf, top ^ cf)
    }
}
struct Shr;
impl Shift for Shr {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let a = a.zero_extend();
        let r = W::truncate(a >> n);
        done(cc, r, bit(a, n - 1), bit(a, W::BITS - 1))
    }
}
struct Sar;
impl Shift for Sar {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let a = a.sign_extend() as i64;
        let r = W::truncate((a >> n) as u64);
        done(cc, r, bit(a as u64, n - 1), false)
    }
}
struct Rol;
impl Shift for Rol {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let a = a.zero_extend();
        let n = n & (W::BITS - 1);
        let r = W::truncate((a << n) | (a >> ((W::BITS - n) & 63)));
        // A count of zero leaves `a` shifted by the width as well: for 64 bits
        // that is `a` again, for less it is zero.
        let v = r.zero_extend();
        let cf = bit(v, 0);
        cc.set_cf_of(cf, bit(v, W::BITS - 1) ^ cf);
        r
    }
}
struct Ror;
impl Shift for Ror {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let a = a.zero_extend();
        let n = n & (W::BITS - 1);
        let r = W::truncate((a >> n) | (a << ((W::BITS - n) & 63)));
        let v = r.zero_extend();
        let cf = bit(v, W::BITS - 1);
        cc.set_cf_of(cf, bit(v, W::BITS - 2) ^ cf);
        r
    }
}
struct Rcl;
impl Shift for Rcl {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let n = n % (W::BITS + 1);
        if n == 0 {
            return a;
        }
        let all = u128::from(a.zero_extend()) | (u128::from(cc.cf()) << W::BITS);
        let turned = (all << n) | (all >> (W::BITS + 1 - n));
        let r = W::truncate(turned as u64);
        let cf = (turned >> W::BITS) & 1 != 0;
        cc.set_cf_of(cf, bit(r.zero_extend(), W::BITS - 1) ^ cf);
        r
    }
}
struct Rcr;
impl Shift for Rcr {
    #[inline(always)]
    fn apply<W: Width>(cc: &mut LazyFlags, a: W, n: u32) -> W {
        let n = n % (W::BITS + 1);
        if n == 0 {
            return a;
        }
        let all = u128::from(a.zero_extend()) | (u128::from(cc.cf()) << W::BITS);
        let turned = (all >> n) | (all << (W::BITS + 1 - n));
        let r = W::truncate(turned as u64);
        let cf = (turned >> W::BITS) & 1 != 0;
        let v = r.zero_extend();
        cc.set_cf_of(cf, bit(v, W::BITS - 1) ^ bit(v, W::BITS - 2));
        r
    }
}

#[inline(always)]
fn mask<W: Width>(n: u64) -> u32 {
    n as u32 & if W::BITS == 64 { 63 } else { 31 }
}

/// A register by a constant count that is not zero.
fn r_imm<S: Shift, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    let n = mask::<W>(op.imm);
    let r = S::apply(&mut cpu.s.cc, a, n);
    W::set(&mut cpu.s.gpr, op.a, r);
    Flow::Next
}
fn r_cl<S: Shift, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    let n = mask::<W>(cpu.s.gpr[1]);
    let r = if n == 0 {
        a
    } else {
        S::apply(&mut cpu.s.cc, a, n)
    };
    W::set(&mut cpu.s.gpr, op.a, r);
    Flow::Next
}
#[inline(always)]
fn memory<S: Shift, W: Width>(cpu: &mut Cpu, op: &Op<X86>, n: u64) -> Flow {
    let at = ea(cpu, op);
    let a = access!(cpu.load_to_update::<W>(at));
    let n = mask::<W>(n);
    let mut cc = cpu.s.cc;
    let r = if n == 0 { a } else { S::apply(&mut cc, a, n) };
    access!(cpu.store(at, r));
    cpu.s.cc = cc;
    Flow::Next
}
fn m_imm<S: Shift, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    memory::<S, W>(cpu, op, op.imm)
}
fn m_cl<S: Shift, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let n = cpu.s.gpr[1];
    memory::<S, W>(cpu, op, n)
}

/// SHLD (`LEFT`) and SHRD. Counts over the width (16 bits only) are undefined;
/// the result is then that of a rotate through both operands.
#[inline(always)]
fn double<const LEFT: bool, W: Width>(cc: &mut LazyFlags, a: W, b: W, n: u32) -> W {
    if n == 0 {
        return a;
    }
    let (x, y) = (u128::from(a.zero_extend()), u128::from(b.zero_extend()));
    let bits = W::BITS;
    let (r, cf) = if LEFT {
        let all = if bits == 16 {
            (x << 32) | (y << 16) | x
        } else {
            (x << bits) | y
        };
        let width = if bits == 16 { 48 } else { 2 * bits };
        let r = (all >> (width - bits - n.min(width - bits))) as u64;
        (r, (all >> (width - n)) & 1 != 0)
    } else {
        let all = if bits == 16 {
            (x << 32) | (y << 16) | x
        } else {
            (y << bits) | x
        };
        ((all >> n) as u64, (all >> (n - 1)) & 1 != 0)
    };
    let r = W::truncate(r);
    let of = bit(r.zero_extend() ^ a.zero_extend(), bits - 1);
    done(cc, r, cf, of)
}
fn double_r<const LEFT: bool, const CL: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let n = mask::<W>(if CL { cpu.s.gpr[1] } else { op.imm });
    let (a, b) = (W::get(&cpu.s.gpr, op.a), W::get(&cpu.s.gpr, op.b));
    let r = double::<LEFT, W>(&mut cpu.s.cc, a, b, n);
    W::set(&mut cpu.s.gpr, op.a, r);
    Flow::Next
}
fn double_m<const LEFT: bool, const CL: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let n = mask::<W>(if CL { cpu.s.gpr[1] } else { op.imm });
    let at = ea(cpu, op);
    let a = access!(cpu.load_to_update::<W>(at));
    let b = W::get(&cpu.s.gpr, op.a);
    let mut cc = cpu.s.cc;
    let r = double::<LEFT, W>(&mut cc, a, b, n);
    access!(cpu.store(at, r));
    cpu.s.cc = cc;
    Flow::Next
}

fn choose<S: Shift>(i: &Instruction) -> Handler<X86> {
    let cl = i.op_kind(1) == OpKind::Register;
    let size = operand_size(i, 0);
    let zero = !cl && i.immediate(1) & if size == 8 { 63 } else { 31 } == 0;
    by_width!(size, W => match (is_memory(i, 0), cl) {
        // A count of zero still writes; the form with a variable count knows.
        (false, false) if zero => r_zero::<W> as Handler<X86>,
        (false, false) => r_imm::<S, W>,
        (false, true) => r_cl::<S, W>,
        (true, false) => m_imm::<S, W>,
        (true, true) => m_cl::<S, W>,
    })
}
fn r_zero<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let a = W::get(&cpu.s.gpr, op.a);
    W::set(&mut cpu.s.gpr, op.a, a);
    Flow::Next
}
fn choose_double<const LEFT: bool>(i: &Instruction) -> Handler<X86> {
    let cl = i.op_kind(2) == OpKind::Register;
    by_width!(operand_size(i, 0), W => match (is_memory(i, 0), cl) {
        (false, false) => double_r::<LEFT, false, W> as Handler<X86>,
        (false, true) => double_r::<LEFT, true, W>,
        (true, false) => double_m::<LEFT, false, W>,
        (true, true) => double_m::<LEFT, true, W>,
    })
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let run = match i.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => choose::<Shl>(i),
        Mnemonic::Shr => choose::<Shr>(i),
        Mnemonic::Sar => choose::<Sar>(i),
        Mnemonic::Rol => choose::<Rol>(i),
        Mnemonic::Ror => choose::<Ror>(i),
        Mnemonic::Rcl => choose::<Rcl>(i),
        Mnemonic::Rcr => choose::<Rcr>(i),
        Mnemonic::Shld => choose_double::<true>(i),
        Mnemonic::Shrd => choose_double::<false>(i),
        _ => return None,
    };
    Some(pack(i, run))
}
