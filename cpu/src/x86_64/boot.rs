//! The state in which a 64-bit kernel is entered.

use super::state::{Segment, TableRegister, X86State, seg};
use super::sys::{cr0, cr4, efer};

/// IA32_PAT after reset.
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// IA32_MISC_ENABLE: fast strings.
const FAST_STRINGS: u64 = 1;

/// Where the machine has put what the CPU needs at entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boot64 {
    /// First instruction (`startup_64`).
    pub rip: u64,
    /// RSI: physical address of the boot parameters.
    pub rsi: u64,
    /// Physical address of page tables that map what the kernel needs.
    pub cr3: u64,
    /// Physical address of a GDT; the boot protocol asks for a flat 64-bit code
    /// segment at selector 0x10 and a flat data segment at 0x18.
    pub gdt: u64,
    /// Limit of the GDT in bytes, minus one.
    pub gdt_limit: u16,
    /// Seed of RDRAND and RDSEED.
    pub seed: u64,
}

/// The GDT entries that [`boot_state_64`] expects at selectors 0 to 0x18.
pub const BOOT_GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// The state for a direct entry into a 64-bit kernel: long mode, paging on,
/// interrupts off, flat segments (Linux x86 boot protocol, 64-bit).
pub fn boot_state_64(boot: &Boot64) -> X86State {
    let code = Segment {
        selector: 0x10,
        base: 0,
        limit: u32::MAX,
        rights: 0xa09b,
    };
    let data = Segment {
        selector: 0x18,
        base: 0,
        limit: u32::MAX,
        rights: 0xc093,
    };
    let mut s = X86State {
        rip: boot.rip,
        mxcsr: 0x1f80,
        fcw: 0x37f,
        ftw_empty: 0xff,
        cr0: cr0::PE | cr0::MP | cr0::ET | 1 << 5 | cr0::WP | cr0::PG,
        cr3: boot.cr3,
        cr4: cr4::PAE,
        seg: [data; 6],
        gdtr: TableRegister {
            base: boot.gdt,
            limit: boot.gdt_limit,
        },
        random: boot.seed,
        ..X86State::default()
    };
    s.seg[seg::CS] = code;
    s.gpr[6] = boot.rsi;
    s.dr[6] = 0xffff_0ff0;
    s.dr[7] = 0x400;
    s.tr.rights = 0x8b;
    s.tr.limit = 0xffff;
    s.ldtr.rights = 0x82;
    s.msr.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    s.msr.pat = PAT_RESET;
    s.msr.misc_enable = FAST_STRINGS;
    // Fixed and variable MTRRs off, the default is write-back.
    s.msr.mtrr_def_type = 1 << 11 | 6;
    s
}
