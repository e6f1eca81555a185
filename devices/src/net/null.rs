//! A back end that takes every frame and never has one.

use super::{FrameRef, FrameSink, NetBackend, RxStatus, TxStatus};
use bus::SimTime;

/// Swallows what the guest sends and counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null {
    frames: u64,
    bytes: u64,
}

impl Null {
    /// A sink.
    pub fn new() -> Self {
        Self::default()
    }
}

impl NetBackend for Null {
    fn transmit(&mut self, _now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        self.frames += 1;
        self.bytes += u64::from(frame.len);
        TxStatus::Sent
    }
    fn receive(&mut self, _now: SimTime, _sink: &mut dyn FrameSink) -> RxStatus {
        RxStatus::Idle
    }
    fn pending(&self) -> bool {
        false
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("swallowed_frames", self.frames),
            ("swallowed_bytes", self.bytes),
        ]
    }
}
