//! All that a snapshot needs of one x86-64 vCPU.

use super::LapicState;
use super::flags::LazyFlags;
use serde::{Deserialize, Serialize};

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
    /// Access rights as in bits 8 to 23 of the descriptor's upper half.
    pub rights: u32,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit: bytes minus one.
    pub limit: u16,
}

/// Index of a segment register in [`X86State::seg`].
pub mod seg {
    /// ES.
    pub const ES: usize = 0;
    /// CS.
    pub const CS: usize = 1;
    /// SS.
    pub const SS: usize = 2;
    /// DS.
    pub const DS: usize = 3;
    /// FS.
    pub const FS: usize = 4;
    /// GS.
    pub const GS: usize = 5;
}

/// Guest-visible state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct X86State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Arithmetic flags.
    pub cc: LazyFlags,
    /// Flags other than CF, PF, AF, ZF, SF, OF: TF, IF, DF, IOPL, NT, AC, ID.
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub seg: [Segment; 6],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// MXCSR.
    pub mxcsr: u32,
    /// x87 registers as they are stacked physically: 80-bit values.
    pub st: [u128; 8],
    /// x87 control word.
    pub fcw: u16,
    /// x87 status word with TOP in bits 11 to 13.
    pub fsw: u16,
    /// x87 tags, one bit each: 1 is empty.
    pub ftw_empty: u8,
    /// x87 last opcode.
    pub fop: u16,
    /// x87 last instruction pointer.
    pub fip: u64,
    /// x87 last data pointer.
    pub fdp: u64,

    /// Current privilege level, 0 to 3.
    pub cpl: u8,
    /// Task register.
    pub tr: Segment,
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// DR0 to DR7 (4 and 5 unused).
    pub dr: [u64; 8],
    /// Model-specific registers.
    pub msr: Msrs,
    /// Local APIC.
    pub apic: LapicState,
    /// Instruction count at which an interrupt shadow (STI, MOV SS) holds.
    pub shadow_at: u64,
    /// A non-maskable interrupt is being handled.
    pub in_nmi: bool,
    /// State of the RDRAND generator.
    pub random: u64,
}

/// Model-specific registers that hold plain values.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Msrs {
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// IA32_TSC_ADJUST: added to the running counter.
    pub tsc_adjust: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_SYSENTER_CS, _ESP, _EIP.
    pub sysenter: [u64; 3],
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_MTRR_DEF_TYPE.
    pub mtrr_def_type: u64,
    /// Fixed-range MTRRs, in the order of their numbers.
    pub mtrr_fixed: [u64; 11],
    /// Variable-range MTRRs: base and mask of each.
    pub mtrr_var: [u64; 16],
}
