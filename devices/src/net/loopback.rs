//! A back end that gives a guest its own frames back.

use super::fifo::Fifo;
use super::{FrameRef, FrameSink, NetBackend, RxStatus, TxStatus};
use bus::{SimTime, Wake};

/// Returns every frame, in order. When the guest does not take them the device
/// is held back, nothing is lost.
#[derive(Debug)]
pub struct Loopback {
    fifo: Fifo,
    wake: Wake,
    /// A frame was refused and the sender waits.
    full: bool,
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Loopback {
    /// With room for 256 KiB of frames.
    pub fn new() -> Self {
        Self {
            fifo: Fifo::new(256 << 10),
            wake: Wake::null(),
            full: false,
        }
    }
}

impl NetBackend for Loopback {
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        if self.fifo.push(&frame, now) {
            TxStatus::Sent
        } else {
            self.full = true;
            TxStatus::Full
        }
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        let status = self.fifo.drain(now, sink);
        if self.full && status == RxStatus::Idle {
            self.full = false;
            self.wake.wake();
        }
        status
    }
    fn pending(&self) -> bool {
        !self.fifo.is_empty()
    }
    fn set_wake(&mut self, wake: Wake) {
        self.wake = wake;
    }
    fn reset(&mut self) {
        self.full = false;
        self.fifo.clear();
    }
}
