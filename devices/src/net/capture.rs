//! A wrapper that writes every frame to a capture file.

use super::pcapng::{Direction, PcapNg};
use super::wrapper::Wrapper;
use super::{FrameRef, FrameSink, Header, NetBackend, Reserve, RxStatus, TxStatus};
use bus::{DmaTarget, GuestRam, RamView, Segment, SimTime};
use std::fmt;
use std::sync::Arc;

/// Captures what crosses `inner`, as its guest sees it: frames that the back
/// end took, and frames that were put into the guest's buffers.
pub struct Capture {
    inner: Box<dyn NetBackend>,
    file: PcapNg,
    interface: u32,
    memory: Option<Arc<GuestRam>>,
}

impl Capture {
    /// Captures `inner` as `interface` of `file`.
    pub fn new(inner: Box<dyn NetBackend>, file: PcapNg, interface: u32) -> Self {
        Self {
            inner,
            file,
            interface,
            memory: None,
        }
    }
}

struct Sink<'a> {
    inner: &'a mut dyn FrameSink,
    file: &'a PcapNg,
    interface: u32,
    memory: &'a GuestRam,
    now: SimTime,
    segments: Vec<Segment>,
    len: u32,
}

impl FrameSink for Sink<'_> {
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_> {
        let reserve = self.inner.reserve(len, head);
        if let Reserve::Ready(buffers) = &reserve {
            self.segments.clear();
            self.segments.extend_from_slice(buffers.segments);
            self.len = len;
        }
        reserve
    }
    fn commit(&mut self, header: &Header) {
        let frame = FrameRef {
            header,
            len: self.len,
            segments: &self.segments,
            memory: RamView::new(self.memory, self.segments.first().map_or(0, |s| s.address)),
            queue: 0,
        };
        let mut bytes = vec![0; self.len as usize];
        if frame.copy_to(&mut bytes) {
            self.file
                .frame(self.interface, self.now, Direction::Inbound, &bytes);
        }
        self.inner.commit(header);
    }
    fn steer(&mut self, pair: Option<u16>) {
        self.inner.steer(pair);
    }
}

impl Wrapper for Capture {
    fn inner(&self) -> &dyn NetBackend {
        &*self.inner
    }
    fn inner_mut(&mut self) -> &mut dyn NetBackend {
        &mut *self.inner
    }
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        // The frame is the guest's again once it is sent.
        let mut bytes = vec![0; frame.len as usize];
        let copied = frame.copy_to(&mut bytes);
        let status = self.inner.transmit(now, frame);
        if copied && status == TxStatus::Sent {
            self.file
                .frame(self.interface, now, Direction::Outbound, &bytes);
        }
        status
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        let Some(memory) = &self.memory else {
            return self.inner.receive(now, sink);
        };
        let mut sink = Sink {
            inner: sink,
            file: &self.file,
            interface: self.interface,
            memory,
            now,
            segments: Vec::new(),
            len: 0,
        };
        self.inner.receive(now, &mut sink)
    }
    fn start(&mut self, dma: &DmaTarget) {
        self.memory = Some(Arc::clone(dma.raw_memory()));
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}
