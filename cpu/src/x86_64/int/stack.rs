//! PUSH, POP, PUSHF, POPF, ENTER, LEAVE.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::{AC, ARITH, DF, ID, IF, IOPL, NT, RF, TF, VM};
use crate::x86_64::operand::{Width, by_width, ea, is_memory, pack};
use crate::x86_64::sys;
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

#[inline(always)]
fn push<W: Width>(cpu: &mut Cpu, v: W) -> Flow {
    let sp = cpu.s.gpr[4].wrapping_sub(size_of::<W>() as u64);
    access!(cpu.store(sp, v));
    cpu.s.gpr[4] = sp;
    Flow::Next
}
fn push_r<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, op.a);
    push(cpu, v)
}
fn push_i<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    push(cpu, W::truncate(op.imm))
}
fn push_m<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(cpu.load::<W>(ea(cpu, op)));
    push(cpu, v)
}
fn pop_r<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[4];
    let v = access!(cpu.load::<W>(sp));
    cpu.s.gpr[4] = sp.wrapping_add(size_of::<W>() as u64);
    W::set(&mut cpu.s.gpr, op.a, v);
    Flow::Next
}
fn pop_m<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[4];
    let v = access!(cpu.load::<W>(sp));
    // An address by RSP uses its value after the pop.
    cpu.s.gpr[4] = sp.wrapping_add(size_of::<W>() as u64);
    if let Err(flow) = cpu.store(ea(cpu, op), v) {
        cpu.s.gpr[4] = sp;
        return flow;
    }
    Flow::Next
}
fn pushf<W: Width>(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let v = cpu.s.rflags() & !(RF | VM);
    push(cpu, W::truncate(v))
}
fn popf<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[4];
    let v = access!(cpu.load::<W>(sp)).zero_extend();
    cpu.s.gpr[4] = sp.wrapping_add(size_of::<W>() as u64);
    let old = cpu.s.rflags();
    let mut may = ARITH | TF | DF | NT | AC | ID;
    if cpu.s.cpl == 0 {
        may |= IOPL | IF;
    } else if u64::from(cpu.s.cpl) <= (old & IOPL) >> 12 {
        may |= IF;
    }
    if W::BITS == 16 {
        may &= 0xffff;
    }
    cpu.s.set_rflags((old & !may | v & may) & !RF);
    sys::rflags_changed(cpu, op, old)
}
fn enter<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let size = size_of::<W>() as u64;
    let alloc = op.imm;
    let level = u64::from(op.a & 31);
    let mut sp = cpu.s.gpr[4].wrapping_sub(size);
    let mut bp = cpu.s.gpr[5];
    access!(cpu.store(sp, W::truncate(bp)));
    let frame = sp;
    for _ in 1..level {
        bp = bp.wrapping_sub(size);
        let v = access!(cpu.load::<W>(bp));
        sp = sp.wrapping_sub(size);
        access!(cpu.store(sp, v));
    }
    if level > 0 {
        sp = sp.wrapping_sub(size);
        access!(cpu.store(sp, W::truncate(frame)));
    }
    sp = sp.wrapping_sub(alloc);
    // The final stack must be writable, or the whole instruction faults.
    access!(cpu.probe_write(sp, size, cpu.mode()));
    cpu.s.gpr[4] = sp;
    W::set(&mut cpu.s.gpr, 5, W::truncate(frame));
    Flow::Next
}
fn leave<W: Width>(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[5];
    let v = access!(cpu.load::<W>(sp));
    cpu.s.gpr[4] = sp.wrapping_add(size_of::<W>() as u64);
    W::set(&mut cpu.s.gpr, 5, v);
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    // The operand size shows in how far the stack pointer moves, except where
    // the form has a name of its own.
    let size = i.stack_pointer_increment().unsigned_abs() as usize;
    if matches!(i.mnemonic(), Mnemonic::Push | Mnemonic::Pop)
        && i.op_kind(0) == OpKind::Register
        && i.op_register(0).is_segment_register()
    {
        return None;
    }
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Push => by_width!(size, W => if is_memory(i, 0) {
            push_m::<W> as Handler<X86>
        } else if i.op_kind(0) == OpKind::Register {
            push_r::<W>
        } else {
            push_i::<W>
        }),
        Mnemonic::Pop => by_width!(size, W => if is_memory(i, 0) {
            pop_m::<W> as Handler<X86>
        } else {
            pop_r::<W>
        }),
        Mnemonic::Pushfq => pushf::<u64>,
        Mnemonic::Pushf => pushf::<u16>,
        Mnemonic::Popfq => popf::<u64>,
        Mnemonic::Popf => popf::<u16>,
        Mnemonic::Enter => {
            let run = match i.code() {
                iced_x86::Code::Enterw_imm16_imm8 => enter::<u16> as Handler<X86>,
                _ => enter::<u64>,
            };
            let mut op = Op::new(i.code() as u16, run);
            op.imm = u64::from(i.immediate16());
            op.a = i.immediate8_2nd();
            return Some(op);
        }
        Mnemonic::Leave => match i.code() {
            iced_x86::Code::Leavew => leave::<u16>,
            _ => leave::<u64>,
        },
        _ => return None,
    };
    Some(pack(i, run))
}
