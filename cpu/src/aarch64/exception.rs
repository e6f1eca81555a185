//! Taking exceptions and returning from them (Arm ARM D1.3).

use super::build::*;
use super::state::Exclusive;
use super::{Aarch64State, Trap, context, ec, mmu};
use crate::Signal;
use crate::engine::Flow;

/// Vector offsets of the kinds of exceptions.
pub(super) const SYNCHRONOUS: u64 = 0;
pub(super) const IRQ: u64 = 0x80;
pub(super) const FIQ: u64 = 0x100;

/// Bit of PSTATE.PAN in SPSR_EL1 and in the register PAN.
pub(super) const PAN: u32 = 22;

/// Sets PSTATE.PAN. What EL1 could reach before it must miss the soft TLB after.
pub(super) fn set_pan(cpu: &mut C, on: bool) {
    if on && !cpu.s.p.pan {
        cpu.flush_nonglobal_of(0);
    }
    cpu.s.p.pan = on;
}

/// PSTATE as SPSR_EL1 holds it.
pub(super) fn spsr(s: &Aarch64State) -> u64 {
    let mode = match (s.p.el, s.p.sp_sel) {
        (0, _) => 0,
        (_, false) => 4,
        (_, true) => 5,
    };
    u64::from(s.nzcv())
        | u64::from(s.p.pan) << PAN
        | u64::from(s.p.ss_il & 3) << 20
        | u64::from(s.p.daif & 15) << 6
        | mode
}

/// Changes level and stack pointer.
pub(super) fn select(s: &mut Aarch64State, el: u8, sp_sel: bool) {
    let bank = |el: u8, sp_sel: bool| usize::from(el == 1 && sp_sel);
    s.sp_bank[bank(s.p.el, s.p.sp_sel)] = s.sp();
    s.p.el = el;
    s.p.sp_sel = sp_sel;
    s.set_sp(s.sp_bank[bank(el, sp_sel)]);
}

/// Sets the signals that end a run of blocks, after the mask bits changed.
#[inline(always)]
pub(super) fn update_mask(cpu: &mut C) {
    let daif = cpu.s.p.daif;
    let mut mask = Signal::ATTENTION;
    if daif & 2 == 0 {
        mask |= Signal::IRQ;
    }
    if daif & 1 == 0 {
        mask |= Signal::FIQ;
    }
    cpu.set_signal_mask(mask);
}

/// Takes an exception to EL1; `back` is the preferred return address.
pub(super) fn enter(cpu: &mut C, kind: u64, back: u64) {
    let s = &mut cpu.s;
    s.sys.spsr = spsr(s);
    s.sys.elr = back;
    let from = match (s.p.el, s.p.sp_sel) {
        (0, _) => 0x400,
        (_, true) => 0x200,
        (_, false) => 0,
    };
    select(s, 1, true);
    s.p.daif = 15;
    s.p.ss_il = 0;
    s.pc = (s.sys.vbar & !0x7ff) + from + kind;
    if s.sys.sctlr & mmu::SCTLR_SPAN == 0 {
        set_pan(cpu, true);
    }
    cpu.set_mode(0);
    update_mask(cpu);
}

/// Delivers [`crate::Cpu::trap`].
pub(super) fn deliver(cpu: &mut C) {
    let trap = cpu.trap;
    let mut esr = trap.esr;
    let class = trap.ec();
    let level_in_class = matches!(
        class,
        ec::INSTRUCTION_ABORT | ec::DATA_ABORT | ec::SOFTWARE_STEP
    );
    if level_in_class && cpu.s.p.el == 1 {
        esr += 1 << 26;
    }
    let mut back = cpu.s.pc;
    match class {
        ec::INSTRUCTION_ABORT | ec::DATA_ABORT | ec::PC_ALIGNMENT => cpu.s.sys.far = trap.far,
        // Raised by the exception return that led here.
        ec::ILLEGAL_STATE => back = trap.far,
        _ => {}
    }
    if trap.behind {
        back = back.wrapping_add(4);
    }
    cpu.s.sys.esr = esr.into();
    enter(cpu, SYNCHRONOUS, back);
}

/// Takes an interrupt if one is pending and not masked.
pub(super) fn interrupts(cpu: &mut C) {
    let word = cpu.signal.word();
    let daif = cpu.s.p.daif;
    let pc = cpu.s.pc;
    if word & Signal::FIQ != 0 && daif & 1 == 0 {
        enter(cpu, FIQ, pc);
    } else if word & Signal::IRQ != 0 && daif & 2 == 0 {
        enter(cpu, IRQ, pc);
    }
}

/// ERET.
pub(super) fn eret(cpu: &mut C, _: &O) -> Flow {
    let s = &mut cpu.s;
    let spsr = s.sys.spsr;
    s.exclusive = Exclusive::default();
    s.set_nzcv(spsr as u32);
    s.p.daif = (spsr >> 6 & 15) as u8;
    set_pan(cpu, spsr >> PAN & 1 != 0);
    let s = &mut cpu.s;
    let target = s.sys.elr;
    let (el, sp_sel) = match spsr & 0x1f {
        0 => (0, false),
        4 => (1, false),
        5 => (1, true),
        _ => {
            // An illegal return stays here, and the next instruction faults.
            s.p.ss_il = 1;
            return cpu.raise(Trap {
                far: target,
                ..Trap::new(ec::ILLEGAL_STATE, 0)
            });
        }
    };
    select(s, el, sp_sel);
    s.p.ss_il = (spsr >> 20 & 1) as u8;
    let target = mmu::untag(s, target);
    s.pc = target;
    if s.p.ss_il != 0 {
        return cpu.raise(Trap {
            far: target,
            ..Trap::new(ec::ILLEGAL_STATE, 0)
        });
    }
    cpu.set_mode(1 - el);
    update_mask(cpu);
    if el == 0 {
        context::settle(cpu);
        return super::step::begin(cpu, spsr);
    }
    Flow::Indirect
}
