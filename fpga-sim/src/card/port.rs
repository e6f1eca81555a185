//! A card as a NIC back end sees it: one port for each side.

use super::direction::Wakes;
use super::{Side, SimCard};
use crate::ring::{META_LEN, RingFault};
use bus::{DmaTarget, Segment, SimTime};
use std::sync::Arc;

/// What became of a frame that a NIC gave to the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TxStatus {
    /// The card has it, or dropped and counted it: the buffers are free.
    Sent,
    /// The FIFO is full: offer the frame again when woken or at
    /// [`CardPort::next_event`].
    Full,
}

/// The oldest frame that a port can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// Bytes.
    pub len: u32,
    /// The sender's metadata.
    pub meta: [u8; META_LEN],
}

/// Whether a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TakeStatus {
    /// All its bytes are in the buffers.
    Taken,
    /// The frame vanished (the FIFO was reset, or dropped its oldest): the
    /// buffers hold nothing. Peek again.
    Gone,
    /// The buffers are too small or not memory, or Bus Master Enable is 0. The
    /// frame stays.
    BadBuffer,
}

/// A port that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot set up the frame ring: {0}")]
pub struct PortError(#[from] RingFault);

/// One side's access to the card's two FIFOs. It is used on the machine thread
/// of that side.
///
/// A batch is any number of `transmit`, `peek` and `take` calls and one `flush`
/// at the end, also when nothing was moved: it shows the other side what
/// changed and answers its requests. While a NIC is attached, it is serviced
/// when its side's wake fires, and at [`CardPort::next_event`].
pub trait CardPort: Send {
    /// Starts with `memory` as the place of all segments: when the driver has
    /// set up the NIC. Frames from before are gone, those that wait for a first
    /// receiver are not.
    fn attach(&mut self, memory: DmaTarget) -> Result<(), PortError>;
    /// Stops: when the driver has reset the NIC.
    fn detach(&mut self);
    /// Sends one frame, 14 to 65,550 bytes, with its metadata.
    fn transmit(&mut self, now: SimTime, meta: &[u8; META_LEN], frame: &[Segment]) -> TxStatus;
    /// The oldest frame that has arrived at `now`.
    fn peek(&mut self, now: SimTime) -> Option<FrameInfo>;
    /// Copies the frame of the last `peek` to `into` and removes it. `into` may
    /// be longer than the frame. An empty `into` throws the frame away: for the
    /// card it is delivered.
    fn take(&mut self, now: SimTime, into: &[Segment]) -> TakeStatus;
    /// Ends a batch.
    fn flush(&mut self, now: SimTime);
    /// When the port next has something new: a frame arrives, or credits do
    /// while it waits for room. It may lie in the past while a frame waits to
    /// be taken. `None`: only a wake says it.
    fn next_event(&self) -> Option<SimTime>;
    /// Whether both sides have a NIC on the card.
    fn link_up(&self) -> bool;
}

/// One side of a simulated card.
#[derive(Debug)]
pub struct SimPort {
    card: Arc<SimCard>,
    side: Side,
    memory: Option<DmaTarget>,
}

impl SimPort {
    pub(super) fn new(card: Arc<SimCard>, side: Side) -> Self {
        Self {
            card,
            side,
            memory: None,
        }
    }
    /// Which side it is.
    pub fn side(&self) -> Side {
        self.side
    }
    /// The ends of both directions that this port does not hold are the peer's.
    fn wake_peer(&self, wakes: Wakes) {
        if wakes.consumer || wakes.producer {
            self.card.wake(self.side.other());
        }
    }
}

impl CardPort for SimPort {
    fn attach(&mut self, memory: DmaTarget) -> Result<(), PortError> {
        self.memory = Some(memory);
        self.card.from(self.side).attach_producer()?;
        self.card.to(self.side).attach_consumer()?;
        // It may have asked for a new epoch, or have frames to be seen.
        self.card.wake(self.side.other());
        self.card.wake(self.side);
        Ok(())
    }
    fn detach(&mut self) {
        self.memory = None;
        self.card.from(self.side).detach_producer();
        self.card.to(self.side).detach_consumer();
    }
    fn transmit(&mut self, now: SimTime, meta: &[u8; META_LEN], frame: &[Segment]) -> TxStatus {
        let mut wakes = Wakes::default();
        let Some(memory) = &self.memory else {
            return TxStatus::Full;
        };
        let out = self.card.from(self.side);
        let link = self.card.link();
        let status = out.transmit(now, link, meta, memory.memory(), frame, &mut wakes);
        self.wake_peer(wakes);
        status
    }
    fn peek(&mut self, now: SimTime) -> Option<FrameInfo> {
        let mut wakes = Wakes::default();
        let frame = self
            .card
            .to(self.side)
            .peek(now, self.card.link(), &mut wakes);
        self.wake_peer(wakes);
        frame
    }
    fn take(&mut self, now: SimTime, into: &[Segment]) -> TakeStatus {
        let Some(memory) = &self.memory else {
            return TakeStatus::BadBuffer;
        };
        let mut wakes = Wakes::default();
        let status = self
            .card
            .to(self.side)
            .take(now, memory.memory(), into, &mut wakes);
        self.wake_peer(wakes);
        status
    }
    fn flush(&mut self, now: SimTime) {
        let mut wakes = Wakes::default();
        self.card
            .from(self.side)
            .flush_sent(now, self.card.link(), &mut wakes);
        self.card.to(self.side).flush_taken(now, &mut wakes);
        self.wake_peer(wakes);
    }
    fn next_event(&self) -> Option<SimTime> {
        let frame = self.card.to(self.side).next_frame();
        let credit = self.card.from(self.side).next_credit();
        frame.into_iter().chain(credit).min()
    }
    fn link_up(&self) -> bool {
        self.card.from(self.side).is_up() && self.card.to(self.side).is_up()
    }
}
