//! Where a guest's output goes.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes what a guest writes. Called on the thread of the guest's CPU, mostly
/// with a single byte: it must be cheap and must not block. Errors are its own
/// affair; the guest never sees them.
pub trait SerialSink: Send {
    /// Takes `bytes`.
    fn write(&mut self, bytes: &[u8]);
}

/// Drops everything.
impl SerialSink for () {
    fn write(&mut self, _: &[u8]) {}
}

/// Each write goes to both.
impl<A: SerialSink, B: SerialSink> SerialSink for (A, B) {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}

impl SerialSink for Box<dyn SerialSink> {
    fn write(&mut self, bytes: &[u8]) {
        (**self).write(bytes);
    }
}

/// A sink that several places share, such as a buffer that a test reads.
impl<S: SerialSink> SerialSink for Arc<Mutex<S>> {
    fn write(&mut self, bytes: &[u8]) {
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes);
    }
}

impl SerialSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Collects lines for a file or terminal: writes at each newline, at 4 KiB, and
/// when it is dropped. What cannot be written is dropped.
pub struct LineSink<W: Write + Send> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write + Send> LineSink<W> {
    const LIMIT: usize = 4096;

    /// Writes lines to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }
    /// Writes what was collected, newline or not.
    pub fn flush(&mut self) {
        let _ = self.out.write_all(&self.line);
        let _ = self.out.flush();
        self.line.clear();
    }
}

impl<W: Write + Send> SerialSink for LineSink<W> {
    fn write(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        if bytes.contains(&b'\n') || self.line.len() >= Self::LIMIT {
            self.flush();
        }
    }
}

impl<W: Write + Send> Drop for LineSink<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl<W: Write + Send> fmt::Debug for LineSink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineSink")
            .field("waiting", &self.line.len())
            .finish_non_exhaustive()
    }
}
