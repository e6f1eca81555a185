//! A machine under KVM: each vCPU on a thread, and one thread for its devices.
//!
//! A vCPU thread answers the accesses of its vCPU. When one of them asks for
//! service (a doorbell), it does the devices' work itself before it runs the
//! guest on: handing it to another thread would cost tens of microseconds. With
//! ioeventfds the vCPU runs on instead, and a third kind of thread waits for
//! doorbells and does the work. The device thread, the one that called
//! [`KvmMachine::run`], does what comes from outside and what has to happen at a
//! time.

use super::{Ending, Pause, ServiceFn};
use crate::accel::kvm::{Kicker, KvmDoorbells, KvmVcpu};
use crate::accel::{CrashReport, VmEntry, VmExit};
use crate::clock::span;
use bus::{Action, AddressSpace, IoError, Next, SimTime};
use cpu::{Signal, TimeSource};
use devices::pci::Root;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Parts of a machine under KVM.
pub struct KvmParts {
    /// The vCPUs; the first is ready to run.
    pub vcpus: Vec<KvmVcpu>,
    /// Memory-mapped devices.
    pub mmio: AddressSpace,
    /// Port-mapped devices.
    pub pio: AddressSpace,
    /// Devices with work of their own, in service order.
    pub services: Vec<ServiceFn>,
    /// Tells the device thread that there is something to do.
    pub signal: Arc<Signal>,
    /// The time that devices live in.
    pub clock: Arc<dyn TimeSource>,
    /// Doorbells that ring by ioeventfd, and the bus that they are on.
    pub doorbells: Option<(KvmDoorbells, Root)>,
}

/// A machine under KVM.
pub struct KvmMachine {
    vcpus: Vec<KvmVcpu>,
    mmio: AddressSpace,
    pio: AddressSpace,
    doorbells: Option<(Arc<KvmDoorbells>, Root)>,
    shared: Shared,
}

/// What the threads of a machine share.
struct Shared {
    services: Mutex<Vec<ServiceFn>>,
    signal: Arc<Signal>,
    clock: Arc<dyn TimeSource>,
    /// Until when the device thread sleeps (picoseconds).
    sleeps_until: AtomicU64,
    stop: AtomicBool,
    ending: Mutex<Option<Ending>>,
    exits: AtomicU64,
    unmapped: AtomicU64,
}

/// The device thread is to look at its timer again. No emulated CPU looks at
/// this machine's signal, so the bit is free.
const REARM: u32 = Signal::MESSAGE;

impl KvmMachine {
    /// A machine ready to run.
    pub fn new(parts: KvmParts) -> Self {
        let KvmParts {
            vcpus,
            mmio,
            pio,
            services,
            signal,
            clock,
            doorbells,
        } = parts;
        let doorbells = doorbells.map(|(bells, root)| {
            let bells = Arc::new(bells);
            let watcher = bells.clone();
            root.watch_doorbells(move |all| watcher.set(all));
            (bells, root)
        });
        let shared = Shared {
            services: Mutex::new(services),
            signal,
            clock,
            sleeps_until: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            ending: Mutex::new(None),
            exits: AtomicU64::new(0),
            unmapped: AtomicU64::new(0),
        };
        Self {
            vcpus,
            mmio,
            pio,
            doorbells,
            shared,
        }
    }
    /// Virtual time.
    pub fn now(&self) -> SimTime {
        self.shared.clock.now()
    }
    /// Wakes the device thread, or stops the machine.
    pub fn signal(&self) -> &Arc<Signal> {
        &self.shared.signal
    }
    /// Exits of all vCPUs so far.
    pub fn exits(&self) -> u64 {
        self.shared.exits.load(Ordering::Relaxed)
    }
    /// Accesses that no device answered.
    pub fn unmapped(&self) -> u64 {
        self.shared.unmapped.load(Ordering::Relaxed)
    }
    /// Register dump, for logs.
    pub fn dump(&self) -> String {
        self.vcpus
            .iter()
            .map(|vcpu| format!("vCPU {}:\n{}", vcpu.id(), vcpu.dump()))
            .collect()
    }

    /// Runs until the guest is gone or [`Signal::STOP`] is raised.
    pub fn run(&mut self) -> Pause {
        let shared = &self.shared;
        shared.stop.store(false, Ordering::SeqCst);
        let kickers: Vec<Kicker> = self
            .vcpus
            .iter()
            .map(|vcpu| vcpu.kicker().clone())
            .collect();
        std::thread::scope(|scope| {
            for vcpu in &mut self.vcpus {
                let (mmio, pio) = (self.mmio.clone(), self.pio.clone());
                let name = format!("vcpu{}", vcpu.id());
                let body =
                    move || vcpu.enter(|vcpu| vcpu_thread(vcpu, Buses { mmio, pio, shared }));
                if let Err(error) = std::thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, body)
                {
                    shared.end(crash(
                        format!("no thread for a vCPU: {error}"),
                        String::new(),
                    ));
                }
            }
            if let Some((bells, root)) = &self.doorbells {
                let body = || shared.guarded(|| shared.doorbell_loop(bells, root));
                let thread = std::thread::Builder::new().name("doorbells".into());
                if let Err(error) = thread.spawn_scoped(scope, body) {
                    shared.end(crash(
                        format!("no thread for doorbells: {error}"),
                        String::new(),
                    ));
                }
            }
            shared.guarded(|| shared.device_loop());
            shared.stop.store(true, Ordering::SeqCst);
            if let Some((bells, _)) = &self.doorbells {
                bells.stop();
            }
            for kicker in &kickers {
                kicker.kick();
            }
        });
        match self.shared.ending().clone() {
            Some(ending) => Pause::Ended(ending),
            None => Pause::Stopped,
        }
    }
}

impl Shared {
    /// A panic in `work` ends the guest, not the monitor.
    fn guarded(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.end(bug(&*panic, String::new()));
        }
    }
    fn doorbell_loop(&self, bells: &KvmDoorbells, root: &Root) {
        let mut rung = Vec::new();
        while bells.wait(&mut rung) {
            let service = rung
                .drain(..)
                .fold(false, |any, (bdf, index)| root.ring(bdf, index) || any);
            if service {
                self.service_here();
            }
        }
    }
    fn device_loop(&self) {
        loop {
            self.signal.take(REARM);
            let kicked = self.signal.take(Signal::DEVICE) != 0;
            if self.signal.word() & Signal::STOP != 0 || self.ending().is_some() {
                return;
            }
            let mut next = SimTime(self.sleeps_until.load(Ordering::SeqCst));
            if kicked || next <= self.clock.now() {
                let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
                next = self.call(&mut services);
                // Under the lock: a vCPU thread that services later sees it.
                self.sleeps_until.store(next.0, Ordering::SeqCst);
            }
            let now = self.clock.now();
            if next > now {
                let wait = if next == SimTime::MAX {
                    None
                } else {
                    span(next - now)
                };
                self.signal.wait(wait);
            }
        }
    }
    /// Does the devices' work on a vCPU's thread, or sees to it that the thread
    /// that is at it does it again.
    fn service_here(&self) {
        let mut services = match self.services.try_lock() {
            Ok(services) => services,
            Err(TryLockError::Poisoned(services)) => services.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.signal.raise(Signal::DEVICE);
                return;
            }
        };
        let next = self.call(&mut services);
        let before = self.sleeps_until.swap(next.0, Ordering::SeqCst);
        drop(services);
        // Waking late is no harm: the device thread then looks again.
        if next.0 < before {
            self.signal.raise(REARM);
        }
    }
    fn call(&self, services: &mut [ServiceFn]) -> SimTime {
        let now = self.clock.now();
        let mut call = || {
            services
                .iter_mut()
                .fold(Next::OnKick, |next, service| next.min(service(now)))
        };
        let mut next = call();
        if matches!(next, Next::Before(_)) {
            // Nobody tells that a vCPU idles: what could wait is done now.
            next = call();
        }
        match next {
            Next::At(at) | Next::Before(at) => at,
            Next::OnKick => SimTime::MAX,
        }
    }
    fn ending(&self) -> MutexGuard<'_, Option<Ending>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The guest is gone; the first reason counts.
    fn end(&self, ending: Ending) {
        self.ending().get_or_insert(ending);
        self.signal.raise(REARM);
    }
}

/// What a vCPU thread reaches.
struct Buses<'a> {
    mmio: AddressSpace,
    pio: AddressSpace,
    shared: &'a Shared,
}

fn vcpu_thread(vcpu: &mut KvmVcpu, mut buses: Buses<'_>) {
    let shared = buses.shared;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut entry = VmEntry::Run;
        while !shared.stop.load(Ordering::SeqCst) {
            let exit = vcpu.run(entry);
            shared.exits.fetch_add(1, Ordering::Relaxed);
            match buses.handle(exit) {
                Ok(next) => entry = next,
                Err(ending) => return shared.end(ending),
            }
        }
    }));
    if let Err(panic) = result {
        shared.end(bug(&*panic, vcpu.dump()));
    }
}

impl Buses<'_> {
    fn handle(&mut self, exit: VmExit) -> Result<VmEntry, Ending> {
        let mut bytes = [0u8; 8];
        Ok(match exit {
            VmExit::MmioRead { address, size } => {
                let read = self
                    .mmio
                    .read(address, &mut bytes[..usize::from(size).min(8)]);
                self.value(read, bytes)
            }
            VmExit::IoRead { port, size } => {
                let read = self
                    .pio
                    .read(port.into(), &mut bytes[..usize::from(size).min(4)]);
                self.value(read, bytes)
            }
            VmExit::MmioWrite {
                address,
                size,
                data,
            } => {
                let done = self
                    .mmio
                    .write(address, &data.to_le_bytes()[..usize::from(size).min(8)]);
                self.act(done)?
            }
            VmExit::IoWrite { port, size, data } => {
                let done = self
                    .pio
                    .write(port.into(), &data.to_le_bytes()[..usize::from(size).min(4)]);
                self.act(done)?
            }
            VmExit::Reset => return Err(Ending::Reset),
            VmExit::Crash(report) => return Err(Ending::Crash(report)),
            // With in-kernel interrupt controllers KVM waits by itself and
            // tells no end of interrupt.
            VmExit::Halt
            | VmExit::Attention
            | VmExit::Budget
            | VmExit::Eoi(_)
            | VmExit::Hypercall { .. } => VmEntry::Run,
        })
    }
    fn value(&self, read: Result<(), IoError>, bytes: [u8; 8]) -> VmEntry {
        self.count(read.is_err());
        VmEntry::Value(u64::from_le_bytes(bytes))
    }
    fn act(&self, done: Result<Action, IoError>) -> Result<VmEntry, Ending> {
        match done {
            Ok(Action::None | Action::Remap) => {}
            Ok(Action::Service) => self.shared.service_here(),
            Ok(Action::PowerOff) => return Err(Ending::PowerOff),
            Ok(Action::Reset) => return Err(Ending::Reset),
            Err(_) => self.count(true),
        }
        Ok(VmEntry::Done)
    }
    fn count(&self, unmapped: bool) {
        if unmapped {
            self.shared.unmapped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn crash(reason: String, registers: String) -> Ending {
    Ending::Crash(Box::new(CrashReport {
        reason,
        registers,
        code: Vec::new(),
    }))
}

fn bug(panic: &(dyn std::any::Any + Send), registers: String) -> Ending {
    let what = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let what = what
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    crash(
        format!("the monitor has a bug that this guest found: {what}"),
        registers,
    )
}

impl fmt::Debug for KvmMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmMachine")
            .field("vcpus", &self.vcpus.len())
            .field("exits", &self.exits())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KvmParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmParts")
            .field("vcpus", &self.vcpus.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "kvm_tests.rs"]
mod tests;
