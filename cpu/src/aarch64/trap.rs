//! Exceptions of an instruction, and their syndromes (Arm ARM, ESR_EL1).

/// Exception classes (ESR_EL1.EC) that this CPU raises.
pub mod ec {
    /// Unknown reason: undefined instructions and registers.
    pub const UNKNOWN: u8 = 0x00;
    /// WFI or WFE at EL0 that SCTLR_EL1 traps.
    pub const WFX: u8 = 0x01;
    /// FP and AdvSIMD are off in CPACR_EL1.
    pub const FP_ACCESS: u8 = 0x07;
    /// Illegal execution state.
    pub const ILLEGAL_STATE: u8 = 0x0e;
    /// SVC.
    pub const SVC: u8 = 0x15;
    /// A trapped MSR, MRS or system instruction.
    pub const SYSTEM: u8 = 0x18;
    /// Instruction abort from EL0; from EL1 one more.
    pub const INSTRUCTION_ABORT: u8 = 0x20;
    /// Misaligned program counter.
    pub const PC_ALIGNMENT: u8 = 0x22;
    /// Data abort from EL0; from EL1 one more.
    pub const DATA_ABORT: u8 = 0x24;
    /// Misaligned stack pointer.
    pub const SP_ALIGNMENT: u8 = 0x26;
    /// Software step from EL0; from EL1 one more.
    pub const SOFTWARE_STEP: u8 = 0x32;
    /// BRK.
    pub const BRK: u8 = 0x3c;
}

/// An exception that waits for delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trap {
    /// ESR_EL1: EC, IL and ISS. Classes that tell EL0 from EL1 are given as
    /// from EL0; delivery adds one at EL1.
    pub esr: u32,
    /// FAR_EL1, for the aborts that set it.
    pub far: u64,
    /// The preferred return address is behind the instruction (SVC).
    pub behind: bool,
}

impl Trap {
    /// An exception of class `ec` from a 32-bit instruction.
    pub const fn new(ec: u8, iss: u32) -> Self {
        Self {
            esr: (ec as u32) << 26 | 1 << 25 | iss & 0x1ff_ffff,
            far: 0,
            behind: false,
        }
    }
    /// The undefined-instruction exception.
    pub const fn undefined() -> Self {
        Self::new(ec::UNKNOWN, 0)
    }
    /// EC of the syndrome.
    pub const fn ec(&self) -> u8 {
        (self.esr >> 26) as u8
    }
}
