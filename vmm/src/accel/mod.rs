//! Accelerators: what runs a vCPU.

mod choose;
mod emulated;
pub mod kvm;
pub mod probe;

pub use choose::{Accelerator, Choice, ChoiceError, Wish, choose};
pub use cpu::{CrashReport, VmEntry, VmExit};

use bus::SimTime;
use cpu::engine::EngineStats;

/// A vCPU, emulated or not. Exits are data.
pub trait Vcpu: Send {
    /// Runs until an exit, at most `budget` instructions. `entry` answers the
    /// exit before.
    fn run(&mut self, entry: VmEntry, budget: Option<u64>) -> VmExit;
    /// Virtual time of this vCPU.
    fn now(&self) -> SimTime;
    /// Comes back with [`VmExit::Attention`] at this time.
    fn set_deadline(&mut self, deadline: SimTime);
    /// When a halted vCPU runs on by itself; [`SimTime::MAX`] for never.
    fn next_timer(&self) -> SimTime;
    /// Whether a halted vCPU has a reason to run on now.
    fn wakes(&self) -> bool;
    /// Skips idle time. `false` when time follows the host and cannot be skipped.
    fn advance(&mut self, to: SimTime) -> bool;
    /// Numbers of the engine.
    fn stats(&self) -> EngineStats;
    /// Register dump, for logs.
    fn dump(&self) -> String;
    /// A hash of all guest-visible CPU state.
    fn state_hash(&self) -> u64;
}
