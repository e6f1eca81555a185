//! What CPUID says.
//!
//! Family 6, model 0x36 is a core that never speculated: no kernel turns
//! workarounds on for it, and every speculation bug is known to be absent. The
//! maker is Intel because Linux believes leaf 0x15 from nobody else.

use super::msr::TSC_HZ;
use crate::x86_64::X86State;
use crate::x86_64::paging::PHYSICAL_BITS;

/// The four registers of a leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidLeaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

const FAMILY_MODEL_STEPPING: u32 = 0x0003_0661;
const MAX_BASIC: u32 = 0x16;
const MAX_EXTENDED: u32 = 0x8000_0008;

/// Leaf 1, ECX, without the instruction sets below: CMPXCHG16B, x2APIC, POPCNT,
/// TSC-deadline, hypervisor.
const FEATURES_C: u32 = 1 << 13 | 1 << 21 | 1 << 23 | 1 << 24 | 1 << 31;
/// Leaf 1, ECX: vector instruction sets that are complete: SSE3, SSSE3, SSE4.1,
/// SSE4.2.
const VECTOR_C: u32 = 1 | 1 << 9 | 1 << 19 | 1 << 20;
/// RDRAND.
const RDRAND_C: u32 = 1 << 30;
/// Leaf 1, EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, APIC, SEP, MTRR, PGE,
/// CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
const FEATURES_D: u32 = 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 9
    | 1 << 11
    | 1 << 12
    | 1 << 13
    | 1 << 15
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26;
/// Leaf 7, EBX: FSGSBASE, TSC_ADJUST, ERMS, RDSEED.
const STRUCTURED_B: u32 = 1 | 1 << 1 | 1 << 9 | 1 << 18;
/// Leaf 7, EDX: FSRM, ARCH_CAPABILITIES.
const STRUCTURED_D: u32 = 1 << 4 | 1 << 29;
/// Leaf 0x80000001, EDX: SYSCALL, NX, 1 GiB pages, RDTSCP, long mode.
const EXTENDED_D: u32 = 1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29;
/// Leaf 0x80000001, ECX: LAHF in long mode.
const EXTENDED_C: u32 = 1;

const BRAND: &[u8; 48] =
    b"Emulated x86-64 CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn word(bytes: &[u8], n: usize) -> u32 {
    bytes
        .get(n * 4..n * 4 + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// The answer to CPUID for a leaf and subleaf.
pub fn cpuid(s: &X86State, leaf: u32, sub: u32) -> CpuidLeaf {
    let regs = |eax, ebx, ecx, edx| CpuidLeaf { eax, ebx, ecx, edx };
    let id = s.apic.id;
    match leaf {
        0 => regs(
            MAX_BASIC,
            word(b"Genu", 0),
            word(b"ntel", 0),
            word(b"ineI", 0),
        ),
        1 => {
            let apic = u32::from(s.apic.base & 1 << 11 != 0) << 9;
            regs(
                FAMILY_MODEL_STEPPING,
                id << 24 | 1 << 16 | 8 << 8,
                FEATURES_C | VECTOR_C | RDRAND_C,
                FEATURES_D & !(1 << 9) | apic,
            )
        }
        2 => regs(0x01, 0, 0, 0),
        4 => {
            // One core; 32 KiB + 32 KiB L1, 512 KiB L2, 64-byte lines, 8 ways.
            let cache = |kind: u32, level: u32, sets: u32| {
                regs(kind | level << 5 | 1 << 8, 7 << 22 | 63, sets - 1, 0)
            };
            match sub {
                0 => cache(1, 1, 64),
                1 => cache(2, 1, 64),
                2 => cache(3, 2, 1024),
                _ => regs(0, 0, 0, 0),
            }
        }
        6 => regs(4, 0, 0, 0), // the APIC timer always runs
        7 if sub == 0 => regs(0, STRUCTURED_B, 0, STRUCTURED_D),
        0xb => match sub {
            0 => regs(0, 1, 0x100, id),
            1 => regs(0, 1, 0x201, id),
            _ => regs(0, 0, sub & 0xff, id),
        },
        // The crystal runs at the frequency of the counter.
        0x15 => regs(1, 1, TSC_HZ as u32, 0),
        0x16 => {
            let mhz = (TSC_HZ / 1_000_000) as u32;
            regs(mhz, mhz, 100, 0)
        }
        0x4000_0000 => regs(
            0x4000_0010,
            word(b"KVMK", 0),
            word(b"VMKV", 0),
            word(b"M\0\0\0", 0),
        ),
        // No delay for port accesses is the only paravirtual feature.
        0x4000_0001 => regs(1 << 1, 0, 0, 0),
        0x4000_0010 => {
            let khz = (TSC_HZ / 1000) as u32;
            regs(khz, khz, 0, 0)
        }
        0x8000_0000 => regs(MAX_EXTENDED, 0, 0, 0),
        0x8000_0001 => regs(0, 0, EXTENDED_C, EXTENDED_D),
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 4;
            regs(
                word(BRAND, at),
                word(BRAND, at + 1),
                word(BRAND, at + 2),
                word(BRAND, at + 3),
            )
        }
        0x8000_0006 => regs(0, 0, 512 << 16 | 6 << 12 | 64, 0),
        0x8000_0007 => regs(0, 0, 0, 1 << 8), // invariant TSC
        0x8000_0008 => regs(PHYSICAL_BITS | 48 << 8, 0, 0, 0),
        _ => regs(0, 0, 0, 0),
    }
}
