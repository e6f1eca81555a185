//! The local APIC (Intel SDM volume 3, chapter 11): xAPIC page and x2APIC MSRs.
//!
//! | file | idea |
//! |---|---|
//! | `inbox` | how other threads deliver messages |
//! | `regs` | the register file, by number |
//! | `timer` | one-shot, periodic and TSC-deadline |

mod inbox;
mod regs;
mod timer;

pub use inbox::LapicInbox;
pub(super) use regs::{accept, read_msr, read_page, write_base, write_msr, write_page};
pub(super) use timer::{expire, rearm, write_deadline};

use bus::SimTime;
use serde::{Deserialize, Serialize};

/// A set of 256 vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSet(pub [u64; 4]);

impl VectorSet {
    /// Adds a vector.
    pub fn insert(&mut self, v: u8) {
        self.0[(v >> 6) as usize] |= 1 << (v & 63);
    }
    /// Removes a vector.
    pub fn remove(&mut self, v: u8) {
        self.0[(v >> 6) as usize] &= !(1 << (v & 63));
    }
    /// Whether it holds a vector.
    pub fn contains(&self, v: u8) -> bool {
        self.0[(v >> 6) as usize] >> (v & 63) & 1 != 0
    }
    /// The highest vector.
    pub fn highest(&self) -> Option<u8> {
        (0..4).rev().find_map(|n| {
            let word = self.0[n];
            (word != 0).then(|| (n as u8) << 6 | (63 - word.leading_zeros() as u8))
        })
    }
    /// One of the eight 32-bit registers that show it.
    fn word(&self, n: usize) -> u32 {
        (self.0[(n >> 1) & 3] >> (32 * (n & 1))) as u32
    }
}

/// IA32_APIC_BASE: this is the boot processor.
pub const BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE: x2APIC mode.
pub const BASE_X2APIC: u64 = 1 << 10;
/// IA32_APIC_BASE: enabled.
pub const BASE_ENABLED: u64 = 1 << 11;
/// Where the register page lies after reset.
pub const DEFAULT_PAGE: u64 = 0xfee0_0000;

/// State of the local APIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LapicState {
    /// IA32_APIC_BASE.
    pub base: u64,
    /// APIC ID.
    pub id: u32,
    /// Task priority.
    pub tpr: u8,
    /// Spurious interrupt vector register.
    pub svr: u32,
    /// Logical destination (xAPIC; in x2APIC mode it follows from the ID).
    pub ldr: u32,
    /// Destination format (xAPIC).
    pub dfr: u32,
    /// Error status.
    pub esr: u32,
    /// Interrupt command register.
    pub icr: u64,
    /// LVT: timer, thermal, performance, LINT0, LINT1, error.
    pub lvt: [u32; 6],
    /// Requested interrupts.
    pub irr: VectorSet,
    /// Interrupts in service.
    pub isr: VectorSet,
    /// Which of them are level-triggered.
    pub tmr: VectorSet,
    /// Level-triggered interrupts that ended and were not reported yet.
    pub ended: VectorSet,
    /// Timer divide configuration.
    pub divide: u32,
    /// Timer initial count.
    pub initial: u32,
    /// When the timer began to count from the initial count.
    pub started: SimTime,
    /// IA32_TSC_DEADLINE; 0 when disarmed.
    pub deadline: u64,
    /// When the timer expires; the end of time when it does not run.
    pub fires: SimTime,
    /// A non-maskable interrupt waits.
    pub nmi: bool,
}

impl Default for LapicState {
    fn default() -> Self {
        Self {
            base: DEFAULT_PAGE | BASE_BSP | BASE_ENABLED,
            id: 0,
            tpr: 0,
            svr: 0xff,
            ldr: 0,
            dfr: u32::MAX,
            esr: 0,
            icr: 0,
            lvt: [1 << 16; 6],
            irr: VectorSet::default(),
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            ended: VectorSet::default(),
            divide: 0,
            initial: 0,
            started: SimTime::ZERO,
            deadline: 0,
            fires: SimTime::MAX,
            nmi: false,
        }
    }
}

impl LapicState {
    /// Whether it is in x2APIC mode.
    pub fn is_x2apic(&self) -> bool {
        self.base & (BASE_ENABLED | BASE_X2APIC) == BASE_ENABLED | BASE_X2APIC
    }
    /// Whether software has enabled it.
    fn is_enabled(&self) -> bool {
        self.base & BASE_ENABLED != 0 && self.svr & 1 << 8 != 0
    }
    /// Processor priority.
    pub fn ppr(&self) -> u8 {
        let isr = self.isr.highest().unwrap_or(0) & 0xf0;
        if self.tpr >= isr { self.tpr } else { isr }
    }
    /// The interrupt that would be delivered if RFLAGS.IF allowed.
    pub fn pending(&self) -> Option<u8> {
        let v = self.irr.highest()?;
        (v & 0xf0 > self.ppr() & 0xf0).then_some(v)
    }
    /// Moves an interrupt from requested to in service.
    pub fn acknowledge(&mut self, v: u8) {
        self.irr.remove(v);
        self.isr.insert(v);
    }
    /// End of interrupt.
    fn end(&mut self) {
        if let Some(v) = self.isr.highest() {
            self.isr.remove(v);
            if self.tmr.contains(v) {
                self.tmr.remove(v);
                self.ended.insert(v);
            }
        }
    }
    /// Requests an interrupt.
    pub fn request(&mut self, v: u8, level: bool) {
        if v < 16 {
            self.esr |= 1 << 6;
            return;
        }
        self.irr.insert(v);
        if level {
            self.tmr.insert(v);
        } else {
            self.tmr.remove(v);
        }
    }
}
