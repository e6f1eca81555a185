//! Running guests: who looks after them, and in which time they live.
//!
//! [`Controller`] is a passive state machine: it reads what the guests' agents
//! say, sends them commands, and knows when the run is over. [`free`] calls it
//! from the main thread while every machine runs on its own; [`lockstep`] calls
//! it between quanta, so that commands reach the guests at the same virtual
//! time in every run.

mod controller;
pub mod free;
mod idle;
mod job;
pub mod lockstep;

pub use controller::{Controller, Event, Failure, GuestLink};
pub use job::{Command, Job, JobResult, Outcome};

use crate::machine::{Ending, Runner};

/// A machine and its name, ready to run.
#[derive(Debug)]
pub struct Guest {
    /// Name in the topology.
    pub name: String,
    /// The machine.
    pub machine: Runner,
}

/// What is left of a guest after the run.
#[derive(Debug)]
pub struct Finished {
    /// Name in the topology.
    pub name: String,
    /// The machine, stopped.
    pub machine: Runner,
    /// How it ended; `None` when the monitor stopped it.
    pub ending: Option<Ending>,
}
