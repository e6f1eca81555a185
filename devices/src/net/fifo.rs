//! A byte ring of frames with their headers.

use super::{FrameRef, FrameSink, Header, ReadBytes, RxStatus, deliver};
use bus::SimTime;

/// Frame records in one byte ring: length (4 bytes), header (12), arrival time
/// (8), frame; all contiguous. A record that would not fit before the end
/// starts at 0 again.
#[derive(Debug)]
pub(crate) struct Fifo {
    bytes: Box<[u8]>,
    head: usize,
    tail: usize,
    /// End of the data before the wrap, when `tail <= head`.
    end: usize,
    frames: usize,
}

/// The oldest frame of a [`Fifo`].
#[derive(Debug)]
pub(crate) struct Front<'a> {
    pub header: Header,
    pub arrives: SimTime,
    pub bytes: &'a [u8],
    record: usize,
}

const PREFIX: usize = 4 + Header::LEN + 8;
const ALIGN: usize = 8;

impl Fifo {
    /// Room for `size` bytes of records.
    pub fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            head: 0,
            tail: 0,
            end: 0,
            frames: 0,
        }
    }
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }
    pub fn frames(&self) -> usize {
        self.frames
    }
    pub fn clear(&mut self) {
        (self.head, self.tail, self.end, self.frames) = (0, 0, 0, 0);
    }
    /// Whether a frame of `len` bytes fits now. One that can never fit is said
    /// to, so that it is not waited for.
    pub fn fits(&self, len: u32) -> bool {
        let need = record(len);
        need > self.bytes.len() || self.room(need).is_some()
    }
    /// Copies a frame in, to be seen from `arrives` on. `false` when there is no
    /// room. A frame that can never fit is taken and forgotten; front ends bound
    /// the length well below.
    pub fn push(&mut self, frame: &FrameRef<'_>, arrives: SimTime) -> bool {
        let need = record(frame.len);
        let Some(at) = self.room(need) else {
            return need > self.bytes.len();
        };
        self.put(at, need, frame, arrives, |_| true);
        true
    }
    /// Copies a frame in if there is room and its bytes are to the liking of
    /// `accept`, which sees the copy. Whether it is in.
    pub fn push_if(
        &mut self,
        frame: &FrameRef<'_>,
        arrives: SimTime,
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let need = record(frame.len);
        let room = self.room(need);
        room.is_some_and(|at| self.put(at, need, frame, arrives, accept))
    }
    #[inline]
    fn put(
        &mut self,
        at: usize,
        need: usize,
        frame: &FrameRef<'_>,
        arrives: SimTime,
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Some(record) = self.bytes.get_mut(at..at + need) else {
            return false;
        };
        let (prefix, bytes) = record.split_at_mut(PREFIX);
        if !frame.copy_to(bytes) || !accept(bytes) {
            return false;
        }
        prefix[..4].copy_from_slice(&frame.len.to_le_bytes());
        prefix[4..4 + Header::LEN].copy_from_slice(&frame.header.to_bytes());
        prefix[PREFIX - 8..].copy_from_slice(&arrives.0.to_le_bytes());
        if at < self.tail {
            self.end = self.tail;
        }
        self.tail = at + need;
        self.frames += 1;
        true
    }
    /// Delivers what has arrived at `now`, until the sink refuses.
    pub fn drain(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        while let Some(front) = self.front().filter(|front| front.arrives <= now) {
            if !deliver(sink, &front.header, ReadBytes(front.bytes, &[])) {
                return RxStatus::Blocked;
            }
            let record = front.record;
            self.pop(record);
        }
        RxStatus::Idle
    }
    /// The oldest frame.
    pub fn front(&self) -> Option<Front<'_>> {
        if self.frames == 0 {
            return None;
        }
        let head = if self.at_end() { 0 } else { self.head };
        let (len, rest) = self.bytes.get(head..)?.split_first_chunk::<4>()?;
        let (header, rest) = rest.split_first_chunk::<{ Header::LEN }>()?;
        let (arrives, rest) = rest.split_first_chunk::<8>()?;
        let len = u32::from_le_bytes(*len);
        Some(Front {
            header: Header::from_bytes(header),
            arrives: SimTime(u64::from_le_bytes(*arrives)),
            bytes: rest.get(..len as usize)?,
            record: record(len),
        })
    }
    /// Forgets the oldest frame, whose record takes `record` bytes.
    fn pop(&mut self, record: usize) {
        if self.at_end() {
            self.head = 0;
        }
        self.head += record;
        self.frames = self.frames.saturating_sub(1);
        if self.frames == 0 {
            self.clear();
        }
    }
    /// Whether the data wrapped and the part before the wrap is used up.
    fn at_end(&self) -> bool {
        self.tail <= self.head && self.head == self.end
    }
    fn room(&self, need: usize) -> Option<usize> {
        if self.frames == 0 {
            return (need <= self.bytes.len()).then_some(0);
        }
        if self.tail > self.head {
            if self.bytes.len() - self.tail >= need {
                return Some(self.tail);
            }
            return (need <= self.head).then_some(0);
        }
        // Wrapped: data is head..end and 0..tail.
        (self.head - self.tail >= need).then_some(self.tail)
    }
}

fn record(len: u32) -> usize {
    (PREFIX + len as usize).next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::{RamView, Segment};
    use std::collections::VecDeque;
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn it_is_a_queue_at_every_wrap() {
        let ram = bus::create_ram(&[(0, 0x1_0000)]).unwrap();
        let noise = bus::fuzz::noise(7, 0x1_0000);
        ram.write_slice(&noise, GuestAddress(0)).unwrap();
        for size in [64, 100, 1000, 1001, 4096] {
            let mut fifo = Fifo::new(size);
            let mut model: VecDeque<(Vec<u8>, Header)> = VecDeque::new();
            let mut sent = 0;
            for (i, step) in noise.chunks_exact(4).enumerate() {
                if step[0] < 140 {
                    let len = u32::from(step[1]) % (size as u32 / 3).max(20) + 1;
                    let at = u64::from(step[2]) * 64;
                    let header = Header {
                        csum_start: i as u16,
                        ..Header::default()
                    };
                    let frame = FrameRef {
                        header: &header,
                        len,
                        segments: &[Segment { address: at, len }],
                        memory: RamView::new(&ram, at),
                        queue: 0,
                    };
                    assert_eq!(fifo.fits(len), fifo.room(record(len)).is_some());
                    if fifo.push(&frame, SimTime(i as u64)) {
                        let at = at as usize;
                        model.push_back((noise[at..at + len as usize].to_vec(), header));
                        sent += 1;
                    }
                } else if let Some(front) = fifo.front() {
                    let want = model.pop_front().unwrap();
                    assert_eq!((front.bytes, front.header), (&want.0[..], want.1));
                    let record = front.record;
                    fifo.pop(record);
                }
                assert_eq!(fifo.frames(), model.len());
            }
            assert!(sent > 1000, "{sent} frames through {size} bytes");
        }
    }
}
