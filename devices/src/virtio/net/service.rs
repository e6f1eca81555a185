//! What is done when the device is serviced.

use super::{ActiveQueue, Net, Pair};
use crate::virtio::ring::RingError;
use bus::{GuestRam, Next, Service, SimTime};

/// How soon to look again for room, when the back end cannot tell.
const RETRY: SimTime = SimTime::from_us(100);
/// How soon to look again for a frame that is due but not there.
const AGAIN: SimTime = SimTime::from_us(1);

impl Net {
    fn work(&mut self, now: SimTime, ram: &GuestRam) -> Next {
        let mut more = match self.control(ram) {
            Ok(more) => more,
            Err(error) => self.broken(error),
        };
        if let Err(error) = self.tell_overdue(now, ram) {
            self.broken(error);
        }
        let sending = self.pairs.iter().any(|pair| {
            let kicked = |tx: &ActiveQueue| tx.kicked;
            pair.tx.as_ref().is_some_and(kicked)
        });
        let hold = self.batch.hold(now, sending);
        let pairs = if hold.is_some() { 0 } else { self.pairs.len() };
        for index in 0..pairs {
            more |= self.transmit(index, now, ram).unwrap_or_else(|error| {
                self.pairs[index].tx = None;
                self.broken(error)
            });
        }
        if self.backend.pending() || self.rx_scratch.waits() {
            more |= self.receive(now, ram).unwrap_or_else(|(index, error)| {
                if let Some(pair) = self.pairs.get_mut(index) {
                    pair.rx = None;
                }
                self.broken(error)
            });
        } else {
            for pair in self.pairs.iter_mut().take(self.active_pairs) {
                if let Some(rx) = &mut pair.rx {
                    rx.kicked = false;
                }
            }
        }
        self.backend.flush(now);
        if more {
            return Next::At(now);
        }
        let hold = hold.map_or(Next::OnKick, Next::Before);
        let next = match self.backend.next_event() {
            // What is due waits for the guest's buffers; only a sender that
            // waits for room must look again by itself.
            Some(at) if at <= now && self.rx_blocked => {
                let stalled = |pair: &Pair| pair.tx.as_ref().is_some_and(|tx| tx.kicked);
                match self.pairs.iter().any(stalled) {
                    true => Next::At(now + RETRY),
                    false => Next::OnKick,
                }
            }
            // Due, and yet nothing came of it: not again at once.
            Some(at) if at <= now => Next::At(now + AGAIN),
            Some(at) => Next::At(at),
            None => Next::OnKick,
        };
        self.queues()
            .filter_map(|queue| queue.moderation.deadline)
            .fold(next.min(hold), |next, at| next.min(Next::At(at)))
    }
    fn queues(&self) -> impl Iterator<Item = &ActiveQueue> {
        self.pairs
            .iter()
            .flat_map(|pair| [&pair.rx, &pair.tx])
            .flatten()
    }
    /// Sends the interrupts that moderation held back long enough.
    fn tell_overdue(&mut self, now: SimTime, ram: &GuestRam) -> Result<(), RingError> {
        for pair in &mut self.pairs {
            let rx = (&mut pair.rx, &mut pair.rx_counters);
            let tx = (&mut pair.tx, &mut pair.tx_counters);
            for (queue, counters) in [rx, tx] {
                if let Some(active) = queue
                    && active.moderation.expired(now)
                    && active.queue.ring(ram)?.wants_interrupt()
                {
                    counters.interrupts += 1;
                    active.irq.deliver();
                }
            }
        }
        Ok(())
    }
    /// A ring is broken; its queue is stopped already.
    pub(super) fn broken(&mut self, error: RingError) -> bool {
        tracing::debug!(%error, "virtqueue is broken");
        self.counters.broken_rings += 1;
        self.events.needs_reset = true;
        false
    }
}

impl Service for Net {
    fn service(&mut self, now: SimTime) -> Next {
        // Off while the guest has not made the function a bus master; it kicks
        // again after that.
        let Some(dma) = self.dma.take() else {
            return Next::OnKick;
        };
        let next = match dma.memory() {
            _ if self.ring_features.is_some() => self.work_outside(now, &dma),
            Some(ram) => self.work(now, ram),
            None => Next::OnKick,
        };
        self.dma = Some(dma);
        next
    }
}
