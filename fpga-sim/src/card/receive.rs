//! The consumer's half of a direction.

use super::direction::{Direction, Inlet, Wakes, lock, pieces};
use super::port::{FrameInfo, TakeStatus};
use crate::dma;
use crate::ring::{Cause, Frame, Polled, RingFault, Taken};
use crate::timing::{LinkClock, Way};
use bus::{GuestRam, Segment, SimTime};
use std::sync::Mutex;

impl Direction {
    /// The oldest frame that can be seen at `now`.
    pub fn peek(
        &self,
        now: SimTime,
        link: &Mutex<LinkClock>,
        wakes: &mut Wakes,
    ) -> Option<FrameInfo> {
        let mut inlet = lock(&self.inlet);
        let inlet = &mut *inlet;
        if let Some(timing) = &self.timing {
            if self.way == Way::C2h {
                let mut link = lock(link);
                lock(&timing.under_way).fetch(&mut link, now);
            }
            // The clock knows frames by number. A ring in a state that shows
            // none of them is looked at below all the same.
            let following = inlet.ring.as_ref().is_some_and(|r| r.epoch().is_some());
            if following && !lock(&timing.under_way).due(now) && inlet.fresh {
                return None;
            }
        }
        match self.try_peek(inlet, wakes) {
            Ok(Some(frame)) => {
                if let Some(timing) = &self.timing
                    && !lock(&timing.under_way).due(now)
                {
                    return None;
                }
                inlet.peeked = Some(frame);
                Some(FrameInfo {
                    len: frame.len,
                    meta: frame.meta,
                })
            }
            Ok(None) => None,
            Err(_) => {
                inlet.faults += 1;
                None
            }
        }
    }

    fn try_peek(&self, inlet: &mut Inlet, wakes: &mut Wakes) -> Result<Option<Frame>, RingFault> {
        let Some(ring) = &mut inlet.ring else {
            return Ok(None);
        };
        if !ring.available() || !inlet.fresh {
            inlet.fresh = true;
            if let Polled::NewEpoch(Cause::Corrupt(_)) = ring.poll()? {
                inlet.corruptions += 1;
                inlet.asked_for_nonsense = true;
            }
        }
        let frame = match ring.peek()? {
            Ok(frame) => frame,
            Err(_) => {
                inlet.corruptions += 1;
                inlet.asked_for_nonsense = true;
                None
            }
        };
        wakes.producer |= ring.waits_for_producer();
        Ok(frame)
    }

    /// Takes the frame that was peeked at into host or board memory.
    pub fn take(
        &self,
        now: SimTime,
        memory: Option<&GuestRam>,
        into: &[Segment],
        wakes: &mut Wakes,
    ) -> TakeStatus {
        let mut inlet = lock(&self.inlet);
        let inlet = &mut *inlet;
        let (Some(ring), Some(frame)) = (&mut inlet.ring, inlet.peeked.take()) else {
            return TakeStatus::Gone;
        };
        if !ring.is_oldest(&frame) {
            return TakeStatus::Gone;
        }
        let copied = if into.is_empty() {
            Some(Ok(u64::from(frame.len)))
        } else {
            memory.map(|memory| dma::copy(&self.ddr.0, frame.payload.0, memory, pieces(into)))
        };
        match copied {
            Some(Ok(n)) if n == u64::from(frame.len) => {}
            Some(Err(dma::CopyFault::Source(_))) => {
                inlet.faults += 1;
                return TakeStatus::Gone;
            }
            _ => return TakeStatus::BadBuffer,
        }
        match ring.take(&frame) {
            Ok(Taken::Yes) => {}
            Ok(Taken::Gone) => {
                inlet.fresh = false;
                return TakeStatus::Gone;
            }
            Err(_) => {
                inlet.faults += 1;
                return TakeStatus::Gone;
            }
        }
        inlet.delivered += 1;
        inlet.delivered_bytes += u64::from(frame.len);
        inlet.taken = (ring.epoch().unwrap_or(0), ring.taken());
        if let Some(timing) = &self.timing {
            lock(&timing.under_way).taken();
        }
        // A batch may be long: let the producer go on with half the ring.
        inlet.unpublished += 1;
        if ring.unpublished() > self.geometry.limit() / 2
            || inlet.unpublished > self.geometry.slots() / 2
        {
            wakes.producer |= self.give_back(inlet, now);
        }
        TakeStatus::Taken
    }

    fn give_back(&self, inlet: &mut Inlet, now: SimTime) -> bool {
        let Some(ring) = &mut inlet.ring else {
            return false;
        };
        inlet.unpublished = 0;
        match ring.publish() {
            Ok(true) => {
                if let Some(timing) = &self.timing {
                    let words = ring.credit_words();
                    lock(&timing.under_way).give_back(now + timing.latency, words);
                }
                self.gate.fire()
            }
            Ok(false) => false,
            Err(_) => {
                inlet.faults += 1;
                false
            }
        }
    }

    /// The consumer's batch ends.
    pub fn flush_taken(&self, now: SimTime, wakes: &mut Wakes) {
        let mut inlet = lock(&self.inlet);
        wakes.producer |= self.give_back(&mut inlet, now);
        inlet.fresh = false;
    }
}
