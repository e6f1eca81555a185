//! Where the serial lines of a guest end in the monitor.

use devices::serial::SerialSink;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes from a guest that another thread takes.
#[derive(Clone, Debug, Default)]
pub struct SharedSink {
    bytes: Arc<Mutex<Vec<u8>>>,
    notify: Taps,
}

impl SharedSink {
    /// An empty sink that calls `notify` whenever bytes arrive in an empty sink.
    pub fn new(notify: Taps) -> Self {
        Self {
            bytes: Arc::default(),
            notify,
        }
    }
    /// Takes all bytes.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SerialSink for SharedSink {
    fn write(&mut self, bytes: &[u8]) {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = held.is_empty();
        held.extend_from_slice(bytes);
        drop(held);
        if was_empty {
            self.notify.notify();
        }
    }
}

/// Wakes the thread that looks after the run.
#[derive(Clone, Debug, Default)]
pub struct Taps(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Taps {
    /// Something happened.
    pub fn notify(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
    /// Waits until something happened, at most for `limit`.
    pub fn wait(&self, limit: std::time::Duration) {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut guard, _) = self
            .0
            .1
            .wait_timeout_while(guard, limit, |happened| !*happened)
            .unwrap_or_else(PoisonError::into_inner);
        *guard = false;
    }
}
