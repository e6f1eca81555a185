//! One side's end of a pair of rings, for whoever has plain buffers: the
//! network agent, and a NIC on a real card.

use super::layout::META_LEN;
use super::{
    Cause, Consumer, Frame, Geometry, Polled, Producer, Refusal, RingFault, RingMemory, Taken,
};
use serde::Serialize;

/// Frames after which a batch is published although it goes on.
const PUBLISH_FRAMES: u32 = 64;

/// What an end has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndCounters {
    /// Frames put into the ring.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames taken out.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that fit no ring: they were dropped.
    pub dropped_size: u64,
    /// Times that the ring was full.
    pub stalls: u64,
    /// Frames that were in the ring when the peer started anew.
    pub lost: u64,
    /// Times that the peer started anew.
    pub restarts: u64,
    /// Nonsense found in the rings.
    pub corruptions: u64,
}

impl std::ops::Add for EndCounters {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received: self.received + other.received,
            received_bytes: self.received_bytes + other.received_bytes,
            dropped_size: self.dropped_size + other.dropped_size,
            stalls: self.stalls + other.stalls,
            lost: self.lost + other.lost,
            restarts: self.restarts + other.restarts,
            corruptions: self.corruptions + other.corruptions,
        }
    }
}

/// The producer of one ring and the consumer of the other.
///
/// A batch is any number of [`End::send`] and [`End::receive`] calls and one
/// [`End::flush`], also when nothing was moved.
#[derive(Debug)]
pub struct End<M> {
    memory: M,
    producer: Producer<M>,
    consumer: Consumer<M>,
    staged: u32,
    sent_fresh: bool,
    taken_fresh: bool,
    counters: EndCounters,
}

impl<M: RingMemory + Clone> End<M> {
    /// Takes this side's places: frames of an earlier holder are gone.
    pub fn attach(memory: M, send: Geometry, receive: Geometry) -> Result<Self, RingFault> {
        Ok(Self {
            producer: Producer::start(memory.clone(), send)?,
            consumer: Consumer::start(memory.clone(), receive)?,
            memory,
            staged: 0,
            sent_fresh: false,
            taken_fresh: false,
            counters: EndCounters::default(),
        })
    }
    /// What was counted since it was attached.
    pub fn counters(&self) -> EndCounters {
        self.counters
    }
    /// Frames in this side's ring, as far as it knows.
    pub fn depth(&self) -> u32 {
        self.producer.depth()
    }
    /// Whether the peer follows this side's ring.
    pub fn has_peer(&self) -> bool {
        self.producer.has_consumer()
    }

    /// Puts one frame into the ring. `false` when it is full: offer the frame
    /// again later. A frame that fits no ring is counted and dropped.
    pub fn send(&mut self, meta: &[u8; META_LEN], frame: &[u8]) -> Result<bool, RingFault> {
        if !std::mem::replace(&mut self.sent_fresh, true) {
            self.look()?;
        }
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let mut room = self.producer.reserve(len);
        if room.is_err_and(|refusal| refusal == Refusal::Full) {
            self.publish()?;
            self.look()?;
            room = self.producer.reserve(len);
        }
        let room = match room {
            Ok(room) => room,
            Err(Refusal::Size) => {
                self.counters.dropped_size += 1;
                return Ok(true);
            }
            Err(Refusal::Full) => {
                self.counters.stalls += 1;
                return Ok(false);
            }
        };
        let (first, second) = frame.split_at(room.payload.0[0].1 as usize);
        self.memory.write(room.payload.0[0].0, first)?;
        if !second.is_empty() {
            self.memory.write(room.payload.0[1].0, second)?;
        }
        self.producer.commit(room, meta)?;
        self.counters.sent += 1;
        self.counters.sent_bytes += u64::from(len);
        self.staged += 1;
        if self.staged >= PUBLISH_FRAMES {
            self.publish()?;
        }
        Ok(true)
    }

    /// The oldest frame that has come, without taking it.
    pub fn peek(&mut self) -> Result<Option<Frame>, RingFault> {
        if !self.consumer.available() || !self.taken_fresh {
            self.taken_fresh = true;
            let polled = self.consumer.poll()?;
            self.note(polled);
            self.consumer.read_ahead()?;
        }
        match self.consumer.peek()? {
            Ok(frame) => Ok(frame),
            Err(_) => {
                self.counters.corruptions += 1;
                Ok(None)
            }
        }
    }
    /// Takes the frame of the last [`End::peek`] into `bytes`, which becomes as
    /// long as the frame. `false` when the frame has vanished.
    pub fn take(&mut self, frame: &Frame, bytes: &mut Vec<u8>) -> Result<bool, RingFault> {
        bytes.resize(frame.len as usize, 0);
        let (first, second) = bytes.split_at_mut(frame.payload.0[0].1 as usize);
        self.memory.read(frame.payload.0[0].0, first)?;
        if !second.is_empty() {
            self.memory.read(frame.payload.0[1].0, second)?;
        }
        self.discard(frame)
    }
    /// As [`End::take`], without its bytes.
    pub fn discard(&mut self, frame: &Frame) -> Result<bool, RingFault> {
        if self.consumer.take(frame)? == Taken::Gone {
            self.taken_fresh = false;
            return Ok(false);
        }
        self.counters.received += 1;
        self.counters.received_bytes += u64::from(frame.len);
        if self.consumer.unpublished() > self.producer.geometry().limit() / 2 {
            self.consumer.publish()?;
        }
        Ok(true)
    }

    /// Ends a batch: shows the peer what changed and answers its requests.
    pub fn flush(&mut self) -> Result<(), RingFault> {
        self.publish()?;
        if !std::mem::replace(&mut self.sent_fresh, false) {
            self.look()?;
        }
        self.taken_fresh = false;
        self.consumer.publish()?;
        Ok(())
    }

    fn publish(&mut self) -> Result<(), RingFault> {
        self.staged = 0;
        self.producer.publish().map(drop)
    }
    fn look(&mut self) -> Result<(), RingFault> {
        let depth = self.producer.depth();
        let polled = self.producer.poll()?;
        if polled != Polled::Same {
            self.staged = 0;
            self.counters.lost += u64::from(depth);
        }
        self.note(polled);
        Ok(())
    }
    fn note(&mut self, polled: Polled) {
        match polled {
            Polled::Same => {}
            Polled::NewEpoch(Cause::Peer) => self.counters.restarts += 1,
            Polled::NewEpoch(Cause::Corrupt(_)) => self.counters.corruptions += 1,
        }
    }
}
