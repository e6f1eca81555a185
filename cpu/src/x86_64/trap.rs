//! Exceptions that wait for delivery.

use super::X86;
use crate::Cpu;
use crate::engine::Flow;

/// Exception vectors (Intel SDM volume 3, table 6-1).
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint.
    pub const BP: u8 = 3;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack fault.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 floating-point error.
    pub const MF: u8 = 16;
    /// SIMD floating-point exception.
    pub const XM: u8 = 19;
}

/// How an event came about, which decides on checks and the pushed RF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// The instruction was not done; it runs again after the handler.
    #[default]
    Fault,
    /// The instruction was done (single step).
    Trap,
    /// INT n, INT3: the gate's privilege level is checked.
    Software,
    /// Interrupt from outside.
    External,
}

/// An exception or interrupt that waits for delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X86Trap {
    /// Vector number.
    pub vector: u8,
    /// How it came about.
    pub cause: Cause,
    /// Bytes from the instruction to the address that is pushed.
    pub skip: u8,
    /// Error code, for the vectors that push one.
    pub error: u32,
    /// CR2 for a page fault, DR6 bits for a debug exception.
    pub info: u64,
}

impl X86Trap {
    /// An exception with error code 0, or with none.
    pub fn fault(vector: u8) -> Self {
        Self {
            vector,
            ..Self::default()
        }
    }
    /// An exception with an error code.
    pub fn with_code(vector: u8, error: u32) -> Self {
        Self {
            vector,
            error,
            ..Self::default()
        }
    }
}

/// Raises #UD.
#[cold]
#[inline(never)]
pub fn ud(cpu: &mut Cpu<X86>) -> Flow {
    cpu.raise(X86Trap::fault(vector::UD))
}
/// Raises #NM.
#[cold]
#[inline(never)]
pub fn nm(cpu: &mut Cpu<X86>) -> Flow {
    cpu.raise(X86Trap::fault(vector::NM))
}
/// Raises #DE.
#[cold]
#[inline(never)]
pub fn de(cpu: &mut Cpu<X86>) -> Flow {
    cpu.raise(X86Trap::fault(vector::DE))
}
/// Raises #GP with error code `code`.
#[cold]
#[inline(never)]
pub fn gp(cpu: &mut Cpu<X86>, code: u32) -> Flow {
    cpu.raise(X86Trap::with_code(vector::GP, code))
}
/// Raises #MF (CR0.NE is taken to be 1).
#[cold]
#[inline(never)]
pub fn mf(cpu: &mut Cpu<X86>) -> Flow {
    cpu.raise(X86Trap::fault(vector::MF))
}
/// Raises #XM.
#[cold]
#[inline(never)]
pub fn xm(cpu: &mut Cpu<X86>) -> Flow {
    cpu.raise(X86Trap::fault(vector::XM))
}
