//! Writing pcapng files (draft-ietf-opsawg-pcapng): one interface per tap
//! point, times in nanoseconds.

use bus::SimTime;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const ETHERNET: u32 = 1;
const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_FLAGS: u16 = 2;

/// Which way a frame went, as its guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the guest.
    Inbound,
    /// From the guest.
    Outbound,
}

struct Inner {
    out: Box<dyn Write + Send>,
    interfaces: u32,
    error: Option<io::Error>,
}

/// A capture file, shared by its tap points. The first write error ends the
/// capture; traffic goes on.
#[derive(Clone)]
pub struct PcapNg(Arc<Mutex<Inner>>);

impl PcapNg {
    /// Starts a file.
    pub fn new(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let mut inner = Inner {
            out,
            interfaces: 0,
            error: None,
        };
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        inner.block(SECTION, &body)?;
        Ok(Self(Arc::new(Mutex::new(inner))))
    }
    /// Adds an interface; its number goes with each of its frames.
    pub fn interface(&self, name: &str) -> io::Result<u32> {
        let mut inner = self.lock();
        let mut body = Vec::new();
        body.extend(ETHERNET.to_le_bytes());
        body.extend(0u32.to_le_bytes());
        option(&mut body, OPTION_NAME, name.as_bytes());
        option(&mut body, OPTION_RESOLUTION, &[9]);
        body.extend([0; 4]);
        inner.block(INTERFACE, &body)?;
        inner.interfaces += 1;
        Ok(inner.interfaces - 1)
    }
    /// Writes a frame.
    pub fn frame(&self, interface: u32, at: SimTime, direction: Direction, bytes: &[u8]) {
        let mut inner = self.lock();
        if inner.error.is_some() {
            return;
        }
        let len = bytes.len() as u32;
        let ns = at.as_ns();
        let mut body = Vec::with_capacity(bytes.len() + 40);
        for word in [interface, (ns >> 32) as u32, ns as u32, len, len] {
            body.extend(word.to_le_bytes());
        }
        body.extend(bytes);
        pad(&mut body);
        let flags: u32 = match direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        option(&mut body, OPTION_FLAGS, &flags.to_le_bytes());
        body.extend([0; 4]);
        if let Err(error) = inner.block(PACKET, &body) {
            inner.error = Some(error);
        }
    }
    /// Writes out what is buffered. An error is the first one since the last
    /// call.
    pub fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        match inner.error.take() {
            Some(error) => Err(error),
            None => inner.out.flush(),
        }
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let len = (body.len() as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len)?;
        self.out.write_all(body)?;
        self.out.write_all(&len)
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

impl fmt::Debug for PcapNg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcapNg").finish_non_exhaustive()
    }
}
