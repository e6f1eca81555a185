//! SYSCALL, SYSRET, SWAPGS, IRET, INT n, INT3, INT1, UD, far returns and jumps.

use super::{privileged, read_descriptor, update_mask};
use crate::Signal;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::{Lowered, last};
use crate::x86_64::flags::{AC, ARITH, DF, ID, IF, IOPL, NT, RF, TF, VM};
use crate::x86_64::int::canonical;
use crate::x86_64::operand::{Width, by_width, ea, pack};
use crate::x86_64::state::{Segment, seg};
use crate::x86_64::trap::{Cause, X86Trap, gp, ud, vector};
use iced_x86::{Code, Instruction, Mnemonic};

type Cpu = crate::Cpu<X86>;

/// EFER bits.
pub mod efer {
    /// SYSCALL is enabled.
    pub const SCE: u64 = 1;
    /// Long mode is enabled.
    pub const LME: u64 = 1 << 8;
    /// Long mode is active.
    pub const LMA: u64 = 1 << 10;
    /// Page tables may forbid execution.
    pub const NXE: u64 = 1 << 11;
}

/// What SYSCALL and SYSRET load into CS.
pub(in crate::x86_64) fn flat_code(selector: u16, dpl: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights: 0xa09b | dpl << 5,
    }
}
/// What SYSCALL and SYSRET load into SS.
pub(in crate::x86_64) fn flat_data(selector: u16, dpl: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights: 0xc093 | dpl << 5,
    }
}

/// Sets the privilege level, and the engine's mode with it.
pub(in crate::x86_64) fn set_cpl(cpu: &mut Cpu, cpl: u8) {
    cpu.s.cpl = cpl;
    cpu.set_mode(u8::from(cpl == 3));
}

/// Makes the next block head look at TF and interrupts.
fn look_again(cpu: &mut Cpu) {
    update_mask(cpu);
    if cpu.s.rflags & TF != 0 {
        cpu.set_signal_mask(cpu.signal_mask() | Signal::MESSAGE);
        cpu.signal.raise(Signal::MESSAGE);
    }
}

fn syscall(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if cpu.s.msr.efer & efer::SCE == 0 {
        return ud(cpu);
    }
    let back = cpu.next_pc(op);
    let flags = cpu.s.rflags() & !RF;
    cpu.s.gpr[1] = back;
    cpu.s.gpr[11] = flags;
    let mask = cpu.s.msr.fmask;
    cpu.s.set_rflags(flags & !mask);
    cpu.extra.step_from = None;
    let selector = (cpu.s.msr.star >> 32) as u16 & !3;
    cpu.s.seg[seg::CS] = flat_code(selector, 0);
    cpu.s.seg[seg::SS] = flat_data(selector.wrapping_add(8), 0);
    set_cpl(cpu, 0);
    look_again(cpu);
    let to = cpu.s.msr.lstar;
    cpu.set_pc(to);
    Flow::Indirect
}
fn sysretq(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    if cpu.s.msr.efer & efer::SCE == 0 {
        return ud(cpu);
    }
    access!(privileged(cpu));
    let to = cpu.s.gpr[1];
    if !canonical(to) {
        return gp(cpu, 0);
    }
    let flags = cpu.s.gpr[11] & (ARITH | TF | IF | DF | IOPL | NT | AC | ID);
    cpu.s.set_rflags(flags);
    let base = (cpu.s.msr.star >> 48) as u16;
    cpu.s.seg[seg::CS] = flat_code(base.wrapping_add(16) | 3, 3);
    cpu.s.seg[seg::SS] = flat_data(base.wrapping_add(8) | 3, 3);
    set_cpl(cpu, 3);
    look_again(cpu);
    cpu.set_pc(to);
    Flow::Indirect
}
fn swapgs(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    std::mem::swap(&mut cpu.s.seg[seg::GS].base, &mut cpu.s.msr.kernel_gs_base);
    Flow::Next
}

/// Nulls the data segments that the outer level may not use.
fn drop_segments(cpu: &mut Cpu, cpl: u8) {
    for n in [seg::ES, seg::DS, seg::FS, seg::GS] {
        let s = &mut cpu.s.seg[n];
        let dpl = (s.rights >> 5) as u8 & 3;
        let conforming = s.rights & 0x1c == 0x1c;
        if s.selector & !3 != 0 && dpl < cpl && !conforming {
            *s = Segment::default();
        }
    }
}
/// Checks the code segment that a far return goes to.
fn outer_code(cpu: &mut Cpu, selector: u16) -> Result<Segment, Flow> {
    let code = u32::from(selector & !3);
    let rpl = selector as u8 & 3;
    if code == 0 || rpl < cpu.s.cpl {
        return Err(gp(cpu, code));
    }
    let Some(d) = read_descriptor(cpu, selector)? else {
        return Err(gp(cpu, code));
    };
    let level = if d.conforming() {
        d.dpl() <= rpl
    } else {
        d.dpl() == rpl
    };
    // Compatibility mode is not supported: its segments are refused.
    if !d.is_long_code() || !level {
        return Err(gp(cpu, code));
    }
    if !d.present() {
        return Err(cpu.raise(X86Trap::with_code(vector::NP, code)));
    }
    Ok(d.segment(selector))
}
/// Checks the stack segment that a far return goes to.
fn outer_stack(cpu: &mut Cpu, selector: u16, rpl: u8) -> Result<Segment, Flow> {
    let code = u32::from(selector & !3);
    if code == 0 {
        if rpl == 3 || selector as u8 & 3 != rpl {
            return Err(gp(cpu, 0));
        }
        return Ok(Segment {
            selector,
            ..Segment::default()
        });
    }
    let Some(d) = read_descriptor(cpu, selector)? else {
        return Err(gp(cpu, code));
    };
    if selector as u8 & 3 != rpl || d.dpl() != rpl || d.kind() & 0x1a != 0x12 {
        return Err(gp(cpu, code));
    }
    if !d.present() {
        return Err(cpu.raise(X86Trap::with_code(vector::SS, code)));
    }
    Ok(d.segment(selector))
}

fn iret<W: Width>(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    if cpu.s.rflags & NT != 0 {
        return gp(cpu, 0);
    }
    let size = size_of::<W>() as u64;
    let mut frame = [0u64; 5];
    for (n, slot) in frame.iter_mut().enumerate() {
        let at = cpu.s.gpr[4].wrapping_add(n as u64 * size);
        *slot = access!(cpu.load::<W>(at)).zero_extend();
    }
    let [rip, cs, flags, rsp, ss] = frame;
    let cpl = cpu.s.cpl;
    let code = access!(outer_code(cpu, cs as u16));
    if !canonical(rip) {
        return gp(cpu, 0);
    }
    let rpl = cs as u8 & 3;
    let stack = access!(outer_stack(cpu, ss as u16, rpl));
    let mut may = ARITH | TF | DF | NT | RF | AC | ID;
    if cpl == 0 {
        may |= IOPL | IF;
    } else if u64::from(cpl) <= (cpu.s.rflags & IOPL) >> 12 {
        may |= IF;
    }
    if W::BITS == 16 {
        may &= 0xffff;
    }
    let flags = cpu.s.rflags() & !may | flags & may & !VM;
    cpu.s.set_rflags(flags);
    cpu.s.seg[seg::CS] = code;
    cpu.s.seg[seg::SS] = stack;
    cpu.s.gpr[4] = rsp;
    if rpl > cpl {
        drop_segments(cpu, rpl);
    }
    set_cpl(cpu, rpl);
    cpu.s.in_nmi = false;
    look_again(cpu);
    cpu.set_pc(rip);
    Flow::Indirect
}
/// RETF; `imm` bytes are released.
fn retf<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let size = size_of::<W>() as u64;
    let sp = cpu.s.gpr[4];
    let rip = access!(cpu.load::<W>(sp)).zero_extend();
    let cs = access!(cpu.load::<W>(sp.wrapping_add(size))).zero_extend() as u16;
    let code = access!(outer_code(cpu, cs));
    if !canonical(rip) {
        return gp(cpu, 0);
    }
    let rpl = cs as u8 & 3;
    let mut sp = sp.wrapping_add(2 * size).wrapping_add(op.imm);
    if rpl > cpu.s.cpl {
        let rsp = access!(cpu.load::<W>(sp)).zero_extend();
        let ss = access!(cpu.load::<W>(sp.wrapping_add(size))).zero_extend() as u16;
        cpu.s.seg[seg::SS] = access!(outer_stack(cpu, ss, rpl));
        sp = rsp.wrapping_add(op.imm);
        drop_segments(cpu, rpl);
        set_cpl(cpu, rpl);
    }
    cpu.s.seg[seg::CS] = code;
    cpu.s.gpr[4] = sp;
    cpu.set_pc(rip);
    Flow::Indirect
}
/// JMP and CALL through a far pointer in memory to a 64-bit code segment of
/// the same privilege; gates are not supported.
fn far<const CALL: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    let size = size_of::<W>() as u64;
    let to = access!(cpu.load::<W>(at)).zero_extend();
    let selector = access!(cpu.load::<u16>(at.wrapping_add(size)));
    let cpl = cpu.s.cpl;
    let selector = selector & !3 | u16::from(cpl);
    let code = access!(outer_code(cpu, selector));
    if !canonical(to) {
        return gp(cpu, 0);
    }
    if CALL {
        let sp = cpu.s.gpr[4].wrapping_sub(2 * size);
        let back = cpu.next_pc(op);
        let cs = cpu.s.seg[seg::CS].selector;
        access!(cpu.probe_write(sp, 2 * size, cpu.mode()));
        access!(cpu.store(sp, W::truncate(back)));
        access!(cpu.store(sp.wrapping_add(size), W::truncate(cs.into())));
        cpu.s.gpr[4] = sp;
    }
    cpu.s.seg[seg::CS] = code;
    cpu.set_pc(to);
    Flow::Indirect
}
fn software(cpu: &mut Cpu, op: &Op<X86>, vector: u8, cause: Cause) -> Flow {
    cpu.raise(X86Trap {
        vector,
        cause,
        skip: op.len,
        ..X86Trap::default()
    })
}
fn int(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    software(cpu, op, op.imm as u8, Cause::Software)
}
fn int3(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    software(cpu, op, vector::BP, Cause::Software)
}
fn int1(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    software(cpu, op, vector::DB, Cause::Trap)
}
fn undefined(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    ud(cpu)
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Syscall => syscall,
        Mnemonic::Sysretq => sysretq,
        Mnemonic::Swapgs => return Some(pack(i, swapgs).into()),
        Mnemonic::Iretq => iret::<u64>,
        Mnemonic::Iretd => iret::<u32>,
        Mnemonic::Iret => iret::<u16>,
        Mnemonic::Retf => match i.code() {
            Code::Retfq | Code::Retfq_imm16 => retf::<u64>,
            Code::Retfd | Code::Retfd_imm16 => retf::<u32>,
            _ => retf::<u16>,
        },
        Mnemonic::Jmp if i.is_jmp_far_indirect() => {
            by_width!(i.memory_size().size() - 2, W => far::<false, W> as Handler<X86>)
        }
        Mnemonic::Call if i.is_call_far_indirect() => {
            by_width!(i.memory_size().size() - 2, W => far::<true, W> as Handler<X86>)
        }
        Mnemonic::Int => int,
        Mnemonic::Int3 => int3,
        Mnemonic::Int1 => int1,
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => undefined,
        _ => return None,
    };
    Some(last(pack(i, run)))
}
