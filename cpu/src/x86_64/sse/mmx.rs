//! MMX: the low halves of vector operations, on the x87 registers. Every such
//! instruction makes all x87 registers valid and TOP zero.

use super::float::vector;
use super::integer::{self as int, F2, F3, paired};
use super::lanes::byte_mask;
use super::moves::store_bytes;
use super::source::{Aligned, Mem, Reg, Source, finish};
use crate::engine::{Flow, Handler, Op};
use crate::softfloat::Env;
use crate::x86_64::operand::{Any, ea};
use crate::x86_64::{X86, trap};
use crate::{Cpu, access};
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};

type H = Handler<X86>;

const LOW: u128 = u64::MAX as u128;

/// Begins an instruction that uses MMX registers.
#[inline(always)]
fn enter(cpu: &mut Cpu<X86>) -> Result<(), Flow> {
    if cpu.s.fsw & 0x80 != 0 {
        return Err(trap::mf(cpu));
    }
    Ok(())
}
#[inline(always)]
fn occupy(cpu: &mut Cpu<X86>) {
    cpu.s.fsw &= !0x3800;
    cpu.s.ftw_empty = 0;
}
#[inline(always)]
fn get(cpu: &Cpu<X86>, r: u8) -> u128 {
    cpu.s.st[(r & 7) as usize] & LOW
}
#[inline(always)]
fn set(cpu: &mut Cpu<X86>, r: u8, value: u128) {
    occupy(cpu);
    cpu.s.st[(r & 7) as usize] = value & LOW | 0xffff << 64;
}

/// An MMX register, in `b`.
#[derive(Debug)]
struct Mm;
impl Source for Mm {
    #[inline(always)]
    fn get(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Result<u128, Flow> {
        Ok(get(cpu, op.b))
    }
}
type Mem64 = Mem<u64, Any>;

/// The low half of the 128-bit operation.
struct Plain<F>(std::marker::PhantomData<F>);
/// Both operands together are the 128-bit operation's first one.
struct Paired<F>(std::marker::PhantomData<F>);
/// The operation on the high quarters.
struct High<F>(std::marker::PhantomData<F>);
struct Shuffle;
impl<F: F2> F2 for Plain<F> {
    fn f(a: u128, b: u128) -> u128 {
        F::f(a, b)
    }
}
impl<F: F2> F2 for Paired<F> {
    fn f(a: u128, b: u128) -> u128 {
        F::f(paired(a, b), 0)
    }
}
impl<F: F2> F2 for High<F> {
    fn f(a: u128, b: u128) -> u128 {
        F::f(a >> 32, b >> 32)
    }
}
impl F2 for Shuffle {
    fn f(a: u128, b: u128) -> u128 {
        int::Pshufb::f(a, b & 0x8787_8787_8787_8787)
    }
}
struct Align;
impl F3 for Align {
    fn f(a: u128, b: u128, imm: u8) -> u128 {
        (a << 64 | b).checked_shr(8 * u32::from(imm)).unwrap_or(0)
    }
}

fn bin<F: F2, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let b = access!(S::get(cpu, op));
    let r = F::f(get(cpu, op.a), b);
    set(cpu, op.a, r);
    Flow::Next
}
fn bin_imm<F: F3, S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let b = access!(S::get(cpu, op));
    let r = F::f(get(cpu, op.a), b, op.imm as u8);
    set(cpu, op.a, r);
    Flow::Next
}
fn load<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = access!(S::get(cpu, op));
    set(cpu, op.a, value);
    Flow::Next
}
fn store<T: crate::engine::Scalar>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let at = ea(cpu, op);
    access!(cpu.store(at, T::from_u128(get(cpu, op.a))));
    occupy(cpu);
    Flow::Next
}
fn from_gpr<const WIDE: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = cpu.s.gpr[(op.b & 15) as usize];
    set(
        cpu,
        op.a,
        if WIDE { value } else { value & 0xffff_ffff }.into(),
    );
    Flow::Next
}
fn to_gpr<const WIDE: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = get(cpu, op.b) as u64;
    occupy(cpu);
    cpu.s.gpr[(op.a & 15) as usize] = if WIDE { value } else { value & 0xffff_ffff };
    Flow::Next
}
fn mask(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    cpu.s.gpr[(op.a & 15) as usize] = u64::from(byte_mask(get(cpu, op.b)));
    occupy(cpu);
    Flow::Next
}
fn extract(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let word = get(cpu, op.b) >> (16 * (op.imm & 3)) & 0xffff;
    cpu.s.gpr[(op.a & 15) as usize] = word as u64;
    occupy(cpu);
    Flow::Next
}
fn insert_value(cpu: &mut Cpu<X86>, op: &Op<X86>, value: u128) {
    let at = 16 * (op.imm & 3);
    let old = get(cpu, op.a);
    set(cpu, op.a, old & !(0xffff << at) | (value & 0xffff) << at);
}
fn insert(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = cpu.s.gpr[(op.b & 15) as usize];
    insert_value(cpu, op, value.into());
    Flow::Next
}
fn insert_memory(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = access!(<Mem<u16, Any> as Source>::get(cpu, op));
    insert_value(cpu, op, value);
    Flow::Next
}
fn masked_store(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let at = ea(cpu, op);
    let (value, mask) = (get(cpu, op.a), byte_mask(get(cpu, op.b)));
    let flow = store_bytes(cpu, at, value, mask);
    if flow == Flow::Next {
        occupy(cpu);
    }
    flow
}
fn to_xmm(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    cpu.s.xmm[(op.a & 15) as usize] = get(cpu, op.b);
    occupy(cpu);
    Flow::Next
}
fn from_xmm(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(enter(cpu));
    let value = cpu.s.xmm[(op.b & 15) as usize];
    set(cpu, op.a, value);
    Flow::Next
}
fn empty(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    access!(enter(cpu));
    occupy(cpu);
    cpu.s.ftw_empty = 0xff;
    Flow::Next
}
/// `cvtpi2ps`, `cvtpi2pd`
fn from_integers<S: Source, const DOUBLE: bool, const REGISTER: bool>(
    cpu: &mut Cpu<X86>,
    op: &Op<X86>,
) -> Flow {
    if REGISTER {
        access!(enter(cpu));
    }
    let b = access!(S::get(cpu, op));
    if REGISTER {
        occupy(cpu);
    }
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let d = (op.a & 15) as usize;
    let r = if DOUBLE {
        vector::dq2pd(b, &mut env)
    } else {
        vector::pi2ps(cpu.s.xmm[d], b, &mut env)
    };
    access!(finish(cpu, env.flags));
    cpu.s.xmm[d] = r;
    Flow::Next
}
/// `cvtps2pi`, `cvtpd2pi` and their truncating forms.
fn to_integers<S: Source, const DOUBLE: bool, const TRUNCATE: bool>(
    cpu: &mut Cpu<X86>,
    op: &Op<X86>,
) -> Flow {
    access!(enter(cpu));
    let b = access!(S::get(cpu, op));
    occupy(cpu);
    let mut env = Env::mxcsr(cpu.s.mxcsr);
    let r = if DOUBLE {
        vector::pd2dq(b, TRUNCATE, &mut env)
    } else {
        vector::ps2pi(b, TRUNCATE, &mut env)
    };
    access!(finish(cpu, env.flags));
    set(cpu, op.a, r);
    Flow::Next
}

/// The handler of an MMX instruction; operands are packed as for SSE.
pub fn handler(i: &Instruction) -> Option<H> {
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    macro_rules! either {
        ($s:ident, $register:ty, $mem:ty => $f:expr) => {
            if memory {
                type $s = $mem;
                $f as H
            } else {
                type $s = $register;
                $f as H
            }
        };
    }
    macro_rules! table {
        (plain: $($p:ident)*; paired: $($q:ident)*; high: $($h:ident $l:ident)*; low: $($u:ident)*; shift: $($s:ident $si:ident)*) => {
            match i.mnemonic() {
                $(M::$p => either!(S, Mm, Mem64 => bin::<Plain<int::$p>, S>),)*
                $(M::$q => either!(S, Mm, Mem64 => bin::<Paired<int::$q>, S>),)*
                $(M::$h => either!(S, Mm, Mem64 => bin::<High<int::$l>, S>),)*
                $(M::$u => either!(S, Mm, Mem<u32, Any> => bin::<Plain<int::$u>, S>),)*
                $(M::$s if i.op1_kind() == OpKind::Immediate8 => bin_imm::<int::$si, Mm> as H,)*
                $(M::$s => either!(S, Mm, Mem64 => bin::<Plain<int::$s>, S>),)*
                M::Pshufb => either!(S, Mm, Mem64 => bin::<Shuffle, S>),
                M::Pshufw => either!(S, Mm, Mem64 => bin_imm::<int::Pshuflw, S>),
                M::Palignr => either!(S, Mm, Mem64 => bin_imm::<Align, S>),
                M::Movq | M::Movntq if i.op0_kind() == OpKind::Memory => store::<u64>,
                M::Movd if i.op0_kind() == OpKind::Memory => store::<u32>,
                M::Movq if memory => load::<Mem64>,
                M::Movd if memory => load::<Mem<u32, Any>>,
                M::Movq if i.code() == Code::Movq_mm_rm64 => from_gpr::<true>,
                M::Movq if i.code() == Code::Movq_rm64_mm => to_gpr::<true>,
                M::Movq => load::<Mm>,
                M::Movd if i.code() == Code::Movd_mm_rm32 => from_gpr::<false>,
                M::Movd => to_gpr::<false>,
                M::Pmovmskb => mask,
                M::Pextrw => extract,
                M::Pinsrw if memory => insert_memory,
                M::Pinsrw => insert,
                M::Maskmovq => masked_store,
                M::Movq2dq => to_xmm,
                M::Movdq2q => from_xmm,
                M::Emms => empty,
                M::Cvtpi2ps if memory => from_integers::<Mem64, false, false>,
                M::Cvtpi2ps => from_integers::<Mm, false, true>,
                M::Cvtpi2pd if memory => from_integers::<Mem64, true, false>,
                M::Cvtpi2pd => from_integers::<Mm, true, true>,
                M::Cvtps2pi => either!(S, Reg, Mem64 => to_integers::<S, false, false>),
                M::Cvttps2pi => either!(S, Reg, Mem64 => to_integers::<S, false, true>),
                M::Cvtpd2pi => either!(S, Reg, Aligned<Any> => to_integers::<S, true, false>),
                M::Cvttpd2pi => either!(S, Reg, Aligned<Any> => to_integers::<S, true, true>),
                _ => return None,
            }
        };
    }
    Some(table!(
        plain: Paddb Paddw Paddd Paddq Psubb Psubw Psubd Psubq Paddsb Paddsw Paddusb Paddusw
            Psubsb Psubsw Psubusb Psubusw Pminub Pmaxub Pminsw Pmaxsw Pavgb Pavgw Pcmpeqb
            Pcmpeqw Pcmpeqd Pcmpgtb Pcmpgtw Pcmpgtd Pand Pandn Por Pxor Pmullw Pmulhw
            Pmulhuw Pmulhrsw Pmuludq Pmaddwd Pmaddubsw Psadbw Pabsb Pabsw Pabsd Psignb
            Psignw Psignd;
        paired: Packsswb Packuswb Packssdw Phaddw Phaddd Phaddsw Phsubw Phsubd Phsubsw;
        high: Punpckhbw Punpcklbw Punpckhwd Punpcklwd Punpckhdq Punpckldq;
        low: Punpcklbw Punpcklwd Punpckldq;
        shift: Psllw PsllwImm Pslld PslldImm Psllq PsllqImm Psrlw PsrlwImm Psrld PsrldImm
            Psrlq PsrlqImm Psraw PsrawImm Psrad PsradImm
    ))
}

/// Whether an instruction uses MMX registers.
pub fn is_mmx(i: &Instruction) -> bool {
    let register = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_mm();
    (0..i.op_count()).any(register) || matches!(i.mnemonic(), M::Emms | M::Cvtpi2ps | M::Cvtpi2pd)
}
