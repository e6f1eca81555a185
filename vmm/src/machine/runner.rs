//! A machine of either kind, as the run modes drive it.

use super::{KvmMachine, Machine, Pause};
use bus::SimTime;
use cpu::Signal;
use cpu::engine::EngineStats;
use std::sync::Arc;

/// A machine that is ready to run.
///
/// `free` calls [`Runner::run`] without a deadline. An emulated machine comes
/// back when it idles; one under KVM only when it has ended or was stopped by
/// [`Signal::STOP`], since its vCPUs have threads of their own. `lockstep` has
/// emulated machines alone.
#[derive(Debug)]
pub enum Runner {
    /// Emulated, on one thread.
    Emulated(Box<Machine>),
    /// Under KVM.
    Kvm(Box<KvmMachine>),
}

impl Runner {
    /// Whether it runs under KVM.
    pub fn is_kvm(&self) -> bool {
        matches!(self, Self::Kvm(_))
    }
    /// Virtual time.
    pub fn now(&self) -> SimTime {
        match self {
            Self::Emulated(machine) => machine.now(),
            Self::Kvm(machine) => machine.now(),
        }
    }
    /// The pending word: devices that want service, and the wish to stop.
    pub fn signal(&self) -> &Arc<Signal> {
        match self {
            Self::Emulated(machine) => machine.signal(),
            Self::Kvm(machine) => machine.signal(),
        }
    }
    /// Runs until `deadline`, or until there is nothing to do.
    pub fn run(&mut self, deadline: SimTime) -> Pause {
        match self {
            Self::Emulated(machine) => machine.run(deadline),
            Self::Kvm(machine) => machine.run(),
        }
    }
    /// Lets an idle machine's instruction clock catch up with the others.
    pub fn advance(&mut self, to: SimTime) {
        if let Self::Emulated(machine) = self {
            machine.advance(to);
        }
    }
    /// Exits of the vCPUs so far.
    pub fn exits(&self) -> u64 {
        match self {
            Self::Emulated(machine) => machine.exits(),
            Self::Kvm(machine) => machine.exits(),
        }
    }
    /// Accesses that no device answered.
    pub fn unmapped(&self) -> u64 {
        match self {
            Self::Emulated(machine) => machine.unmapped(),
            Self::Kvm(machine) => machine.unmapped(),
        }
    }
    /// Numbers of the emulator; zeroes under KVM.
    pub fn stats(&self) -> EngineStats {
        match self {
            Self::Emulated(machine) => machine.vcpu().stats(),
            Self::Kvm(_) => EngineStats::default(),
        }
    }
    /// Register dump, for logs.
    pub fn dump(&self) -> String {
        match self {
            Self::Emulated(machine) => machine.vcpu().dump(),
            Self::Kvm(machine) => machine.dump(),
        }
    }
    /// A hash of RAM and registers; only for emulated machines, 0 otherwise.
    pub fn state_hash(&self) -> u64 {
        match self {
            Self::Emulated(machine) => machine.state_hash(),
            Self::Kvm(_) => 0,
        }
    }
}
