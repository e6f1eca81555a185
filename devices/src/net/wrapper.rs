//! What all back ends round another one have in common.

use super::{FrameRef, FrameSink, NetBackend, Offloads, RingBackend, RxStatus, TxStatus};
use bus::{DmaTarget, SimTime, Wake};
use std::os::fd::BorrowedFd;

/// A back end round another one: it has a hand in the frames, and what it does
/// not say itself the inner one says.
pub(super) trait Wrapper: Send {
    /// The back end inside.
    fn inner(&self) -> &dyn NetBackend;
    /// As [`Wrapper::inner`].
    fn inner_mut(&mut self) -> &mut dyn NetBackend;
    /// [`NetBackend::transmit`].
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus;
    /// [`NetBackend::receive`].
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus;
    /// [`NetBackend::next_event`].
    fn next_event(&self) -> Option<SimTime> {
        self.inner().next_event()
    }
    /// Before [`NetBackend::start`] of the inner one.
    fn start(&mut self, _dma: &DmaTarget) {}
    /// Before [`NetBackend::reset`] of the inner one.
    fn reset(&mut self) {}
    /// Counters of its own.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

impl<W: Wrapper> NetBackend for W {
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        Wrapper::transmit(self, now, frame)
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        Wrapper::receive(self, now, sink)
    }
    fn pending(&self) -> bool {
        self.inner().pending()
    }
    fn next_event(&self) -> Option<SimTime> {
        Wrapper::next_event(self)
    }
    fn start(&mut self, dma: &DmaTarget) {
        Wrapper::start(self, dma);
        self.inner_mut().start(dma);
    }
    fn flush(&mut self, now: SimTime) {
        self.inner_mut().flush(now);
    }
    fn offloads(&self) -> Offloads {
        self.inner().offloads()
    }
    fn set_offloads(&mut self, offloads: Offloads) {
        self.inner_mut().set_offloads(offloads);
    }
    fn set_wake(&mut self, wake: Wake) {
        self.inner_mut().set_wake(wake);
    }
    fn set_pairs(&mut self, pairs: u16) {
        self.inner_mut().set_pairs(pairs);
    }
    fn host_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.inner().host_fds()
    }
    fn host_wake(&self, device: Wake) -> Wake {
        self.inner().host_wake(device)
    }
    fn rings(&mut self) -> Option<&mut dyn RingBackend> {
        self.inner_mut().rings()
    }
    fn reset(&mut self) {
        Wrapper::reset(self);
        self.inner_mut().reset();
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.inner().counters();
        all.extend(Wrapper::counters(self));
        all
    }
}
