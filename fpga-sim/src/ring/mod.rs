//! The frame ring in card memory.
//!
//! One ring carries frames one way. Its producer and its consumer may be a
//! device of this monitor, a program on `/dev/mem` of a real board, or a
//! program that reaches card memory only by DMA; the code is the same over
//! [`RingMemory`]. See [`layout`] for the bytes.
//!
//! Ownership is strict: each line of the header has one writer. Every word that
//! moves (head, tail, credits) carries the *epoch* it belongs to, so that a
//! word of the time before a restart can never be taken for a new one:
//!
//! * The producer starts an epoch whenever it starts, finds nonsense in the
//!   consumer's line, or is asked to by the consumer. Frames of older epochs
//!   are gone. The consumer follows when it sees the new epoch in `head`.
//! * A consumer that restarts in the middle of an epoch, or finds nonsense in
//!   the ring, writes a new `request`; the producer answers it with an epoch.
//!
//! Nothing that is read from the ring is trusted. A side never reads back what
//! it wrote itself, checks what the other side wrote against what is possible,
//! and never touches memory outside the ring.

mod batch;
mod consumer;
mod end;
pub mod layout;
mod memory;
mod producer;
#[cfg(test)]
mod tests;

pub use batch::Batched;
pub use consumer::{Consumer, Frame, Taken};
pub use end::{End, EndCounters};
pub use layout::{Geometry, GeometryError, MAX_FRAME, META_LEN, MIN_FRAME, Spans};
pub use memory::{DdrWindow, RingFault, RingMemory};
pub use producer::{Producer, Refusal, Reservation};

/// What a side found when it looked at the other side's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing out of the ordinary.
    Same,
    /// A new epoch began; frames of the old one are gone.
    NewEpoch(Cause),
}

/// Why an epoch began, as the side that tells it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The other side restarted or asked for it.
    Peer,
    /// The other side's words cannot be right.
    Corrupt(Nonsense),
}

/// What was wrong with a word that the other side wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// Magic, version or geometry changed.
    Header,
    /// `head` moved backwards or by more than the ring holds.
    Head,
    /// `tail` moved backwards or past `head`.
    Tail,
    /// `credits` moved backwards or grant more than the ring's slots.
    Credits,
    /// A record's length or check word is wrong.
    Record,
}
