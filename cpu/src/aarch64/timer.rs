//! The generic timers: one counter, a virtual and a physical timer.

use super::build::C;
use bus::SimTime;

/// CNTFRQ_EL0 in Hz.
pub const FREQUENCY: u64 = 62_500_000;
/// Picoseconds of one tick.
const TICK: u64 = 1_000_000_000_000 / FREQUENCY;

/// CNTx_CTL bits.
const ENABLE: u64 = 1;
const IMASK: u64 = 2;
const ISTATUS: u64 = 4;

/// The counter at a time.
pub(super) fn count(now: SimTime) -> u64 {
    now.as_ps() / TICK
}

/// CNTx_CTL_EL0 as read.
pub(super) fn control(cpu: &C, which: usize, now: SimTime) -> u64 {
    let timer = &cpu.s.sys.timer[which & 1];
    let fired = timer.ctl & ENABLE != 0 && count(now) >= timer.cval;
    timer.ctl & (ENABLE | IMASK) | if fired { ISTATUS } else { 0 }
}

/// Drives the timer outputs.
pub(super) fn update(cpu: &mut C, now: SimTime) {
    for which in 0..2 {
        let level = control(cpu, which, now) & (IMASK | ISTATUS) == ISTATUS;
        let line = if which == 0 {
            &cpu.extra.vtimer
        } else {
            &cpu.extra.ptimer
        };
        if line.level() != level {
            line.set_level(level);
        }
    }
}

/// When an output rises next.
pub(super) fn next(cpu: &C) -> SimTime {
    let mut next = SimTime::MAX;
    for (timer, line) in cpu
        .s
        .sys
        .timer
        .iter()
        .zip([&cpu.extra.vtimer, &cpu.extra.ptimer])
    {
        if timer.ctl & (ENABLE | IMASK) == ENABLE && !line.level() {
            next = next.min(SimTime(timer.cval.saturating_mul(TICK)));
        }
    }
    next
}
