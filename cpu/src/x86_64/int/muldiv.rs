//! MUL, IMUL, DIV, IDIV.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::carry_word;
use crate::x86_64::operand::{HIGH, MEM, Width, by_width, ea, is_memory, operand_size, pack};
use crate::x86_64::trap::de;
use iced_x86::{Instruction, Mnemonic};

type Cpu = crate::Cpu<X86>;

#[inline(always)]
fn flags<W: Width>(cpu: &mut Cpu, low: W, overflow: bool) {
    let cc = &mut cpu.s.cc;
    cc.zero = low.sign_extend();
    cc.sign = cc.zero;
    cc.carry = carry_word(overflow, overflow);
}

/// The operand of a one-operand form.
#[inline(always)]
fn operand<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Result<W, Flow> {
    if op.e & MEM != 0 {
        cpu.load::<W>(ea(cpu, op))
    } else {
        Ok(W::get(&cpu.s.gpr, op.a))
    }
}
/// Writes a double-width value to AX or rDX:rAX.
#[inline(always)]
fn set_pair<W: Width>(cpu: &mut Cpu, low: W, high: W) {
    W::set(&mut cpu.s.gpr, 0, low);
    let to = if W::BITS == 8 { HIGH } else { 2 };
    W::set(&mut cpu.s.gpr, to, high);
}
#[inline(always)]
fn pair<W: Width>(cpu: &Cpu) -> (W, W) {
    let high = if W::BITS == 8 { HIGH } else { 2 };
    (W::get(&cpu.s.gpr, 0), W::get(&cpu.s.gpr, high))
}

fn mul<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b: W = access!(operand(cpu, op));
    let a = W::get(&cpu.s.gpr, 0);
    let (low, high) = if W::BITS == 64 {
        let r = u128::from(a.zero_extend()) * u128::from(b.zero_extend());
        (W::truncate(r as u64), W::truncate((r >> 64) as u64))
    } else {
        let r = a.zero_extend() * b.zero_extend();
        (W::truncate(r), W::truncate(r >> (W::BITS & 63)))
    };
    set_pair(cpu, low, high);
    flags(cpu, low, high != W::default());
    Flow::Next
}
/// The low half of a signed product, and whether it overflows.
#[inline(always)]
fn signed<W: Width>(a: W, b: W) -> (W, W, bool) {
    let r = i128::from(a.sign_extend() as i64) * i128::from(b.sign_extend() as i64);
    let low = W::truncate(r as u64);
    let fits = i128::from(low.sign_extend() as i64) == r;
    (low, W::truncate((r >> W::BITS) as u64), !fits)
}
fn imul_1<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let b: W = access!(operand(cpu, op));
    let (low, high, overflow) = signed(W::get(&cpu.s.gpr, 0), b);
    set_pair(cpu, low, high);
    flags(cpu, low, overflow);
    Flow::Next
}
#[inline(always)]
fn imul_to<W: Width>(cpu: &mut Cpu, op: &Op<X86>, x: W, y: W) -> Flow {
    let (low, _, overflow) = signed(x, y);
    W::set(&mut cpu.s.gpr, op.a, low);
    flags(cpu, low, overflow);
    Flow::Next
}
fn imul_rr<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let (x, y) = (W::get(&cpu.s.gpr, op.a), W::get(&cpu.s.gpr, op.b));
    imul_to(cpu, op, x, y)
}
fn imul_rm<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let y = access!(cpu.load::<W>(ea(cpu, op)));
    let x = W::get(&cpu.s.gpr, op.a);
    imul_to(cpu, op, x, y)
}
fn imul_rri<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let x = W::get(&cpu.s.gpr, op.b);
    imul_to(cpu, op, x, W::truncate(op.imm))
}
fn imul_rmi<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let x = access!(cpu.load::<W>(ea(cpu, op)));
    imul_to(cpu, op, x, W::truncate(op.imm))
}

fn div<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let by: W = access!(operand(cpu, op));
    if by == W::default() {
        return de(cpu);
    }
    let (low, high) = pair::<W>(cpu);
    let by = by.zero_extend();
    if high.zero_extend() >= by {
        return de(cpu);
    }
    let (q, r) = if W::BITS == 64 && high != W::default() {
        let all = u128::from(low.zero_extend()) | (u128::from(high.zero_extend()) << 64);
        ((all / u128::from(by)) as u64, (all % u128::from(by)) as u64)
    } else {
        let all = low.zero_extend() | (high.zero_extend() << (W::BITS & 63));
        (all / by, all % by)
    };
    set_pair(cpu, W::truncate(q), W::truncate(r));
    Flow::Next
}
fn idiv<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let by: W = access!(operand(cpu, op));
    if by == W::default() {
        return de(cpu);
    }
    let (low, high) = pair::<W>(cpu);
    let by = by.sign_extend() as i64;
    let (q, r) = if W::BITS == 64 {
        let all = (i128::from(high.sign_extend() as i64) << 64) | i128::from(low.zero_extend());
        let by = i128::from(by);
        (all.wrapping_div(by), all.wrapping_rem(by))
    } else {
        let all = (high.sign_extend() as i64) << (W::BITS & 63) | low.zero_extend() as i64;
        (
            i128::from(all.wrapping_div(by)),
            i128::from(all.wrapping_rem(by)),
        )
    };
    // i128::MIN / -1 wraps to i128::MIN and i64::MIN / -1 to i64::MIN: both are
    // far out of the range of a quotient of their width.
    let short = W::truncate(q as u64);
    if i128::from(short.sign_extend() as i64) != q {
        return de(cpu);
    }
    set_pair(cpu, short, W::truncate(r as u64));
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let run = by_width!(operand_size(i, 0), W => match i.mnemonic() {
        Mnemonic::Mul => mul::<W> as Handler<X86>,
        Mnemonic::Imul => match (i.op_count(), i.op_count() > 1 && is_memory(i, 1)) {
            (1, _) => imul_1::<W>,
            (2, false) => imul_rr::<W>,
            (2, true) => imul_rm::<W>,
            (_, false) => imul_rri::<W>,
            (_, true) => imul_rmi::<W>,
        },
        Mnemonic::Div => div::<W>,
        Mnemonic::Idiv => idiv::<W>,
        _ => return None,
    });
    Some(pack(i, run))
}
