//! What comes from outside: interrupts of rings, and a peer that comes or goes.

// The epoll descriptor has no safe borrow.
#![allow(unsafe_code)]

use bus::{Interrupt, Wake};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Data of what is not a ring.
const PEER: u64 = u64::MAX;

/// The call event of one ring, and whom it interrupts while the ring runs.
#[derive(Debug)]
struct Call {
    event: EventFd,
    irq: Mutex<Option<Interrupt>>,
}

/// One descriptor for all that can happen outside. Its owner and the thread that
/// waits for it share it.
pub(super) struct Events {
    epoll: Epoll,
    calls: Box<[Call]>,
    /// Something happened to the peer.
    attention: AtomicBool,
    interrupts: AtomicU64,
}

impl Events {
    /// For `rings` rings.
    pub fn new(rings: u16) -> io::Result<Arc<Self>> {
        let epoll = Epoll::new()?;
        let mut calls = Vec::new();
        for index in 0..rings {
            let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
            epoll.ctl(
                ControlOperation::Add,
                event.as_raw_fd(),
                EpollEvent::new(EventSet::IN, index.into()),
            )?;
            calls.push(Call {
                event,
                irq: Mutex::new(None),
            });
        }
        Ok(Arc::new(Self {
            epoll,
            calls: calls.into(),
            attention: AtomicBool::new(false),
            interrupts: AtomicU64::new(0),
        }))
    }
    /// Watches a socket for a peer that comes or goes, until it is closed.
    pub fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let events = EventSet::IN | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
        self.epoll.ctl(
            ControlOperation::Add,
            fd.as_raw_fd(),
            EpollEvent::new(events, PEER),
        )
    }
    /// The event that the peer signals for ring `index`.
    pub fn call(&self, index: u16) -> Option<&EventFd> {
        self.calls.get(usize::from(index)).map(|call| &call.event)
    }
    /// Whom ring `index` interrupts. After a `None` nobody, on any thread.
    pub fn set_irq(&self, index: u16, irq: Option<Interrupt>) {
        if let Some(call) = self.calls.get(usize::from(index)) {
            *call.irq.lock().unwrap_or_else(PoisonError::into_inner) = irq;
        }
    }
    /// Delivers the interrupt of ring `index`.
    pub fn interrupt(&self, index: u16) {
        let Some(call) = self.calls.get(usize::from(index)) else {
            return;
        };
        let irq = call.irq.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(irq) = &*irq {
            self.interrupts.fetch_add(1, Ordering::Relaxed);
            irq.deliver();
        }
    }
    /// Interrupts so far.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Relaxed)
    }
    /// Whether something happened to the peer since the last call.
    pub fn take_attention(&self) -> bool {
        self.attention.swap(false, Ordering::AcqRel)
    }
    /// Passes on what happened. Any thread may call it; `true` when the device
    /// wants to be serviced.
    pub fn poll(&self) -> bool {
        let mut events = [EpollEvent::default(); 32];
        let mut peer = false;
        // As often as all rings need at most: a peer may signal without end.
        for _ in 0..=self.calls.len() / events.len() {
            let n = match self.epoll.wait(0, &mut events) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.unwrap_or(0),
            };
            for event in events.iter().take(n) {
                let index = event.data();
                if index == PEER {
                    peer = true;
                    continue;
                }
                if let Some(call) = self.calls.get(index as usize) {
                    // Empty when another thread was here first.
                    if call.event.read().is_ok() {
                        self.interrupt(index as u16);
                    }
                }
            }
            if n < events.len() {
                break;
            }
        }
        if peer {
            self.attention.store(true, Ordering::Release);
        }
        peer
    }
    /// A wake for the thread that waits for [`Events::fd`]: rings interrupt the
    /// guest at once, and `device` is woken for the rest only.
    pub fn wake(self: &Arc<Self>, device: Wake) -> Wake {
        let this = Arc::clone(self);
        Wake::from_fn(move || {
            if this.poll() {
                device.wake();
            }
        })
    }
    /// Becomes readable when [`Events::poll`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self.epoll` lives.
        unsafe { BorrowedFd::borrow_raw(self.epoll.as_raw_fd()) }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("rings", &self.calls.len())
            .finish_non_exhaustive()
    }
}
