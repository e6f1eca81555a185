//! Doorbells that ring without an exit: ioeventfds.

use super::KvmVm;
use bus::Bdf;
use devices::pci::Doorbell;
use kvm_ioctls::{IoEventAddress, NoDatamatch};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Most doorbells; KVM has room for 1000 on its bus. Others exit.
const MOST: usize = 512;
/// No doorbell is at this address.
const STOP: u64 = u64::MAX;

struct Bell {
    event: EventFd,
    bdf: Bdf,
    index: u16,
}

/// The ioeventfds of a VM. One thread waits for them.
pub struct KvmDoorbells {
    vm: Arc<KvmVm>,
    epoll: Epoll,
    stop: EventFd,
    bells: Mutex<BTreeMap<u64, Bell>>,
}

impl KvmDoorbells {
    /// None yet.
    pub fn new(vm: Arc<KvmVm>) -> io::Result<Self> {
        let this = Self {
            vm,
            epoll: Epoll::new()?,
            stop: EventFd::new(EFD_NONBLOCK)?,
            bells: Mutex::default(),
        };
        let event = EpollEvent::new(EventSet::IN, STOP);
        this.epoll
            .ctl(ControlOperation::Add, this.stop.as_raw_fd(), event)?;
        Ok(this)
    }
    /// These are all doorbells from now on. Of two at one address the first
    /// counts. One that KVM refuses exits, as it would without all this.
    pub fn set(&self, doorbells: &[Doorbell]) {
        let mut wanted = BTreeMap::new();
        for bell in doorbells.iter().take(MOST) {
            wanted.entry(bell.address).or_insert((bell.bdf, bell.index));
        }
        let mut bells = self.lock();
        bells.retain(|address, bell| {
            let keep = wanted.get(address) == Some(&(bell.bdf, bell.index));
            if !keep {
                self.remove(*address, bell);
            }
            keep
        });
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
        let mut events = [EpollEvent::default(); 32];
        let n = match self.epoll.wait(-1, &mut events) {
            Ok(n) => n,
            Err(error) => return error.kind() == io::ErrorKind::Interrupted,
        };
        let bells = self.lock();
        for event in events.iter().take(n) {
            if event.data() == STOP {
                let _ = self.stop.read();
                return false;
            }
            // One that is gone meanwhile says nothing any more.
            if let Some(bell) = bells.get(&event.data())
                && bell.event.read().is_ok()
            {
                rung.push((bell.bdf, bell.index));
            }
        }
        true
    }
    /// Ends the wait.
    pub fn stop(&self) {
        // Cannot fail: nobody else writes.
        let _ = self.stop.write(1);
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Bell>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KvmDoorbells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmDoorbells")
            .field("bells", &self.lock().len())
            .finish_non_exhaustive()
    }
}
