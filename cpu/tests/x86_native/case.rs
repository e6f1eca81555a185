//! What an instruction starts from and what it leaves behind.

/// Where the code lies, natively and in the guest.
pub const CODE: u64 = 0x40_0000;
/// Bytes of the code area: code starts in its middle, the rest is `int3`.
pub const CODE_LEN: u64 = 0x1000;
/// Start of the code within the area.
pub const ENTRY: u64 = CODE + 0x400;
/// The page of scratch memory; the pages around it are not mapped.
pub const SCRATCH: u64 = 0x50_0000;
/// Bytes at the end of the scratch page that a case sets and compares.
pub const WINDOW: usize = 1024;
/// Address of the window.
pub const WINDOW_VA: u64 = SCRATCH + 0x1000 - WINDOW as u64;

/// Registers and memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Machine {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub xmm: [u128; 16],
    pub mxcsr: u32,
    pub fcw: u16,
    pub fsw: u16,
    /// One bit for each physical x87 register: 1 is in use.
    pub ftw: u8,
    /// ST0 to ST7.
    pub st: [u128; 8],
    pub mem: [u8; WINDOW],
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Outcome {
    /// Exception vector; 3 is the `int3` behind the code.
    pub vector: u64,
    /// Error code of the exception, where there is one.
    pub error: u64,
    /// Faulting address of a page fault.
    pub cr2: u64,
}

/// One instruction with the state to run it from.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Case {
    pub code: [u8; 16],
    pub len: u8,
    /// Which instruction of the batch this is.
    pub which: u32,
    pub input: Machine,
}

/// What came out.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Answer {
    pub machine: Machine,
    pub outcome: Outcome,
}
