//! `free`: every machine on its own thread, in host time.

use super::idle::Idle;
use super::{Controller, Event, Finished, Guest};
use crate::clock::span;
use crate::machine::{CrashReport, Ending, Pause, Runner, Taps};
use bus::SimTime;
use cpu::{Signal, TimeSource};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Runs the guests until the controller says that the run is over.
///
/// `stop` is set by a signal handler: the first time the guests are shut down,
/// and after a second wish they are stopped at once.
pub fn run(
    guests: Vec<Guest>,
    controller: &mut Controller,
    clock: &dyn TimeSource,
    taps: &Taps,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Controller, Event),
) -> Vec<Finished> {
    let (send, receive) = mpsc::channel();
    let mut signals = Vec::new();
    let mut threads = Vec::new();
    for (index, guest) in guests.into_iter().enumerate() {
        signals.push(guest.machine.signal().clone());
        let send = send.clone();
        let taps = taps.clone();
        let name = guest.name.clone();
        let builder = std::thread::Builder::new().name(name.clone());
        let thread = builder.spawn(move || {
            let mut machine = guest.machine;
            let ending = drive(&mut machine);
            // The main thread outlives this one.
            let _ = send.send((index, ending.clone()));
            taps.notify();
            Finished {
                name: guest.name,
                machine,
                ending,
            }
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                let report = CrashReport {
                    reason: format!("no thread for it: {error}"),
                    registers: String::new(),
                    code: Vec::new(),
                };
                controller.ended(index, Ending::Crash(Box::new(report)));
            }
        }
    }
    loop {
        let now = clock.now();
        while let Ok((index, ending)) = receive.try_recv() {
            if let Some(ending) = ending {
                controller.ended(index, ending);
            }
        }
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
        let wait = span(controller.deadline() - now).unwrap_or(Duration::MAX);
        taps.wait(wait.min(Duration::from_millis(50)));
    }
    for signal in &signals {
        signal.raise(Signal::STOP);
    }
    threads
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .collect()
}

/// Runs one machine until it ends or is stopped.
fn drive(machine: &mut Runner) -> Option<Ending> {
    let mut idle = Idle::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        loop {
            match machine.run(SimTime::MAX) {
                Pause::Deadline => {}
                Pause::Idle(until) => {
                    let wait = until - machine.now();
                    let wait = if until == SimTime::MAX {
                        None
                    } else {
                        span(wait)
                    };
                    idle.wait(machine.signal(), wait);
                }
                Pause::Stopped => return None,
                Pause::Ended(ending) => return Some(ending),
            }
        }
    }));
    result.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let reason = format!("the monitor has a bug that this guest found: {what}");
        Some(Ending::Crash(Box::new(CrashReport {
            reason,
            registers: machine.dump(),
            code: Vec::new(),
        })))
    })
}
