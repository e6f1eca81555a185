//! A wrapper that asks a hook what becomes of each frame.

use super::wrapper::Wrapper;
use super::{FrameRef, FrameSink, Header, NetBackend, Reserve, RxStatus, TxStatus};
use bus::SimTime;
use std::fmt;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the guest.
    Out,
    /// To the guest.
    In,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone, as if the wire had lost it.
    Drop,
}

/// Decides about frames. It is asked once for each, in the order in which they
/// reach it, also when a frame has to wait behind it.
pub trait FaultHook: Send {
    /// A frame of `len` bytes, without the virtio header, at `now`.
    fn frame(&mut self, now: SimTime, way: Way, len: u32) -> Verdict;
}

/// A back end whose frames pass a hook. One that works on the rings by itself
/// (vhost) shows no frames, and so loses none.
pub struct Fault {
    inner: Box<dyn NetBackend>,
    hook: Box<dyn FaultHook>,
    dropped: [u64; 2],
    /// Bit per queue: its next frame was asked about and waits for room.
    waits_out: u64,
    /// The next received frame was asked about and waits for buffers.
    waits_in: bool,
}

impl Fault {
    /// Puts `hook` before `inner`.
    pub fn new(inner: Box<dyn NetBackend>, hook: Box<dyn FaultHook>) -> Self {
        Self {
            inner,
            hook,
            dropped: [0; 2],
            waits_out: 0,
            waits_in: false,
        }
    }
}

struct Sink<'a> {
    inner: &'a mut dyn FrameSink,
    hook: &'a mut dyn FaultHook,
    dropped: &'a mut u64,
    waits: &'a mut bool,
    now: SimTime,
}

impl FrameSink for Sink<'_> {
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_> {
        if !*self.waits && self.hook.frame(self.now, Way::In, len) == Verdict::Drop {
            *self.dropped += 1;
            return Reserve::Refused;
        }
        let reserve = self.inner.reserve(len, head);
        *self.waits = matches!(reserve, Reserve::Full);
        reserve
    }
    fn commit(&mut self, header: &Header) {
        self.inner.commit(header);
    }
    fn steer(&mut self, pair: Option<u16>) {
        self.inner.steer(pair);
    }
}

impl Wrapper for Fault {
    fn inner(&self) -> &dyn NetBackend {
        &*self.inner
    }
    fn inner_mut(&mut self) -> &mut dyn NetBackend {
        &mut *self.inner
    }
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        let bit = 1 << (frame.queue & 63);
        if self.waits_out & bit == 0 && self.hook.frame(now, Way::Out, frame.len) == Verdict::Drop {
            self.dropped[0] += 1;
            return TxStatus::Sent;
        }
        let status = self.inner.transmit(now, frame);
        if status == TxStatus::Full {
            self.waits_out |= bit;
        } else {
            self.waits_out &= !bit;
        }
        status
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        let mut sink = Sink {
            inner: sink,
            hook: &mut *self.hook,
            dropped: &mut self.dropped[1],
            waits: &mut self.waits_in,
            now,
        };
        self.inner.receive(now, &mut sink)
    }
    fn reset(&mut self) {
        self.waits_out = 0;
        self.waits_in = false;
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("dropped_fault_out", self.dropped[0]),
            ("dropped_fault_in", self.dropped[1]),
        ]
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}
