//! A device whose queues of frames are worked on outside: it moves them there,
//! and keeps the control queue and the configuration.

use super::{Net, QueueIrq};
use crate::virtio::ring::Queue;
use bus::{DmaTarget, Next, SimTime};

impl Net {
    /// Whether queue `index` is one that the back end has.
    pub(super) fn is_outside(&self, index: u16) -> bool {
        self.ring_features.is_some() && usize::from(index) != self.control_index()
    }
    /// Moves queue `index` to the back end. Gives back one that stays.
    pub(super) fn give_away(
        &mut self,
        index: u16,
        queue: Queue,
        irq: QueueIrq,
    ) -> Option<(Queue, QueueIrq)> {
        if !self.is_outside(index) {
            return Some((queue, irq));
        }
        if let Some(rings) = self.backend.rings() {
            rings.start(index, queue, irq);
        }
        None
    }
    /// Moves queue `index` back.
    pub(super) fn take_back(&mut self, index: u16) -> Option<Queue> {
        if !self.is_outside(index) {
            return None;
        }
        self.backend.rings()?.stop(index)
    }
    /// As `work`, when the frames move elsewhere.
    pub(super) fn work_outside(&mut self, now: SimTime, dma: &DmaTarget) -> Next {
        let mut more = false;
        if let Some(ram) = dma.memory() {
            more = match self.control(ram) {
                Ok(more) => more,
                Err(error) => self.broken(error),
            };
        }
        let Some(rings) = self.backend.rings() else {
            return Next::OnKick;
        };
        let next = rings.work(now);
        let broken = rings.take_broken();
        let up = rings.link_up();
        if let Some(error) = broken {
            self.broken(error);
        }
        if self.far_up != up {
            self.far_up = up;
            self.events.config_changed = true;
            if up {
                // The addresses that a far side knew are gone with it.
                self.announce();
            }
        }
        if more { Next::At(now) } else { next }
    }
}
