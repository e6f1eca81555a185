//! The receive queues as a back end sees them: where a frame goes, and in which
//! form.

use super::checksum;
use super::filter::Filter;
use super::lane::{Lane, Room};
use super::pending::Pending;
use super::rss::{self, Hashed, Rss};
use super::steering::Table;
use crate::net::{Buffers, FrameRef, FrameSink, Header, Offloads, ReadBytes, Reserve};
use crate::virtio::ring::RingError;
use bus::Segment;

/// Bytes of a frame that the filter looks at: addresses and a VLAN tag.
const HEAD: usize = 16;

/// The reservation, and vectors kept for their capacity.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The header's bytes, then the frame's.
    pub segments: Vec<Segment>,
    /// Chains of the reservation and the bytes used of each; `None` for one
    /// that is malformed.
    pub chains: Vec<(u16, Option<u32>)>,
    /// A frame that goes before all others.
    pending: Option<Box<Pending>>,
}

impl Scratch {
    /// Whether a frame waits here.
    pub fn waits(&self) -> bool {
        self.pending.is_some()
    }
}

/// The receive queues as a sink.
pub(super) struct Sink<'a> {
    pub lanes: Vec<Lane<'a>>,
    /// The lane of the reservation.
    pub lane: usize,
    pub steering: &'a Table,
    pub rss: &'a Rss,
    /// Hashes go into headers.
    pub report: bool,
    /// The frame's hash; `None` before enough of it was seen.
    pub hashed: Option<Option<Hashed>>,
    /// The lane was chosen without a look at the frame.
    pub blind: bool,
    /// The pair that the back end chose.
    pub chosen: Option<u16>,
    pub filter: &'a Filter,
    /// The filter has not seen the frame yet.
    pub unfiltered: bool,
    pub scratch: &'a mut Scratch,
    pub header_len: u32,
    pub merge: bool,
    pub link_up: bool,
    pub offloads: Offloads,
    pub budget: u32,
    /// Number of entries of `scratch.segments` that hold the header.
    pub header_segments: usize,
    /// Bytes of the reserved frame; `None` without a reservation.
    pub reserved: Option<u32>,
    pub error: Option<RingError>,
}

/// Cuts `segments` to `total` bytes and splits the header off. Returns the
/// number of segments that hold the header.
#[inline]
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

/// `struct virtio_net_hdr_v1_hash` (virtio 1.2, section 5.1.6).
fn with_hash(header: &[u8; Header::LEN], hashed: Option<Hashed>) -> [u8; Header::LEN + 8] {
    let mut raw = [0; Header::LEN + 8];
    raw[..Header::LEN].copy_from_slice(header);
    let (value, kind) = hashed.unwrap_or_default();
    raw[12..16].copy_from_slice(&value.to_le_bytes());
    raw[16..18].copy_from_slice(&kind.to_le_bytes());
    raw
}

impl Sink<'_> {
    /// Which lane a frame that starts with `head` goes to. `enough`: the head is
    /// all that a hash needs.
    #[inline]
    fn choose(&mut self, head: &[u8], enough: bool) -> usize {
        self.blind = false;
        let lanes = self.lanes.len();
        if lanes < 2 && !self.report {
            return 0;
        }
        self.hashed = None;
        if enough && (self.report || self.rss.steers()) {
            self.hashed = Some(self.rss.hash(head));
        }
        if lanes < 2 {
            return 0;
        }
        if self.rss.steers() {
            self.blind = self.hashed.is_none();
            let pair = self.hashed.map_or(0, |hashed| self.rss.pair(hashed));
            return self.lane_of(pair);
        }
        if let Some(pair) = self.chosen {
            return self.lane_of(pair);
        }
        self.blind = head.is_empty();
        self.steering.find(head, lanes)
    }
    /// The lane of a pair, or the first if that one is not there.
    fn lane_of(&self, pair: u16) -> usize {
        let wanted = usize::from(pair);
        let found = self.lanes.iter().position(|lane| lane.index == wanted);
        found.unwrap_or(0)
    }
    /// Finds room for a header and `len` bytes in the chosen lane. `None` when
    /// its ring is broken.
    #[inline]
    fn find_room(&mut self, len: u32) -> Option<Room> {
        let lane = self.lanes.get_mut(self.lane)?;
        let total = len.saturating_add(self.header_len);
        match lane.gather(total, self.header_len, self.merge, self.scratch) {
            Ok(Room::Found) => {
                let segments = &mut self.scratch.segments;
                match split(segments, self.header_len, total) {
                    Some(header_segments) => {
                        self.header_segments = header_segments;
                        Some(Room::Found)
                    }
                    None => Some(Room::TooLong),
                }
            }
            Ok(Room::NoBuffers) => {
                lane.starved = true;
                Some(Room::NoBuffers)
            }
            Ok(Room::TooLong) => Some(Room::TooLong),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
    /// Where the reserved frame's bytes are.
    #[inline]
    fn data(&self) -> &[Segment] {
        let data = self.scratch.segments.get(self.header_segments..);
        data.unwrap_or_default()
    }
    /// Copies the first `len` bytes of the reserved frame out.
    fn copy_out(&self, len: usize) -> Option<Vec<u8>> {
        let lane = self.lanes.get(self.lane)?;
        let frame = FrameRef {
            header: &Header::default(),
            len: len as u32,
            segments: self.data(),
            memory: lane.ring.memory(),
            queue: 0,
        };
        let mut bytes = vec![0; len];
        frame.copy_to(&mut bytes).then_some(bytes)
    }
    fn oversize(&mut self) {
        if let Some(lane) = self.lanes.get_mut(self.lane) {
            lane.counters.oversize += 1;
        }
    }
    /// Delivers what goes before anything else. `false` while some is left.
    #[inline]
    pub fn drain(&mut self) -> bool {
        self.scratch.pending.is_none() || self.drain_pending()
    }
    #[cold]
    fn drain_pending(&mut self) -> bool {
        let Some(mut pending) = self.scratch.pending.take() else {
            return true;
        };
        while let Some((header, frame)) = pending.next() {
            if self.error.is_some() || self.budget == 0 {
                self.scratch.pending = Some(pending);
                return false;
            }
            self.lane = self.choose(&frame, true);
            match self.find_room(frame.len() as u32) {
                Some(Room::Found) => {
                    if let Some(lane) = self.lanes.get(self.lane) {
                        ReadBytes(&frame, &[]).copy_to(&Buffers {
                            segments: self.data(),
                            memory: lane.ring.memory(),
                        });
                    }
                    self.finish(&header, frame.len() as u32);
                }
                Some(Room::TooLong) => self.oversize(),
                Some(Room::NoBuffers) | None => {
                    self.scratch.pending = Some(pending);
                    return false;
                }
            }
            self.budget -= 1;
            pending.advance();
            // What is whole may still have to be cut.
            if let Some(cut) = self.scratch.pending.take() {
                pending = cut;
            }
        }
        true
    }
    /// Gives the reserved frame to the guest in the form that it takes.
    #[inline]
    fn finish(&mut self, header: &Header, len: u32) {
        let mut header = *header;
        if !self.offloads.allows(&header) {
            if header.gso_type != Header::GSO_NONE {
                self.cut(&header, len);
                return;
            }
            let Some(lane) = self.lanes.get_mut(self.lane) else {
                return;
            };
            let segments = self.scratch.segments.get(self.header_segments..);
            let frame = FrameRef {
                header: &header,
                len,
                segments: segments.unwrap_or_default(),
                memory: lane.ring.memory(),
                queue: 0,
            };
            if checksum::finish(&frame).is_none() {
                lane.counters.unwanted_offload += 1;
                return;
            }
            header.flags &= !Header::NEEDS_CSUM;
        }
        if !self.merge && self.scratch.chains.len() > 1 {
            self.oversize();
            return;
        }
        self.deliver(header, len);
    }
    /// Makes the reserved frame one that waits to go in segments.
    #[cold]
    fn cut(&mut self, header: &Header, len: u32) {
        let bytes = self.copy_out(len as usize);
        self.scratch.pending = bytes
            .and_then(|bytes| Pending::segments(header, bytes, self.offloads.csum).map(Box::new));
        let cut = self.scratch.waits();
        if let Some(lane) = self.lanes.get_mut(self.lane) {
            lane.counters.segmented += u64::from(cut);
            lane.counters.unwanted_offload += u64::from(!cut);
        }
    }
    /// Gives the chains of the reservation to the guest, with `header` in front.
    #[inline]
    fn deliver(&mut self, mut header: Header, len: u32) {
        let Some(lane) = self.lanes.get_mut(self.lane) else {
            return;
        };
        let ram = lane.ring.memory();
        let chains = &self.scratch.chains;
        let buffers = chains.iter().filter(|chain| chain.1.is_some()).count();
        header.num_buffers = buffers as u16;
        let short = header.to_bytes();
        let long;
        let raw: &[u8] = if self.report {
            long = with_hash(&short, self.hashed.flatten());
            &long
        } else {
            &short
        };
        let mut rest = raw.get(..self.header_len as usize).unwrap_or(raw);
        for segment in self.scratch.segments.iter().take(self.header_segments) {
            let n = rest.len().min(segment.len as usize);
            // The ring checked the segment against guest memory.
            let _ = ram.write(segment.address, &rest[..n]);
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

impl FrameSink for Sink<'_> {
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_> {
        self.reserved = None;
        if !self.drain() || self.error.is_some() || self.budget == 0 {
            return Reserve::Full;
        }
        self.lane = self.choose(head, head.len() >= rss::HEAD.min(len as usize));
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
        match self.find_room(len) {
            Some(Room::Found) => {}
            Some(Room::TooLong) => {
                self.oversize();
                self.budget -= 1;
                return Reserve::Refused;
            }
            Some(Room::NoBuffers) | None => return Reserve::Full,
        }
        self.reserved = Some(len);
        match self.lanes.get(self.lane) {
            Some(lane) => Reserve::Ready(Buffers {
                segments: self.data(),
                memory: lane.ring.memory(),
            }),
            None => Reserve::Full,
        }
    }
    fn steer(&mut self, pair: Option<u16>) {
        self.chosen = pair;
    }
    fn commit(&mut self, header: &Header) {
        let Some(len) = self.reserved.take() else {
            return;
        };
        self.budget -= 1;
        if self.unfiltered {
            let head = self.copy_out(HEAD.min(len as usize));
            if head.is_some_and(|head| !self.filter.passes(&head)) {
                // The buffers stay with the device.
                if let Some(lane) = self.lanes.get_mut(self.lane) {
                    lane.counters.filtered += 1;
                }
                return;
            }
        }
        if self.blind || (self.report && self.hashed.is_none()) {
            let Some(head) = self.copy_out(rss::HEAD.min(len as usize)) else {
                return;
            };
            let blind = self.blind;
            let right = self.choose(&head, true);
            if blind && right != self.lane {
                // Its own lane has other buffers.
                let frame = self.copy_out(len as usize);
                self.scratch.pending = frame.map(|frame| Box::new(Pending::whole(*header, frame)));
                self.drain();
                return;
            }
        }
        self.finish(header, len);
        self.drain();
    }
}
