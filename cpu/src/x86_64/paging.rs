//! Four-level page tables (Intel SDM volume 3, chapter 4).

use super::X86;
use super::int::canonical;
use super::stack_fault;
use super::sys::{cr0, cr4, efer};
use super::trap::{X86Trap, vector};
use crate::Cpu;
use crate::engine::{Access, Flow, Page};

/// Physical address width.
pub const PHYSICAL_BITS: u32 = 46;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
/// The physical address bits of an entry.
const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
/// Address bits over the physical address width.
const TOO_HIGH: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_BITS) - 1);

/// Page-fault error code bits.
mod code {
    pub const PROTECTION: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
}

#[cold]
#[inline(never)]
fn fault(cpu: &mut Cpu<X86>, va: u64, access: Access, mode: u8, why: u32) -> Flow {
    let mut error = why;
    match access {
        Access::Write => error |= code::WRITE,
        Access::Fetch if cpu.s.msr.efer & efer::NXE != 0 => error |= code::FETCH,
        _ => {}
    }
    if mode == 1 {
        error |= code::USER;
    }
    cpu.raise(X86Trap {
        vector: vector::PF,
        error,
        info: va,
        ..X86Trap::default()
    })
}

/// Translates `va`; see [`crate::Isa::walk`].
pub(super) fn walk(cpu: &mut Cpu<X86>, va: u64, access: Access, mode: u8) -> Result<Page, Flow> {
    if !canonical(va) {
        return Err(stack_fault::raise(cpu, va, access));
    }
    let nx_reserved = cpu.s.msr.efer & efer::NXE == 0;
    let mut table = cpu.s.cr3 & ADDRESS;
    let mut entries = [(0u64, 0u64); 4];
    let mut used = 0;
    let mut rights = WRITABLE | USER;
    let mut nx = 0;
    let mut page = 0;
    let mut leaf = 0;
    for (n, slot) in entries.iter_mut().enumerate() {
        let shift = 39 - 9 * n as u32;
        let at = table + ((va >> shift) & 0x1ff) * 8;
        let entry = cpu.phys.read::<u64>(at).unwrap_or(0);
        if entry & PRESENT == 0 {
            return Err(fault(cpu, va, access, mode, 0));
        }
        let large = entry & LARGE != 0 && n > 0 && n < 3;
        let mut reserved = TOO_HIGH;
        if nx_reserved {
            reserved |= NO_EXECUTE;
        }
        if n == 0 {
            reserved |= LARGE;
        }
        if large {
            // Bit 12 is a PAT bit there.
            reserved |= ((1 << shift) - 1) & !0x1fff;
        }
        if entry & reserved != 0 {
            let why = code::PROTECTION | code::RESERVED;
            return Err(fault(cpu, va, access, mode, why));
        }
        *slot = (at, entry);
        used = n + 1;
        rights &= entry;
        nx |= entry & NO_EXECUTE;
        if large || n == 3 {
            let inside = (1u64 << shift) - 1;
            page = entry & ADDRESS & !inside | va & inside & !0xfff;
            leaf = entry;
            break;
        }
        table = entry & ADDRESS;
    }
    let user = mode == 1;
    let writable = rights & WRITABLE != 0 || !user && cpu.s.cr0 & cr0::WP == 0;
    let allowed = (!user || rights & USER != 0)
        && match access {
            Access::Read => true,
            Access::Write => writable,
            Access::Fetch => nx == 0,
        };
    if !allowed {
        return Err(fault(cpu, va, access, mode, code::PROTECTION));
    }
    for (n, &(at, entry)) in entries[..used].iter().enumerate() {
        let mut new = entry | ACCESSED;
        if n + 1 == used {
            if access == Access::Write {
                new |= DIRTY;
            }
            leaf = new;
        }
        if new != entry {
            cpu.phys.write(at, new);
        }
    }
    Ok(Page {
        pa: page,
        read: true,
        write: writable && leaf & DIRTY != 0,
        exec: nx == 0,
        global: leaf & GLOBAL != 0 && cpu.s.cr4 & cr4::PGE != 0,
        slow: false,
    })
}
