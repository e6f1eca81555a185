//! The timer of the local APIC.

use super::LapicState;
use crate::Cpu;
use crate::x86_64::X86;
use crate::x86_64::sys::{TSC_HZ, tsc};
use bus::SimTime;

const MASKED: u32 = 1 << 16;
const ONE_SHOT: u32 = 0;
const PERIODIC: u32 = 1;
const TSC_DEADLINE: u32 = 2;

impl LapicState {
    fn timer_mode(&self) -> u32 {
        self.lvt[0] >> 17 & 3
    }
    /// Input clocks for each count.
    fn divisor(&self) -> u64 {
        let n = self.divide & 3 | (self.divide >> 1) & 4;
        1 << ((n + 1) & 7)
    }
    fn period(&self) -> SimTime {
        SimTime::from_ticks(u64::from(self.initial) * self.divisor(), TSC_HZ)
    }
    pub(super) fn current_count(&self, now: SimTime) -> u32 {
        if self.initial == 0 || self.timer_mode() == TSC_DEADLINE {
            return 0;
        }
        let gone = now.saturating_sub(self.started).ticks(TSC_HZ) / self.divisor();
        let initial = u64::from(self.initial);
        let left = if self.timer_mode() == PERIODIC {
            initial - gone % initial
        } else {
            initial.saturating_sub(gone)
        };
        left as u32
    }
    pub(super) fn write_initial(&mut self, v: u32, now: SimTime) {
        if self.timer_mode() == TSC_DEADLINE {
            return;
        }
        self.initial = v;
        self.started = now;
        self.fires = if v == 0 {
            SimTime::MAX
        } else {
            now + self.period()
        };
    }
    pub(super) fn write_divide(&mut self, v: u32, now: SimTime) {
        let left = self.current_count(now);
        self.divide = v & 0xb;
        if left != 0 && self.fires != SimTime::MAX {
            let rest = SimTime::from_ticks(u64::from(left) * self.divisor(), TSC_HZ);
            self.fires = now + rest;
            let gone = u64::from(self.initial - left.min(self.initial)) * self.divisor();
            self.started = now.saturating_sub(SimTime::from_ticks(gone, TSC_HZ));
        }
    }
    pub(super) fn write_lvt_timer(&mut self, v: u32) {
        let before = self.timer_mode();
        self.lvt[0] = v;
        let after = self.timer_mode();
        if (before == TSC_DEADLINE) != (after == TSC_DEADLINE) {
            self.fires = SimTime::MAX;
            self.initial = 0;
            self.deadline = 0;
        }
    }
}

/// Sets the time that a TSC deadline stands for.
pub(in crate::x86_64) fn rearm(cpu: &mut Cpu<X86>, now: SimTime) {
    if cpu.s.apic.timer_mode() != TSC_DEADLINE {
        return;
    }
    let deadline = cpu.s.apic.deadline;
    cpu.s.apic.fires = if deadline == 0 {
        SimTime::MAX
    } else if deadline <= tsc(cpu, now) {
        now
    } else {
        SimTime::from_ticks(deadline.wrapping_sub(cpu.s.msr.tsc_adjust), TSC_HZ)
    };
}

/// Writes IA32_TSC_DEADLINE.
pub(in crate::x86_64) fn write_deadline(cpu: &mut Cpu<X86>, v: u64, now: SimTime) {
    if cpu.s.apic.timer_mode() == TSC_DEADLINE {
        cpu.s.apic.deadline = v;
        rearm(cpu, now);
    }
}

/// Lets the timer fire if its time has come.
pub(in crate::x86_64) fn expire(s: &mut LapicState, now: SimTime) {
    if now < s.fires {
        return;
    }
    if s.lvt[0] & MASKED == 0 && s.is_enabled() {
        s.request(s.lvt[0] as u8, false);
    }
    match s.timer_mode() {
        PERIODIC => {
            // Periods that were missed while the CPU did not run are lost, as
            // they are where an interrupt is requested already.
            let period = s.period().0.max(1);
            let missed = now.saturating_sub(s.started).0 / period;
            s.started += SimTime(missed.saturating_mul(period));
            s.fires = s.started + SimTime(period);
        }
        ONE_SHOT => s.fires = SimTime::MAX,
        _ => {
            s.fires = SimTime::MAX;
            s.deadline = 0;
        }
    }
}
