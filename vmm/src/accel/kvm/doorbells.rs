//! Doorbells that ring without an exit: ioeventfds.

use super::KvmVm;
use bus::Bdf;
use devices::pci::Doorbell;
use kvm_ioctls::{IoEventAddress, NoDatamatch};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Most doorbells; KVM has room for 1000 on its bus. Others exit.
const MOST: usize = 512;
/// No doorbell is at this address.
const WAKE: u64 = u64::MAX;

struct Bell {
    event: EventFd,
    bdf: Bdf,
    index: u16,
}

/// The ioeventfds of a VM. One thread waits for them.
pub struct KvmDoorbells {
    vm: Arc<KvmVm>,
    epoll: Epoll,
    /// Ends a wait.
    wake: EventFd,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bells: BTreeMap<u64, Bell>,
    /// Rang, and were taken away before anybody looked. Each once, however often
    /// the guest moves it.
    left: BTreeSet<(Bdf, u16)>,
}

impl KvmDoorbells {
    /// None yet.
    pub fn new(vm: Arc<KvmVm>) -> io::Result<Self> {
        let this = Self {
            vm,
            epoll: Epoll::new()?,
            wake: EventFd::new(EFD_NONBLOCK)?,
            stop: AtomicBool::new(false),
            state: Mutex::default(),
        };
        let event = EpollEvent::new(EventSet::IN, WAKE);
        this.epoll
            .ctl(ControlOperation::Add, this.wake.as_raw_fd(), event)?;
        Ok(this)
    }
    /// These are all doorbells from now on. Of two at one address the first
    /// counts. One that KVM refuses exits, as it would without all this. What
    /// has rung before is not lost: the guest made the write, and may wait.
    pub fn set(&self, doorbells: &[Doorbell]) {
        let mut wanted = BTreeMap::new();
        for bell in doorbells.iter().take(MOST) {
            wanted.entry(bell.address).or_insert((bell.bdf, bell.index));
        }
        let mut state = self.lock();
        let State { bells, left } = &mut *state;
        bells.retain(|address, bell| {
            let keep = wanted.get(address) == Some(&(bell.bdf, bell.index));
            if !keep {
                self.remove(*address, bell);
                if bell.event.read().is_ok() {
                    left.insert((bell.bdf, bell.index));
                }
            }
            keep
        });
        if !left.is_empty() {
            self.wake();
        }
        for (address, (bdf, index)) in wanted {
            if let Entry::Vacant(free) = bells.entry(address) {
                match self.add(address, bdf, index) {
                    Ok(bell) => {
                        free.insert(bell);
                    }
                    Err(error) => tracing::debug!(address, %error, "a doorbell exits"),
                }
            }
        }
    }
    fn add(&self, address: u64, bdf: Bdf, index: u16) -> io::Result<Bell> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        let fd = event.as_raw_fd();
        let ready = EpollEvent::new(EventSet::IN, address);
        self.epoll.ctl(ControlOperation::Add, fd, ready)?;
        let place = IoEventAddress::Mmio(address);
        let done = self.vm.fd.register_ioevent(&event, &place, NoDatamatch);
        if let Err(error) = done {
            let _ = self.epoll.ctl(ControlOperation::Delete, fd, ready);
            return Err(io::Error::from_raw_os_error(error.errno()));
        }
        Ok(Bell { event, bdf, index })
    }
    fn remove(&self, address: u64, bell: &Bell) {
        let place = IoEventAddress::Mmio(address);
        let gone = self
            .vm
            .fd
            .unregister_ioevent(&bell.event, &place, NoDatamatch);
        if let Err(error) = gone {
            tracing::warn!(address, %error, "KVM does not release an ioeventfd");
        }
        let fd = bell.event.as_raw_fd();
        let _ = self
            .epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }
    /// Waits until doorbells ring and adds them to `rung`; `false` when
    /// [`KvmDoorbells::stop`] was called.
    pub fn wait(&self, rung: &mut Vec<(Bdf, u16)>) -> bool {
        let left = std::mem::take(&mut self.lock().left);
        if !left.is_empty() {
            rung.extend(left);
            return true;
        }
        let mut events = [EpollEvent::default(); 32];
        let n = match self.epoll.wait(-1, &mut events) {
            Ok(n) => n,
            Err(error) => return error.kind() == io::ErrorKind::Interrupted,
        };
        let state = self.lock();
        for event in events.iter().take(n) {
            if event.data() == WAKE {
                let _ = self.wake.read();
                if self.stop.swap(false, Ordering::SeqCst) {
                    return false;
                }
            }
            // One that is gone meanwhile says nothing any more.
            if let Some(bell) = state.bells.get(&event.data())
                && bell.event.read().is_ok()
            {
                rung.push((bell.bdf, bell.index));
            }
        }
        true
    }
    /// Ends the wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }
    fn wake(&self) {
        // Cannot fail: the count never comes near its end.
        let _ = self.wake.write(1);
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KvmDoorbells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmDoorbells")
            .field("bells", &self.lock().bells.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::kvm::KvmError;
    use bus::create_ram;

    #[test]
    fn a_doorbell_that_rang_before_it_was_moved_is_heard() {
        let ram = Arc::new(create_ram(&[(0, 4096)]).unwrap());
        let vm = match KvmVm::new(ram, true) {
            Ok(vm) => vm,
            Err(KvmError::Open(error)) => {
                println!("SKIP: /dev/kvm: {error}");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let bells = KvmDoorbells::new(vm).unwrap();
        let bdf = Bdf::new(0, 3, 0);
        let at = |address, index| Doorbell {
            address,
            bdf,
            index,
        };
        let ring = |address| bells.lock().bells[&address].event.write(1).unwrap();
        let heard = || {
            let mut rung = Vec::new();
            assert!(bells.wait(&mut rung));
            rung.sort_unstable();
            rung
        };
        bells.set(&[at(0x20_0000, 0), at(0x20_0004, 1), at(0x20_0008, 2)]);
        for address in [0x20_0000, 0x20_0008] {
            ring(address);
        }
        // Queue 0 moves, queue 1 stays, queue 2 goes.
        bells.set(&[at(0x30_0000, 0), at(0x20_0004, 1)]);
        assert_eq!(heard(), [(bdf, 0), (bdf, 2)]);
        // What is left of that is no ring of another one, nor a stop.
        ring(0x20_0004);
        let mut all = heard();
        if all.is_empty() {
            all = heard();
        }
        assert_eq!(all, [(bdf, 1)]);
        ring(0x30_0000);
        assert_eq!(heard(), [(bdf, 0)]);
        bells.stop();
        assert!(!bells.wait(&mut Vec::new()));
    }
}
