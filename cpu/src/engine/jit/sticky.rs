//! The host's sticky floating-point flags. Compiled code lets them collect what
//! the guest's own arithmetic raises: on an x86-64 host an instruction raises in
//! MXCSR what SSE and IEEE 754 say, whichever instruction set it stands for.
//!
//! From the first op that raises some until compiled code is left, the host's flags
//! are among those that the guest has raised. [`crate::Isa::begin_floats`] clears them
//! where they say more than the state. [`crate::Isa::end_floats`] adds them to the
//! state when compiled code is left, and before handlers that look at them or
//! compute: elsewhere the state is right, and what other code raises in the host is
//! none of the guest's. Code without such ops costs nothing: reading them waits
//! for all arithmetic on its way.

// Reads and writes MXCSR.
#![allow(unsafe_code)]

/// Whether there are such flags.
pub const NATIVE: bool = cfg!(target_arch = "x86_64");

/// What MXCSR has at reset, and in all of this program, but for the flags.
#[cfg(target_arch = "x86_64")]
static MXCSR: u32 = 0x1f80;

/// The flags raised, as in [`crate::softfloat::flags::X86`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn raised() -> u16 {
    let mut mxcsr = 0u32;
    // SAFETY: stores four bytes to a local.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack));
    }
    mxcsr as u16 & crate::softfloat::flags::X86
}
/// The flags raised, as in [`crate::softfloat::flags::X86`].
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn raised() -> u16 {
    0
}

/// Clears them all.
#[cold]
pub fn clear() {
    // SAFETY: the control bits that every Rust program has; the flags may change.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const MXCSR, options(nostack, readonly));
    }
}
