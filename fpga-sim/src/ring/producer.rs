//! The side that puts frames in.

use super::layout::{
    CONSUMER_LINE, GEOMETRY_WORD, Geometry, HEAD_WORD, LINK_WORD, MAGIC_WORD, MAX_FRAME, META_LEN,
    MIN_FRAME, RECORD_HEADER, RecordHeader, Spans, Tagged, record_units,
};
use std::sync::atomic::{Ordering, fence};

use super::{Cause, Nonsense, Polled, RingFault, RingMemory};

/// Why no room was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ring has no room now.
    Full,
    /// The frame is shorter or longer than a frame can be, or does not fit even
    /// an empty ring.
    Size,
}

/// Room for one frame. Fill `payload`, then give it to [`Producer::commit`].
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// Where the frame's bytes go.
    pub payload: Spans,
    len: u32,
}

/// The producer of one ring.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    geometry: Geometry,
    epoch: u32,
    ack: u32,
    head: u32,
    published: u32,
    seq: u32,
    tail: u32,
    consumed: u32,
    adopted: bool,
}

impl<M: RingMemory> Producer<M> {
    /// Takes the producer's place in the ring and starts a new epoch.
    pub fn start(memory: M, geometry: Geometry) -> Result<Self, RingFault> {
        let old = Tagged::from_word(memory.load(geometry.at(LINK_WORD))?);
        let mut producer = Self {
            memory,
            geometry,
            epoch: old.epoch,
            ack: 0,
            head: 0,
            published: 0,
            seq: 0,
            tail: 0,
            consumed: 0,
            adopted: false,
        };
        let request = producer.consumer_line()?[2];
        producer.begin_epoch(request as u32)?;
        Ok(producer)
    }
    /// The number of the current epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
    /// Frames committed in this epoch.
    pub fn sent(&self) -> u32 {
        self.seq
    }
    /// Frames of this epoch that the consumer said it has taken.
    pub fn consumed(&self) -> u32 {
        self.consumed
    }
    /// Frames that are in the ring as far as this side knows.
    pub fn depth(&self) -> u32 {
        self.seq.wrapping_sub(self.consumed)
    }
    /// Whether a consumer follows this epoch.
    pub fn has_consumer(&self) -> bool {
        self.adopted
    }
    /// Bytes of records that were committed and not yet published.
    pub fn unpublished(&self) -> u64 {
        u64::from(self.head.wrapping_sub(self.published)) * super::layout::UNIT
    }
    /// The ring's place and limits.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Starts a new epoch: every frame in the ring is gone.
    pub fn restart(&mut self) -> Result<(), RingFault> {
        let request = self.consumer_line()?[2];
        self.begin_epoch(request as u32)
    }

    /// Reads what the consumer wrote. Call once per batch.
    pub fn poll(&mut self) -> Result<Polled, RingFault> {
        let [tail, credits, request] = self.consumer_line()?;
        if request as u32 != self.ack {
            self.begin_epoch(request as u32)?;
            return Ok(Polled::NewEpoch(Cause::Peer));
        }
        match self.apply(tail, credits) {
            Ok(()) => Ok(Polled::Same),
            Err(nonsense) => {
                self.begin_epoch(request as u32)?;
                Ok(Polled::NewEpoch(Cause::Corrupt(nonsense)))
            }
        }
    }

    /// As [`Producer::poll`], for a producer that gets the consumer's tail and
    /// credits by [`Producer::apply`]: only looks for a request.
    pub fn poll_request(&mut self) -> Result<Polled, RingFault> {
        let request = self.consumer_line()?[2] as u32;
        if request == self.ack {
            return Ok(Polled::Same);
        }
        self.begin_epoch(request)?;
        Ok(Polled::NewEpoch(Cause::Peer))
    }

    /// Takes over the consumer's tail and credits words, when they are possible.
    pub fn apply(&mut self, tail: u64, credits: u64) -> Result<(), Nonsense> {
        let (tail, credits) = (Tagged::from_word(tail), Tagged::from_word(credits));
        // A consumer adopts an epoch by the tail, then the credits word. Until
        // both are there it has taken nothing of this epoch.
        if tail.epoch == self.epoch {
            let freed = tail.value.wrapping_sub(self.tail);
            if freed > self.published.wrapping_sub(self.tail) {
                return Err(Nonsense::Tail);
            }
            self.tail = tail.value;
        } else if self.adopted {
            return Err(Nonsense::Tail);
        }
        if credits.epoch == self.epoch {
            let consumed = credits.value.wrapping_sub(self.geometry.slots());
            let more = consumed.wrapping_sub(self.consumed);
            if more > self.seq.wrapping_sub(self.consumed) {
                return Err(Nonsense::Credits);
            }
            self.consumed = consumed;
            self.adopted = true;
        } else if self.adopted || self.tail != 0 {
            // Room comes back only after both words were there. Waiting for the
            // credits would be waiting for ever: they come with the next frame.
            return Err(Nonsense::Credits);
        }
        Ok(())
    }

    /// Reserves room for a frame of `len` bytes by what is known of the
    /// consumer since the last [`Producer::poll`]. The next call gives the same
    /// room unless the reservation was committed.
    pub fn reserve(&self, len: u32) -> Result<Reservation, Refusal> {
        let units = record_units(len.min(MAX_FRAME));
        if !(MIN_FRAME..=MAX_FRAME).contains(&len) || units > self.geometry.limit() {
            return Err(Refusal::Size);
        }
        let used = self.head.wrapping_sub(self.tail);
        if used + units > self.geometry.limit() || self.depth() >= self.geometry.slots() {
            return Err(Refusal::Full);
        }
        Ok(Reservation {
            payload: self.geometry.spans(self.head, RECORD_HEADER as u32, len),
            len,
        })
    }

    /// Adds the frame whose bytes are in place. It is not visible to the
    /// consumer before [`Producer::publish`].
    pub fn commit(&mut self, room: Reservation, meta: &[u8; META_LEN]) -> Result<(), RingFault> {
        let header = RecordHeader {
            len: room.len,
            seq: self.seq,
            meta: *meta,
        }
        .to_bytes(self.epoch);
        let spans = self.geometry.spans(self.head, 0, RECORD_HEADER as u32);
        let (first, second) = header.split_at(spans.0[0].1 as usize);
        self.memory.write(spans.0[0].0, first)?;
        if !second.is_empty() {
            self.memory.write(spans.0[1].0, second)?;
        }
        self.head = self.head.wrapping_add(record_units(room.len));
        self.seq = self.seq.wrapping_add(1);
        Ok(())
    }

    /// Makes all committed frames visible. `false` when there were none.
    pub fn publish(&mut self) -> Result<bool, RingFault> {
        if self.head == self.published {
            return Ok(false);
        }
        self.store(HEAD_WORD, self.head)?;
        self.published = self.head;
        Ok(true)
    }

    fn consumer_line(&self) -> Result<[u64; 3], RingFault> {
        let mut words = [0; 3];
        self.memory
            .load_line(self.geometry.at(CONSUMER_LINE), &mut words)?;
        Ok(words)
    }

    fn store(&self, offset: u64, value: u32) -> Result<(), RingFault> {
        let word = Tagged {
            value,
            epoch: self.epoch,
        };
        self.memory.store(self.geometry.at(offset), word.word())
    }

    fn begin_epoch(&mut self, ack: u32) -> Result<(), RingFault> {
        // Epoch 0 is what zeroed memory says: never a live one.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.ack = ack;
        (self.head, self.published, self.seq) = (0, 0, 0);
        (self.tail, self.consumed, self.adopted) = (0, 0, false);
        let at = |offset| self.geometry.at(offset);
        self.memory.store(at(MAGIC_WORD), Geometry::magic_word())?;
        self.memory.store(at(GEOMETRY_WORD), self.geometry.word())?;
        self.store(LINK_WORD, ack)?;
        self.store(HEAD_WORD, 0)?;
        // A consumer that copies a record of the old epoch must see the new
        // link word once any byte of the record is overwritten.
        fence(Ordering::SeqCst);
        Ok(())
    }
}
