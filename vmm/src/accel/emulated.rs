//! The emulated accelerator: any instruction set of the `cpu` crate.

use super::Vcpu;
use crate::hash::Fnv;
use bus::SimTime;
use cpu::engine::EngineStats;
use cpu::{Clock, Cpu, Isa, VmEntry, VmExit};

impl<I: Isa> Vcpu for Cpu<I>
where
    Cpu<I>: Send,
{
    fn run(&mut self, entry: VmEntry, budget: Option<u64>) -> VmExit {
        Cpu::run(self, entry, budget)
    }
    fn now(&self) -> SimTime {
        Cpu::now(self)
    }
    fn set_deadline(&mut self, deadline: SimTime) {
        self.deadline = deadline;
    }
    fn next_timer(&self) -> SimTime {
        Cpu::next_timer(self)
    }
    fn wakes(&self) -> bool {
        Cpu::wakes(self)
    }
    fn advance(&mut self, to: SimTime) -> bool {
        Cpu::advance(self, to);
        matches!(self.clock(), Clock::Instructions { .. })
    }
    fn stats(&self) -> EngineStats {
        Cpu::stats(self)
    }
    fn dump(&self) -> String {
        I::dump(&self.s)
    }
    fn state_hash(&self) -> u64 {
        let mut hash = Fnv::default();
        // Writing into a hash cannot fail.
        let _ = serde_json::to_writer(&mut hash, &self.s);
        hash.value()
    }
}
