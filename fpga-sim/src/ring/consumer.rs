//! The side that takes frames out.

use super::layout::{
    CREDITS_WORD, Geometry, LINK_WORD, META_LEN, PRODUCER_LINE, RECORD_HEADER, REQUEST_WORD,
    RecordHeader, Spans, TAIL_WORD, Tagged, UNIT, record_units,
};
use std::sync::atomic::{Ordering, fence};

use super::{Cause, Nonsense, Polled, RingFault, RingMemory};

/// The oldest frame in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes.
    pub len: u32,
    /// Opaque metadata.
    pub meta: [u8; META_LEN],
    /// Where the bytes are.
    pub payload: Spans,
    position: u32,
    epoch: u32,
}

/// Whether a frame was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// Yes: its bytes were good until this call.
    Yes,
    /// The frame is not in the ring any more: what was copied is void.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for any epoch.
    New,
    /// Waits for the epoch that answers this request.
    Asked(u32),
    /// In step with the producer.
    Following,
}

/// The consumer of one ring.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    geometry: Geometry,
    state: State,
    epoch: u32,
    head: u32,
    tail: u32,
    published: u32,
    seq: u32,
    request: u32,
    odd_polls: u8,
}

/// What the producer wrote.
struct ProducerLine {
    magic: u64,
    geometry: u64,
    link: Tagged,
    head: Tagged,
}

impl ProducerLine {
    fn is_epoch(&self, epoch: u32) -> bool {
        self.link.epoch == epoch && self.head.epoch == epoch
    }
}

/// Most units that are read ahead: 256 KiB.
const AHEAD: u32 = 32 << 10;

/// Polls in a row that may find link and head of different epochs, or a request
/// not answered.
const ODD_POLLS: u8 = 3;

impl<M: RingMemory> Consumer<M> {
    /// Takes the consumer's place in the ring. When an earlier consumer has
    /// followed the current epoch, a new one is asked for: its frames are stale.
    pub fn start(memory: M, geometry: Geometry) -> Result<Self, RingFault> {
        let request = memory.load(geometry.at(REQUEST_WORD))? as u32;
        let tail = Tagged::from_word(memory.load(geometry.at(TAIL_WORD))?);
        let mut consumer = Self {
            memory,
            geometry,
            state: State::New,
            epoch: 0,
            head: 0,
            tail: 0,
            published: 0,
            seq: 0,
            request,
            odd_polls: 0,
        };
        let line = consumer.producer_line()?;
        if line.magic == Geometry::magic_word() && line.link.epoch == tail.epoch {
            consumer.ask()?;
        }
        Ok(consumer)
    }
    /// The epoch it follows, if any.
    pub fn epoch(&self) -> Option<u32> {
        (self.state == State::Following).then_some(self.epoch)
    }
    /// Frames taken in this epoch.
    pub fn taken(&self) -> u32 {
        self.seq
    }
    /// Whether the producer must act before any frame can come.
    pub fn waits_for_producer(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }
    /// Whether there are frames that [`Consumer::peek`] has not seen yet.
    pub fn available(&self) -> bool {
        self.state == State::Following && self.head != self.tail
    }
    /// Lets the memory read frames ahead that the last [`Consumer::poll`] saw.
    /// Taking them is as safe as without: see [`RingMemory::read_ahead`].
    pub fn read_ahead(&self) -> Result<(), RingFault> {
        let there = self.head.wrapping_sub(self.tail).min(AHEAD);
        if self.state != State::Following || there == 0 {
            return Ok(());
        }
        let spans = self.geometry.spans(self.tail, 0, there * UNIT as u32);
        self.memory.read_ahead(&spans, self.geometry.at(LINK_WORD))
    }
    /// Units freed and not yet given back.
    pub fn unpublished(&self) -> u32 {
        self.tail.wrapping_sub(self.published)
    }
    /// The words that [`Consumer::publish`] stores: tail and credits.
    pub fn credit_words(&self) -> (u64, u64) {
        let credits = self.seq.wrapping_add(self.geometry.slots());
        (self.tagged(self.tail), self.tagged(credits))
    }

    /// Gives up everything in the ring and asks the producer for a new epoch.
    pub fn ask(&mut self) -> Result<(), RingFault> {
        self.request = self.request.wrapping_add(1);
        self.state = State::Asked(self.request);
        (self.head, self.tail, self.published) = (0, 0, 0);
        self.odd_polls = 0;
        self.say_request()
    }

    /// Reads what the producer wrote. Call once per batch.
    pub fn poll(&mut self) -> Result<Polled, RingFault> {
        let line = self.producer_line()?;
        if self.state == State::Following && line.is_epoch(self.epoch) {
            self.odd_polls = 0;
            if !self.header_is_good(&line) {
                return self.corrupt(Nonsense::Header);
            }
            return self.see_head(line.head.value);
        }
        if line.head.epoch == 0 && self.state == State::New {
            return Ok(Polled::Same);
        }
        // The epoch is about to change: nothing of the old one is good.
        self.head = self.tail;
        if let State::Asked(request) = self.state
            && line.link.value != request
        {
            // Somebody may have written over the request: say it again. Or over
            // the answer: now and then, ask anew.
            self.odd_polls += 1;
            if self.odd_polls < ODD_POLLS {
                self.say_request()?;
            } else {
                self.ask()?;
            }
            return Ok(Polled::Same);
        }
        if line.head.epoch != line.link.epoch {
            // The producer writes link, then head. Seen again and again, this
            // is no moment between the two.
            self.odd_polls += 1;
            if self.odd_polls < ODD_POLLS {
                return Ok(Polled::Same);
            }
            return self.corrupt(Nonsense::Head);
        }
        // Magic and geometry were written before, but perhaps read too early.
        let line = self.producer_line()?;
        if !self.header_is_good(&line) {
            return self.corrupt(Nonsense::Header);
        }
        let first = self.state == State::New;
        self.adopt(line.link.epoch)?;
        if !line.is_epoch(self.epoch) {
            return Ok(Polled::Same);
        }
        match self.see_head(line.head.value)? {
            Polled::Same if !first => Ok(Polled::NewEpoch(Cause::Peer)),
            polled => Ok(polled),
        }
    }

    /// The oldest frame of those that the last [`Consumer::poll`] saw. A record
    /// that cannot be right ends the epoch; then there is no frame.
    pub fn peek(&mut self) -> Result<Result<Option<Frame>, Nonsense>, RingFault> {
        if !self.available() {
            return Ok(Ok(None));
        }
        let mut bytes = [0; RECORD_HEADER];
        let spans = self.geometry.spans(self.tail, 0, RECORD_HEADER as u32);
        let (first, second) = bytes.split_at_mut(spans.0[0].1 as usize);
        self.memory.read(spans.0[0].0, first)?;
        if !second.is_empty() {
            self.memory.read(spans.0[1].0, second)?;
        }
        let there = self.head.wrapping_sub(self.tail);
        let header = RecordHeader::parse(&bytes, self.seq, self.epoch)
            .filter(|header| record_units(header.len) <= there);
        let Some(header) = header else {
            self.ask()?;
            return Ok(Err(Nonsense::Record));
        };
        Ok(Ok(Some(Frame {
            len: header.len,
            meta: header.meta,
            payload: self
                .geometry
                .spans(self.tail, RECORD_HEADER as u32, header.len),
            position: self.tail,
            epoch: self.epoch,
        })))
    }

    /// Whether `frame` is still the oldest frame, as far as this side knows.
    pub fn is_oldest(&self, frame: &Frame) -> bool {
        self.available() && frame.epoch == self.epoch && frame.position == self.tail
    }

    /// Takes out `frame`, whose bytes were copied. The room is given back by
    /// [`Consumer::publish`].
    pub fn take(&mut self, frame: &Frame) -> Result<Taken, RingFault> {
        if !self.is_oldest(frame) {
            return Ok(Taken::Gone);
        }
        // If the producer started anew meanwhile, it may have written over the
        // bytes while they were copied. It changes the link word before that.
        fence(Ordering::Acquire);
        let link = Tagged::from_word(self.memory.load(self.geometry.at(LINK_WORD))?);
        if link.epoch != self.epoch {
            self.head = self.tail;
            return Ok(Taken::Gone);
        }
        self.tail = self.tail.wrapping_add(record_units(frame.len));
        self.seq = self.seq.wrapping_add(1);
        Ok(Taken::Yes)
    }

    /// Gives the room of all frames taken back to the producer. `false` when
    /// there was none.
    pub fn publish(&mut self) -> Result<bool, RingFault> {
        if self.state != State::Following || self.tail == self.published {
            return Ok(false);
        }
        let (tail, credits) = self.credit_words();
        self.memory.store(self.geometry.at(TAIL_WORD), tail)?;
        self.memory.store(self.geometry.at(CREDITS_WORD), credits)?;
        self.published = self.tail;
        Ok(true)
    }

    fn say_request(&self) -> Result<(), RingFault> {
        let word = u64::from(self.request);
        self.memory.store(self.geometry.at(REQUEST_WORD), word)
    }

    fn producer_line(&self) -> Result<ProducerLine, RingFault> {
        let mut words = [0; 4];
        self.memory
            .load_line(self.geometry.at(PRODUCER_LINE), &mut words)?;
        Ok(ProducerLine {
            magic: words[0],
            geometry: words[1],
            link: Tagged::from_word(words[2]),
            head: Tagged::from_word(words[3]),
        })
    }

    fn header_is_good(&self, line: &ProducerLine) -> bool {
        line.magic == Geometry::magic_word() && line.geometry == self.geometry.word()
    }

    fn tagged(&self, value: u32) -> u64 {
        Tagged {
            value,
            epoch: self.epoch,
        }
        .word()
    }

    fn adopt(&mut self, epoch: u32) -> Result<(), RingFault> {
        self.state = State::Following;
        self.epoch = epoch;
        (self.head, self.tail, self.published, self.seq) = (0, 0, 0, 0);
        self.odd_polls = 0;
        let (tail, credits) = self.credit_words();
        self.memory.store(self.geometry.at(TAIL_WORD), tail)?;
        self.memory.store(self.geometry.at(CREDITS_WORD), credits)
    }

    fn see_head(&mut self, head: u32) -> Result<Polled, RingFault> {
        let there = head.wrapping_sub(self.tail);
        if there > self.geometry.limit() || there < self.head.wrapping_sub(self.tail) {
            return self.corrupt(Nonsense::Head);
        }
        self.head = head;
        Ok(Polled::Same)
    }

    fn corrupt(&mut self, nonsense: Nonsense) -> Result<Polled, RingFault> {
        self.ask()?;
        Ok(Polled::NewEpoch(Cause::Corrupt(nonsense)))
    }
}
