//! MRS and MSR of system registers.

use super::build::*;
use super::regs::{dest, source};
use super::{Code, Trap, context, ec, exception, idregs, mmu, timer};
use crate::Signal;
use crate::engine::Flow;

/// A register's number: op0, op1, CRn, CRm, op2 as in bits 20 to 5.
const fn key(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// Syndrome of a trapped system instruction.
pub(super) fn system_trap(insn: u32) -> Trap {
    Trap::new(
        ec::SYSTEM,
        bits(insn, 19, 2) << 20
            | bits(insn, 5, 3) << 17
            | bits(insn, 16, 3) << 14
            | bits(insn, 12, 4) << 10
            | bits(insn, 0, 5) << 5
            | bits(insn, 8, 4) << 1
            | bits(insn, 21, 1),
    )
}

/// The instruction with `imm` holding the syndrome for a trap, `disp` the
/// register, `a` the general register.
fn access(insn: u32, code: Code, run: H) -> O {
    let rt = reg(insn, 0);
    O {
        a: if code == Code::Mrs {
            dest(rt)
        } else {
            source(rt)
        },
        imm: system_trap(insn).esr.into(),
        disp: bits(insn, 5, 16) as i32,
        ..op(code, run)
    }
}

/// Reads or writes of plain fields.
macro_rules! get {
    ($($field:tt)+) => {
        (|cpu: &mut C, op: &O| {
            let value = cpu.s.$($field)+ as u64;
            set::<true>(cpu, op.a, value)
        }) as H
    };
}
macro_rules! put {
    ($($field:tt)+) => {
        (|cpu: &mut C, op: &O| {
            cpu.s.$($field)+ = cpu.s.r.get(op.a);
            Flow::Next
        }) as H
    };
}

/// Registers that are words of the state and nothing else: reads of all of
/// them, writes of those that say true.
macro_rules! plain {
    ($(($op1:literal, $crn:literal, $crm:literal, $op2:literal) $field:ident $([$n:literal])? = $write:literal;)*) => {
        fn plain_read(id: u32) -> Option<H> {
            $(if id == key(3, $op1, $crn, $crm, $op2) {
                return Some(get!(sys.$field $([$n])?));
            })*
            None
        }
        fn plain_write(id: u32) -> Option<H> {
            $(if $write && id == key(3, $op1, $crn, $crm, $op2) {
                return Some(put!(sys.$field $([$n])?));
            })*
            None
        }
        /// Byte offset in the state of what an MRS or MSR accesses, where that is
        /// all that it does.
        #[cfg(feature = "jit")]
        pub(super) fn plain_offset(op: &O) -> Option<usize> {
            use super::{Aarch64State, SystemRegs};
            use std::mem::offset_of;
            let id = op.disp as u32;
            let writes = op.code == Code::Msr as u16;
            $(if id == key(3, $op1, $crn, $crm, $op2) {
                let at = offset_of!(Aarch64State, sys) + offset_of!(SystemRegs, $field);
                return ($write || !writes).then_some(at $(+ 8 * $n)?);
            })*
            None
        }
    };
}
plain! {
    (0, 1, 0, 0) sctlr = false;
    (0, 1, 0, 2) cpacr = false;
    (0, 2, 0, 0) ttbr[0] = false;
    (0, 2, 0, 1) ttbr[1] = false;
    (0, 2, 0, 2) tcr = false;
    (0, 4, 0, 0) spsr = true;
    (0, 4, 0, 1) elr = true;
    (0, 5, 2, 0) esr = false;
    (0, 6, 0, 0) far = true;
    (0, 7, 4, 0) par = true;
    (0, 10, 2, 0) mair = false;
    (0, 12, 0, 0) vbar = true;
    (0, 13, 0, 1) contextidr = true;
    (0, 13, 0, 4) tpidr[2] = true;
    (0, 14, 1, 0) cntkctl = true;
    (2, 0, 0, 0) csselr = true;
    (3, 13, 0, 2) tpidr[0] = true;
    (3, 13, 0, 3) tpidr[1] = true;
}

fn zero(cpu: &mut C, op: &O) -> Flow {
    set::<true>(cpu, op.a, 0)
}
fn ignore(_: &mut C, _: &O) -> Flow {
    Flow::Next
}
fn constant(cpu: &mut C, op: &O) -> Flow {
    // `imm` is the value here: nothing traps.
    set::<true>(cpu, op.a, op.imm)
}

/// MRS; `None` for a register that does not exist or is out of reach.
pub(super) fn read(insn: u32, mode: u8) -> Option<O> {
    let id = bits(insn, 5, 16);
    let run: H = match id {
        // Within reach of EL0, some of them by permission.
        _ if id == key(3, 3, 4, 2, 0) => nzcv,
        _ if id == key(3, 3, 4, 2, 1) => daif,
        _ if id == key(3, 0, 4, 2, 3) && mode == 0 => pan,
        _ if id == key(3, 3, 4, 4, 0) => get!(fpcr),
        _ if id == key(3, 3, 4, 4, 1) => get!(fpsr),
        _ if id == key(3, 3, 13, 0, 2) || id == key(3, 3, 13, 0, 3) => plain_read(id)?,
        _ if id == key(3, 3, 0, 0, 1) => cache_type,
        _ if id == key(3, 3, 0, 0, 7) => zero_type,
        _ if id == key(3, 3, 14, 0, 0) => frequency,
        _ if id == key(3, 3, 14, 0, 1) => counter::<0>,
        _ if id == key(3, 3, 14, 0, 2) => counter::<1>,
        _ if id == key(3, 3, 14, 2, 0) => timer_read::<1, 0>,
        _ if id == key(3, 3, 14, 2, 1) => timer_read::<1, 1>,
        _ if id == key(3, 3, 14, 2, 2) => timer_read::<1, 2>,
        _ if id == key(3, 3, 14, 3, 0) => timer_read::<0, 0>,
        _ if id == key(3, 3, 14, 3, 1) => timer_read::<0, 1>,
        _ if id == key(3, 3, 14, 3, 2) => timer_read::<0, 2>,
        _ if mode != 0 => return None,
        _ => read_el1(insn, id)?,
    };
    let mut op = access(insn, Code::Mrs, run);
    if let Some(value) = fixed(id) {
        op.imm = value;
    }
    Some(op)
}

/// Registers that hold a constant.
fn fixed(id: u32) -> Option<u64> {
    match id {
        _ if id == key(3, 1, 0, 0, 0) => Some(idregs::CCSIDR),
        _ if id == key(3, 1, 0, 0, 1) => Some(idregs::CLIDR),
        // OSLSR_EL1 apart, debug registers that only say "nothing there".
        _ => None,
    }
}

fn read_el1(insn: u32, id: u32) -> Option<H> {
    let (op1, crn, crm, op2) = (
        bits(insn, 16, 3),
        bits(insn, 12, 4),
        bits(insn, 8, 4),
        bits(insn, 5, 3),
    );
    if bits(insn, 19, 2) == 2 {
        return debug_read(op1, crn, crm, op2);
    }
    if op1 == 0 && crn == 0 {
        idregs::read(&Default::default(), crm, op2)?;
        return Some(identification as H);
    }
    Some(match id {
        _ if id == key(3, 1, 0, 0, 0) || id == key(3, 1, 0, 0, 1) => constant,
        _ if id == key(3, 1, 0, 0, 7) => zero,
        _ if id == key(3, 0, 1, 0, 1) => zero,
        _ if id == key(3, 0, 4, 1, 0) => sp_el0_read,
        _ if id == key(3, 0, 4, 2, 0) => get!(p.sp_sel),
        _ if id == key(3, 0, 4, 2, 2) => current_el,
        // AFSR0_EL1, AFSR1_EL1.
        _ if id == key(3, 0, 5, 1, 0) || id == key(3, 0, 5, 1, 1) => zero,
        // AMAIR_EL1.
        _ if id == key(3, 0, 10, 3, 0) => zero,
        // RVBAR_EL1.
        _ if id == key(3, 0, 12, 0, 1) => zero,
        _ if id == key(3, 0, 12, 1, 0) => pending,
        _ => plain_read(id)?,
    })
}

/// MSR; the flag says that it always ends its block.
pub(super) fn write(insn: u32, mode: u8) -> Option<Last> {
    let id = bits(insn, 5, 16);
    let (run, last): (H, bool) = match id {
        _ if id == key(3, 3, 4, 2, 0) => (nzcv_write, false),
        _ if id == key(3, 3, 4, 2, 1) => (daif_write, false),
        _ if id == key(3, 0, 4, 2, 3) && mode == 0 => (pan_write, false),
        _ if id == key(3, 3, 4, 4, 0) => (fpcr_write, false),
        _ if id == key(3, 3, 4, 4, 1) => (fpsr_write, false),
        _ if id == key(3, 3, 13, 0, 2) => (plain_write(id)?, false),
        _ if id == key(3, 3, 14, 2, 0) => (timer_write::<1, 0>, true),
        _ if id == key(3, 3, 14, 2, 1) => (timer_write::<1, 1>, true),
        _ if id == key(3, 3, 14, 2, 2) => (timer_write::<1, 2>, true),
        _ if id == key(3, 3, 14, 3, 0) => (timer_write::<0, 0>, true),
        _ if id == key(3, 3, 14, 3, 1) => (timer_write::<0, 1>, true),
        _ if id == key(3, 3, 14, 3, 2) => (timer_write::<0, 2>, true),
        _ if mode != 0 => return None,
        _ => write_el1(insn, id)?,
    };
    Some((access(insn, Code::Msr, run), last))
}

fn write_el1(insn: u32, id: u32) -> Option<(H, bool)> {
    if bits(insn, 19, 2) == 2 {
        let run = debug_write(
            bits(insn, 16, 3),
            bits(insn, 12, 4),
            bits(insn, 8, 4),
            bits(insn, 5, 3),
        )?;
        return Some((run, false));
    }
    Some(match id {
        _ if id == key(3, 0, 1, 0, 0) => (sctlr_write, true),
        _ if id == key(3, 0, 1, 0, 1) => (ignore, false),
        _ if id == key(3, 0, 1, 0, 2) => (cpacr_write, true),
        _ if id == key(3, 0, 2, 0, 0) => (ttbr_write::<0>, false),
        _ if id == key(3, 0, 2, 0, 1) => (ttbr_write::<1>, false),
        _ if id == key(3, 0, 2, 0, 2) => (tcr_write, true),
        _ if id == key(3, 0, 4, 1, 0) => (sp_el0_write, false),
        _ if id == key(3, 0, 4, 2, 0) => (sp_sel_write, false),
        _ if id == key(3, 0, 5, 1, 0) || id == key(3, 0, 5, 1, 1) => (ignore, false),
        _ if id == key(3, 0, 5, 2, 0) => (esr_write, false),
        _ if id == key(3, 0, 10, 2, 0) => (mair_write, true),
        _ if id == key(3, 0, 10, 3, 0) => (ignore, false),
        _ => (plain_write(id)?, false),
    })
}

/// Whether an op accesses SP_EL0.
#[cfg(feature = "jit")]
pub(super) fn is_sp_el0(op: &O) -> bool {
    op.disp as u32 == key(3, 0, 4, 1, 0)
}

/// Whether an op accesses DAIF.
#[cfg(feature = "jit")]
pub(super) fn is_daif(op: &O) -> bool {
    op.disp as u32 == key(3, 3, 4, 2, 1)
}

/// The debug registers (op0 is 2): stored where software saves and restores
/// them, otherwise fixed. Breakpoints and watchpoints do not fire.
fn debug_read(op1: u32, crn: u32, crm: u32, op2: u32) -> Option<H> {
    Some(match (op1, crn, crm, op2) {
        (0, 0, 2, 2) => get!(sys.mdscr),
        // MDCCINT_EL1, OSDTRRX_EL1, OSDTRTX_EL1, OSECCR_EL1.
        (0, 0, 2, 0) | (0, 0, 0, 2) | (0, 0, 3, 2) | (0, 0, 6, 2) => zero,
        (0, 0, 0..=1, 4..=7) => debug_pair,
        // MDRAR_EL1, OSDLR_EL1, DBGPRCR_EL1, DBGCLAIMCLR, DBGAUTHSTATUS.
        (0, 1, 0, 0) | (0, 1, 3, 4) | (0, 1, 4, 4) | (0, 7, 9, 6) | (0, 7, 14, 6) => zero,
        // DBGCLAIMSET_EL1.
        (0, 7, 8, 6) => (|cpu: &mut C, op: &O| set::<true>(cpu, op.a, 0xff)) as H,
        (0, 1, 1, 4) => {
            (|cpu: &mut C, op: &O| {
                let value = 1 << 3 | u64::from(cpu.s.sys.os_lock) << 1;
                set::<true>(cpu, op.a, value)
            }) as H
        }
        // MDCCSR_EL0.
        (3, 0, 1, 0) => zero,
        _ => return None,
    })
}
fn debug_write(op1: u32, crn: u32, crm: u32, op2: u32) -> Option<H> {
    Some(match (op1, crn, crm, op2) {
        (0, 0, 2, 2) => {
            (|cpu: &mut C, op: &O| {
                cpu.s.sys.mdscr = cpu.s.r.get(op.a);
                Flow::Resync
            }) as H
        }
        (0, 0, 2, 0) | (0, 0, 0, 2) | (0, 0, 3, 2) | (0, 0, 6, 2) => ignore,
        (0, 0, 0..=1, 4..=7) => debug_pair_write,
        (0, 1, 3, 4) | (0, 1, 4, 4) | (0, 7, 8, 6) | (0, 7, 9, 6) => ignore,
        (0, 1, 0, 4) => {
            (|cpu: &mut C, op: &O| {
                cpu.s.sys.os_lock = cpu.s.r.get(op.a) & 1 != 0;
                Flow::Next
            }) as H
        }
        _ => return None,
    })
}
/// DBGBVR, DBGBCR, DBGWVR, DBGWCR: op2 4 to 7, number in CRm.
fn debug_slot(op: &O) -> usize {
    ((op.disp as usize >> 3 & 1) << 2) | (op.disp as usize & 3)
}
fn debug_pair(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.sys.debug[debug_slot(op)];
    set::<true>(cpu, op.a, value)
}
fn debug_pair_write(cpu: &mut C, op: &O) -> Flow {
    cpu.s.sys.debug[debug_slot(op)] = cpu.s.r.get(op.a);
    Flow::Next
}

fn nzcv(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.nzcv().into();
    set::<true>(cpu, op.a, value)
}
fn nzcv_write(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    cpu.s.set_nzcv(value as u32);
    Flow::Next
}
fn pan(cpu: &mut C, op: &O) -> Flow {
    let value = u64::from(cpu.s.p.pan) << exception::PAN;
    set::<true>(cpu, op.a, value)
}
fn pan_write(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    exception::set_pan(cpu, value >> exception::PAN & 1 != 0);
    Flow::Next
}
fn fpcr_write(cpu: &mut C, op: &O) -> Flow {
    // AHP, DN, FZ and the rounding mode; traps and half precision are not there.
    cpu.s.fpcr = cpu.s.r.get(op.a) as u32 & 0x07c0_0000;
    Flow::Next
}
fn fpsr_write(cpu: &mut C, op: &O) -> Flow {
    // QC and the cumulative exception bits.
    cpu.s.fpsr = cpu.s.r.get(op.a) as u32 & 0x0800_009f;
    Flow::Next
}

/// Traps an EL0 access that EL1 has not allowed.
#[inline(always)]
fn allow(cpu: &mut C, op: &O, allowed: bool) -> Result<(), Flow> {
    if cpu.mode() == 0 || allowed {
        return Ok(());
    }
    Err(cpu.raise(Trap {
        esr: op.imm as u32,
        ..Trap::default()
    }))
}
macro_rules! allow {
    ($cpu:ident, $op:ident, $allowed:expr) => {
        let allowed = $allowed;
        if let Err(flow) = allow($cpu, $op, allowed) {
            return flow;
        }
    };
}

fn daif(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.sctlr >> 9 & 1 != 0);
    let value = u64::from(cpu.s.p.daif) << 6;
    set::<true>(cpu, op.a, value)
}
fn daif_write(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.sctlr >> 9 & 1 != 0);
    let value = (cpu.s.r.get(op.a) >> 6 & 15) as u8;
    set_daif(cpu, value)
}
/// Sets the mask bits; a pending interrupt that is no longer masked is taken
/// at once.
pub(super) fn set_daif(cpu: &mut C, daif: u8) -> Flow {
    cpu.s.p.daif = daif;
    exception::update_mask(cpu);
    let pending = cpu.signal.word() & cpu.signal_mask() & (Signal::IRQ | Signal::FIQ);
    if pending != 0 {
        Flow::Resync
    } else {
        Flow::Next
    }
}
fn current_el(cpu: &mut C, op: &O) -> Flow {
    let value = u64::from(cpu.s.p.el) << 2;
    set::<true>(cpu, op.a, value)
}
fn pending(cpu: &mut C, op: &O) -> Flow {
    let word = cpu.signal.word();
    let value = u64::from(word & Signal::IRQ != 0) << 7 | u64::from(word & Signal::FIQ != 0) << 6;
    set::<true>(cpu, op.a, value)
}
fn cache_type(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.sctlr >> 15 & 1 != 0);
    set::<true>(cpu, op.a, idregs::CTR)
}
fn zero_type(cpu: &mut C, op: &O) -> Flow {
    let off = cpu.mode() == 1 && cpu.s.sys.sctlr >> 14 & 1 == 0;
    set::<true>(cpu, op.a, idregs::DCZID | u64::from(off) << 4)
}
fn identification(cpu: &mut C, op: &O) -> Flow {
    let id = op.disp as u32;
    let value = idregs::read(&cpu.s.sys, id >> 3 & 15, id & 7).unwrap_or(0);
    set::<true>(cpu, op.a, value)
}

fn sp_el0_read(cpu: &mut C, op: &O) -> Flow {
    if !cpu.s.p.sp_sel {
        return cpu.raise(Trap::undefined());
    }
    let value = cpu.s.sp_bank[0];
    set::<true>(cpu, op.a, value)
}
fn sp_el0_write(cpu: &mut C, op: &O) -> Flow {
    if !cpu.s.p.sp_sel {
        return cpu.raise(Trap::undefined());
    }
    cpu.s.sp_bank[0] = cpu.s.r.get(op.a);
    Flow::Next
}
fn sp_sel_write(cpu: &mut C, op: &O) -> Flow {
    let sp_sel = cpu.s.r.get(op.a) & 1 != 0;
    exception::select(&mut cpu.s, 1, sp_sel);
    Flow::Next
}
fn esr_write(cpu: &mut C, op: &O) -> Flow {
    cpu.s.sys.esr = cpu.s.r.get(op.a) & 0xffff_ffff;
    Flow::Next
}

fn sctlr_write(cpu: &mut C, op: &O) -> Flow {
    // Big-endian data (EE, E0E) is not there.
    let value = cpu.s.r.get(op.a) & !(1 << 25 | 1 << 24);
    let changed = cpu.s.sys.sctlr ^ value;
    cpu.s.sys.sctlr = value;
    if changed & (mmu::SCTLR_M | mmu::SCTLR_A | mmu::SCTLR_WXN) != 0 {
        context::flush_all(cpu);
    }
    Flow::Resync
}
fn cpacr_write(cpu: &mut C, op: &O) -> Flow {
    // FPEN alone. Decoded floating point knows whether it is allowed.
    let value = cpu.s.r.get(op.a) & 3 << 20;
    if cpu.s.sys.cpacr != value {
        cpu.s.sys.cpacr = value;
        cpu.flush_blocks();
    }
    Flow::Resync
}
fn ttbr_write<const N: usize>(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    let changed = cpu.s.sys.ttbr[N] ^ value;
    cpu.s.sys.ttbr[N] = value;
    if changed == 0 {
        return Flow::Next;
    }
    if N == 1 && changed & 0x0000_ffff_ffff_fffe != 0 {
        // Nothing of the upper half is expected to be non-global, but it may be.
        cpu.flush_nonglobal();
    }
    context::changed(cpu);
    if (cpu.block_va() as i64) < 0 {
        // The running code is not what changed.
        Flow::Next
    } else {
        Flow::Resync
    }
}
fn tcr_write(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    if cpu.s.sys.tcr != value {
        cpu.s.sys.tcr = value;
        context::changed(cpu);
        context::flush_all(cpu);
    }
    Flow::Resync
}
fn mair_write(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    if cpu.s.sys.mair != value {
        cpu.s.sys.mair = value;
        if cpu.extra.strict_alignment {
            context::flush_all(cpu);
        }
    }
    Flow::Resync
}

// CNTKCTL_EL1: EL0PCTEN, EL0VCTEN, EL0VTEN, EL0PTEN.
fn frequency(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.cntkctl & 3 != 0);
    set::<true>(cpu, op.a, timer::FREQUENCY)
}
fn counter<const VIRTUAL: u32>(cpu: &mut C, op: &O) -> Flow {
    // CNTPCT is N 0, CNTVCT N 1, as their enable bits are.
    allow!(cpu, op, cpu.s.sys.cntkctl >> VIRTUAL & 1 != 0);
    let value = timer::count(cpu.now_at(op));
    set::<true>(cpu, op.a, value)
}
/// `W` is the timer (0 virtual, 1 physical), `R` the register: TVAL, CTL, CVAL.
fn timer_read<const W: usize, const R: u8>(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.cntkctl >> (8 + W) & 1 != 0);
    let now = cpu.now_at(op);
    let timer = cpu.s.sys.timer[W];
    let value = match R {
        0 => timer.cval.wrapping_sub(timer::count(now)) & 0xffff_ffff,
        1 => timer::control(cpu, W, now),
        _ => timer.cval,
    };
    set::<true>(cpu, op.a, value)
}
fn timer_write<const W: usize, const R: u8>(cpu: &mut C, op: &O) -> Flow {
    allow!(cpu, op, cpu.s.sys.cntkctl >> (8 + W) & 1 != 0);
    let value = cpu.s.r.get(op.a);
    let now = timer::count(cpu.now_at(op));
    let timer = &mut cpu.s.sys.timer[W];
    match R {
        0 => timer.cval = now.wrapping_add(value as i32 as u64),
        1 => timer.ctl = value & 3,
        _ => timer.cval = value,
    }
    Flow::Resync
}
