//! From a decoded instruction to its op and handler.

use super::float::{self, Add, Div, Max, Min, Mul, Sqrt, Sub, vector};
use super::integer as int;
use super::mmx;
use super::moves;
use super::save;
use super::scalar::{self, Gpr, IntMem};
use super::source::{self, Aligned, Mem, Reg, Slow};
use super::strings;
use crate::engine::{Handler, Op};
use crate::softfloat::{Env, F32, F64};
use crate::x86_64::X86;
use crate::x86_64::operand::{
    ADDR32, Any, Base, BaseIndex, EaKind, MEM, NONE, Rip, ea_kind, gpr_number, pack_memory,
    segment_bits,
};
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};

type H = Handler<X86>;

/// Chooses `$f` for each address form: `$e` is bound to the form's type.
macro_rules! by_ea {
    ($op:expr, $e:ident => $f:expr) => {
        match ea_kind($op) {
            EaKind::Base => {
                type $e = Base;
                let f: H = $f;
                f
            }
            EaKind::BaseIndex => {
                type $e = BaseIndex;
                let f: H = $f;
                f
            }
            EaKind::Rip => {
                type $e = Rip;
                let f: H = $f;
                f
            }
            EaKind::Any => {
                type $e = Any;
                let f: H = $f;
                f
            }
        }
    };
}

/// Packs the operands: `a` is the first register operand and `b` the second,
/// also where the first one lies in ModRM.rm.
fn pack(i: &Instruction) -> Op<X86> {
    let mut op = Op::<X86>::new(i.code() as u16, |cpu, _| super::super::trap::ud(cpu));
    let info = i.op_count();
    let mut registers = 0;
    for n in 0..info {
        match i.op_kind(n) {
            OpKind::Register => {
                let r = i.op_register(n);
                let number = if r.is_gpr() {
                    gpr_number(r)
                } else {
                    r.number() as u8 & 15
                };
                if registers == 0 {
                    op.a = number;
                } else if registers == 1 {
                    op.b = number;
                }
                registers += 1;
            }
            OpKind::Memory => pack_memory(&mut op, i),
            OpKind::Immediate8 => op.imm = i.immediate8().into(),
            kind @ (OpKind::MemorySegRDI | OpKind::MemorySegEDI) => {
                op.c = 7;
                op.d = NONE;
                op.e = MEM | segment_bits(i.memory_segment());
                if kind == OpKind::MemorySegEDI {
                    op.e |= ADDR32;
                }
            }
            _ => {}
        }
    }
    op
}

/// The handler for a source operand that is a register or 16 aligned bytes;
/// `hot` ones have a handler for each address form.
macro_rules! full {
    (hot $op:expr, $mem:expr, $s:ident => $f:expr) => {
        if $mem {
            by_ea!($op, E => {
                type $s = Aligned<E>;
                $f
            })
        } else {
            type $s = Reg;
            $f as H
        }
    };
    ($op:expr, $mem:expr, $s:ident => $f:expr) => {
        if $mem {
            type $s = Aligned<Any>;
            $f as H
        } else {
            type $s = Reg;
            $f as H
        }
    };
}
/// As `full`, for a narrower memory operand, at any address.
macro_rules! part {
    (hot $t:ty, $op:expr, $mem:expr, $s:ident => $f:expr) => {
        if $mem {
            by_ea!($op, E => {
                type $s = Mem<$t, E>;
                $f
            })
        } else {
            type $s = Reg;
            $f as H
        }
    };
    ($t:ty, $op:expr, $mem:expr, $s:ident => $f:expr) => {
        if $mem {
            type $s = Mem<$t, Any>;
            $f as H
        } else {
            type $s = Reg;
            $f as H
        }
    };
}

macro_rules! slow_ops {
    ($($name:ident = |$a:ident, $b:ident, $imm:ident, $env:ident| $e:expr;)*) => {$(
        struct $name;
        impl Slow for $name {
            #[inline(always)]
            fn f($a: u128, $b: u128, $imm: u8, $env: &mut Env) -> u128 {
                $e
            }
        }
    )*};
}
slow_ops! {
    Cmpps = |a, b, imm, env| float::compare_all::<F32, false>(a, b, imm, env);
    Cmpss = |a, b, imm, env| float::compare_all::<F32, true>(a, b, imm, env);
    Cmppd = |a, b, imm, env| float::compare_all::<F64, false>(a, b, imm, env);
    Cmpsd = |a, b, imm, env| float::compare_all::<F64, true>(a, b, imm, env);
    Roundps = |a, b, imm, env| float::round_all::<F32, false>(a, b, imm, env);
    Roundss = |a, b, imm, env| float::round_all::<F32, true>(a, b, imm, env);
    Roundpd = |a, b, imm, env| float::round_all::<F64, false>(a, b, imm, env);
    Roundsd = |a, b, imm, env| float::round_all::<F64, true>(a, b, imm, env);
    Addsubps = |a, b, _imm, env| float::add_sub::<F32>(a, b, env);
    Addsubpd = |a, b, _imm, env| float::add_sub::<F64>(a, b, env);
    Haddps = |a, b, _imm, env| float::horizontal::<F32, Add>(a, b, env);
    Haddpd = |a, b, _imm, env| float::horizontal::<F64, Add>(a, b, env);
    Hsubps = |a, b, _imm, env| float::horizontal::<F32, Sub>(a, b, env);
    Hsubpd = |a, b, _imm, env| float::horizontal::<F64, Sub>(a, b, env);
    Ps2dq = |_a, b, _imm, env| vector::ps2dq(b, false, env);
    Tps2dq = |_a, b, _imm, env| vector::ps2dq(b, true, env);
    Pd2dq = |_a, b, _imm, env| vector::pd2dq(b, false, env);
    Tpd2dq = |_a, b, _imm, env| vector::pd2dq(b, true, env);
    Dq2ps = |_a, b, _imm, env| vector::dq2ps(b, env);
    Dq2pd = |_a, b, _imm, env| vector::dq2pd(b, env);
    Ps2pd = |_a, b, _imm, env| vector::ps2pd(b, env);
    Pd2ps = |_a, b, _imm, env| vector::pd2ps(b, env);
}

macro_rules! estimates {
    ($($name:ident = $f:path, $all:expr;)*) => {$(
        struct $name;
        impl int::F2 for $name {
            #[inline(always)]
            fn f(a: u128, b: u128) -> u128 {
                use super::lanes::Lane;
                if $all {
                    u32::join(u32::split(b).map($f))
                } else {
                    a & !0xffff_ffff | u128::from($f(b as u32))
                }
            }
        }
    )*};
}
estimates! {
    Rcpps = float::reciprocal, true;
    Rcpss = float::reciprocal, false;
    Rsqrtps = float::reciprocal_root, true;
    Rsqrtss = float::reciprocal_root, false;
}

fn blend<S: source::Source, L: super::lanes::Lane + PartialOrd + Default>(
    cpu: &mut crate::Cpu<X86>,
    op: &Op<X86>,
) -> crate::engine::Flow {
    let b = crate::access!(S::get(cpu, op));
    let d = (op.a & 15) as usize;
    let mask = cpu.s.xmm[0];
    cpu.s.xmm[d] = int::blend_by_sign::<L>(cpu.s.xmm[d], b, mask, |lane| lane < L::default());
    crate::engine::Flow::Next
}

/// Lowers an instruction of this family; `None` when it is none of it or not
/// supported.
pub(in crate::x86_64) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let op = pack(i);
    if mmx::is_mmx(i) {
        op.run.set(mmx::handler(i)?);
        return Some(op);
    }
    let memory = i.op_count() > 0 && (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    let handler = moves_of(i, &op, memory)
        .or_else(|| integers(i, &op, memory))
        .or_else(|| floats(i, &op, memory))
        .or_else(|| conversions(i, &op, memory))
        .or_else(|| rare(i, memory));
    let mut op = op;
    if matches!(
        i.mnemonic(),
        M::Pcmpestri | M::Pcmpestrm | M::Pcmpistri | M::Pcmpistrm | M::Pcmpestri64 | M::Pcmpestrm64
    ) {
        op.imm |= string_bits(i);
    }
    op.run.set(handler?);
    Some(op)
}

fn string_bits(i: &Instruction) -> u64 {
    let explicit = matches!(
        i.mnemonic(),
        M::Pcmpestri | M::Pcmpestrm | M::Pcmpestri64 | M::Pcmpestrm64
    );
    let wide = matches!(i.mnemonic(), M::Pcmpestri64 | M::Pcmpestrm64);
    let mask = matches!(i.mnemonic(), M::Pcmpestrm | M::Pcmpistrm | M::Pcmpestrm64);
    (if explicit { strings::EXPLICIT } else { 0 })
        | if wide { strings::WIDE } else { 0 }
        | if mask { strings::MASK } else { 0 }
}

fn moves_of(i: &Instruction, op: &Op<X86>, memory: bool) -> Option<H> {
    let to_memory = i.op0_kind() == OpKind::Memory;
    let xmm0 = i.op0_register().is_xmm();
    Some(match i.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq if to_memory => {
            by_ea!(op, E => moves::store_aligned::<E>)
        }
        M::Movups | M::Movupd | M::Movdqu if to_memory => by_ea!(op, E => moves::store::<E>),
        M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa => {
            full!(hot op, memory, S => moves::load::<S>)
        }
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu => {
            part!(hot u128, op, memory, S => moves::load::<S>)
        }
        M::Movss if to_memory => by_ea!(op, E => moves::store_low::<u32, E>),
        M::Movss if memory => by_ea!(op, E => moves::load::<Mem<u32, E>>),
        M::Movss => moves::merge32,
        M::Movsd if to_memory && i.op1_register().is_xmm() => {
            by_ea!(op, E => moves::store_low::<u64, E>)
        }
        M::Movsd if memory && xmm0 => by_ea!(op, E => moves::load::<Mem<u64, E>>),
        M::Movsd if xmm0 => moves::merge64,
        M::Movq if to_memory => by_ea!(op, E => moves::store_low::<u64, E>),
        M::Movq if memory => by_ea!(op, E => moves::load::<Mem<u64, E>>),
        M::Movq if xmm0 && i.op1_register().is_xmm() => moves::copy_low,
        M::Movq if xmm0 => moves::from_gpr64,
        M::Movq => moves::to_gpr64,
        M::Movd if to_memory => by_ea!(op, E => moves::store_low::<u32, E>),
        M::Movd if memory => by_ea!(op, E => moves::load::<Mem<u32, E>>),
        M::Movd if xmm0 => moves::from_gpr32,
        M::Movd => moves::to_gpr32,
        M::Movlps | M::Movlpd if to_memory => by_ea!(op, E => moves::store_low::<u64, E>),
        M::Movlps | M::Movlpd => by_ea!(op, E => moves::load_low::<Mem<u64, E>>),
        M::Movhps | M::Movhpd if to_memory => by_ea!(op, E => moves::store_high::<E>),
        M::Movhps | M::Movhpd => by_ea!(op, E => moves::load_high::<Mem<u64, E>>),
        M::Pmovmskb => moves::byte_signs,
        M::Movmskps => moves::single_signs,
        M::Movmskpd => moves::double_signs,
        M::Maskmovdqu => moves::masked_store,
        M::Pinsrb if memory => moves::insert_memory::<u8, Mem<u8, Any>>,
        M::Pinsrw if memory => moves::insert_memory::<u16, Mem<u16, Any>>,
        M::Pinsrd if memory => moves::insert_memory::<u32, Mem<u32, Any>>,
        M::Pinsrq if memory => moves::insert_memory::<u64, Mem<u64, Any>>,
        M::Pinsrb => moves::insert::<u8>,
        M::Pinsrw => moves::insert::<u16>,
        M::Pinsrd => moves::insert::<u32>,
        M::Pinsrq => moves::insert::<u64>,
        M::Pextrb if memory => moves::extract_memory::<u8>,
        M::Pextrw if memory => moves::extract_memory::<u16>,
        M::Pextrd | M::Extractps if memory => moves::extract_memory::<u32>,
        M::Pextrq if memory => moves::extract_memory::<u64>,
        M::Pextrb => moves::extract::<u8>,
        M::Pextrw => moves::extract::<u16>,
        M::Pextrd | M::Extractps => moves::extract::<u32>,
        M::Pextrq => moves::extract::<u64>,
        _ => return None,
    })
}

fn integers(i: &Instruction, op: &Op<X86>, memory: bool) -> Option<H> {
    macro_rules! table {
        (hot: $($h:ident)*; plain: $($name:ident)*; imm: $($g:ident)*; shift: $($s:ident $si:ident)*; part: $($p:ident $t:ty)*) => {
            match i.mnemonic() {
                $(M::$h => full!(hot op, memory, S => source::bin::<int::$h, S>),)*
                $(M::$name => full!(op, memory, S => source::bin::<int::$name, S>),)*
                $(M::$g => full!(op, memory, S => source::bin_imm::<int::$g, S>),)*
                $(M::$s if i.op1_kind() == OpKind::Immediate8 => {
                    source::bin_imm::<int::$si, Reg> as H
                })*
                $(M::$s => full!(op, memory, S => source::bin::<int::$s, S>),)*
                $(M::$p => part!($t, op, memory, S => source::bin::<int::$p, S>),)*
                M::Pslldq => source::bin_imm::<int::Pslldq, Reg>,
                M::Psrldq => source::bin_imm::<int::Psrldq, Reg>,
                M::Insertps if memory => insertps_memory,
                M::Insertps => source::bin_imm::<int::Insertps, Reg>,
                // The logical operations on floats are those on integers.
                M::Andps | M::Andpd => full!(hot op, memory, S => source::bin::<int::Pand, S>),
                M::Andnps | M::Andnpd => full!(hot op, memory, S => source::bin::<int::Pandn, S>),
                M::Orps | M::Orpd => full!(hot op, memory, S => source::bin::<int::Por, S>),
                M::Xorps | M::Xorpd => full!(hot op, memory, S => source::bin::<int::Pxor, S>),
                M::Unpcklpd => full!(op, memory, S => source::bin::<int::Punpcklqdq, S>),
                M::Unpckhpd => full!(op, memory, S => source::bin::<int::Punpckhqdq, S>),
                M::Movlhps => source::bin::<int::Movlhps, Reg>,
                M::Movhlps => source::bin::<int::Movhlps, Reg>,
                M::Ptest => full!(op, memory, S => scalar::test::<S>),
                M::Pblendvb => full!(op, memory, S => blend::<S, i8>),
                M::Blendvps => full!(op, memory, S => blend::<S, i32>),
                M::Blendvpd => full!(op, memory, S => blend::<S, i64>),
                _ => return None,
            }
        };
    }
    Some(table!(
        hot: Pxor Por Pand Pandn Pcmpeqb Pcmpeqd Pcmpgtb Paddd Paddq Paddb Psubb Pminub
            Punpcklqdq Punpcklbw Punpcklwd Punpckldq;
        plain: Paddw Psubw Psubd Psubq Paddsb Paddsw Paddusb Paddusw Psubsb
            Psubsw Psubusb Psubusw Pmaxub Pminsw Pmaxsw Pminsb Pmaxsb Pminuw
            Pmaxuw Pminud Pmaxud Pminsd Pmaxsd Pavgb Pavgw Pcmpeqw
            Pcmpeqq Pcmpgtw Pcmpgtd Pcmpgtq Pmullw Pmulld
            Pmulhw Pmulhuw Pmulhrsw Pmuludq Pmuldq Pmaddwd Pmaddubsw Psadbw
            Punpckhbw Punpckhwd
            Punpckhdq Punpckhqdq Packsswb Packuswb Packssdw Packusdw Pshufb Phaddw
            Phaddd Phaddsw Phsubw Phsubd Phsubsw Pabsb Pabsw Pabsd Psignb Psignw
            Psignd Phminposuw Unpcklps Unpckhps Movsldup Movshdup;
        imm: Pshufd Pshuflw Pshufhw Shufps Shufpd Palignr Pblendw Blendps Blendpd
            Mpsadbw;
        shift: Psllw PsllwImm Pslld PslldImm Psllq PsllqImm Psrlw PsrlwImm Psrld PsrldImm
            Psrlq PsrlqImm Psraw PsrawImm Psrad PsradImm;
        part: Movddup u64 Pmovsxbw u64 Pmovsxbd u32 Pmovsxbq u16 Pmovsxwd u64 Pmovsxwq u32
            Pmovsxdq u64 Pmovzxbw u64 Pmovzxbd u32 Pmovzxbq u16 Pmovzxwd u64 Pmovzxwq u32
            Pmovzxdq u64
    ))
}

/// `insertps` from memory: the single is the whole source.
fn insertps_memory(cpu: &mut crate::Cpu<X86>, op: &Op<X86>) -> crate::engine::Flow {
    use int::F3;
    let b = crate::access!(<Mem<u32, Any> as source::Source>::get(cpu, op));
    let d = (op.a & 15) as usize;
    cpu.s.xmm[d] = int::Insertps::f(cpu.s.xmm[d], b, op.imm as u8 & 0x3f);
    crate::engine::Flow::Next
}

fn floats(i: &Instruction, op: &Op<X86>, memory: bool) -> Option<H> {
    macro_rules! table {
        (arith: $($o:ident $ps:ident $pd:ident $ss:ident $sd:ident)*; full: $($f:ident)*; p32: $($s:ident)*; p64: $($d:ident)*) => {
            match i.mnemonic() {
                $(
                    M::$ps => full!(op, memory, S => source::arith::<$o, F32, false, S>),
                    M::$pd => full!(op, memory, S => source::arith::<$o, F64, false, S>),
                    M::$ss => part!(u32, op, memory, S => source::arith::<$o, F32, true, S>),
                    M::$sd => part!(hot u64, op, memory, S => source::arith::<$o, F64, true, S>),
                )*
                $(M::$f => full!(op, memory, S => source::slow::<$f, S>),)*
                $(M::$s => part!(u32, op, memory, S => source::slow::<$s, S>),)*
                $(M::$d => part!(u64, op, memory, S => source::slow::<$d, S>),)*
                M::Dpps => full!(op, memory, S => source::dot::<F32, S>),
                M::Dppd => full!(op, memory, S => source::dot::<F64, S>),
                M::Rcpps => full!(op, memory, S => source::bin::<Rcpps, S>),
                M::Rsqrtps => full!(op, memory, S => source::bin::<Rsqrtps, S>),
                M::Rcpss => part!(u32, op, memory, S => source::bin::<Rcpss, S>),
                M::Rsqrtss => part!(u32, op, memory, S => source::bin::<Rsqrtss, S>),
                M::Comiss => part!(u32, op, memory, S => scalar::compare::<F32, true, S>),
                M::Ucomiss => part!(u32, op, memory, S => scalar::compare::<F32, false, S>),
                M::Comisd => part!(hot u64, op, memory, S => scalar::compare::<F64, true, S>),
                M::Ucomisd => part!(hot u64, op, memory, S => scalar::compare::<F64, false, S>),
                _ => return None,
            }
        };
    }
    Some(table!(
        arith: Add Addps Addpd Addss Addsd  Sub Subps Subpd Subss Subsd
            Mul Mulps Mulpd Mulss Mulsd  Div Divps Divpd Divss Divsd
            Min Minps Minpd Minss Minsd  Max Maxps Maxpd Maxss Maxsd
            Sqrt Sqrtps Sqrtpd Sqrtss Sqrtsd;
        full: Cmpps Cmppd Roundps Roundpd Addsubps Addsubpd Haddps Haddpd Hsubps Hsubpd;
        p32: Cmpss Roundss;
        p64: Cmpsd Roundsd
    ))
}

fn conversions(i: &Instruction, op: &Op<X86>, memory: bool) -> Option<H> {
    let wide_target = i.op0_register().is_gpr64();
    macro_rules! to_int {
        ($t:ty, $f:ty, $truncate:expr) => {
            if wide_target {
                part!($t, op, memory, S => scalar::to_int::<$f, u64, $truncate, S>)
            } else {
                part!($t, op, memory, S => scalar::to_int::<$f, u32, $truncate, S>)
            }
        };
    }
    macro_rules! from_int {
        ($f:ident, $wide:expr) => {
            match ($wide, memory) {
                (false, false) => scalar::$f::<Gpr<u32>> as H,
                (true, false) => scalar::$f::<Gpr<u64>>,
                (false, true) => by_ea!(op, E => scalar::$f::<IntMem<u32, E>>),
                (true, true) => by_ea!(op, E => scalar::$f::<IntMem<u64, E>>),
            }
        };
    }
    Some(match i.mnemonic() {
        M::Cvtsi2sd => from_int!(from_int64f, i.code() == Code::Cvtsi2sd_xmm_rm64),
        M::Cvtsi2ss => from_int!(from_int32f, i.code() == Code::Cvtsi2ss_xmm_rm64),
        M::Cvttsd2si => to_int!(u64, F64, true),
        M::Cvtsd2si => to_int!(u64, F64, false),
        M::Cvttss2si => to_int!(u32, F32, true),
        M::Cvtss2si => to_int!(u32, F32, false),
        M::Cvtss2sd => part!(u32, op, memory, S => scalar::widen::<S>),
        M::Cvtsd2ss => part!(u64, op, memory, S => scalar::narrow::<S>),
        M::Cvtps2dq => full!(op, memory, S => source::slow::<Ps2dq, S>),
        M::Cvttps2dq => full!(op, memory, S => source::slow::<Tps2dq, S>),
        M::Cvtpd2dq => full!(op, memory, S => source::slow::<Pd2dq, S>),
        M::Cvttpd2dq => full!(op, memory, S => source::slow::<Tpd2dq, S>),
        M::Cvtdq2ps => full!(op, memory, S => source::slow::<Dq2ps, S>),
        M::Cvtpd2ps => full!(op, memory, S => source::slow::<Pd2ps, S>),
        M::Cvtdq2pd => part!(u64, op, memory, S => source::slow::<Dq2pd, S>),
        M::Cvtps2pd => part!(u64, op, memory, S => source::slow::<Ps2pd, S>),
        _ => return None,
    })
}

fn rare(i: &Instruction, memory: bool) -> Option<H> {
    Some(match i.mnemonic() {
        M::Ldmxcsr => save::load_mxcsr,
        M::Stmxcsr => save::store_mxcsr,
        M::Fxsave => save::save::<false>,
        M::Fxsave64 => save::save::<true>,
        M::Fxrstor => save::restore::<false>,
        M::Fxrstor64 => save::restore::<true>,
        M::Pcmpestri
        | M::Pcmpestrm
        | M::Pcmpistri
        | M::Pcmpistrm
        | M::Pcmpestri64
        | M::Pcmpestrm64 => part!(u128, op, memory, S => strings::compare::<S>),
        _ => return None,
    })
}

/// `crc32`, which uses no vector register and so works whatever CR0 says.
pub(in crate::x86_64) fn lower_crc32(i: &Instruction) -> Option<Op<X86>> {
    use crate::x86_64::operand::{Width, ea};
    fn register<W: Width>(cpu: &mut crate::Cpu<X86>, op: &Op<X86>) -> crate::engine::Flow {
        finish(
            cpu,
            op.a,
            W::get(&cpu.s.gpr, op.b).zero_extend(),
            W::BITS / 8,
        )
    }
    fn from_memory<W: Width>(cpu: &mut crate::Cpu<X86>, op: &Op<X86>) -> crate::engine::Flow {
        let at = ea(cpu, op);
        let value = crate::access!(cpu.load::<W>(at)).zero_extend();
        finish(cpu, op.a, value, W::BITS / 8)
    }
    fn finish(cpu: &mut crate::Cpu<X86>, a: u8, value: u64, bytes: u32) -> crate::engine::Flow {
        let crc = &mut cpu.s.gpr[(a & 15) as usize];
        *crc = int::crc32c(*crc as u32, value, bytes).into();
        crate::engine::Flow::Next
    }
    if i.mnemonic() != M::Crc32 {
        return None;
    }
    let op = pack(i);
    let memory = i.op1_kind() == OpKind::Memory;
    op.run.set(match (i.code(), memory) {
        (Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8, false) => register::<u8>,
        (Code::Crc32_r32_rm16, false) => register::<u16>,
        (Code::Crc32_r32_rm32, false) => register::<u32>,
        (_, false) => register::<u64>,
        (Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8, true) => from_memory::<u8>,
        (Code::Crc32_r32_rm16, true) => from_memory::<u16>,
        (Code::Crc32_r32_rm32, true) => from_memory::<u32>,
        (_, true) => from_memory::<u64>,
    });
    Some(op)
}
