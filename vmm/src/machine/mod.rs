//! A machine: a vCPU, its buses and devices, and who calls whom when.
//!
//! An emulated machine lives on one thread. Its vCPU runs until an exit, a
//! device event or a kick; devices are serviced between two runs.

mod base;
mod board;
mod board_fdt;
pub mod build;
mod fds;
mod kvm;
mod pc;
mod pc_acpi;
mod pc_boot;
mod pc_irqs;
mod psci;
mod runner;
mod serial;

pub use base::{Base, Memory};
pub use board::{Board, BoardConfig, BoardError};
pub use kvm::{KvmMachine, KvmParts};
pub use pc::{Pc, PcConfig, PcError};
pub use runner::Runner;
pub use serial::{SharedSink, Taps};

pub use crate::accel::CrashReport;
use crate::accel::{Vcpu, VmEntry, VmExit};
use crate::hash::Fnv;
use bus::{Action, AddressSpace, GuestRam, Next, SimTime};
use cpu::{Clock, Signal};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

/// Why a machine came back from [`Machine::run`].
#[derive(Debug)]
pub enum Pause {
    /// The deadline has come.
    Deadline,
    /// Nothing to do before this time, or a wake-up.
    Idle(SimTime),
    /// Somebody asked it to stop.
    Stopped,
    /// The guest is gone.
    Ended(Ending),
}

/// How a guest ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It powered off.
    PowerOff,
    /// It asked for a reset (a crash with `panic=-1` does).
    Reset,
    /// The vCPU could not go on.
    Crash(Box<CrashReport>),
}

/// A call of one device's service function.
pub type ServiceFn = Box<dyn FnMut(SimTime) -> Next + Send>;

/// What answers hypercalls: PSCI on the board.
pub type HypercallFn = Box<dyn FnMut([u64; 4]) -> (u64, Option<Ending>) + Send>;

/// Parts of a machine, as a board builder hands them over.
pub struct MachineParts {
    /// The vCPU.
    pub vcpu: Box<dyn Vcpu>,
    /// Memory-mapped devices.
    pub mmio: AddressSpace,
    /// Port-mapped devices (x86).
    pub pio: AddressSpace,
    /// Devices with work of their own, in service order.
    pub services: Vec<ServiceFn>,
    /// Answers hypercalls.
    pub hypercall: HypercallFn,
    /// Called at the end of interrupt of a level-triggered vector (x86).
    pub eoi: Box<dyn FnMut(u8) + Send>,
    /// The vCPU's pending word.
    pub signal: Arc<Signal>,
    /// Guest memory.
    pub ram: Arc<GuestRam>,
}

/// An emulated machine.
pub struct Machine {
    parts: MachineParts,
    entry: VmEntry,
    next_service: SimTime,
    service_now: bool,
    /// A device has work that is to be done before the vCPU idles.
    before_idle: bool,
    halted: bool,
    unmapped: u64,
    exits: u64,
}

impl Machine {
    /// A machine ready to run.
    pub fn new(parts: MachineParts) -> Self {
        Self {
            parts,
            entry: VmEntry::Run,
            next_service: SimTime::ZERO,
            service_now: true,
            before_idle: false,
            halted: false,
            unmapped: 0,
            exits: 0,
        }
    }
    /// Virtual time.
    pub fn now(&self) -> SimTime {
        self.parts.vcpu.now()
    }
    /// The pending word of the machine's vCPU.
    pub fn signal(&self) -> &Arc<Signal> {
        &self.parts.signal
    }
    /// The vCPU.
    pub fn vcpu(&self) -> &dyn Vcpu {
        &*self.parts.vcpu
    }
    /// Exits of the vCPU so far.
    pub fn exits(&self) -> u64 {
        self.exits
    }
    /// Accesses that no device answered.
    pub fn unmapped(&self) -> u64 {
        self.unmapped
    }

    /// Runs until `deadline`, or until there is nothing to do.
    pub fn run(&mut self, deadline: SimTime) -> Pause {
        loop {
            let now = self.parts.vcpu.now();
            let kicked = self.parts.signal.take(Signal::DEVICE) != 0;
            if kicked || self.service_now || now >= self.next_service {
                self.service(now);
            }
            if self.parts.signal.word() & Signal::STOP != 0 {
                return Pause::Stopped;
            }
            if now >= deadline {
                return Pause::Deadline;
            }
            if self.halted {
                let timer = self.parts.vcpu.next_timer() <= self.parts.vcpu.now();
                if !timer && !self.parts.vcpu.wakes() {
                    match self.halt(deadline) {
                        Some(pause) => return pause,
                        None => continue,
                    }
                }
                self.halted = false;
            }
            self.parts
                .vcpu
                .set_deadline(deadline.min(self.next_service));
            let entry = std::mem::replace(&mut self.entry, VmEntry::Run);
            let exit = self.parts.vcpu.run(entry, None);
            self.exits += 1;
            if let Some(pause) = self.handle(exit) {
                return pause;
            }
        }
    }

    fn service(&mut self, now: SimTime) {
        self.service_now = false;
        let mut next = Next::OnKick;
        for service in &mut self.parts.services {
            next = next.min(service(now));
        }
        self.before_idle = matches!(next, Next::Before(_));
        self.next_service = match next {
            Next::At(at) | Next::Before(at) => at,
            Next::OnKick => SimTime::MAX,
        };
    }

    fn handle(&mut self, exit: VmExit) -> Option<Pause> {
        let mut data = [0u8; 8];
        match exit {
            VmExit::MmioRead { address, size } => {
                let data = &mut data[..usize::from(size).min(8)];
                self.unmapped += u64::from(self.parts.mmio.read(address, data).is_err());
                self.entry = VmEntry::Value(value(data));
            }
            VmExit::IoRead { port, size } => {
                let data = &mut data[..usize::from(size).min(4)];
                self.unmapped += u64::from(self.parts.pio.read(port.into(), data).is_err());
                self.entry = VmEntry::Value(value(data));
            }
            VmExit::MmioWrite {
                address,
                size,
                data,
            } => {
                let bytes = data.to_le_bytes();
                let result = self
                    .parts
                    .mmio
                    .write(address, &bytes[..usize::from(size).min(8)]);
                self.entry = VmEntry::Done;
                return self.act(result);
            }
            VmExit::IoWrite { port, size, data } => {
                let bytes = data.to_le_bytes();
                let result = self
                    .parts
                    .pio
                    .write(port.into(), &bytes[..usize::from(size).min(4)]);
                self.entry = VmEntry::Done;
                return self.act(result);
            }
            VmExit::Hypercall { args } => {
                let (result, ending) = (self.parts.hypercall)(args);
                self.entry = VmEntry::Value(result);
                return ending.map(Pause::Ended);
            }
            VmExit::Eoi(vector) => (self.parts.eoi)(vector),
            VmExit::Halt => self.halted = true,
            VmExit::Budget | VmExit::Attention => {}
            VmExit::Reset => return Some(Pause::Ended(Ending::Reset)),
            VmExit::Crash(report) => return Some(Pause::Ended(Ending::Crash(report))),
        }
        None
    }

    fn act(&mut self, result: Result<Action, bus::IoError>) -> Option<Pause> {
        match result {
            Ok(Action::None | Action::Remap) => None,
            Ok(Action::Service) => {
                self.service_now = true;
                None
            }
            Ok(Action::PowerOff) => Some(Pause::Ended(Ending::PowerOff)),
            Ok(Action::Reset) => Some(Pause::Ended(Ending::Reset)),
            Err(_) => {
                self.unmapped += 1;
                None
            }
        }
    }

    /// The vCPU waits for an interrupt: skips time, or says until when.
    fn halt(&mut self, deadline: SimTime) -> Option<Pause> {
        if self.parts.signal.word() & Signal::ATTENTION != 0 || self.service_now {
            return None;
        }
        if std::mem::take(&mut self.before_idle) {
            self.service_now = true;
            return None;
        }
        let next = self.parts.vcpu.next_timer().min(self.next_service);
        if next <= self.parts.vcpu.now() {
            return None;
        }
        if self.parts.vcpu.advance(next.min(deadline)) && next < deadline {
            return None;
        }
        Some(Pause::Idle(next))
    }

    /// Lets an idle machine's instruction clock catch up with the others.
    pub fn advance(&mut self, to: SimTime) {
        self.parts.vcpu.advance(to);
    }

    /// A hash of RAM and registers.
    pub fn state_hash(&self) -> u64 {
        let mut hash = Fnv::default();
        hash.add_u64(self.parts.vcpu.state_hash());
        hash.add_u64(self.parts.vcpu.stats().instructions);
        let mut page = vec![0u8; 4096];
        for region in self.parts.ram.iter() {
            let mut at = 0;
            while at < region.len() {
                if region
                    .read_slice(&mut page, MemoryRegionAddress(at))
                    .is_err()
                {
                    break;
                }
                // Untouched pages are most of the memory: skip them quickly.
                if page.iter().any(|&byte| byte != 0) {
                    hash.add_u64(region.start_addr().0 + at);
                    hash.add(&page);
                }
                at += page.len() as u64;
            }
        }
        hash.value()
    }
}

fn value(data: &[u8]) -> u64 {
    data.iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("now", &self.now())
            .field("exits", &self.exits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MachineParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineParts")
            .field("mmio", &self.mmio)
            .finish_non_exhaustive()
    }
}

/// Reads virtual time for a device that is asked at any moment.
type NowFn = Arc<dyn Fn() -> SimTime + Send + Sync>;

/// A source of virtual time for clock devices. With an instruction clock it
/// shows the time of the last service, which the second value keeps fresh: such
/// devices count seconds.
fn now_source(clock: &Clock) -> (NowFn, Option<ServiceFn>) {
    match clock {
        Clock::Source(source) => {
            let source = source.clone();
            (Arc::new(move || source.now()), None)
        }
        Clock::Instructions { .. } => {
            let seen = Arc::new(AtomicU64::new(0));
            let set = seen.clone();
            let tick: ServiceFn = Box::new(move |now| {
                set.store(now.0, Ordering::Relaxed);
                Next::At(now + SimTime::from_ms(100))
            });
            (
                Arc::new(move || SimTime(seen.load(Ordering::Relaxed))),
                Some(tick),
            )
        }
    }
}
