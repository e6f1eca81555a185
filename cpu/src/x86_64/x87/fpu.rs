//! The register stack, the status word and exceptions.
//! Intel SDM volume 1, chapter 8.

use crate::Cpu;
use crate::engine::Flow;
use crate::softfloat::{Env, Ext, flags};
use crate::x86_64::{X86, X86State, trap};

/// Status word: invalid operation.
pub const IE: u16 = 1;
/// Status word: denormal operand.
pub const DE: u16 = 2;
/// Status word: stack fault.
pub const SF: u16 = 0x40;
/// Status word: an unmasked exception waits (ES), and busy, which follows it.
pub const SUMMARY: u16 = 0x8080;
/// Status word: condition codes.
pub const C0: u16 = 0x100;
/// Status word: rounded up, or stack overflow.
pub const C1: u16 = 0x200;
/// Status word: condition code.
pub const C2: u16 = 0x400;
/// Status word: condition code.
pub const C3: u16 = 0x4000;
/// The six exception flags.
pub const FLAGS: u16 = 0x3f;

/// The quiet NaN of a masked invalid operation.
pub const INDEFINITE: Ext = Ext {
    sig: 0xc000_0000_0000_0000,
    sign_exp: 0xffff,
};

impl X86State {
    /// Number of the physical register that is ST(i).
    #[inline(always)]
    pub(super) fn physical(&self, i: u8) -> usize {
        usize::from(((self.fsw >> 11) as u8 + i) & 7)
    }
    /// ST(i), or `None` where it is empty.
    #[inline(always)]
    pub(super) fn get(&self, i: u8) -> Option<Ext> {
        let at = self.physical(i);
        (self.ftw_empty >> at & 1 == 0).then(|| Ext::from_u128(self.st[at & 7]))
    }
    /// ST(i), whatever its tag says.
    #[inline(always)]
    pub(super) fn raw(&self, i: u8) -> Ext {
        Ext::from_u128(self.st[self.physical(i) & 7])
    }
    /// Sets ST(i).
    #[inline(always)]
    pub(super) fn set(&mut self, i: u8, value: Ext) {
        let at = self.physical(i) & 7;
        self.st[at] = value.to_u128();
        self.ftw_empty &= !(1 << at);
    }
    /// Moves TOP.
    #[inline(always)]
    pub(super) fn rotate(&mut self, by: u16) {
        self.fsw = self.fsw & !0x3800 | self.fsw.wrapping_add(by << 11) & 0x3800;
    }
    /// Marks ST(i) empty.
    #[inline(always)]
    pub(super) fn free(&mut self, i: u8) {
        self.ftw_empty |= 1 << self.physical(i);
    }
    /// Frees ST(0) and moves on.
    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }
    /// Whether nothing can be pushed.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.ftw_empty >> self.physical(7) & 1 == 0
    }
    /// Pushes; the caller has checked that there is room.
    #[inline(always)]
    pub(super) fn push_value(&mut self, value: Ext) {
        self.rotate(7);
        self.set(0, value);
    }
    /// Pushes a value that was loaded with `raised`.
    pub(super) fn push(&mut self, value: Ext, raised: u16) {
        if self.is_full() {
            if self.stack_fault(true) {
                self.push_value(INDEFINITE);
            }
        } else if self.settle(raised) {
            self.push_value(value);
        }
    }
    /// Raises the invalid exception of an empty or full stack; whether it is
    /// masked.
    #[cold]
    pub(super) fn stack_fault(&mut self, overflow: bool) -> bool {
        self.fsw = self.fsw & !C1 | if overflow { C1 } else { 0 } | IE | SF;
        update_summary(self);
        self.fcw & IE != 0
    }
    /// Puts raised flags and C1 into the status word; whether the result is to
    /// be stored in a register.
    #[inline]
    pub(super) fn settle(&mut self, raised: u16) -> bool {
        self.settle_as(raised, false)
    }
    /// As [`Self::settle`] for a result that goes to memory, which an unmasked
    /// overflow or underflow leaves as it is.
    #[inline]
    pub(super) fn settle_memory(&mut self, raised: u16) -> bool {
        self.settle_as(raised, true)
    }
    #[inline(always)]
    fn settle_as(&mut self, mut raised: u16, memory: bool) -> bool {
        self.fsw &= !C1;
        if raised == 0 {
            return true;
        }
        let unmasked = !self.fcw & FLAGS;
        if raised & flags::TINY & (unmasked << 2) != 0 {
            raised |= flags::UNDERFLOW;
        }
        let before = flags::INVALID | flags::DENORMAL | flags::DIV_BY_ZERO;
        let mut store = true;
        if raised & unmasked & before != 0 {
            raised &= before;
            store = false;
        }
        if memory && raised & unmasked & (flags::OVERFLOW | flags::UNDERFLOW) != 0 {
            store = false;
            raised &= !(flags::INEXACT | flags::ROUNDED_UP);
        }
        self.fsw |= raised & FLAGS;
        if raised & flags::ROUNDED_UP != 0 {
            self.fsw |= C1;
        }
        if raised & unmasked & FLAGS != 0 {
            self.fsw |= SUMMARY;
        }
        store
    }
    /// How to compute.
    #[inline(always)]
    pub(super) fn env(&self) -> Env {
        Env::x87_control(self.fcw)
    }
    /// Sets C3, C2 and C0, and clears C1.
    #[inline(always)]
    pub(super) fn set_codes(&mut self, codes: u16) {
        self.fsw = self.fsw & !(C0 | C1 | C2 | C3) | codes;
    }
}

/// Sets the summary and busy bits of the status word from its flags.
pub fn update_summary(s: &mut X86State) {
    let pending = s.fsw & !s.fcw & FLAGS != 0;
    s.fsw = s.fsw & !SUMMARY | if pending { SUMMARY } else { 0 };
}

/// Raises #MF if an unmasked exception waits. All instructions but the
/// non-waiting ones begin with this.
#[inline(always)]
pub fn wait(cpu: &mut Cpu<X86>) -> Result<(), Flow> {
    if cpu.s.fsw & 0x80 != 0 {
        return Err(trap::mf(cpu));
    }
    Ok(())
}
