//! CLI, STI, CLD, STD, CLC, STC, CMC, HLT, and instructions that do nothing.

use super::privileged;
use crate::Signal;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::{Lowered, last};
use crate::x86_64::flags::{DF, IF, IOPL, TF};
use crate::x86_64::operand::pack;
use crate::x86_64::trap::gp;
use iced_x86::{Instruction, Mnemonic};

type Cpu = crate::Cpu<X86>;

/// Makes the signal mask follow IF. NMI is never masked by it.
pub(in crate::x86_64) fn update_mask(cpu: &mut Cpu) {
    cpu.set_signal_mask(Signal::ATTENTION | Signal::FIQ);
    if cpu.s.rflags & IF != 0 {
        cpu.set_signal_mask(cpu.signal_mask() | Signal::MESSAGE);
    }
}

/// What has to follow from new flags, at the end of `op`.
pub(in crate::x86_64) fn rflags_changed(cpu: &mut Cpu, _op: &Op<X86>, _old: u64) -> Flow {
    update_mask(cpu);
    if cpu.s.rflags & TF != 0 {
        Flow::Resync
    } else {
        Flow::Next
    }
}

fn may_change_if(cpu: &mut Cpu) -> Result<(), Flow> {
    if u64::from(cpu.s.cpl) <= (cpu.s.rflags & IOPL) >> 12 {
        Ok(())
    } else {
        Err(gp(cpu, 0))
    }
}
fn cli(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    access!(may_change_if(cpu));
    cpu.s.rflags &= !IF;
    cpu.set_signal_mask(cpu.signal_mask() & !Signal::MESSAGE);
    Flow::Next
}
fn sti(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(may_change_if(cpu));
    if cpu.s.rflags & IF == 0 {
        cpu.s.rflags |= IF;
        cpu.s.shadow_at = cpu.icount() + u64::from(op.n);
        cpu.set_signal_mask(cpu.signal_mask() | Signal::MESSAGE);
    }
    Flow::Next
}
fn cld(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    cpu.s.rflags &= !DF;
    Flow::Next
}
fn std(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    cpu.s.rflags |= DF;
    Flow::Next
}
fn clc(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    cpu.s.cc.set_cf(false);
    Flow::Next
}
fn stc(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    cpu.s.cc.set_cf(true);
    Flow::Next
}
fn cmc(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let cf = cpu.s.cc.cf();
    cpu.s.cc.set_cf(!cf);
    Flow::Next
}
fn hlt(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    Flow::Halt
}
fn nop(_: &mut Cpu, _: &Op<X86>) -> Flow {
    Flow::Next
}
fn fence(_: &mut Cpu, _: &Op<X86>) -> Flow {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    Flow::Next
}
/// CLFLUSH and its kin: a load as far as faults go.
fn flush_line(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let at = crate::x86_64::operand::ea(cpu, op);
    let mode = cpu.mode();
    access!(cpu.host_read(at, 1, mode));
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Cli => cli,
        Mnemonic::Sti => {
            return Some(Lowered {
                last_but_one: true,
                ..pack(i, sti).into()
            });
        }
        Mnemonic::Hlt => return Some(last(pack(i, hlt))),
        Mnemonic::Cld => cld,
        Mnemonic::Std => std,
        Mnemonic::Clc => clc,
        Mnemonic::Stc => stc,
        Mnemonic::Cmc => cmc,
        Mnemonic::Mfence | Mnemonic::Sfence | Mnemonic::Lfence => fence,
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => flush_line,
        Mnemonic::Nop
        | Mnemonic::Pause
        | Mnemonic::Endbr64
        | Mnemonic::Endbr32
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Reservednop
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2 => nop,
        _ => return None,
    };
    Some(pack(i, run).into())
}
