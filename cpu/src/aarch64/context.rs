//! Which address space the soft TLB holds.
//!
//! A kernel that keeps user memory out of reach switches TTBR0_EL1 and the ASID
//! away at every entry and back at every return. So translations of the user
//! mode stay when those registers change, and are dropped only when user memory
//! is next used with other values in them. Those of the privileged mode go at
//! once.

use super::build::C;
use serde::{Deserialize, Serialize};

/// An address space: table and ASID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    table: u64,
    asid: u64,
}

/// What is known about the contents of the soft TLB.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The space that the registers name.
    now: Space,
    /// The space that the user mode's translations are of.
    user: Space,
    /// 2 MiB pieces that a block entry translated, by hash, for each half.
    blocks: [[u64; 8]; 2],
    /// A 1 GiB block entry was used, for each half.
    huge: [bool; 2],
}

/// ASID of a TTBR or TLBI value, at the width that TCR_EL1.AS says.
fn asid_of(cpu: &C, value: u64) -> u64 {
    let asid = value >> 48;
    if cpu.s.sys.tcr >> 36 & 1 != 0 {
        asid
    } else {
        asid & 0xff
    }
}

/// TTBRx_EL1 or TCR_EL1 was written.
pub(super) fn changed(cpu: &mut C) {
    let a1 = cpu.s.sys.tcr >> 22 & 1 != 0;
    let now = Space {
        table: cpu.s.sys.ttbr[0] & 0x0000_ffff_ffff_fffe,
        asid: asid_of(cpu, cpu.s.sys.ttbr[usize::from(a1)]),
    };
    if now != cpu.extra.context.now {
        cpu.extra.context.now = now;
        cpu.flush_nonglobal_of(0);
    }
}

/// User memory is about to be used.
#[inline(always)]
pub(super) fn settle(cpu: &mut C) {
    if cpu.extra.context.user != cpu.extra.context.now {
        switch(cpu);
    }
}

#[cold]
#[inline(never)]
fn switch(cpu: &mut C) {
    cpu.extra.context.user = cpu.extra.context.now;
    cpu.flush_nonglobal_of(1);
}

/// Forgets all translations.
pub(super) fn flush_all(cpu: &mut C) {
    let context = &mut cpu.extra.context;
    context.blocks = [[0; 8]; 2];
    context.huge = [false; 2];
    cpu.flush_tlb();
}

/// Forgets the translations of one ASID.
pub(super) fn flush_asid(cpu: &mut C, value: u64) {
    let asid = asid_of(cpu, value);
    if cpu.extra.context.now.asid == asid {
        cpu.flush_nonglobal_of(0);
    }
    if cpu.extra.context.user.asid == asid {
        cpu.flush_nonglobal_of(1);
    }
}

fn place(va: u64) -> (usize, usize, u64) {
    let hash = (va >> 21).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55;
    (
        (va >> 63) as usize,
        (hash >> 6) as usize & 7,
        1 << (hash & 63),
    )
}

/// A block entry of `level` translated `va`.
pub(super) fn note_block(cpu: &mut C, va: u64, level: u32) {
    let (half, word, bit) = place(va);
    if level < 2 {
        cpu.extra.context.huge[half] = true;
    } else {
        cpu.extra.context.blocks[half][word] |= bit;
    }
}

/// Forgets the translation of `va`: the whole block if an entry above the page
/// level may have made it.
pub(super) fn flush_address(cpu: &mut C, va: u64) {
    let (half, word, bit) = place(va);
    let context = &cpu.extra.context;
    if context.huge[half] {
        flush_all(cpu);
    } else if context.blocks[half][word] & bit != 0 {
        let start = va & !0x1f_ffff;
        for page in 0..512 {
            cpu.flush_page(start + page * 4096);
        }
    } else {
        cpu.flush_page(va);
    }
}
