//! Bytes on their way to a guest.

use bus::Wake;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Shared {
    queue: Mutex<VecDeque<u8>>,
    /// Length of `queue`, readable without its lock.
    len: AtomicUsize,
}

/// The input end of a serial port. Cloning gives another handle of one queue.
#[derive(Clone, Debug)]
pub struct SerialInput {
    shared: Arc<Shared>,
    wake: Wake,
}

impl SerialInput {
    /// An empty queue. `wake` is called after every push, so that the machine
    /// services the port.
    pub fn new(wake: Wake) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                len: AtomicUsize::new(0),
            }),
            wake,
        }
    }
    /// Appends bytes. They reach the guest in this order, all of them.
    pub fn push(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut queue = self.lock();
        queue.extend(bytes);
        self.shared.len.store(queue.len(), Ordering::Release);
        drop(queue);
        self.wake.wake();
    }
    /// Bytes that no port has taken yet.
    pub fn len(&self) -> usize {
        self.shared.len.load(Ordering::Acquire)
    }
    /// Whether no byte waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Moves at most `room` bytes into `fifo`.
    pub(super) fn take(&self, fifo: &mut VecDeque<u8>, room: usize) {
        if room == 0 || self.is_empty() {
            return;
        }
        let mut queue = self.lock();
        let count = room.min(queue.len());
        fifo.extend(queue.drain(..count));
        self.shared.len.store(queue.len(), Ordering::Release);
    }
    /// Puts `bytes` back in front, for a FIFO that is switched off.
    pub(super) fn put_back(&self, bytes: impl DoubleEndedIterator<Item = u8>) {
        let mut queue = self.lock();
        for byte in bytes.rev() {
            queue.push_front(byte);
        }
        self.shared.len.store(queue.len(), Ordering::Release);
    }
    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SerialInput {
    /// A queue that wakes nobody.
    fn default() -> Self {
        Self::new(Wake::null())
    }
}
