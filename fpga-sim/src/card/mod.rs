//! The card as its two machines and its devices see it.

mod counters;
mod direction;
mod gate;
mod port;
mod receive;
mod send;
mod sim;
mod spec;
#[cfg(test)]
mod tests;
mod timed;
mod timeline;
mod xdma;

pub use counters::{CardCounters, DirectionCounters, Dropped, NotConserved};
pub use port::{CardPort, FrameInfo, PortError, SimPort, TakeStatus, TxStatus};
pub use sim::{SimCard, USER_IRQS};
pub use spec::{CardError, DmaSpec, FifoSpec, LinkSpec, OnFull, SimCardSpec};
pub use timeline::{Point, TimeLine};
pub use xdma::{XdmaCard, XdmaPort};

pub(crate) mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering, fence};
}

use bus::{GuestRam, Segment, Wake};
use serde::{Deserialize, Serialize};

/// One of the card's two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The machine with the card in a PCIe slot.
    Host,
    /// The card's own processor.
    Board,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Host => Self::Board,
            Self::Board => Self::Host,
        }
    }
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A DMA between host memory and the card failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardFault {
    /// There is no such channel.
    #[error("the card has no channel {0}")]
    Channel(usize),
    /// The host's side is not memory.
    #[error("no host memory at {0:#x}")]
    Host(u64),
    /// Nothing on the card answers at this address.
    #[error("nothing on the card answers at {0:#x}")]
    Card(u64),
}

/// A card, simulated or real, by what its host can do with it.
pub trait Card: Send + Sync {
    /// Moves `from` (host memory) to card address `to` over an H2C channel.
    fn h2c(
        &self,
        channel: usize,
        host: &GuestRam,
        from: &[Segment],
        to: u64,
    ) -> Result<(), CardFault>;
    /// Moves bytes from card address `from` to `to` (host memory) over a C2H
    /// channel.
    fn c2h(
        &self,
        channel: usize,
        from: u64,
        host: &GuestRam,
        to: &[Segment],
    ) -> Result<(), CardFault>;
    /// Who is woken when `side` has something to do.
    fn set_wake(&self, side: Side, wake: Wake);
    /// What was counted so far.
    fn counters(&self) -> CardCounters;
}
