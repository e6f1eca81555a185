//! How to compute, and what happened.

/// Exception flags of an operation: the low six bits are those of MXCSR.
pub mod flags {
    /// Invalid operation.
    pub const INVALID: u16 = 0x01;
    /// A denormal operand was used as it is.
    pub const DENORMAL: u16 = 0x02;
    /// Division of a finite number by zero.
    pub const DIV_BY_ZERO: u16 = 0x04;
    /// The result is too large for the format.
    pub const OVERFLOW: u16 = 0x08;
    /// The result is tiny and inexact, or was flushed to zero.
    pub const UNDERFLOW: u16 = 0x10;
    /// The result is rounded.
    pub const INEXACT: u16 = 0x20;
    /// The result is tiny, exact or not (what an unmasked underflow traps on).
    pub const TINY: u16 = 0x40;
    /// A denormal operand was taken as zero (AArch64's IDC).
    pub const FLUSHED_IN: u16 = 0x80;
    /// The last inexact result was rounded away from zero (x87's C1).
    pub const ROUNDED_UP: u16 = 0x100;
    /// The last inexact result was rounded towards zero.
    pub const ROUNDED_DOWN: u16 = 0x200;
    /// The six flags of MXCSR and the x87 status word.
    pub const X86: u16 = 0x3f;
}

/// Rounding modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards plus infinity.
    Up,
    /// Towards minus infinity.
    Down,
    /// Towards zero.
    Zero,
    /// To nearest, ties away from zero.
    NearestAway,
    /// Towards zero, then an inexact result gets an odd significand.
    Odd,
}

/// Which NaN an operation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanRule {
    /// AArch64: the first signaling NaN, else the first quiet one (the addend
    /// of a fused multiply-add counts as first); default NaN is positive.
    Arm,
    /// AArch64 with FPCR.DN: always the default NaN.
    ArmDefault,
    /// SSE: the first operand that is a NaN; default NaN is negative.
    Sse,
    /// x87: quiet before signaling, then the larger significand, then the
    /// positive one; default NaN is negative.
    X87,
}

/// How to compute, and the flags collected so far.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Rounding mode.
    pub rounding: Rounding,
    /// NaN selection.
    pub nan: NanRule,
    /// Tininess is found before rounding (AArch64) or after (x86).
    pub tiny_before_rounding: bool,
    /// Denormal operands count as zeros.
    pub flush_in: bool,
    /// Tiny results become zeros.
    pub flush_out: bool,
    /// Significant bits of [`super::X80`] results of arithmetic: 24, 53 or 64.
    /// Conversions ignore it.
    pub precision: u8,
    /// Bits of [`flags`], collected.
    pub flags: u16,
}

impl Env {
    /// AArch64's rules for an FPCR value.
    pub fn arm(fpcr: u32) -> Self {
        let flush = fpcr & 1 << 24 != 0;
        Self {
            rounding: match fpcr >> 22 & 3 {
                0 => Rounding::Nearest,
                1 => Rounding::Up,
                2 => Rounding::Down,
                _ => Rounding::Zero,
            },
            nan: if fpcr & 1 << 25 != 0 {
                NanRule::ArmDefault
            } else {
                NanRule::Arm
            },
            tiny_before_rounding: true,
            flush_in: flush,
            flush_out: flush,
            precision: 64,
            flags: 0,
        }
    }
    /// SSE's rules at reset (round to nearest, nothing flushed).
    pub fn x86_sse() -> Self {
        Self {
            rounding: Rounding::Nearest,
            nan: NanRule::Sse,
            tiny_before_rounding: false,
            flush_in: false,
            flush_out: false,
            precision: 64,
            flags: 0,
        }
    }
    /// SSE's rules for an MXCSR value; the flags start clear.
    pub fn mxcsr(mxcsr: u32) -> Self {
        Self {
            rounding: x86_rounding(mxcsr >> 13),
            flush_in: mxcsr & 0x40 != 0,
            // Flushing needs underflow to be masked.
            flush_out: mxcsr & 0x8800 == 0x8800,
            ..Self::x86_sse()
        }
    }
    /// x87's rules at reset.
    pub fn x87() -> Self {
        Self {
            nan: NanRule::X87,
            ..Self::x86_sse()
        }
    }
    /// x87's rules for a control word; the flags start clear.
    pub fn x87_control(control: u16) -> Self {
        Self {
            rounding: x86_rounding(u32::from(control) >> 10),
            precision: match control >> 8 & 3 {
                0 => 24,
                2 => 53,
                _ => 64,
            },
            ..Self::x87()
        }
    }
    /// Raises flags.
    #[inline(always)]
    pub fn raise(&mut self, flags: u16) {
        self.flags |= flags;
    }
}

fn x86_rounding(field: u32) -> Rounding {
    match field & 3 {
        0 => Rounding::Nearest,
        1 => Rounding::Down,
        2 => Rounding::Up,
        _ => Rounding::Zero,
    }
}
