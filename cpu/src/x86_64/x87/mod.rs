//! x87 floating point: exact 80-bit arithmetic on a stack of eight registers.
//!
//! | file | idea |
//! |---|---|
//! | `fpu` | the register stack, the status word and exceptions |
//! | `memory` | loads and stores |
//! | `arith` | arithmetic, remainder, scaling |
//! | `compare` | compares, classification, moves between registers |
//! | `transcendental`, `wide` | sine, logarithm and so on, to 128 bits |
//! | `control` | control and status words, environments |
//!
//! After an unmasked overflow or underflow the register holds the result of the
//! masked response, not the one with the exponent wrapped around.

mod arith;
mod compare;
mod control;
mod fpu;
mod memory;
mod transcendental;
mod wide;

pub(super) use fpu::update_summary;

use super::X86;
use super::operand::pack_memory;
use crate::engine::{Handler, Op};
use crate::softfloat::{F32, F64};
use arith::*;
use iced_x86::{Instruction, MemorySize, Mnemonic as M, OpKind};
use memory::Int;

type H = Handler<X86>;

/// Handlers of an operation for each memory operand.
macro_rules! by_size {
    ($i:expr, $f:ident $(, $b:ty)*) => {
        match $i.memory_size() {
            MemorySize::Float32 => $f::<$($b,)* F32> as H,
            MemorySize::Float64 => $f::<$($b,)* F64>,
            MemorySize::Int16 => $f::<$($b,)* u16>,
            MemorySize::Int32 => $f::<$($b,)* u32>,
            _ => $f::<$($b,)* u64>,
        }
    };
}
macro_rules! arithmetic {
    ($i:expr, $memory:expr, $b:ty) => {
        if $memory {
            by_size!($i, from_memory, $b)
        } else if to_top($i) {
            from_stack::<$b>
        } else {
            to_stack::<$b, false>
        }
    };
}

/// The form whose destination is ST(0).
fn to_top(i: &Instruction) -> bool {
    use iced_x86::Code::*;
    matches!(
        i.code(),
        Fadd_st0_sti | Fmul_st0_sti | Fsub_st0_sti | Fsubr_st0_sti | Fdiv_st0_sti | Fdivr_st0_sti
    )
}

/// Lowers an instruction of this family; `None` when it is none of it or not
/// supported.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let mut op = Op::<X86>::new(i.code() as u16, |cpu, _| super::trap::ud(cpu));
    let mut memory = false;
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::Register => {
                let number = i.op_register(n).number() as u8 & 7;
                if n == 0 {
                    op.a = number;
                } else {
                    op.b = number;
                }
            }
            OpKind::Memory => {
                pack_memory(&mut op, i);
                memory = true;
            }
            _ => {}
        }
    }
    let short = matches!(
        i.memory_size(),
        MemorySize::FpuEnv14 | MemorySize::FpuState94
    );
    let handler: H = match i.mnemonic() {
        M::Fadd | M::Fiadd => arithmetic!(i, memory, Add),
        M::Fsub | M::Fisub => arithmetic!(i, memory, Sub),
        M::Fsubr | M::Fisubr => arithmetic!(i, memory, SubReversed),
        M::Fmul | M::Fimul => arithmetic!(i, memory, Mul),
        M::Fdiv | M::Fidiv => arithmetic!(i, memory, Div),
        M::Fdivr | M::Fidivr => arithmetic!(i, memory, DivReversed),
        M::Faddp => to_stack::<Add, true>,
        M::Fsubp => to_stack::<Sub, true>,
        M::Fsubrp => to_stack::<SubReversed, true>,
        M::Fmulp => to_stack::<Mul, true>,
        M::Fdivp => to_stack::<Div, true>,
        M::Fdivrp => to_stack::<DivReversed, true>,
        M::Fsqrt => unary::<Sqrt>,
        M::Frndint => unary::<Round>,
        M::Fchs => sign::<false>,
        M::Fabs => sign::<true>,
        M::Fscale => scale,
        M::Fprem => remainder::<false>,
        M::Fprem1 => remainder::<true>,
        M::Fxtract => extract,
        M::F2xm1 => transcendental::exp2_minus_1,
        M::Fyl2x => transcendental::y_log2_x,
        M::Fyl2xp1 => transcendental::y_log2_x_plus_1,
        M::Fpatan => transcendental::angle,
        M::Fsin => transcendental::sine,
        M::Fcos => transcendental::cosine,
        M::Fsincos => transcendental::both,
        M::Fptan => transcendental::tangent,
        M::Fld | M::Fild if memory => load_of(i),
        M::Fld => compare::duplicate,
        M::Fst | M::Fstp | M::Fist | M::Fistp | M::Fisttp if memory => store_of(i)?,
        M::Fst => compare::copy::<false>,
        M::Fstp | M::Fstpnce => compare::copy::<true>,
        M::Fbld => memory::load_decimal,
        M::Fbstp => memory::store_decimal,
        M::Fldz | M::Fld1 | M::Fldpi | M::Fldl2t | M::Fldl2e | M::Fldlg2 | M::Fldln2 => {
            constant_of(i, &mut op);
            compare::constant
        }
        M::Fcom | M::Ficom if memory => {
            use compare::memory as f;
            match i.memory_size() {
                MemorySize::Float32 => f::<F32, 0>,
                MemorySize::Float64 => f::<F64, 0>,
                MemorySize::Int16 => f::<u16, 0>,
                _ => f::<u32, 0>,
            }
        }
        M::Fcomp | M::Ficomp if memory => {
            use compare::memory as f;
            match i.memory_size() {
                MemorySize::Float32 => f::<F32, 1>,
                MemorySize::Float64 => f::<F64, 1>,
                MemorySize::Int16 => f::<u16, 1>,
                _ => f::<u32, 1>,
            }
        }
        M::Fcom => compare::stack::<false, 0>,
        M::Fcomp => compare::stack::<false, 1>,
        M::Fcompp => compare::stack::<false, 2>,
        M::Fucom => compare::stack::<true, 0>,
        M::Fucomp => compare::stack::<true, 1>,
        M::Fucompp => compare::stack::<true, 2>,
        M::Fcomi => compare::flags::<false, false>,
        M::Fcomip => compare::flags::<false, true>,
        M::Fucomi => compare::flags::<true, false>,
        M::Fucomip => compare::flags::<true, true>,
        M::Ftst => compare::test,
        M::Fxam => compare::examine,
        M::Fcmovb => compare::conditional_move::<2>,
        M::Fcmovnb => compare::conditional_move::<3>,
        M::Fcmove => compare::conditional_move::<4>,
        M::Fcmovne => compare::conditional_move::<5>,
        M::Fcmovbe => compare::conditional_move::<6>,
        M::Fcmovnbe => compare::conditional_move::<7>,
        M::Fcmovu => compare::conditional_move::<10>,
        M::Fcmovnu => compare::conditional_move::<11>,
        M::Fxch => compare::exchange,
        M::Ffree => compare::free::<false>,
        M::Ffreep => compare::free::<true>,
        M::Fincstp => compare::rotate::<1>,
        M::Fdecstp => compare::rotate::<7>,
        M::Fnop | M::Wait => compare::nothing,
        M::Fninit => control::init,
        M::Fnclex => control::clear_exceptions,
        M::Fnstsw if memory => control::status_to_memory,
        M::Fnstsw => control::status_to_ax,
        M::Fnstcw => control::store_control,
        M::Fldcw => control::load_control,
        M::Fnstenv if short => control::store_environment::<true>,
        M::Fnstenv => control::store_environment::<false>,
        M::Fldenv if short => control::load_environment::<true>,
        M::Fldenv => control::load_environment::<false>,
        M::Fnsave if short => control::save::<true>,
        M::Fnsave => control::save::<false>,
        M::Frstor if short => control::restore::<true>,
        M::Frstor => control::restore::<false>,
        _ => return None,
    };
    op.run.set(handler);
    Some(op)
}

fn load_of(i: &Instruction) -> H {
    use memory::load;
    match i.memory_size() {
        MemorySize::Float80 => memory::load80,
        _ => by_size!(i, load),
    }
}

fn store_of(i: &Instruction) -> Option<H> {
    use memory::store;
    let pop = !matches!(i.mnemonic(), M::Fst | M::Fist);
    Some(match (i.memory_size(), i.mnemonic(), pop) {
        (MemorySize::Float80, ..) => memory::store80,
        (MemorySize::Float32, _, false) => store::<F32, false>,
        (MemorySize::Float32, _, true) => store::<F32, true>,
        (MemorySize::Float64, _, false) => store::<F64, false>,
        (MemorySize::Float64, _, true) => store::<F64, true>,
        (MemorySize::Int16, M::Fisttp, _) => store::<Int<u16, true>, true>,
        (MemorySize::Int32, M::Fisttp, _) => store::<Int<u32, true>, true>,
        (MemorySize::Int64, M::Fisttp, _) => store::<Int<u64, true>, true>,
        (MemorySize::Int16, _, false) => store::<Int<u16, false>, false>,
        (MemorySize::Int32, _, false) => store::<Int<u32, false>, false>,
        (MemorySize::Int16, _, true) => store::<Int<u16, false>, true>,
        (MemorySize::Int32, _, true) => store::<Int<u32, false>, true>,
        (MemorySize::Int64, _, true) => store::<Int<u64, false>, true>,
        _ => return None,
    })
}

/// Constants rounded towards zero, and the rounding modes (0 nearest, 1 down,
/// 2 up, 3 zero) in which the last bit is one more.
fn constant_of(i: &Instruction, op: &mut Op<X86>) {
    const UP: u8 = 1 << 2;
    const NEAREST_UP: u8 = UP | 1;
    let (exponent, significand, up) = match i.mnemonic() {
        M::Fldz => (0, 0, 0),
        M::Fld1 => (0x3fff, 1 << 63, 0),
        M::Fldpi => (0x4000, 0xc90f_daa2_2168_c234, NEAREST_UP),
        M::Fldl2t => (0x4000, 0xd49a_784b_cd1b_8afe, UP),
        M::Fldl2e => (0x3fff, 0xb8aa_3b29_5c17_f0bb, NEAREST_UP),
        M::Fldlg2 => (0x3ffd, 0x9a20_9a84_fbcf_f798, NEAREST_UP),
        _ => (0x3ffe, 0xb172_17f7_d1cf_79ab, NEAREST_UP),
    };
    op.imm = significand;
    op.disp = exponent;
    op.e = up;
}
