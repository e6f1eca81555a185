//! What a card counted.

use bus::SimTime;
use serde::Serialize;

/// Frames that were not delivered, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The FIFO was full and its policy is `drop-new`.
    pub full_new: u64,
    /// The FIFO was full and its policy is `drop-oldest`.
    pub full_oldest: u64,
    /// Shorter than 14 or longer than 65,550 bytes, or larger than the FIFO.
    pub size: u64,
    /// The sender's buffers could not be read (no memory there, or Bus Master
    /// Enable is 0).
    pub dma: u64,
    /// They were in the FIFO when a side restarted.
    pub restart: u64,
    /// They were in the FIFO when it was found corrupt.
    pub corrupt: u64,
}

impl Dropped {
    /// All causes.
    pub fn total(&self) -> u64 {
        self.full_new + self.full_oldest + self.size + self.dma + self.restart + self.corrupt
    }
    pub(crate) fn add(&mut self, other: &Self) {
        self.full_new += other.full_new;
        self.full_oldest += other.full_oldest;
        self.size += other.size;
        self.dma += other.dma;
        self.restart += other.restart;
        self.corrupt += other.corrupt;
    }
}

/// One direction of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionCounters {
    /// Frames that the sender handed over.
    pub sent: u64,
    /// Bytes of these frames.
    pub sent_bytes: u64,
    /// Frames that the receiver took.
    pub delivered: u64,
    /// Bytes of these frames.
    pub delivered_bytes: u64,
    /// Frames lost, by cause.
    pub dropped: Dropped,
    /// Frames in the FIFO.
    pub in_flight: u64,
    /// Times that the FIFO became visible to the receiver: doorbells.
    pub doorbells: u64,
    /// Times that a sender found the FIFO full and had to wait.
    pub stalls: u64,
    /// How long senders waited.
    pub stalled_time: SimTime,
    /// Most frames that were in the FIFO at once, as the sender saw it.
    pub depth_max: u32,
    /// New epochs since a side restarted.
    pub restarts: u64,
    /// Times that a side found nonsense in the FIFO.
    pub corruptions: u64,
    /// Accesses to card memory that failed.
    pub ring_faults: u64,
}

/// Everything that a card counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CardCounters {
    /// Host to board.
    pub h2c: DirectionCounters,
    /// Board to host.
    pub c2h: DirectionCounters,
}

/// A counter that does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{direction}: {sent} frames sent, but {delivered} delivered + {dropped} dropped + {in_flight} \
     in flight"
)]
pub struct NotConserved {
    /// `h2c` or `c2h`.
    pub direction: &'static str,
    /// Frames sent.
    pub sent: u64,
    /// Frames delivered.
    pub delivered: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Frames in the FIFO.
    pub in_flight: u64,
}

impl CardCounters {
    /// Checks that sent = delivered + dropped by cause + in flight.
    pub fn check(&self) -> Result<(), NotConserved> {
        for (direction, c) in [("h2c", &self.h2c), ("c2h", &self.c2h)] {
            let dropped = c.dropped.total();
            if c.sent != c.delivered + dropped + c.in_flight {
                return Err(NotConserved {
                    direction,
                    sent: c.sent,
                    delivered: c.delivered,
                    dropped,
                    in_flight: c.in_flight,
                });
            }
        }
        Ok(())
    }
}
