//! Back end to guest.

use super::moderation::Moderation;
use super::steering::Table;
use super::{BUDGET, Filter, Net, QueueCounters, checksum, feature};
use crate::net::{Buffers, FrameRef, FrameSink, Header, Offloads, Reserve, RxStatus};
use crate::virtio::ring::{Ring, RingError};
use bus::{GuestRam, Interrupt, Segment, SimTime};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of a frame that the filter looks at: addresses and a VLAN tag.
const HEAD: usize = 16;

/// Vectors kept for their capacity.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The header's bytes, then the frame's.
    segments: Vec<Segment>,
    /// Chains of the reservation and the bytes used of each; `None` for one
    /// that is malformed.
    chains: Vec<(u16, Option<u32>)>,
}

/// One receive queue.
struct Lane<'a> {
    index: usize,
    ring: Ring<'a>,
    irq: &'a Interrupt,
    kicked: &'a mut bool,
    counters: &'a mut QueueCounters,
    /// Chains known to be available.
    left: u16,
    starved: bool,
    moved: bool,
    moderation: &'a mut Moderation,
    packets: u32,
}

/// The receive queues as a sink.
struct Sink<'a> {
    lanes: Vec<Lane<'a>>,
    /// The lane of the reservation.
    lane: usize,
    steering: &'a Table,
    /// The pair that the back end chose.
    chosen: Option<u16>,
    filter: &'a Filter,
    /// The filter has not seen the frame yet.
    unfiltered: bool,
    scratch: &'a mut Scratch,
    header_len: u32,
    merge: bool,
    link_up: bool,
    offloads: Offloads,
    budget: u32,
    /// Number of entries of `scratch.segments` that hold the header.
    header_segments: usize,
    /// Bytes of the reserved frame; `None` without a reservation.
    reserved: Option<u32>,
    error: Option<RingError>,
}

enum Room {
    Found,
    NoBuffers,
    TooLong,
}

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
            let status = self.backend.receive(now, &mut sink);
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

impl Lane<'_> {
    /// Gathers chains for `total` bytes, header included.
    fn gather(
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
                    let whole = taken == self.ring.size();
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
                    if found < total && !merge {
                        return Ok(Room::TooLong);
                    }
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

/// Cuts `segments` to `total` bytes and splits the header off. Returns the
/// number of segments that hold the header.
fn split(segments: &mut Vec<Segment>, header_len: u32, total: u32) -> Option<usize> {
    let mut left = total;
    let used = segments.iter_mut().position(|segment| {
        segment.len = segment.len.min(left);
        left -= segment.len;
        left == 0
    })?;
    segments.truncate(used + 1);
    let mut header = header_len;
    for i in 0..segments.len() {
        let segment = segments.get_mut(i)?;
        if segment.len < header {
            header -= segment.len;
            continue;
        }
        if segment.len > header {
            let rest = Segment {
                address: segment.address + u64::from(header),
                len: segment.len - header,
            };
            segment.len = header;
            segments.insert(i + 1, rest);
        }
        return Some(i + 1);
    }
    None
}

impl FrameSink for Sink<'_> {
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_> {
        self.reserved = None;
        if self.error.is_some() || self.budget == 0 {
            return Reserve::Full;
        }
        self.lane = match (self.lanes.len(), self.chosen) {
            (0 | 1, _) => 0,
            (lanes, Some(chosen)) => usize::from(chosen) % lanes,
            (lanes, None) => self.steering.find(head, lanes),
        };
        let Some(lane) = self.lanes.get_mut(self.lane) else {
            return Reserve::Full;
        };
        if !self.link_up {
            lane.counters.link_down += 1;
            self.budget -= 1;
            return Reserve::Refused;
        }
        self.unfiltered = !self.filter.is_open() && head.len() < HEAD;
        if !self.filter.is_open() && !self.unfiltered && !self.filter.passes(head) {
            lane.counters.filtered += 1;
            self.budget -= 1;
            return Reserve::Refused;
        }
        let total = len.saturating_add(self.header_len);
        let room = match lane.gather(total, self.header_len, self.merge, self.scratch) {
            Ok(Room::Found) => split(&mut self.scratch.segments, self.header_len, total),
            Ok(Room::NoBuffers) => {
                lane.starved = true;
                return Reserve::Full;
            }
            Ok(Room::TooLong) => None,
            Err(error) => {
                self.error = Some(error);
                return Reserve::Full;
            }
        };
        let Some(header_segments) = room else {
            lane.counters.oversize += 1;
            self.budget -= 1;
            return Reserve::Refused;
        };
        self.header_segments = header_segments;
        self.reserved = Some(len);
        Reserve::Ready(Buffers {
            segments: self
                .scratch
                .segments
                .get(header_segments..)
                .unwrap_or_default(),
            memory: lane.ring.memory(),
        })
    }
    fn steer(&mut self, pair: Option<u16>) {
        self.chosen = pair;
    }
    fn commit(&mut self, header: &Header) {
        let (Some(len), Some(lane)) = (self.reserved.take(), self.lanes.get_mut(self.lane)) else {
            return;
        };
        self.budget -= 1;
        let ram = lane.ring.memory();
        if self.unfiltered {
            let frame = FrameRef {
                header,
                len: len.min(HEAD as u32),
                segments: self
                    .scratch
                    .segments
                    .get(self.header_segments..)
                    .unwrap_or_default(),
                memory: ram,
                queue: 0,
            };
            let mut head = [0; HEAD];
            if frame.copy_to(&mut head) && !self.filter.passes(&head) {
                // The buffers stay with the device.
                lane.counters.filtered += 1;
                return;
            }
        }
        let chains = &self.scratch.chains;
        let buffers = chains.iter().filter(|chain| chain.1.is_some()).count();
        let mut header = Header {
            num_buffers: buffers as u16,
            ..*header
        };
        if !self.offloads.allows(&header) {
            let plain = header.gso_type == Header::GSO_NONE;
            let frame = FrameRef {
                header: &header,
                len,
                segments: self
                    .scratch
                    .segments
                    .get(self.header_segments..)
                    .unwrap_or_default(),
                memory: ram,
                queue: 0,
            };
            if plain && checksum::finish(&frame).is_some() {
                header.flags &= !Header::NEEDS_CSUM;
            } else {
                // Linux takes them all the same.
                lane.counters.unwanted_offload += 1;
            }
        }
        let raw = header.to_bytes();
        let mut rest = raw.get(..self.header_len as usize).unwrap_or(&raw);
        for segment in self.scratch.segments.iter().take(self.header_segments) {
            let n = rest.len().min(segment.len as usize);
            // The ring checked the segment against guest memory.
            let _ = ram.write_slice(&rest[..n], GuestAddress(segment.address));
            rest = &rest[n..];
        }
        // The chains of one frame follow each other; malformed ones go last.
        for (head, used) in chains {
            if let Some(used) = used {
                lane.ring.push_used(*head, *used);
            }
        }
        if buffers < chains.len() {
            for (head, _) in chains.iter().filter(|chain| chain.1.is_none()) {
                lane.counters.malformed += 1;
                lane.ring.push_used(*head, 0);
            }
        }
        let taken = chains.len() as u16;
        lane.ring.consume(taken);
        lane.left = lane.left.saturating_sub(taken);
        lane.moved = true;
        lane.packets += 1;
        lane.counters.frames += 1;
        lane.counters.bytes += u64::from(len);
    }
}
