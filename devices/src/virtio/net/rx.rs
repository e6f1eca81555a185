//! Back end to guest.

use super::lane::Lane;
use super::sink::Sink;
use super::{BUDGET, Net, feature};
use crate::net::RxStatus;
use crate::virtio::ring::RingError;
use bus::{GuestRam, SimTime};

impl Net {
    /// Fills the receive queues. `true` when work is left; an error names the
    /// pair.
    pub(super) fn receive(
        &mut self,
        now: SimTime,
        ram: &GuestRam,
    ) -> Result<bool, (usize, RingError)> {
        let header_len = self.header_len();
        let mut lanes = Vec::with_capacity(self.active_pairs);
        for (index, pair) in self.pairs.iter_mut().take(self.active_pairs).enumerate() {
            if let Some(active) = &mut pair.rx {
                lanes.push(Lane {
                    index,
                    ring: active.queue.ring(ram).map_err(|error| (index, error))?,
                    irq: &active.irq,
                    kicked: &mut active.kicked,
                    counters: &mut pair.rx_counters,
                    left: 0,
                    starved: false,
                    moved: false,
                    moderation: &mut active.moderation,
                    packets: 0,
                });
            }
        }
        // Frames wait, and the guest has brought no buffers since.
        if lanes.is_empty() || (self.rx_blocked && !lanes.iter().any(|lane| *lane.kicked)) {
            return Ok(false);
        }
        for lane in &mut lanes {
            *lane.kicked = false;
        }
        let mut sink = Sink {
            lanes,
            lane: 0,
            steering: &self.steering,
            rss: &self.rss,
            report: self.features & feature::HASH_REPORT != 0,
            hashed: None,
            blind: false,
            chosen: None,
            filter: &self.filter,
            unfiltered: false,
            scratch: &mut self.rx_scratch,
            header_len,
            merge: self.features & feature::MRG_RXBUF != 0,
            link_up: self.link_up,
            offloads: self.offloads,
            budget: BUDGET,
            header_segments: 0,
            reserved: None,
            error: None,
        };
        let outcome = loop {
            let mut status = RxStatus::Blocked;
            if sink.drain() {
                status = self.backend.receive(now, &mut sink);
            }
            if sink.scratch.waits() {
                status = RxStatus::Blocked;
            }
            if let Some(error) = sink.error {
                break Err(error);
            }
            let starved = sink.lanes.get_mut(sink.lane).filter(|lane| lane.starved);
            let (RxStatus::Blocked, Some(lane)) = (status, starved) else {
                break Ok(false);
            };
            // No buffers: ask to be told of new ones, unless some just came.
            lane.counters.no_buffer += 1;
            match lane.ring.listen(lane.left) {
                Ok(true) => lane.starved = false,
                Ok(false) => break Ok(true),
                Err(error) => break Err(error),
            }
        };
        let failed = sink.lanes.get(sink.lane).map_or(0, |lane| lane.index);
        for lane in sink.lanes.iter_mut() {
            if lane.moved {
                lane.ring.publish();
                let tell = lane.moderation.add(now, lane.packets);
                if tell && lane.ring.wants_interrupt() {
                    lane.counters.interrupts += 1;
                    lane.irq.deliver();
                }
            }
            if !lane.starved {
                lane.ring.hush();
            }
        }
        let spent = sink.budget == 0;
        self.rx_blocked = outcome.map_err(|error| (failed, error))?;
        Ok(spent && !self.rx_blocked)
    }
}
