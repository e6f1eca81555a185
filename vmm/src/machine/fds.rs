//! Waits for host file descriptors on behalf of devices.

use bus::Wake;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::JoinHandle;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A thread that wakes a machine whenever one of its back ends' descriptors
/// becomes readable or writable. Edge triggered: the back end reads until it
/// would block. The thread ends when this is dropped.
#[derive(Debug)]
pub struct FdWatch {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

const STOP: u64 = u64::MAX;

impl FdWatch {
    /// Watches `fds` for `wake`.
    pub fn start(fds: Vec<OwnedFd>, wake: Wake) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let stop = EventFd::new(EFD_NONBLOCK)?;
        epoll.ctl(
            ControlOperation::Add,
            stop.as_raw_fd(),
            EpollEvent::new(EventSet::IN, STOP),
        )?;
        for fd in &fds {
            let events = EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED;
            epoll.ctl(
                ControlOperation::Add,
                fd.as_raw_fd(),
                EpollEvent::new(events, 0),
            )?;
        }
        let thread = std::thread::Builder::new()
            .name("fd-watch".into())
            .spawn(move || {
                // The descriptors live as long as the thread.
                let _fds = fds;
                let mut events = [EpollEvent::default(); 16];
                loop {
                    match epoll.wait(-1, &mut events) {
                        Ok(n) if events[..n].iter().any(|event| event.data() == STOP) => return,
                        Ok(_) => wake.wake(),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return,
                    }
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for FdWatch {
    fn drop(&mut self) {
        // A full eventfd counter would have stopped the thread long ago.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
