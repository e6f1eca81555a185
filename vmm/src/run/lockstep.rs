//! `lockstep`: all machines on one thread, in virtual time.
//!
//! Time goes in quanta of at most the smallest link latency: what one machine
//! sends in a quantum cannot reach another before the next one starts, so the
//! order in which machines run within a quantum does not matter, and every run
//! of the same topology is the same (conservative synchronisation).

use super::{Controller, Event, Finished, Guest};
use crate::machine::{Ending, Pause};
use bus::SimTime;
use cpu::Signal;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs the guests in quanta of `quantum`.
pub fn run(
    guests: Vec<Guest>,
    controller: &mut Controller,
    quantum: SimTime,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Controller, Event),
) -> Vec<Finished> {
    let mut guests: Vec<Slot> = guests
        .into_iter()
        .map(|guest| Slot {
            guest,
            idle_until: SimTime::ZERO,
            ending: None,
        })
        .collect();
    let mut now = SimTime::ZERO;
    loop {
        if stop.swap(false, Ordering::AcqRel) {
            controller.interrupt(now);
        }
        controller.poll(now);
        while let Some(event) = controller.take_event() {
            progress(controller, event);
        }
        if controller.is_over() {
            break;
        }
        // Nothing happens before the earliest wish: skip to its quantum.
        let next = guests
            .iter()
            .map(|slot| slot.wish(now))
            .min()
            .unwrap_or(now)
            .min(controller.deadline());
        if next == SimTime::MAX {
            controller.interrupt(now);
            continue;
        }
        let start = now.max(SimTime(next.0 - next.0 % quantum.0));
        let end = start + quantum;
        for (index, slot) in guests.iter_mut().enumerate() {
            if slot.ending.is_none() && slot.wish(start) < end {
                // An idle machine's clock stands where it went idle.
                slot.guest.machine.advance(start);
                slot.run(index, end, controller);
            }
        }
        now = end;
    }
    guests
        .into_iter()
        .map(|slot| Finished {
            name: slot.guest.name,
            machine: slot.guest.machine,
            ending: slot.ending,
        })
        .collect()
}

struct Slot {
    guest: Guest,
    idle_until: SimTime,
    ending: Option<Ending>,
}

impl Slot {
    /// When the machine wants to run on.
    fn wish(&self, now: SimTime) -> SimTime {
        if self.ending.is_some() {
            SimTime::MAX
        } else if self.guest.machine.signal().word()
            & (Signal::ATTENTION | Signal::IRQ | Signal::FIQ | Signal::MESSAGE)
            != 0
        {
            now
        } else {
            self.idle_until
        }
    }
    fn run(&mut self, index: usize, end: SimTime, controller: &mut Controller) {
        match self.guest.machine.run(end) {
            Pause::Deadline | Pause::Stopped => self.idle_until = SimTime::ZERO,
            Pause::Idle(until) => self.idle_until = until,
            Pause::Ended(ending) => {
                controller.ended(index, ending.clone());
                self.ending = Some(ending);
                self.idle_until = SimTime::MAX;
            }
        }
    }
}
