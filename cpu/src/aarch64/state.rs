//! All that a snapshot needs of one AArch64 vCPU.

use super::regs::{Regs, SP, dest, source};
use serde::{Deserialize, Serialize};

/// Guest-visible state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Aarch64State {
    /// Condition flags and processor state.
    pub p: Pstate,
    /// Program counter.
    pub pc: u64,
    /// X0 to X30 and the stack pointer in use.
    pub r: Regs,
    /// The stack pointers not in use: SP_EL0 and SP_EL1 (the entry of the one
    /// in use is stale).
    pub sp_bank: [u64; 2],
    /// V0 to V31.
    pub v: [u128; 32],
    /// Floating-point control.
    pub fpcr: u32,
    /// Floating-point status (cumulative exception bits and QC).
    pub fpsr: u32,
    /// Local exclusive monitor.
    pub exclusive: Exclusive,
    /// System registers.
    pub sys: SystemRegs,
}

/// What the local exclusive monitor remembers: address and the value loaded. The
/// default remembers nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusive {
    /// Virtual address.
    pub address: u64,
    /// The bytes that the exclusive load read.
    pub value: u128,
    /// How many bytes; 0 where there is nothing.
    pub size: u8,
}

/// Processor state. Flags are words that are zero or not, so that setting them
/// is a plain store: `n` is negative when bit 63 is set, `z` is set when the
/// word is zero, `c` and `v` are 0 or 1.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Pstate {
    /// N is bit 63 of this word.
    pub n: u64,
    /// Z is set when this word is zero.
    pub z: u64,
    /// C: 0 or 1.
    pub c: u64,
    /// V: 0 or 1.
    pub v: u64,
    /// Exception level, 0 or 1.
    pub el: u8,
    /// SPSel.
    pub sp_sel: bool,
    /// DAIF mask bits as in SPSR: D 8, A 4, I 2, F 1.
    pub daif: u8,
    /// PAN: EL1 may not read or write what EL0 may.
    pub pan: bool,
    /// Software step, illegal state: SPSR bits 21 and 20.
    pub ss_il: u8,
}

/// System registers that Linux uses; extended as needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SystemRegs {
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// TTBR0_EL1 and TTBR1_EL1.
    pub ttbr: [u64; 2],
    /// TCR_EL1.
    pub tcr: u64,
    /// MAIR_EL1.
    pub mair: u64,
    /// VBAR_EL1.
    pub vbar: u64,
    /// ELR_EL1.
    pub elr: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    /// PAR_EL1.
    pub par: u64,
    /// CPACR_EL1.
    pub cpacr: u64,
    /// CONTEXTIDR_EL1.
    pub contextidr: u64,
    /// TPIDR_EL0, TPIDRRO_EL0, TPIDR_EL1.
    pub tpidr: [u64; 3],
    /// CNTKCTL_EL1.
    pub cntkctl: u64,
    /// Virtual and physical timer: control and compare value.
    pub timer: [Timer; 2],
    /// MDSCR_EL1.
    pub mdscr: u64,
    /// OS lock (OSLAR_EL1, OSDLR_EL1).
    pub os_lock: bool,
    /// CSSELR_EL1.
    pub csselr: u64,
    /// MPIDR_EL1.
    pub mpidr: u64,
    /// DBGBVR, DBGBCR, DBGWVR and DBGWCR of breakpoint and watchpoint 0, then 1.
    pub debug: [u64; 8],
}

/// One generic timer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Timer {
    /// CNTx_CTL: ENABLE bit 0, IMASK bit 1.
    pub ctl: u64,
    /// CNTx_CVAL.
    pub cval: u64,
}

impl Aarch64State {
    /// The value of a general register by its field; 31 is XZR.
    #[inline(always)]
    pub fn x(&self, n: u8) -> u64 {
        self.r.get(source(n))
    }
    /// Sets a general register by its field; a write to 31 is dropped.
    #[inline(always)]
    pub fn set_x(&mut self, n: u8, value: u64) {
        self.r.set(dest(n), value);
    }
    /// The value of a base register by its field; 31 is SP.
    #[inline(always)]
    pub fn x_or_sp(&self, n: u8) -> u64 {
        self.r.get(n & 31)
    }
    /// Sets a register by its field; 31 is SP.
    #[inline(always)]
    pub fn set_x_or_sp(&mut self, n: u8, value: u64) {
        self.r.set(n & 31, value)
    }
    /// The stack pointer in use.
    pub fn sp(&self) -> u64 {
        self.r.get(SP)
    }
    /// Sets the stack pointer in use.
    pub fn set_sp(&mut self, value: u64) {
        self.r.set(SP, value)
    }
    /// NZCV in bits 31 to 28.
    pub fn nzcv(&self) -> u32 {
        let p = &self.p;
        ((p.n >> 63) as u32) << 31
            | u32::from(p.z == 0) << 30
            | (p.c as u32 & 1) << 29
            | (p.v as u32 & 1) << 28
    }
    /// Sets NZCV from bits 31 to 28.
    pub fn set_nzcv(&mut self, bits: u32) {
        self.p.n = u64::from(bits >> 31 & 1) << 63;
        self.p.z = u64::from(bits >> 30 & 1 == 0);
        self.p.c = u64::from(bits >> 29 & 1);
        self.p.v = u64::from(bits >> 28 & 1);
    }
}

/// The state in which a boot loader enters a kernel: EL1h, MMU off, interrupts
/// masked, at `entry_pc` with `x0` (the device tree).
pub fn boot_state(entry_pc: u64, x0: u64) -> Aarch64State {
    let mut r = Regs::default();
    r.set(0, x0);
    Aarch64State {
        p: Pstate {
            z: 1,
            el: 1,
            sp_sel: true,
            daif: 15,
            ..Pstate::default()
        },
        pc: entry_pc,
        r,
        sp_bank: [0; 2],
        v: [0; 32],
        fpcr: 0,
        fpsr: 0,
        exclusive: Exclusive::default(),
        sys: SystemRegs {
            // The bits that are one in v8.0 (RES1).
            sctlr: 0x30d0_0800,
            mpidr: 1 << 31,
            ..SystemRegs::default()
        },
    }
}

impl Aarch64State {
    /// A register dump, one line each.
    pub(super) fn dump(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "pc {:016x} sp {:016x} nzcv {:x} el {} spsel {} daif {:x} pan {}",
            self.pc,
            self.sp(),
            self.nzcv() >> 28,
            self.p.el,
            u8::from(self.p.sp_sel),
            self.p.daif,
            u8::from(self.p.pan)
        );
        for n in (0..30).step_by(3) {
            let _ = writeln!(
                out,
                "x{n:<2} {:016x} x{:<2} {:016x} x{:<2} {:016x}",
                self.x(n),
                n + 1,
                self.x(n + 1),
                n + 2,
                self.x(n + 2)
            );
        }
        let _ = writeln!(out, "x30 {:016x}", self.x(30));
        let sys = &self.sys;
        for (name, value) in [
            ("sctlr", sys.sctlr),
            ("ttbr0", sys.ttbr[0]),
            ("ttbr1", sys.ttbr[1]),
            ("tcr", sys.tcr),
            ("vbar", sys.vbar),
            ("esr", sys.esr),
            ("far", sys.far),
            ("elr", sys.elr),
            ("spsr", sys.spsr),
        ] {
            let _ = writeln!(out, "{name:<5} {value:016x}");
        }
        out
    }
}
