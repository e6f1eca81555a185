//! MOV, MOVZX, MOVSX, LEA, XCHG, BSWAP, CMOVcc, SETcc, CBW and its kin, XLAT.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::LazyFlags;
use crate::x86_64::operand::{
    Ea, Width, by_condition, by_width, ea, ea_handler, is_memory, offset, operand_size, pack,
    segment_base,
};
use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

fn mov_rr<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, op.b);
    W::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn mov_ri<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    W::set(&mut cpu.s.gpr, op.a, W::truncate(op.imm));
    Flow::Next
}
fn mov_rm<W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<W>(E::ea(cpu, op)));
    W::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn mov_mr<W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, op.a);
    access!(cpu.store(E::ea(cpu, op), v));
    Flow::Next
}
fn mov_mi<W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(cpu.store(E::ea(cpu, op), W::truncate(op.imm)));
    Flow::Next
}
/// Accumulator from a 64-bit absolute address, which is in `imm`.
fn mov_am<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = op.imm.wrapping_add(segment_base(cpu, op.e));
    let v = access!(cpu.load::<W>(at));
    W::set(&mut cpu.s.gpr, 0, v);
    Flow::Next
}
fn mov_ma<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = op.imm.wrapping_add(segment_base(cpu, op.e));
    let v = W::get(&cpu.s.gpr, 0);
    access!(cpu.store(at, v));
    Flow::Next
}
fn movzx_rr<D: Width, S: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = S::get(&cpu.s.gpr, op.b).zero_extend();
    D::set(&mut cpu.s.gpr, op.a, D::truncate(v));
    Flow::Next
}
fn movzx_rm<D: Width, S: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<S>(E::ea(cpu, op))).zero_extend();
    D::set(&mut cpu.s.gpr, op.a, D::truncate(v));
    Flow::Next
}
fn movsx_rr<D: Width, S: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = S::get(&cpu.s.gpr, op.b).sign_extend();
    D::set(&mut cpu.s.gpr, op.a, D::truncate(v));
    Flow::Next
}
fn movsx_rm<D: Width, S: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<S>(E::ea(cpu, op))).sign_extend();
    D::set(&mut cpu.s.gpr, op.a, D::truncate(v));
    Flow::Next
}
fn lea<W: Width, E: Ea>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = W::truncate(E::ea(cpu, op));
    W::set(&mut cpu.s.gpr, op.a, at);
    Flow::Next
}
fn lea_any<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = W::truncate(offset(cpu, op));
    W::set(&mut cpu.s.gpr, op.a, at);
    Flow::Next
}
fn xchg_rr<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let (a, b) = (W::get(&cpu.s.gpr, op.a), W::get(&cpu.s.gpr, op.b));
    W::set(&mut cpu.s.gpr, op.a, b);
    W::set(&mut cpu.s.gpr, op.b, a);
    Flow::Next
}
fn xchg_m<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, op.a);
    let old = access!(cpu.update::<W>(ea(cpu, op), |_| v));
    W::set(&mut cpu.s.gpr, op.a, old);
    Flow::Next
}
fn bswap<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, op.a).zero_extend().swap_bytes() >> (64 - W::BITS);
    W::set(&mut cpu.s.gpr, op.a, W::truncate(v));
    Flow::Next
}
fn cmov_rr<const CC: u8, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let from = if cpu.s.cc.condition::<CC>() {
        op.b
    } else {
        op.a
    };
    let v = W::get(&cpu.s.gpr, from);
    W::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn cmov_rm<const CC: u8, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let mut v = access!(cpu.load::<W>(ea(cpu, op)));
    if !cpu.s.cc.condition::<CC>() {
        v = W::get(&cpu.s.gpr, op.a);
    }
    W::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn set_r<const CC: u8>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = u8::from(cpu.s.cc.condition::<CC>());
    u8::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn set_m<const CC: u8>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = u8::from(cpu.s.cc.condition::<CC>());
    access!(cpu.store(ea(cpu, op), v));
    Flow::Next
}
/// CBW, CWDE, CDQE.
fn extend_a<D: Width, S: Width>(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let v = S::get(&cpu.s.gpr, 0).sign_extend();
    D::set(&mut cpu.s.gpr, 0, D::truncate(v));
    Flow::Next
}
/// CWD, CDQ, CQO.
fn extend_d<W: Width>(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let v = (W::get(&cpu.s.gpr, 0).sign_extend() as i64 >> 63) as u64;
    W::set(&mut cpu.s.gpr, 2, W::truncate(v));
    Flow::Next
}
/// XLAT: `c`, `d` and `e` hold the address [rbx + al].
fn xlat(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let mut at = cpu.s.gpr[3].wrapping_add(cpu.s.gpr[0] & 0xff);
    if op.e & crate::x86_64::operand::ADDR32 != 0 {
        at &= 0xffff_ffff;
    }
    let at = at.wrapping_add(segment_base(cpu, op.e));
    let v = access!(cpu.load::<u8>(at));
    u8::set(&mut cpu.s.gpr, 0, v);
    Flow::Next
}
fn lahf(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let v = cpu.s.cc.bits() as u8 | 2;
    u8::set(&mut cpu.s.gpr, crate::x86_64::operand::HIGH, v);
    Flow::Next
}
fn sahf(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let low = u64::from(u8::get(&cpu.s.gpr, crate::x86_64::operand::HIGH));
    let of = cpu.s.cc.bits() & crate::x86_64::flags::OF;
    cpu.s.cc = LazyFlags::from_bits(low | of);
    Flow::Next
}
fn nop(_: &mut Cpu, _: &Op<X86>) -> Flow {
    Flow::Next
}

macro_rules! extend {
    ($i:expr, $op:expr, $rr:ident, $rm:ident) => {{
        let (to, from) = (operand_size($i, 0), operand_size($i, 1));
        by_width!(to, D => by_width!(from, S => if is_memory($i, 1) {
            ea_handler!($op, $rm, D, S)
        } else {
            $rr::<D, S> as Handler<X86>
        }))
    }};
}

fn mov(i: &Instruction, op: &mut Op<X86>) -> Option<Handler<X86>> {
    match i.code() {
        Code::Mov_AL_moffs8
        | Code::Mov_AX_moffs16
        | Code::Mov_EAX_moffs32
        | Code::Mov_RAX_moffs64 => {
            op.imm = i.memory_displacement64();
            return Some(by_width!(operand_size(i, 0), W => mov_am::<W> as Handler<X86>));
        }
        Code::Mov_moffs8_AL
        | Code::Mov_moffs16_AX
        | Code::Mov_moffs32_EAX
        | Code::Mov_moffs64_RAX => {
            op.imm = i.memory_displacement64();
            return Some(by_width!(operand_size(i, 1), W => mov_ma::<W> as Handler<X86>));
        }
        _ => {}
    }
    let special = |n| {
        i.op_kind(n) == OpKind::Register && {
            let r = i.op_register(n);
            !r.is_gpr()
        }
    };
    if special(0) || special(1) {
        return None;
    }
    let op = &*op;
    Some(
        by_width!(operand_size(i, 0), W => match (i.op_kind(0), i.op_kind(1)) {
            (OpKind::Register, OpKind::Register) => mov_rr::<W> as Handler<X86>,
            (OpKind::Register, OpKind::Memory) => ea_handler!(op, mov_rm, W),
            (OpKind::Memory, OpKind::Register) => ea_handler!(op, mov_mr, W),
            (OpKind::Memory, _) => ea_handler!(op, mov_mi, W),
            _ => mov_ri::<W>,
        }),
    )
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let mut op = pack(i, nop);
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movnti => mov(i, &mut op)?,
        Mnemonic::Movzx => extend!(i, &op, movzx_rr, movzx_rm),
        Mnemonic::Movsx | Mnemonic::Movsxd => extend!(i, &op, movsx_rr, movsx_rm),
        Mnemonic::Lea => {
            // LEA knows no segments.
            op.e &= !(crate::x86_64::operand::SEG_FS | crate::x86_64::operand::SEG_GS);
            by_width!(operand_size(i, 0), W => {
                use crate::x86_64::operand::{Base, BaseIndex, EaKind, Rip, ea_kind};
                match ea_kind(&op) {
                    EaKind::Base => lea::<W, Base> as Handler<X86>,
                    EaKind::BaseIndex => lea::<W, BaseIndex>,
                    EaKind::Rip => lea::<W, Rip>,
                    EaKind::Any => lea_any::<W>,
                }
            })
        }
        Mnemonic::Xchg => by_width!(operand_size(i, 0), W => if is_memory(i, 0) {
            xchg_m::<W> as Handler<X86>
        } else {
            xchg_rr::<W>
        }),
        Mnemonic::Bswap => by_width!(operand_size(i, 0), W => bswap::<W> as Handler<X86>),
        Mnemonic::Cbw => extend_a::<u16, u8>,
        Mnemonic::Cwde => extend_a::<u32, u16>,
        Mnemonic::Cdqe => extend_a::<u64, u32>,
        Mnemonic::Cwd => extend_d::<u16>,
        Mnemonic::Cdq => extend_d::<u32>,
        Mnemonic::Cqo => extend_d::<u64>,
        Mnemonic::Xlatb => xlat,
        Mnemonic::Lahf => lahf,
        Mnemonic::Sahf => sahf,
        _ => conditional(i)?,
    };
    op.run.set(run);
    Some(op)
}

/// CMOVcc and SETcc.
fn conditional(i: &Instruction) -> Option<Handler<X86>> {
    use Mnemonic::*;
    let cc = i.condition_code();
    if cc == ConditionCode::None {
        return None;
    }
    let cc = cc as u8 - 1;
    Some(match i.mnemonic() {
        Cmovo | Cmovno | Cmovb | Cmovae | Cmove | Cmovne | Cmovbe | Cmova | Cmovs | Cmovns
        | Cmovp | Cmovnp | Cmovl | Cmovge | Cmovle | Cmovg => {
            by_condition!(cc, CC => by_width!(operand_size(i, 0), W => if is_memory(i, 1) {
                cmov_rm::<CC, W> as Handler<X86>
            } else {
                cmov_rr::<CC, W>
            }))
        }
        Seto | Setno | Setb | Setae | Sete | Setne | Setbe | Seta | Sets | Setns | Setp | Setnp
        | Setl | Setge | Setle | Setg => by_condition!(cc, CC => if is_memory(i, 0) {
            set_m::<CC> as Handler<X86>
        } else {
            set_r::<CC>
        }),
        _ => return None,
    })
}
