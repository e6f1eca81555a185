//! Jumps, calls, returns, loops.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::{Lowered, last};
use crate::x86_64::operand::{ADDR32, MEM, by_condition, ea, pack};
use crate::x86_64::trap::gp;
use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// Whether `va` is canonical for 48-bit addresses.
#[inline(always)]
pub(crate) fn canonical(va: u64) -> bool {
    ((va as i64) << 16 >> 16) as u64 == va
}

#[inline(always)]
fn jump(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let to = cpu.block_va().wrapping_add(op.imm);
    cpu.set_pc(to);
    Flow::Jump
}
#[inline(always)]
fn fall(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let to = cpu.next_pc(op);
    cpu.set_pc(to);
    Flow::Fall
}
#[inline(always)]
fn indirect(cpu: &mut Cpu, to: u64) -> Flow {
    if !canonical(to) {
        return gp(cpu, 0);
    }
    cpu.set_pc(to);
    Flow::Indirect
}
fn jmp(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    jump(cpu, op)
}
fn jcc<const CC: u8>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if cpu.s.cc.condition::<CC>() {
        jump(cpu, op)
    } else {
        fall(cpu, op)
    }
}
#[inline(always)]
fn push(cpu: &mut Cpu, v: u64) -> Result<(), Flow> {
    let sp = cpu.s.gpr[4].wrapping_sub(8);
    cpu.store(sp, v)?;
    cpu.s.gpr[4] = sp;
    Ok(())
}
fn call(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let back = cpu.next_pc(op);
    access!(push(cpu, back));
    jump(cpu, op)
}
fn target(cpu: &mut Cpu, op: &Op<X86>) -> Result<u64, Flow> {
    if op.e & MEM != 0 {
        cpu.load::<u64>(ea(cpu, op))
    } else {
        Ok(cpu.s.gpr[(op.a & 15) as usize])
    }
}
fn jmp_r(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let to = access!(target(cpu, op));
    indirect(cpu, to)
}
fn call_r(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let to = access!(target(cpu, op));
    if !canonical(to) {
        return gp(cpu, 0);
    }
    let back = cpu.next_pc(op);
    access!(push(cpu, back));
    cpu.set_pc(to);
    Flow::Indirect
}
fn ret(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[4];
    let to = access!(cpu.load::<u64>(sp));
    if !canonical(to) {
        return gp(cpu, 0);
    }
    cpu.s.gpr[4] = sp.wrapping_add(8).wrapping_add(op.imm);
    cpu.set_pc(to);
    Flow::Indirect
}
/// LOOP, LOOPE, LOOPNE, JRCXZ: `a` is 0 to 3 in this order.
fn counted(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let mask = if op.e & ADDR32 != 0 {
        0xffff_ffff
    } else {
        u64::MAX
    };
    let mut count = cpu.s.gpr[1] & mask;
    let zf = cpu.s.cc.zf();
    if op.a != 3 {
        count = count.wrapping_sub(1) & mask;
        cpu.s.gpr[1] = count;
    }
    let taken = match op.a {
        0 => count != 0,
        1 => count != 0 && zf,
        2 => count != 0 && !zf,
        _ => count == 0,
    };
    if taken { jump(cpu, op) } else { fall(cpu, op) }
}

/// Lowers an instruction of this family. `va` is the start of the block.
pub(super) fn lower(i: &Instruction, va: u64) -> Option<Lowered> {
    let near = i.op_count() == 1 && i.op_kind(0) == OpKind::NearBranch64;
    let mut op = pack(i, jmp);
    if near {
        op.imm = i.near_branch_target().wrapping_sub(va);
    }
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Jmp if near => jmp,
        Mnemonic::Call if near => call,
        Mnemonic::Jmp if !i.is_jmp_far_indirect() => jmp_r,
        Mnemonic::Call if !i.is_call_far_indirect() => call_r,
        Mnemonic::Ret => ret,
        Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne | Mnemonic::Jrcxz | Mnemonic::Jecxz => {
            op.a = match i.mnemonic() {
                Mnemonic::Loop => 0,
                Mnemonic::Loope => 1,
                Mnemonic::Loopne => 2,
                _ => 3,
            };
            if matches!(
                i.code(),
                Code::Loop_rel8_64_ECX
                    | Code::Loope_rel8_64_ECX
                    | Code::Loopne_rel8_64_ECX
                    | Code::Jecxz_rel8_64
            ) {
                op.e |= ADDR32;
            }
            counted
        }
        Mnemonic::Jo
        | Mnemonic::Jno
        | Mnemonic::Jb
        | Mnemonic::Jae
        | Mnemonic::Je
        | Mnemonic::Jne
        | Mnemonic::Jbe
        | Mnemonic::Ja
        | Mnemonic::Js
        | Mnemonic::Jns
        | Mnemonic::Jp
        | Mnemonic::Jnp
        | Mnemonic::Jl
        | Mnemonic::Jge
        | Mnemonic::Jle
        | Mnemonic::Jg
            if i.condition_code() != ConditionCode::None =>
        {
            by_condition!(i.condition_code() as u8 - 1, CC => jcc::<CC> as Handler<X86>)
        }
        _ => return None,
    };
    op.run.set(run);
    Some(last(op))
}
