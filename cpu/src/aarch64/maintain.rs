//! Cache, TLB and address translation instructions (SYS).

// DC ZVA writes guest RAM through a host pointer.
#![allow(unsafe_code)]

use super::build::*;
use super::ldst::nop;
use super::regs::source;
use super::sysreg::system_trap;
use super::{Code, Trap, context, mmu};
use crate::access;
use crate::engine::{Access, Flow};

/// Bytes that DC ZVA clears.
pub(super) const ZVA: u64 = 64;

pub(super) fn decode(insn: u32, mode: u8) -> Option<O> {
    let (op1, crn, crm, op2) = (
        bits(insn, 16, 3),
        bits(insn, 12, 4),
        bits(insn, 8, 4),
        bits(insn, 5, 3),
    );
    let (code, run): (Code, H) = match (op1, crn, crm, op2) {
        (3, 7, 4, 1) => (Code::DcZva, zva),
        // IC IVAU, DC CVAC, CVAU, CIVAC.
        (3, 7, 5, 1) => (Code::Cache, instruction_line),
        (3, 7, 10 | 11 | 14, 1) => (Code::Cache, line),
        _ if mode != 0 => return None,
        // IC IALLUIS and IALLU: code writes are found when they happen.
        (0, 7, 1 | 5, 0) => (Code::Cache, nop),
        // DC IVAC; ISW, CSW, CISW.
        (0, 7, 6, 1) => (Code::Cache, invalidate),
        (0, 7, 6 | 10 | 14, 2) => (Code::Cache, nop),
        (0, 7, 8, 0) => (Code::At, at::<false, 0>),
        (0, 7, 8, 1) => (Code::At, at::<true, 0>),
        (0, 7, 8, 2) => (Code::At, at::<false, 1>),
        (0, 7, 8, 3) => (Code::At, at::<true, 1>),
        (0, 8, 3 | 7, 0) => (Code::Tlbi, all),
        (0, 8, 3 | 7, 2) => (Code::Tlbi, asid),
        (0, 8, 3 | 7, 1 | 3 | 5 | 7) => (Code::Tlbi, address),
        _ => return None,
    };
    Some(O {
        a: source(reg(insn, 0)),
        imm: system_trap(insn).esr.into(),
        disp: bits(insn, 5, 16) as i32,
        ..op(code, run)
    })
}

fn trapped(cpu: &mut C, op: &O) -> Flow {
    cpu.raise(Trap {
        esr: op.imm as u32,
        ..Trap::default()
    })
}

/// SCTLR_EL1.UCI lets EL0 clean caches, DZE lets it use DC ZVA.
fn denied(cpu: &C, bit: u32) -> bool {
    cpu.mode() == 1 && cpu.s.sys.sctlr >> bit & 1 == 0
}

fn zva(cpu: &mut C, op: &O) -> Flow {
    if denied(cpu, 14) {
        return trapped(cpu, op);
    }
    let va = cpu.s.r.get(op.a) & !(ZVA - 1);
    let mode = cpu.mode();
    if let Some(at) = access!(cpu.host_write(va, ZVA, mode)) {
        // SAFETY: `host_write` says that these bytes are guest RAM.
        unsafe { std::ptr::write_bytes(at, 0, ZVA as usize) };
        return Flow::Next;
    }
    // Not plain memory: a device faults, memory under strict rules does not.
    let is_ram = match cpu.physical(va, Access::Write, mode) {
        Ok(pa) => cpu.phys.read::<u64>(pa).is_some(),
        Err(flow) => return flow,
    };
    if !is_ram {
        return mmu::alignment_fault(cpu, va, true);
    }
    for i in 0..ZVA / 8 {
        access!(cpu.store::<u64>(va + i * 8, 0));
    }
    Flow::Next
}

/// Checks that a line may be touched: maintenance faults as a read does, but
/// tells it as a write.
fn touch(cpu: &mut C, op: &O, access: Access) -> Flow {
    let va = cpu.s.r.get(op.a);
    let mode = cpu.mode();
    let found = match access {
        _ if mode == 0 && cpu.s.p.pan => mmu::physical_past_pan(cpu, va, access, mode).map(|_| ()),
        Access::Write => cpu.probe_write(va, 1, mode),
        _ => cpu.host_read(va, 1, mode).map(|_| ()),
    };
    match found {
        Ok(()) => Flow::Next,
        Err(flow) => {
            cpu.trap.esr |= mmu::CM | mmu::WNR;
            flow
        }
    }
}
fn line(cpu: &mut C, op: &O) -> Flow {
    if denied(cpu, 26) {
        return trapped(cpu, op);
    }
    touch(cpu, op, Access::Read)
}
fn invalidate(cpu: &mut C, op: &O) -> Flow {
    touch(cpu, op, Access::Write)
}
fn instruction_line(cpu: &mut C, op: &O) -> Flow {
    if denied(cpu, 26) {
        return trapped(cpu, op);
    }
    touch(cpu, op, Access::Read)
}

fn at<const WRITE: bool, const MODE: u8>(cpu: &mut C, op: &O) -> Flow {
    let va = cpu.s.r.get(op.a);
    let access = if WRITE { Access::Write } else { Access::Read };
    cpu.s.sys.par = mmu::translate_to_par(cpu, va, access, MODE);
    Flow::Next
}

fn all(cpu: &mut C, _: &O) -> Flow {
    context::flush_all(cpu);
    Flow::Next
}
fn asid(cpu: &mut C, op: &O) -> Flow {
    let value = cpu.s.r.get(op.a);
    context::flush_asid(cpu, value);
    Flow::Next
}
fn address(cpu: &mut C, op: &O) -> Flow {
    // Bits 43 to 0 hold address bits 55 to 12.
    let va = (cpu.s.r.get(op.a) << 20) as i64 >> 8;
    context::flush_address(cpu, va as u64);
    Flow::Next
}
