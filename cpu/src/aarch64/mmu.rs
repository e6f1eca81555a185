//! Translation: 4 KiB granule, two stage-1 tables of up to 48 bits (Arm ARM D8).

use super::build::C;
use super::{Aarch64State, Trap, context, ec};
use crate::engine::{Access, Flow, Page};

/// SCTLR_EL1.M: translation is on.
pub(super) const SCTLR_M: u64 = 1;
/// SCTLR_EL1.A: all accesses are checked for alignment.
pub(super) const SCTLR_A: u64 = 1 << 1;
/// SCTLR_EL1.SPAN: exceptions leave PSTATE.PAN alone.
pub(super) const SCTLR_SPAN: u64 = 1 << 23;
/// SCTLR_EL1.WXN: writable memory is never executable.
pub(super) const SCTLR_WXN: u64 = 1 << 19;

/// Physical address bits (ID_AA64MMFR0_EL1.PARange).
const PA_BITS: u32 = 48;

/// Fault status codes: the level goes into the low two bits.
mod status {
    pub const ADDRESS_SIZE: u32 = 0b00_0000;
    pub const TRANSLATION: u32 = 0b00_0100;
    pub const ACCESS_FLAG: u32 = 0b00_1000;
    pub const PERMISSION: u32 = 0b00_1100;
    pub const WALK_ABORT: u32 = 0b01_0100;
    pub const ALIGNMENT: u32 = 0b10_0001;
}

/// Write not read, in the syndrome of a data abort.
pub(super) const WNR: u32 = 1 << 6;
/// The fault is from cache maintenance or address translation.
pub(super) const CM: u32 = 1 << 8;

/// The address without its tag (TCR_EL1.TBI0, TBI1).
#[inline]
pub(super) fn untag(s: &Aarch64State, va: u64) -> u64 {
    const TAG: u64 = 0xff << 56;
    if va >> 55 & 1 == 0 {
        if s.sys.tcr >> 37 & 1 != 0 {
            va & !TAG
        } else {
            va
        }
    } else if s.sys.tcr >> 38 & 1 != 0 {
        va | TAG
    } else {
        va
    }
}

fn fault(cpu: &mut C, va: u64, access: Access, code: u32) -> Flow {
    let (class, wnr) = match access {
        Access::Fetch => (ec::INSTRUCTION_ABORT, 0),
        Access::Read => (ec::DATA_ABORT, 0),
        Access::Write => (ec::DATA_ABORT, WNR),
    };
    cpu.raise(Trap {
        far: va,
        ..Trap::new(class, code | wnr)
    })
}

/// An access to `va` that is not aligned but has to be.
#[cold]
pub(super) fn alignment_fault(cpu: &mut C, va: u64, write: bool) -> Flow {
    let access = if write { Access::Write } else { Access::Read };
    fault(cpu, va, access, status::ALIGNMENT)
}

/// Alignment rules of memory that is marked slow.
pub(super) fn check_slow(cpu: &mut C, va: u64, size: u64, access: Access) -> Result<(), Flow> {
    // An access of 16 bytes here is a pair of registers.
    if va & (size.min(8) - 1) != 0 {
        return Err(fault(cpu, va, access, status::ALIGNMENT));
    }
    Ok(())
}

/// Runs a read-modify-write access. A fault counts as a write only where a
/// read would have been allowed.
#[inline(always)]
pub(super) fn atomic<T>(
    cpu: &mut C,
    va: u64,
    access: impl FnOnce(&mut C) -> Result<T, Flow>,
) -> Result<T, Flow> {
    match access(cpu) {
        Err(Flow::Trap) => Err(atomic_fault(cpu, va)),
        other => other,
    }
}

#[cold]
fn atomic_fault(cpu: &mut C, va: u64) -> Flow {
    let write = cpu.trap;
    let mode = cpu.mode();
    if write.esr & 0x3f == status::ALIGNMENT || cpu.physical(va, Access::Read, mode).is_ok() {
        cpu.trap = write;
    }
    Flow::Trap
}

fn flat(cpu: &mut C, va: u64, access: Access) -> Result<Page, Flow> {
    if va >> PA_BITS != 0 {
        return Err(fault(cpu, va, access, status::ADDRESS_SIZE));
    }
    Ok(Page {
        pa: va & !0xfff,
        read: true,
        write: true,
        exec: true,
        global: true,
        slow: cpu.extra.strict_alignment || cpu.s.sys.sctlr & SCTLR_A != 0,
    })
}

pub(super) fn walk(cpu: &mut C, va: u64, access: Access, mode: u8) -> Result<Page, Flow> {
    let sys = &cpu.s.sys;
    if sys.sctlr & SCTLR_M == 0 {
        return flat(cpu, va, access);
    }
    let high = va >> 55 & 1 != 0;
    // TCR_EL1: TxSZ, EPDx, E0PDx.
    let half = if high { sys.tcr >> 16 } else { sys.tcr };
    let unused = (half as u32 & 63).clamp(16, 39);
    let width = 64 - unused;
    let off = half >> 7 & 1 != 0;
    let top = if high { !va } else { va };
    let barred = mode != 0 && sys.tcr >> (55 + u32::from(high)) & 1 != 0;
    if off || barred || top >> width != 0 {
        return Err(fault(cpu, va, access, status::TRANSLATION));
    }
    let out_bits = match sys.tcr >> 32 & 7 {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => PA_BITS,
    };
    let ttbr = sys.ttbr[usize::from(high)];
    let (sctlr, mair, pan) = (sys.sctlr, sys.mair, cpu.s.p.pan);
    let mut level = 4 - (width - 12).div_ceil(9);
    // Table attributes of the levels above: APTable, UXNTable, PXNTable.
    let (mut no_user, mut no_write, mut uxn, mut pxn) = (false, false, false, false);
    let entries = 12 + 9 * (3 - level);
    let top_bits = width - entries;
    let mut table = ttbr & 0x0000_ffff_ffff_fffe & !((8 << top_bits) - 1);
    if table >> out_bits != 0 {
        return Err(fault(cpu, va, access, status::ADDRESS_SIZE));
    }
    let mut index = (va & (u64::MAX >> unused)) >> entries;
    loop {
        let Some(entry) = cpu.phys.read::<u64>(table + index * 8) else {
            return Err(fault(cpu, va, access, status::WALK_ABORT | level));
        };
        let is_table = level < 3 && entry & 3 == 3;
        let is_leaf = if level == 3 {
            entry & 3 == 3
        } else {
            entry & 3 == 1 && level > 0
        };
        let address = entry & 0x0000_ffff_ffff_f000;
        if (is_table || is_leaf) && address >> out_bits != 0 {
            return Err(fault(cpu, va, access, status::ADDRESS_SIZE | level));
        }
        if is_table {
            no_user |= entry >> 61 & 1 != 0;
            no_write |= entry >> 62 & 1 != 0;
            uxn |= entry >> 60 & 1 != 0;
            pxn |= entry >> 59 & 1 != 0;
            table = address;
            level += 1;
            index = va >> (12 + 9 * (3 - level)) & 0x1ff;
            continue;
        }
        if !is_leaf {
            return Err(fault(cpu, va, access, status::TRANSLATION | level));
        }
        if entry >> 10 & 1 == 0 {
            return Err(fault(cpu, va, access, status::ACCESS_FLAG | level));
        }
        let user = entry >> 6 & 1 != 0 && !no_user;
        let write = entry >> 7 & 1 == 0 && !no_write;
        uxn |= entry >> 54 & 1 != 0;
        pxn |= entry >> 53 & 1 != 0;
        let wxn = sctlr & SCTLR_WXN != 0;
        let (read, write, exec) = if mode == 0 {
            let barred = user && pan;
            let exec = !(pxn || write && (user || wxn));
            (!barred, write && !barred, exec)
        } else {
            let write = write && user;
            (user, write, !(uxn || write && wxn))
        };
        let allowed = match access {
            Access::Read => read,
            Access::Write => write,
            Access::Fetch => exec,
        };
        if !allowed {
            return Err(fault(cpu, va, access, status::PERMISSION | level));
        }
        if level < 3 {
            context::note_block(cpu, va, level);
        }
        let attributes = mair >> (8 * (entry >> 2 & 7)) & 0xff;
        let device = attributes & 0xf0 == 0;
        let size = 1u64 << (12 + 9 * (3 - level));
        return Ok(Page {
            pa: (address & !(size - 1)) | (va & (size - 1) & !0xfff),
            read,
            write,
            exec,
            // PSTATE.PAN has to find what it bars.
            global: entry >> 11 & 1 == 0 && !(mode == 0 && user),
            slow: sctlr & SCTLR_A != 0 || (device && cpu.extra.strict_alignment),
        });
    }
}

/// PAR_EL1 for an address translation instruction.
pub(super) fn translate_to_par(cpu: &mut C, va: u64, access: Access, mode: u8) -> u64 {
    let saved = cpu.trap;
    let par = match physical_past_pan(cpu, va, access, mode) {
        // Normal write-back, inner shareable.
        Ok(pa) => pa & 0x0000_ffff_ffff_f000 | 0xff << 56 | 1 << 9 | 3 << 7,
        Err(_) => u64::from(cpu.trap.esr & 0x3f) << 1 | 1,
    };
    cpu.trap = saved;
    par | 1 << 11
}

/// The physical address of `va` for an instruction that PSTATE.PAN does not
/// hold for.
pub(super) fn physical_past_pan(
    cpu: &mut C,
    va: u64,
    access: Access,
    mode: u8,
) -> Result<u64, Flow> {
    let pan = std::mem::replace(&mut cpu.s.p.pan, false);
    let found = cpu.physical(va, access, mode);
    cpu.s.p.pan = pan;
    found
}
