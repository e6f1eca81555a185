//! Delivery of exceptions and interrupts through the IDT (Intel SDM volume 3,
//! chapter 6), and what block heads look at.

use super::flags::{IF, NT, RF, TF, VM};
use super::int::canonical;
use super::lapic;
use super::state::{Segment, seg};
use super::sys::{read_descriptor, set_cpl, update_mask};
use super::trap::{Cause, X86Trap, gp, vector};
use super::{X86, dump};
use crate::engine::Flow;
use crate::{Cpu, Signal, VmExit};
use bus::SimTime;

/// Offset of RSP0 in a 64-bit TSS.
const TSS_RSP0: u64 = 4;
/// Offset of IST1 in a 64-bit TSS.
const TSS_IST1: u64 = 0x24;
/// DR6: single step.
const DR6_BS: u64 = 1 << 14;

/// Whether an exception is of the contributory class (SDM table 6-5).
fn contributory(v: u8) -> bool {
    matches!(
        v,
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP
    )
}
fn has_error_code(v: u8) -> bool {
    matches!(v, vector::DF | 10..=14 | 17 | 21)
}

/// Delivers an event whose return address is the pc (plus `skip`). Returns an
/// exit after a triple fault.
pub(super) fn deliver(cpu: &mut Cpu<X86>, trap: X86Trap) -> Option<VmExit> {
    cpu.extra.step_from = None;
    let mut t = trap;
    loop {
        match enter(cpu, &t) {
            Ok(()) => {
                update_mask(cpu);
                return None;
            }
            Err(Flow::Trap) => {
                let second = cpu.trap;
                let fault = t.cause == Cause::Fault;
                let first = t.vector;
                if fault && first == vector::DF {
                    return Some(reset(cpu, &trap, &second));
                }
                let double = fault
                    && (contributory(first) && contributory(second.vector)
                        || first == vector::PF
                            && (contributory(second.vector) || second.vector == vector::PF));
                t = if double {
                    X86Trap::with_code(vector::DF, 0)
                } else {
                    second
                };
            }
            // A stack or a table in a device: no machine does that.
            Err(_) => {
                cpu.exit = None;
                return Some(reset(cpu, &trap, &t));
            }
        }
    }
}

#[cold]
fn reset(cpu: &Cpu<X86>, first: &X86Trap, last: &X86Trap) -> VmExit {
    tracing::warn!(
        "triple fault: vector {} (error {:#x}, info {:#x}), then vector {} (error {:#x}, info {:#x})\n{}",
        first.vector,
        first.error,
        first.info,
        last.vector,
        last.error,
        last.info,
        dump::registers(&cpu.s),
    );
    VmExit::Reset
}

/// Goes through the gate of an event.
fn enter(cpu: &mut Cpu<X86>, t: &X86Trap) -> Result<(), Flow> {
    if t.vector == vector::PF && t.cause == Cause::Fault {
        cpu.s.cr2 = t.info;
    }
    if t.vector == vector::DB && t.cause != Cause::Software {
        cpu.s.dr[6] |= t.info;
    }
    let external = u32::from(t.cause != Cause::Software);
    let idt_code = u32::from(t.vector) * 8 + 2 + external;
    let at = u64::from(t.vector) * 16;
    if at + 15 > u64::from(cpu.s.idtr.limit) {
        return Err(gp(cpu, idt_code));
    }
    let at = cpu.s.idtr.base.wrapping_add(at);
    let low = cpu.load_as::<u64>(at, 0)?;
    let high = cpu.load_as::<u64>(at.wrapping_add(8), 0)?;
    let kind = low >> 40 & 0x1f;
    let dpl = (low >> 45) as u8 & 3;
    if kind != 0xe && kind != 0xf || t.cause == Cause::Software && dpl < cpu.s.cpl {
        return Err(gp(cpu, idt_code));
    }
    if low >> 47 & 1 == 0 {
        return Err(cpu.raise(X86Trap::with_code(vector::NP, idt_code)));
    }
    let target = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32;
    let selector = (low >> 16) as u16;
    let code = u32::from(selector & !3) + external;
    if selector & !3 == 0 {
        return Err(gp(cpu, external));
    }
    let Some(d) = read_descriptor(cpu, selector)? else {
        return Err(gp(cpu, code));
    };
    if !d.is_long_code() || d.dpl() > cpu.s.cpl {
        return Err(gp(cpu, code));
    }
    if !d.present() {
        return Err(cpu.raise(X86Trap::with_code(vector::NP, code)));
    }
    if !canonical(target) {
        return Err(gp(cpu, external));
    }
    let cpl = if d.conforming() { cpu.s.cpl } else { d.dpl() };
    let ist = low >> 32 & 7;
    let stack = if ist != 0 {
        tss_stack(cpu, TSS_IST1 + (ist - 1) * 8)?
    } else if cpl < cpu.s.cpl {
        tss_stack(cpu, TSS_RSP0 + u64::from(cpl) * 8)?
    } else {
        cpu.s.gpr[4]
    };
    let mut rflags = cpu.s.rflags();
    if t.cause == Cause::Fault && t.vector != vector::DB {
        rflags |= RF;
    }
    let mut sp = stack & !15;
    let rip = cpu.s.rip.wrapping_add(u64::from(t.skip));
    let words = [
        u64::from(cpu.s.seg[seg::SS].selector),
        cpu.s.gpr[4],
        rflags,
        u64::from(cpu.s.seg[seg::CS].selector),
        rip,
        u64::from(t.error),
    ];
    let with_code = has_error_code(t.vector) && t.cause == Cause::Fault;
    let count = if with_code { 6 } else { 5 };
    let mode = u8::from(cpl == 3);
    if !canonical(sp.wrapping_sub(48)) {
        return Err(cpu.raise(X86Trap::with_code(vector::SS, external)));
    }
    for word in &words[..count] {
        sp = sp.wrapping_sub(8);
        cpu.store_as(sp, *word, mode)?;
    }
    if cpl < cpu.s.cpl {
        cpu.s.seg[seg::SS] = Segment {
            selector: cpl.into(),
            ..Segment::default()
        };
    }
    cpu.s.gpr[4] = sp;
    cpu.s.seg[seg::CS] = d.segment(selector & !3 | u16::from(cpl));
    let mut clear = TF | NT | RF | VM;
    if kind == 0xe {
        clear |= IF;
    }
    cpu.s.rflags &= !clear;
    set_cpl(cpu, cpl);
    cpu.set_pc(target);
    Ok(())
}

fn tss_stack(cpu: &mut Cpu<X86>, offset: u64) -> Result<u64, Flow> {
    if offset + 7 > u64::from(cpu.s.tr.limit) {
        let code = u32::from(cpu.s.tr.selector & !3);
        return Err(cpu.raise(X86Trap::with_code(vector::TS, code)));
    }
    cpu.load_as::<u64>(cpu.s.tr.base.wrapping_add(offset), 0)
}

/// The APIC's state changed: makes a pending interrupt show in the signal word.
pub(super) fn reconsider(cpu: &mut Cpu<X86>) {
    if cpu.s.apic.pending().is_some() || cpu.s.apic.ended.highest().is_some() {
        cpu.signal.raise(Signal::MESSAGE);
    }
    if cpu.s.apic.nmi {
        cpu.signal.raise(Signal::FIQ);
    }
}

/// Makes the next block head call [`poll`] whatever IF says.
pub(super) fn look_soon(cpu: &mut Cpu<X86>) {
    cpu.set_signal_mask(cpu.signal_mask() | Signal::MESSAGE);
    cpu.signal.raise(Signal::MESSAGE);
}

/// See [`crate::Isa::poll`].
pub(super) fn poll(cpu: &mut Cpu<X86>, now: SimTime) -> Option<VmExit> {
    // A restored state comes without the engine's mode.
    set_cpl(cpu, cpu.s.cpl);
    let word = cpu.signal.word();
    if word & (Signal::MESSAGE | Signal::FIQ) != 0 {
        cpu.signal.take(Signal::MESSAGE | Signal::FIQ);
        lapic::accept(cpu);
    }
    lapic::expire(&mut cpu.s.apic, now);
    if let Some(v) = cpu.s.apic.ended.highest() {
        cpu.s.apic.ended.remove(v);
        // The rest is looked at when the machine comes back.
        look_soon(cpu);
        return Some(VmExit::Eoi(v));
    }
    let icount = cpu.icount();
    if cpu.extra.step_from.is_some_and(|from| icount > from) {
        let exit = deliver(
            cpu,
            X86Trap {
                vector: vector::DB,
                cause: Cause::Trap,
                info: DR6_BS,
                ..X86Trap::default()
            },
        );
        if exit.is_some() {
            return exit;
        }
    }
    let shadow = cpu.s.shadow_at == icount && icount != 0;
    if !shadow {
        cpu.s.shadow_at = 0;
        let event = if cpu.s.apic.nmi && !cpu.s.in_nmi {
            cpu.s.apic.nmi = false;
            cpu.s.in_nmi = true;
            Some((vector::NMI, Cause::External))
        } else if cpu.s.rflags & IF != 0
            && let Some(v) = cpu.s.apic.pending()
        {
            cpu.s.apic.acknowledge(v);
            Some((v, Cause::External))
        } else {
            None
        };
        if let Some((vector, cause)) = event {
            let exit = deliver(
                cpu,
                X86Trap {
                    vector,
                    cause,
                    ..X86Trap::default()
                },
            );
            if exit.is_some() {
                return exit;
            }
        }
    }
    let stepping = cpu.s.rflags & TF != 0;
    cpu.extra.step_from = stepping.then_some(icount);
    cpu.step = stepping || shadow;
    update_mask(cpu);
    reconsider(cpu);
    if shadow {
        // The run loop comes back after one instruction without being asked.
        cpu.set_signal_mask(Signal::ATTENTION);
    } else if cpu.s.in_nmi {
        cpu.set_signal_mask(cpu.signal_mask() & !Signal::FIQ);
    }
    None
}

/// See [`crate::Isa::wakes`].
pub(super) fn wakes(cpu: &Cpu<X86>) -> bool {
    let word = cpu.signal.word();
    if word & Signal::FIQ != 0 || cpu.s.apic.nmi {
        return true;
    }
    if cpu.s.apic.ended.highest().is_some() {
        return true;
    }
    cpu.s.rflags & IF != 0
        && (cpu.s.apic.pending().is_some()
            || !cpu.extra.inbox.is_empty()
            || cpu.s.apic.fires <= cpu.now())
}
