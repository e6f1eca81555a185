//! Arithmetic flags, kept so that setting them is three plain stores.
//!
//! No operation number is kept: an addition or subtraction stores its result
//! and its vector of carries, and every flag is then a shift or a compare away,
//! whatever the operation and the operand size were.

use super::X86State;
use super::operand::Width;
use serde::{Deserialize, Serialize};

/// Carry flag in RFLAGS.
pub const CF: u64 = 1;
/// Parity flag.
pub const PF: u64 = 1 << 2;
/// Auxiliary carry flag.
pub const AF: u64 = 1 << 4;
/// Zero flag.
pub const ZF: u64 = 1 << 6;
/// Sign flag.
pub const SF: u64 = 1 << 7;
/// Trap flag.
pub const TF: u64 = 1 << 8;
/// Interrupt enable flag.
pub const IF: u64 = 1 << 9;
/// Direction flag.
pub const DF: u64 = 1 << 10;
/// Overflow flag.
pub const OF: u64 = 1 << 11;
/// I/O privilege level.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume flag.
pub const RF: u64 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u64 = 1 << 17;
/// Alignment check.
pub const AC: u64 = 1 << 18;
/// Identification flag.
pub const ID: u64 = 1 << 21;
/// The six arithmetic flags.
pub const ARITH: u64 = CF | PF | AF | ZF | SF | OF;

/// What the arithmetic flags are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LazyFlags {
    /// ZF is set when this is 0.
    pub zero: u64,
    /// SF is bit 63; PF is the even parity of the low byte.
    pub sign: u64,
    /// CF is bit 63, OF is bit 63 xor bit 62, AF is bit 3: the carries out of
    /// (or borrows into) each bit position, shifted up to bit 63.
    pub carry: u64,
}

impl Default for LazyFlags {
    fn default() -> Self {
        Self {
            zero: 1,
            sign: 1,
            carry: 0,
        }
    }
}

/// A `carry` word with these CF and OF, and AF clear.
#[inline(always)]
pub fn carry_word(cf: bool, of: bool) -> u64 {
    (u64::from(cf) << 63) | (u64::from(cf ^ of) << 62)
}

impl LazyFlags {
    /// CF.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        (self.carry as i64) < 0
    }
    /// ZF.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        self.zero == 0
    }
    /// SF.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        (self.sign as i64) < 0
    }
    /// OF.
    #[inline(always)]
    pub fn of(&self) -> bool {
        ((self.carry ^ (self.carry << 1)) as i64) < 0
    }
    /// PF.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        (self.sign as u8).count_ones() & 1 == 0
    }
    /// AF.
    #[inline(always)]
    pub fn af(&self) -> bool {
        self.carry & 8 != 0
    }
    /// Condition `CC` as encoded in the low four bits of Jcc, SETcc and CMOVcc.
    #[inline(always)]
    pub fn condition<const CC: u8>(&self) -> bool {
        let base = match CC >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() | self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => ((self.sign ^ self.carry ^ (self.carry << 1)) as i64) < 0,
            _ => (((self.sign ^ self.carry ^ (self.carry << 1)) as i64) < 0) | self.zf(),
        };
        base ^ (CC & 1 != 0)
    }
    /// The flags as RFLAGS bits.
    pub fn bits(&self) -> u64 {
        u64::from(self.cf())
            | (u64::from(self.pf()) << 2)
            | (u64::from(self.af()) << 4)
            | (u64::from(self.zf()) << 6)
            | (u64::from(self.sf()) << 7)
            | (u64::from(self.of()) << 11)
    }
    /// Flags from RFLAGS bits.
    pub fn from_bits(bits: u64) -> Self {
        let af = (bits & AF) >> 1;
        Self {
            zero: u64::from(bits & ZF == 0),
            sign: ((bits & SF) << 56) | u64::from(bits & PF == 0),
            carry: carry_word(bits & CF != 0, bits & OF != 0) | af,
        }
    }
    /// ZF, PF, CF as given; OF, SF, AF clear (floating-point compares).
    #[inline(always)]
    pub fn set_zpc(&mut self, zf: bool, pf: bool, cf: bool) {
        self.zero = u64::from(!zf);
        self.sign = u64::from(!pf);
        self.carry = carry_word(cf, false);
    }
    /// ZF, SF, PF of a result; CF, OF, AF clear (logic operations).
    #[inline(always)]
    pub fn set_logic<W: Width>(&mut self, result: W) {
        let r = result.sign_extend();
        self.zero = r;
        self.sign = r;
        self.carry = 0;
    }
    /// Flags of `a + b + carry = r`.
    #[inline(always)]
    pub fn set_add<W: Width>(&mut self, a: W, b: W, r: W) {
        let (a, b, s) = (a.zero_extend(), b.zero_extend(), r.sign_extend());
        self.zero = s;
        self.sign = s;
        self.carry = W::carries((a & b) | ((a | b) & !s));
    }
    /// Flags of `a - b - borrow = r`.
    #[inline(always)]
    pub fn set_sub<W: Width>(&mut self, a: W, b: W, r: W) {
        let (a, b, s) = (a.zero_extend(), b.zero_extend(), r.sign_extend());
        self.zero = s;
        self.sign = s;
        self.carry = W::carries((!a & b) | ((!a | b) & s));
    }
    /// Puts CF back to that of `old`, keeping OF and AF (INC, DEC).
    #[inline(always)]
    pub fn keep_cf(&mut self, old: u64) {
        let differs = (self.carry ^ old) & (1 << 63);
        self.carry ^= differs ^ (differs >> 1);
    }
    /// Sets CF, keeping all others.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        self.keep_cf(u64::from(cf) << 63);
    }
    /// Sets CF and OF, keeping all others (rotates).
    #[inline(always)]
    pub fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.carry = carry_word(cf, of) | (self.carry & 8);
    }
}

impl X86State {
    /// RFLAGS as software sees it.
    pub fn rflags(&self) -> u64 {
        (self.rflags & !ARITH) | self.cc.bits() | 2
    }
    /// Sets all of RFLAGS. Does not look at what has to follow from it.
    pub fn set_rflags(&mut self, bits: u64) {
        self.cc = LazyFlags::from_bits(bits);
        self.rflags = bits & (TF | IF | DF | IOPL | NT | RF | AC | ID);
    }
}
