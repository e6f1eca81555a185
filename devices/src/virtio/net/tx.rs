//! Guest to back end.

use super::{BUDGET, Net, QueueCounters, feature};
use crate::net::{FrameRef, Header, MAX_FRAME, NetBackend, Offloads, TxStatus};
use crate::virtio::ring::{Ring, RingError};
use bus::{GuestRam, RamView, Segment, SimTime};

/// Shortest frame: an Ethernet header.
const MIN_FRAME: u64 = 14;

/// What the driver may put into a header.
struct Rules {
    header_len: u32,
    offloads: Offloads,
    link_up: bool,
    pair: u16,
}

enum Step {
    Done,
    Full,
}

impl Net {
    /// Moves frames of transmit queue `pair`. `true` when work is left.
    pub(super) fn transmit(
        &mut self,
        pair: usize,
        now: SimTime,
        ram: &GuestRam,
    ) -> Result<bool, RingError> {
        let rules = Rules {
            header_len: self.header_len(),
            offloads: feature::host_offloads(self.features),
            link_up: self.link_up,
            pair: pair as u16,
        };
        let learn = self.active_pairs > 1;
        let index = pair as u16;
        let Some(pair) = self.pairs.get_mut(pair) else {
            return Ok(false);
        };
        let Some(active) = pair.tx.as_mut().filter(|tx| tx.kicked) else {
            return Ok(false);
        };
        active.kicked = false;
        let counters = &mut pair.tx_counters;
        let mut ring = active.queue.ring(ram)?;
        let mut budget = BUDGET;
        let mut full = false;
        let outcome = loop {
            let mut left = match ring.available() {
                Ok(left) => left,
                Err(error) => break Err(error),
            };
            if left == 0 {
                match ring.listen(0) {
                    Ok(true) => continue,
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            ring.hush();
            let mut error = None;
            while left > 0 && budget > 0 && !full {
                left -= 1;
                budget -= 1;
                let backend = &mut *self.backend;
                let segments = &mut self.segments;
                match step(&mut ring, &rules, now, backend, segments, counters) {
                    Ok(Step::Done) if learn => {
                        let mut head = [0; 64];
                        if let Some(n) = read_head(ring.memory(), segments, &mut head) {
                            self.steering.learn(&head[..n], index);
                        }
                    }
                    Ok(Step::Done) => {}
                    Ok(Step::Full) => full = true,
                    Err(broken) => {
                        error = Some(broken);
                        break;
                    }
                }
            }
            if let Some(error) = error {
                break Err(error);
            }
            if budget == 0 || full {
                break Ok(());
            }
        };
        if budget < BUDGET {
            ring.publish();
            let tell = active.moderation.add(now, BUDGET - budget);
            if tell && ring.wants_interrupt() {
                counters.interrupts += 1;
                active.irq.deliver();
            }
        }
        outcome?;
        if full {
            // The back end wakes us when it has room again.
            counters.backpressure += 1;
            active.kicked = true;
        }
        active.kicked |= budget == 0;
        Ok(budget == 0 && !full)
    }
}

#[inline]
fn step(
    ring: &mut Ring<'_>,
    rules: &Rules,
    now: SimTime,
    backend: &mut dyn NetBackend,
    segments: &mut Vec<Segment>,
    counters: &mut QueueCounters,
) -> Result<Step, RingError> {
    let head = ring.head(0)?;
    segments.clear();
    let header_len = u64::from(rules.header_len);
    let mut len = 0;
    let cause = match ring.walk(head, segments) {
        Err(_) => Some(&mut counters.malformed),
        Ok(walk) if walk.writable_len > 0 || walk.readable_len < header_len + MIN_FRAME => {
            Some(&mut counters.malformed)
        }
        Ok(walk) if walk.readable_len > header_len + u64::from(MAX_FRAME) => {
            Some(&mut counters.oversize)
        }
        Ok(_) if !rules.link_up => Some(&mut counters.link_down),
        Ok(walk) => {
            len = (walk.readable_len - header_len) as u32;
            None
        }
    };
    if let Some(cause) = cause {
        *cause += 1;
        ring.consume(1);
        ring.push_used(head, 0);
        return Ok(Step::Done);
    }
    let ram = ring.memory();
    let header = take_header(ram, segments, rules.header_len as usize);
    let Some((header, skip)) = header.filter(|(header, _)| valid(header, len, rules)) else {
        counters.bad_header += 1;
        ring.consume(1);
        ring.push_used(head, 0);
        return Ok(Step::Done);
    };
    let frame = FrameRef {
        header: &header,
        len,
        segments: segments.get(skip..).unwrap_or_default(),
        memory: ram,
        queue: rules.pair,
    };
    if backend.transmit(now, frame) == TxStatus::Full {
        return Ok(Step::Full);
    }
    counters.frames += 1;
    counters.bytes += u64::from(len);
    ring.consume(1);
    ring.push_used(head, 0);
    Ok(Step::Done)
}

/// Reads the header and cuts it off the front of `segments`. Returns how many
/// segments are used up; the next one starts behind the header.
#[inline]
fn take_header(
    ram: RamView<'_>,
    segments: &mut [Segment],
    header_len: usize,
) -> Option<(Header, usize)> {
    // With a hash behind it that says nothing in this direction.
    let mut raw = [0u8; Header::LEN + 8];
    let mut done = 0;
    for (i, segment) in segments.iter_mut().enumerate() {
        let n = (header_len - done).min(segment.len as usize);
        if !ram.read(segment.address, raw.get_mut(done..done + n)?) {
            return None;
        }
        done += n;
        segment.address += n as u64;
        segment.len -= n as u32;
        if done == header_len {
            let skip = i + usize::from(segment.len == 0);
            return Some((Header::from_bytes(raw.first_chunk()?), skip));
        }
    }
    None
}

/// Reads the start of a frame, for steering. The header is cut off already.
fn read_head(ram: RamView<'_>, segments: &[Segment], into: &mut [u8; 64]) -> Option<usize> {
    let first = segments.iter().find(|segment| segment.len > 0)?;
    let n = into.len().min(first.len as usize);
    ram.read(first.address, &mut into[..n]).then_some(n)
}

/// Whether the header was negotiated and points into the frame
/// (virtio 1.2, section 5.1.6.2).
#[inline]
fn valid(header: &Header, len: u32, rules: &Rules) -> bool {
    if header.flags & Header::NEEDS_CSUM != 0 {
        let end = u32::from(header.csum_start) + u32::from(header.csum_offset) + 2;
        if end > len {
            return false;
        }
    }
    let gso = header.gso_type & !Header::GSO_ECN != Header::GSO_NONE;
    if gso && (header.gso_size == 0 || header.flags & Header::NEEDS_CSUM == 0) {
        return false;
    }
    rules.offloads.allows(header)
}
