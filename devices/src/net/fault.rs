//! A wrapper that asks a hook what becomes of each frame.

use super::{
    FrameRef, FrameSink, Header, NetBackend, Offloads, Reserve, RingBackend, RxStatus, TxStatus,
};
use bus::{DmaTarget, SimTime, Wake};
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

impl NetBackend for Fault {
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
    fn pending(&self) -> bool {
        self.inner.pending()
    }
    fn next_event(&self) -> Option<SimTime> {
        self.inner.next_event()
    }
    fn start(&mut self, dma: &DmaTarget) {
        self.inner.start(dma);
    }
    fn flush(&mut self, now: SimTime) {
        self.inner.flush(now);
    }
    fn offloads(&self) -> Offloads {
        self.inner.offloads()
    }
    fn set_offloads(&mut self, offloads: Offloads) {
        self.inner.set_offloads(offloads);
    }
    fn set_wake(&mut self, wake: Wake) {
        self.inner.set_wake(wake);
    }
    fn set_pairs(&mut self, pairs: u16) {
        self.inner.set_pairs(pairs);
    }
    fn host_fds(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        self.inner.host_fds()
    }
    fn host_wake(&self, device: Wake) -> Wake {
        self.inner.host_wake(device)
    }
    fn rings(&mut self) -> Option<&mut dyn RingBackend> {
        self.inner.rings()
    }
    fn reset(&mut self) {
        self.waits_out = 0;
        self.waits_in = false;
        self.inner.reset();
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.inner.counters();
        all.push(("dropped_fault_out", self.dropped[0]));
        all.push(("dropped_fault_in", self.dropped[1]));
        all
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}
