//! The producer's half of a direction.

use super::counters::Dropped;
use super::direction::{Direction, Outlet, Wakes, lock, pieces};
use super::port::TxStatus;
use super::spec::OnFull;
use crate::dma;
use crate::ring::{META_LEN, Polled, Producer, Refusal, Reservation, RingFault, Taken};
use crate::timing::{LinkClock, Way};
use bus::{GuestRam, Segment, SimTime};
use std::sync::Mutex;

/// Frames or bytes after which a batch is published although it goes on: the
/// other side can start on it.
const PUBLISH_FRAMES: u32 = 64;
const PUBLISH_BYTES: u64 = 256 << 10;

impl Direction {
    /// Sends one frame. With a `wakes.consumer` part of the batch was published.
    pub fn transmit(
        &self,
        now: SimTime,
        link: &Mutex<LinkClock>,
        meta: &[u8; META_LEN],
        memory: Option<&GuestRam>,
        frame: &[Segment],
        wakes: &mut Wakes,
    ) -> TxStatus {
        let mut outlet = lock(&self.outlet);
        let outlet = &mut *outlet;
        let len = u32::try_from(dma::total(frame)).unwrap_or(u32::MAX);
        let result = self.try_transmit(outlet, now, link, meta, memory, (frame, len), wakes);
        let status = result.unwrap_or_else(|_| {
            outlet.counters.ring_faults += 1;
            outlet.counters.sent += 1;
            outlet.counters.dropped.dma += 1;
            TxStatus::Sent
        });
        if status == TxStatus::Sent {
            outlet.counters.sent_bytes += u64::from(len);
        }
        status
    }

    #[allow(clippy::too_many_arguments, reason = "one call, split for `?`")]
    fn try_transmit(
        &self,
        outlet: &mut Outlet,
        now: SimTime,
        link: &Mutex<LinkClock>,
        meta: &[u8; META_LEN],
        memory: Option<&GuestRam>,
        (frame, len): (&[Segment], u32),
        wakes: &mut Wakes,
    ) -> Result<TxStatus, RingFault> {
        if !outlet.fresh {
            self.refresh(outlet, now)?;
            outlet.fresh = true;
        }
        let room = match self.room(outlet, now, link, len, wakes)? {
            Ok(room) => room,
            Err(Lost::Wait) => return Ok(TxStatus::Full),
            Err(Lost::Drop(cause)) => {
                outlet.counters.sent += 1;
                outlet.counters.dropped.add(&cause);
                return Ok(TxStatus::Sent);
            }
        };
        let Some(ring) = &mut outlet.ring else {
            return Ok(TxStatus::Full);
        };
        let copied =
            memory.map(|memory| dma::copy(memory, pieces(frame), &self.ddr.0, room.payload.0));
        match copied {
            None | Some(Err(dma::CopyFault::Source(_))) => {
                outlet.counters.sent += 1;
                outlet.counters.dropped.dma += 1;
                return Ok(TxStatus::Sent);
            }
            Some(Err(dma::CopyFault::Destination(at))) => return Err(RingFault(at)),
            Some(Ok(_)) => {}
        }
        ring.commit(room, meta)?;
        let depth = ring.depth();
        outlet.sent.1 = ring.sent();
        outlet.counters.sent += 1;
        outlet.counters.depth_max = outlet.counters.depth_max.max(depth);
        outlet.staged_frames += 1;
        outlet.staged_bytes += u64::from(len);
        if outlet.staged_frames >= PUBLISH_FRAMES || outlet.staged_bytes >= PUBLISH_BYTES {
            wakes.consumer |= self.publish(outlet, now, link)?;
        }
        Ok(TxStatus::Sent)
    }

    /// Finds room for a frame, by the policy when there is none.
    fn room(
        &self,
        outlet: &mut Outlet,
        now: SimTime,
        link: &Mutex<LinkClock>,
        len: u32,
        wakes: &mut Wakes,
    ) -> Result<Result<Reservation, Lost>, RingFault> {
        let mut step = 0;
        loop {
            let Some(ring) = &mut outlet.ring else {
                return Ok(Err(Lost::Wait));
            };
            match ring.reserve(len) {
                Ok(room) => {
                    if step > 1 {
                        self.gate.disarm();
                    }
                    if let Some(since) = outlet.stalled_since.take() {
                        outlet.counters.stalled_time += now - since;
                    }
                    return Ok(Ok(room));
                }
                Err(Refusal::Size) => {
                    return Ok(Err(Lost::Drop(Dropped {
                        size: 1,
                        ..Dropped::default()
                    })));
                }
                Err(Refusal::Full) => {}
            }
            step += 1;
            match step {
                1 => {
                    wakes.consumer |= self.publish(outlet, now, link)?;
                    self.refresh(outlet, now)?;
                }
                2 if self.on_full == OnFull::DropOldest => {
                    if !self.discard_oldest(outlet, now, len)? {
                        return Ok(Err(full_new()));
                    }
                }
                2 if self.on_full == OnFull::DropNew => return Ok(Err(full_new())),
                2 => {
                    self.gate.arm();
                    self.refresh(outlet, now)?;
                }
                _ if self.on_full == OnFull::DropOldest => return Ok(Err(full_new())),
                _ => {
                    if outlet.stalled_since.is_none() {
                        outlet.stalled_since = Some(now);
                        outlet.counters.stalls += 1;
                        let depth = outlet.ring.as_ref().map_or(0, Producer::depth);
                        outlet.line.note(now, depth, true);
                    }
                    return Ok(Err(Lost::Wait));
                }
            }
        }
    }

    /// Takes frames out at the consumer's end until `len` bytes fit.
    fn discard_oldest(
        &self,
        outlet: &mut Outlet,
        now: SimTime,
        len: u32,
    ) -> Result<bool, RingFault> {
        let mut inlet = lock(&self.inlet);
        let inlet = &mut *inlet;
        let (Some(ring), Some(producer)) = (&mut inlet.ring, &mut outlet.ring) else {
            return Ok(false);
        };
        while producer.reserve(len).is_err() {
            if !ring.available() && ring.poll()? != Polled::Same {
                return Ok(false);
            }
            let Ok(Some(frame)) = ring.peek()? else {
                return Ok(false);
            };
            if ring.take(&frame)? == Taken::Gone {
                return Ok(false);
            }
            inlet.dropped_oldest += 1;
            inlet.taken = (ring.epoch().unwrap_or(0), ring.taken());
            ring.publish()?;
            if let Some(timing) = &self.timing {
                let mut under_way = lock(&timing.under_way);
                under_way.taken();
                under_way.credits(now);
            }
            let (tail, credits) = ring.credit_words();
            if producer.apply(tail, credits).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn publish(
        &self,
        outlet: &mut Outlet,
        now: SimTime,
        link: &Mutex<LinkClock>,
    ) -> Result<bool, RingFault> {
        let Some(ring) = &mut outlet.ring else {
            return Ok(false);
        };
        if outlet.staged_frames == 0 {
            return Ok(false);
        }
        if let Some(timing) = &self.timing {
            let (frames, bytes) = (outlet.staged_frames, outlet.staged_bytes);
            match self.way {
                Way::H2c => {
                    let mut link = lock(link);
                    lock(&timing.under_way).send(&mut link, now, frames, bytes);
                }
                Way::C2h => lock(&timing.under_way).leave(now + timing.latency, frames, bytes),
            }
        }
        (outlet.staged_frames, outlet.staged_bytes) = (0, 0);
        let depth = ring.depth();
        outlet.line.note(now, depth, false);
        let published = ring.publish()?;
        outlet.counters.doorbells += u64::from(published);
        Ok(published)
    }

    /// The producer's batch ends.
    pub fn flush_sent(&self, now: SimTime, link: &Mutex<LinkClock>, wakes: &mut Wakes) {
        let mut outlet = lock(&self.outlet);
        match self.publish(&mut outlet, now, link) {
            Ok(published) => wakes.consumer |= published,
            Err(_) => outlet.counters.ring_faults += 1,
        }
        if outlet.fresh {
            outlet.fresh = false;
        } else if self.refresh(&mut outlet, now).is_err() {
            // Nothing was sent: the other side may still wait for an answer.
            outlet.counters.ring_faults += 1;
        }
    }
}

enum Lost {
    Wait,
    Drop(Dropped),
}

fn full_new() -> Lost {
    Lost::Drop(Dropped {
        full_new: 1,
        ..Dropped::default()
    })
}
