//! Identification registers: what this CPU says it is.

use super::state::SystemRegs;

/// CTR_EL0: DIC and IDC (no cache maintenance is needed), 64-byte lines.
pub(super) const CTR: u64 = 1 << 31 | 1 << 29 | 1 << 28 | 4 << 24 | 4 << 20 | 4 << 16 | 3 << 14 | 4;
/// DCZID_EL0: DC ZVA clears 64 bytes.
pub(super) const DCZID: u64 = 4;
/// CLIDR_EL1: separate level 1 caches.
pub(super) const CLIDR: u64 = 1 << 24 | 3;
/// CCSIDR_EL1: 32 KiB, 4 ways, 64-byte lines.
pub(super) const CCSIDR: u64 = 127 << 13 | 3 << 3 | 2;

/// The registers with op0 3, op1 0 and CRn 0. Those that are not allocated
/// read as zero from CRm 1 on, and do not exist below.
pub(super) fn read(sys: &SystemRegs, crm: u32, op2: u32) -> Option<u64> {
    Some(match (crm, op2) {
        // MIDR_EL1: implementer "reserved for software use", so that no list
        // of errata or speculation bugs matches.
        (0, 0) => 0x000f_0510,
        // MPIDR_EL1 and REVIDR_EL1.
        (0, 5) => sys.mpidr,
        (0, 6) => 0,
        (0, _) => return None,
        // ID_AA64PFR0_EL1: EL0 and EL1 in AArch64 only, FP and AdvSIMD without
        // half precision, CSV2, CSV3.
        (4, 0) => 1 << 60 | 1 << 56 | 1 << 4 | 1,
        // ID_AA64DFR0_EL1: v8.0 debug, two breakpoints, two watchpoints, no PMU.
        (5, 0) => 1 << 20 | 1 << 12 | 6,
        // ID_AA64ISAR0_EL1: LSE.
        (6, 0) => 2 << 20,
        // ID_AA64MMFR0_EL1: 48-bit physical addresses, 16-bit ASIDs, 4 KiB
        // granule only.
        (7, 0) => 0xf << 24 | 2 << 4 | 5,
        // ID_AA64MMFR1_EL1: PAN.
        (7, 1) => 1 << 20,
        // ID_AA64MMFR2_EL1: E0PD.
        (7, 2) => 1 << 60,
        _ => 0,
    })
}
