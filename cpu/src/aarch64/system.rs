//! Hints, barriers, PSTATE, and exceptions that instructions ask for.

use super::build::*;
use super::ldst::nop;
use super::state::Exclusive;
use super::{Code, Trap, ec, exception, maintain, sysreg};
use crate::engine::Flow;
use crate::{Signal, VmExit};
use std::sync::atomic::{Ordering, fence};

/// The system group (bits 31 to 22 are 1101010100).
pub(super) fn decode(insn: u32, mode: u8) -> Option<Last> {
    let (l, op0) = (bit(insn, 21), bits(insn, 19, 2));
    match (l, op0) {
        (false, 0) => special(insn, mode),
        (false, 1) => maintain::decode(insn, mode).map(|op| (op, false)),
        (false, _) => sysreg::write(insn, mode),
        (true, 2 | 3) => sysreg::read(insn, mode).map(|op| (op, false)),
        _ => None,
    }
}

fn special(insn: u32, mode: u8) -> Option<Last> {
    let (op1, crn, crm, op2) = (
        bits(insn, 16, 3),
        bits(insn, 12, 4),
        bits(insn, 8, 4) as u8,
        bits(insn, 5, 3),
    );
    if reg(insn, 0) != 31 {
        return None;
    }
    match (op1, crn, op2) {
        // The hint space, all of it: PAC, BTI and the rest do nothing.
        (3, 2, 3) if crm == 0 => {
            let op = O {
                imm: Trap::new(ec::WFX, 1 << 24 | 0xe << 20).esr.into(),
                ..op(Code::Wfi, wfi)
            };
            Some((op, false))
        }
        (3, 2, _) => Some((op(Code::Nop, nop), false)),
        (3, 3, 2) => Some((op(Code::Clrex, clrex), false)),
        // DSB and DMB: loads and stores pass each other only as on the host,
        // unless the barrier orders a store before a load.
        (3, 3, 4 | 5) => {
            let full = crm & 3 == 3 || op2 == 4;
            let (code, run) = if full {
                (Code::Barrier, barrier as H)
            } else {
                (Code::Nop, nop as H)
            };
            let op = O {
                a: crm,
                ..op(code, run)
            };
            Some((op, false))
        }
        (3, 3, 6) => Some((op(Code::Isb, isb), true)),
        // PSTATE fields.
        (0, 4, 5) if mode == 0 => {
            let op = O {
                a: crm,
                ..op(Code::SpSel, sp_sel)
            };
            Some((op, false))
        }
        (0, 4, 4) if mode == 0 => {
            let op = O {
                a: crm,
                ..op(Code::Pan, pan)
            };
            Some((op, false))
        }
        (3, 4, 6 | 7) => {
            let run = if op2 == 6 {
                daif_set as H
            } else {
                daif_clear as H
            };
            let op = O {
                a: crm,
                d: op2 as u8,
                imm: sysreg::system_trap(insn).esr.into(),
                ..op(Code::Daif, run)
            };
            Some((op, false))
        }
        _ => None,
    }
}

fn wfi(cpu: &mut C, op: &O) -> Flow {
    if cpu.signal.word() & (Signal::IRQ | Signal::FIQ) != 0 {
        return Flow::Next;
    }
    if cpu.mode() == 1 && cpu.s.sys.sctlr >> 16 & 1 == 0 {
        return raise_imm(cpu, op);
    }
    Flow::Halt
}
fn clrex(cpu: &mut C, _: &O) -> Flow {
    cpu.s.exclusive = Exclusive::default();
    Flow::Next
}
fn barrier(_: &mut C, _: &O) -> Flow {
    fence(Ordering::SeqCst);
    Flow::Next
}
fn isb(cpu: &mut C, op: &O) -> Flow {
    // What follows is found anew, through the translations of now.
    cpu.set_pc(cpu.next_pc(op));
    Flow::Indirect
}
fn sp_sel(cpu: &mut C, op: &O) -> Flow {
    exception::select(&mut cpu.s, 1, op.a & 1 != 0);
    Flow::Next
}
fn pan(cpu: &mut C, op: &O) -> Flow {
    exception::set_pan(cpu, op.a & 1 != 0);
    Flow::Next
}
fn daif_set(cpu: &mut C, op: &O) -> Flow {
    if daif_denied(cpu) {
        return raise_imm(cpu, op);
    }
    cpu.s.p.daif |= op.a & 15;
    exception::update_mask(cpu);
    Flow::Next
}
fn daif_clear(cpu: &mut C, op: &O) -> Flow {
    if daif_denied(cpu) {
        return raise_imm(cpu, op);
    }
    let daif = cpu.s.p.daif & !op.a;
    sysreg::set_daif(cpu, daif)
}
/// SCTLR_EL1.UMA.
fn daif_denied(cpu: &C) -> bool {
    cpu.mode() == 1 && cpu.s.sys.sctlr >> 9 & 1 == 0
}

/// Exception generation (bits 31 to 24 are 11010100).
pub(super) fn exception(insn: u32, mode: u8) -> Option<Last> {
    let imm = bits(insn, 5, 16);
    let op = match (bits(insn, 21, 3), bits(insn, 0, 5)) {
        (0, 1) => raising(
            Code::Svc,
            Trap {
                behind: true,
                ..Trap::new(ec::SVC, imm)
            },
        ),
        (0, 2) if mode == 0 => {
            return Some((
                O {
                    imm: imm.into(),
                    ..op(Code::Hvc, hvc)
                },
                false,
            ));
        }
        (1, 0) => raising(Code::Brk, Trap::new(ec::BRK, imm)),
        // SMC without EL3, HLT without halting debug, DCPS.
        _ => return None,
    };
    Some((op, true))
}

fn hvc(cpu: &mut C, _: &O) -> Flow {
    let args = [0, 1, 2, 3].map(|n| cpu.s.r.get(n));
    match cpu.ask(|| VmExit::Hypercall { args }) {
        Ok(value) => {
            cpu.s.r.set(0, value);
            Flow::Next
        }
        Err(flow) => flow,
    }
}
