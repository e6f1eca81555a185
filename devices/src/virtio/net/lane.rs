//! One receive queue, and the room in it.

use super::QueueCounters;
use super::moderation::Moderation;
use super::sink::Scratch;
use crate::virtio::ring::{Ring, RingError};
use bus::Interrupt;

/// One receive queue.
pub(super) struct Lane<'a> {
    pub index: usize,
    pub ring: Ring<'a>,
    pub irq: &'a Interrupt,
    pub kicked: &'a mut bool,
    pub counters: &'a mut QueueCounters,
    /// Chains known to be available.
    pub left: u16,
    pub starved: bool,
    pub moved: bool,
    pub moderation: &'a mut Moderation,
    pub packets: u32,
}

/// What was found.
pub(super) enum Room {
    Found,
    NoBuffers,
    TooLong,
}

impl Lane<'_> {
    /// Gathers chains for `total` bytes, header included.
    #[inline]
    pub fn gather(
        &mut self,
        total: u32,
        header_len: u32,
        merge: bool,
        scratch: &mut Scratch,
    ) -> Result<Room, RingError> {
        let mut taken = 0u16;
        let mut found = 0u32;
        scratch.segments.clear();
        scratch.chains.clear();
        while found < total {
            if taken == self.left {
                self.left = self.ring.available()?;
                if taken == self.left {
                    // Several buffers are no use to a driver that merges none:
                    // only a frame that is cut later may lie in them.
                    let whole = taken == self.ring.size() || (taken > 0 && !merge);
                    return Ok(if whole {
                        Room::TooLong
                    } else {
                        Room::NoBuffers
                    });
                }
            }
            let head = self.ring.head(taken)?;
            let before = scratch.segments.len();
            let walk = self.ring.walk(head, &mut scratch.segments);
            let least = if found == 0 { u64::from(header_len) } else { 0 };
            match walk {
                Ok(walk) if walk.readable == 0 && walk.writable_len >= least => {
                    let room = u64::from(total - found).min(walk.writable_len) as u32;
                    scratch.chains.push((head, Some(room)));
                    found += room;
                }
                _ => {
                    scratch.segments.truncate(before);
                    if taken == 0 {
                        self.give_back(head);
                        continue;
                    }
                    scratch.chains.push((head, None));
                }
            }
            taken += 1;
        }
        Ok(Room::Found)
    }
    /// Returns a malformed chain with length 0.
    fn give_back(&mut self, head: u16) {
        self.counters.malformed += 1;
        self.ring.consume(1);
        self.ring.push_used(head, 0);
        self.left -= 1;
        self.moved = true;
    }
}
