//! A wrapper that limits frames and bits per second, each way.

use super::wrapper::Wrapper;
use super::{FrameRef, FrameSink, Header, NetBackend, Reserve, RxStatus, TxStatus};
use bus::SimTime;
use serde::{Deserialize, Serialize};
use std::fmt;

const SECOND: u128 = 1_000_000_000_000;

/// Limits of one direction. Zero means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSpec {
    /// Frames per second.
    pub frames: u64,
    /// Frames that may go at once after a pause (at least 1).
    pub frame_burst: u64,
    /// Bits per second.
    pub bits: u64,
    /// Bits that may go at once after a pause (at least one longest frame).
    pub bit_burst: u64,
}

/// A token bucket over virtual time. It may go into debt by one frame, so that
/// a frame longer than the burst gets through.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: u64,
    burst: u64,
    /// Tokens times picoseconds per second.
    level: i128,
    filled: SimTime,
}

impl Bucket {
    fn new(rate: u64, burst: u64) -> Self {
        let burst = burst.max(1);
        Self {
            rate,
            burst,
            level: i128::from(burst) * SECOND as i128,
            filled: SimTime::ZERO,
        }
    }
    fn fill(&mut self, now: SimTime) {
        let passed = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        let full = i128::from(self.burst) * SECOND as i128;
        self.level = (self.level + i128::from(passed.0) * i128::from(self.rate)).min(full);
    }
    /// When there is something in it; `None` when there is now.
    fn ready(&self) -> Option<SimTime> {
        if self.rate == 0 || self.level > 0 {
            return None;
        }
        let wait = (1 - self.level) as u128;
        let wait = wait.div_ceil(u128::from(self.rate));
        Some(self.filled + SimTime(u64::try_from(wait).unwrap_or(u64::MAX)))
    }
    fn take(&mut self, tokens: u64) {
        if self.rate != 0 {
            self.level -= i128::from(tokens) * SECOND as i128;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Limiter {
    frames: Bucket,
    bits: Bucket,
    held: u64,
}

impl Limiter {
    fn new(spec: RateSpec) -> Self {
        Self {
            frames: Bucket::new(spec.frames, spec.frame_burst),
            bits: Bucket::new(spec.bits, spec.bit_burst),
            held: 0,
        }
    }
    fn fill(&mut self, now: SimTime) {
        self.frames.fill(now);
        self.bits.fill(now);
    }
    fn ready(&self) -> Option<SimTime> {
        self.frames.ready().max(self.bits.ready())
    }
    fn take(&mut self, len: u32) {
        self.frames.take(1);
        self.bits.take(u64::from(len) * 8);
    }
}

/// Holds frames back beyond a rate; nothing is dropped.
pub struct RateLimit {
    inner: Box<dyn NetBackend>,
    transmit: Limiter,
    receive: Limiter,
    transmit_held: bool,
}

impl RateLimit {
    /// Limits `inner`: what the guest sends, and what it receives.
    pub fn new(inner: Box<dyn NetBackend>, transmit: RateSpec, receive: RateSpec) -> Self {
        Self {
            inner,
            transmit: Limiter::new(transmit),
            receive: Limiter::new(receive),
            transmit_held: false,
        }
    }
}

struct Sink<'a> {
    inner: &'a mut dyn FrameSink,
    limiter: &'a mut Limiter,
    len: u32,
}

impl FrameSink for Sink<'_> {
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_> {
        if self.limiter.ready().is_some() {
            self.limiter.held += 1;
            return Reserve::Full;
        }
        self.len = len;
        self.inner.reserve(len, head)
    }
    fn commit(&mut self, header: &Header) {
        self.limiter.take(self.len);
        self.inner.commit(header);
    }
    fn steer(&mut self, pair: Option<u16>) {
        self.inner.steer(pair);
    }
}

impl Wrapper for RateLimit {
    fn inner(&self) -> &dyn NetBackend {
        &*self.inner
    }
    fn inner_mut(&mut self) -> &mut dyn NetBackend {
        &mut *self.inner
    }
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        self.transmit.fill(now);
        self.transmit_held = self.transmit.ready().is_some();
        if self.transmit_held {
            self.transmit.held += 1;
            return TxStatus::Full;
        }
        let len = frame.len;
        let status = self.inner.transmit(now, frame);
        if status == TxStatus::Sent {
            self.transmit.take(len);
        }
        status
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        self.receive.fill(now);
        let limiter = &mut self.receive;
        self.inner.receive(
            now,
            &mut Sink {
                inner: sink,
                limiter,
                len: 0,
            },
        )
    }
    fn next_event(&self) -> Option<SimTime> {
        let send = self.transmit.ready().filter(|_| self.transmit_held);
        let receive = match self.receive.ready() {
            Some(at) => self.inner.pending().then_some(at),
            None => self.inner.next_event(),
        };
        send.into_iter().chain(receive).min()
    }
    fn reset(&mut self) {
        self.transmit_held = false;
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("transmit_held", self.transmit.held),
            ("receive_held", self.receive.held),
        ]
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("transmit", &self.transmit)
            .field("receive", &self.receive)
            .finish_non_exhaustive()
    }
}
