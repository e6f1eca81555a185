//! One direction of a simulated card: its ring, its limits and its counters.

use super::counters::DirectionCounters;
use super::gate::SpaceGate;
use super::spec::OnFull;
use super::timed::UnderWay;
use super::timeline::TimeLine;
use crate::ring::{Cause, Consumer, DdrWindow, Frame, Geometry, Polled, Producer, RingFault};
use crate::timing::Way;
use bus::{Segment, SimTime};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The time rules of a direction; absent when frames are visible at once.
#[derive(Debug)]
pub(super) struct Timing {
    pub latency: SimTime,
    pub under_way: Mutex<UnderWay>,
}

/// What the caller must do after a call: whom to wake.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub(super) struct Wakes {
    pub producer: bool,
    pub consumer: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outlet {
    pub ring: Option<Producer<DdrWindow>>,
    pub fresh: bool,
    pub staged_frames: u32,
    pub staged_bytes: u64,
    pub stalled_since: Option<SimTime>,
    /// Epoch, and frames sent in it.
    pub sent: (u32, u32),
    pub counters: DirectionCounters,
    pub line: TimeLine,
}

#[derive(Debug, Default)]
pub(super) struct Inlet {
    pub ring: Option<Consumer<DdrWindow>>,
    pub fresh: bool,
    pub peeked: Option<Frame>,
    pub asked_for_nonsense: bool,
    /// Frames taken of this epoch, by whatever consumer.
    pub taken: (u32, u32),
    /// Frames whose room was not given back yet.
    pub unpublished: u32,
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub dropped_oldest: u64,
    pub corruptions: u64,
    pub faults: u64,
}

/// One direction. The producer's and the consumer's machine may be on different
/// threads; where both locks are held, the producer's was taken first.
#[derive(Debug)]
pub(super) struct Direction {
    pub ddr: DdrWindow,
    pub geometry: Geometry,
    pub on_full: OnFull,
    pub way: Way,
    pub timing: Option<Timing>,
    pub gate: SpaceGate,
    pub outlet: Mutex<Outlet>,
    pub inlet: Mutex<Inlet>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn pieces(segments: &[Segment]) -> impl Iterator<Item = (u64, u32)> {
    segments.iter().map(|s| (s.address, s.len))
}

impl Direction {
    pub fn new(
        ddr: DdrWindow,
        geometry: Geometry,
        on_full: OnFull,
        way: Way,
        latency: Option<SimTime>,
    ) -> Self {
        Self {
            ddr,
            geometry,
            on_full,
            way,
            timing: latency.map(|latency| Timing {
                latency,
                under_way: Mutex::default(),
            }),
            gate: SpaceGate::default(),
            outlet: Mutex::default(),
            inlet: Mutex::default(),
        }
    }

    /// A producer takes its place, or starts anew.
    pub fn attach_producer(&self) -> Result<(), RingFault> {
        let mut outlet = lock(&self.outlet);
        outlet.ring = Some(Producer::start(self.ddr.clone(), self.geometry)?);
        outlet.fresh = false;
        outlet.stalled_since = None;
        outlet.counters.restarts += u64::from(outlet.sent.0 != 0);
        self.lose(&mut outlet, false);
        Ok(())
    }
    /// The producer leaves. Its frames stay in the ring.
    pub fn detach_producer(&self) {
        lock(&self.outlet).ring = None;
    }
    /// A consumer takes its place, or starts anew.
    pub fn attach_consumer(&self) -> Result<(), RingFault> {
        let mut inlet = lock(&self.inlet);
        inlet.peeked = None;
        inlet.fresh = false;
        inlet.ring = Some(Consumer::start(self.ddr.clone(), self.geometry)?);
        Ok(())
    }
    /// The consumer leaves. Frames stay in the ring.
    pub fn detach_consumer(&self) {
        let mut inlet = lock(&self.inlet);
        inlet.peeked = None;
        if let Some(mut ring) = inlet.ring.take() {
            inlet.faults += u64::from(ring.publish().is_err());
        }
    }

    /// After a new epoch began: what was in flight is lost.
    pub fn lose(&self, outlet: &mut Outlet, corrupt: bool) {
        let mut inlet = lock(&self.inlet);
        let done = inlet.delivered + inlet.dropped_oldest + outlet.counters.dropped.total();
        let lost = outlet.counters.sent.saturating_sub(done);
        let corrupt = corrupt || std::mem::take(&mut inlet.asked_for_nonsense);
        if corrupt {
            outlet.counters.dropped.corrupt += lost;
        } else {
            outlet.counters.dropped.restart += lost;
        }
        (outlet.staged_frames, outlet.staged_bytes) = (0, 0);
        outlet.sent = (outlet.ring.as_ref().map_or(0, Producer::epoch), 0);
        if let Some(timing) = &self.timing {
            lock(&timing.under_way).clear();
        }
    }

    /// Looks at the consumer's words, by way of the clock where there is one.
    pub fn refresh(&self, outlet: &mut Outlet, now: SimTime) -> Result<(), RingFault> {
        let Some(ring) = &mut outlet.ring else {
            return Ok(());
        };
        let polled = match &self.timing {
            None => ring.poll()?,
            Some(timing) => {
                let polled = ring.poll_request()?;
                let words = lock(&timing.under_way).credits(now);
                if let (Polled::Same, Some((tail, credits))) = (polled, words) {
                    // These words were checked when they were given back; they
                    // may only be of an epoch that has ended.
                    let _ = ring.apply(tail, credits);
                }
                polled
            }
        };
        if let Polled::NewEpoch(cause) = polled {
            let corrupt = matches!(cause, Cause::Corrupt(_));
            outlet.counters.corruptions += u64::from(corrupt);
            outlet.counters.restarts += u64::from(!corrupt);
            self.lose(outlet, corrupt);
        }
        Ok(())
    }

    /// When the consumer can see its next frame.
    pub fn next_frame(&self) -> Option<SimTime> {
        let timing = self.timing.as_ref()?;
        lock(&timing.under_way).next_frame()
    }
    /// When a producer that waits can see new credits.
    pub fn next_credit(&self) -> Option<SimTime> {
        let timing = self.timing.as_ref()?;
        lock(&self.outlet).stalled_since?;
        lock(&timing.under_way).next_credit()
    }
    /// Whether both ends are in use.
    pub fn is_up(&self) -> bool {
        lock(&self.outlet).ring.is_some() && lock(&self.inlet).ring.is_some()
    }

    /// What was counted; what is in flight is read off the ring's own numbers.
    pub fn counters(&self) -> DirectionCounters {
        let outlet = lock(&self.outlet);
        let inlet = lock(&self.inlet);
        let mut counters = outlet.counters.clone();
        counters.delivered = inlet.delivered;
        counters.delivered_bytes = inlet.delivered_bytes;
        counters.dropped.full_oldest = inlet.dropped_oldest;
        counters.corruptions += inlet.corruptions;
        counters.ring_faults += inlet.faults;
        let (epoch, sent) = outlet.sent;
        let taken = if inlet.taken.0 == epoch {
            inlet.taken.1
        } else {
            0
        };
        counters.in_flight = u64::from(sent.wrapping_sub(taken));
        counters
    }
    /// FIFO depth over time, as the sender saw it.
    pub fn time_line(&self) -> TimeLine {
        lock(&self.outlet).line.clone()
    }
}
