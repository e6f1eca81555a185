//! Virtqueues in guest memory.
//!
//! The transport makes a [`Queue`] when the driver starts it and hands it to
//! the device. The device looks at it through a [`Ring`] for one batch of work.
//! Everything the guest wrote is read once and checked. A broken chain is an
//! error of that chain only ([`ChainError`]); a broken ring ([`RingError`])
//! ends the queue.
//!
//! Split virtqueues: virtio 1.2, section 2.7.

mod split;

#[cfg(test)]
mod tests;

pub use split::{Ring, Walk};

use bus::GuestRam;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use vm_memory::{Bytes, GuestAddress};

/// Largest queue that is offered.
pub const MAX_QUEUE_SIZE: u16 = 1024;
/// Most descriptors of one chain.
pub const MAX_CHAIN: usize = 1024;

/// A queue that cannot be used any more: DEVICE_NEEDS_RESET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The size is not a power of two from 1 to 1024.
    #[error("queue size {0} is not a power of two up to 1024")]
    Size(u16),
    /// A part of the ring is misaligned or not in RAM.
    #[error("the ring at {0:#x} is misaligned or not in guest memory")]
    Address(u64),
    /// The available index moved by more than the queue's size.
    #[error("available index {index} is more than the queue's size ahead of {seen}")]
    AvailableIndex {
        /// What the guest wrote.
        index: u16,
        /// What the device has taken.
        seen: u16,
    },
    /// The available ring names a descriptor outside the table.
    #[error("descriptor {0} is outside the queue")]
    Head(u16),
}

/// A chain that goes back unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// `next` is outside the table.
    #[error("next descriptor is out of range")]
    Next,
    /// The chain is longer than the table (a loop) or than 1024 descriptors.
    #[error("chain is too long or a loop")]
    Length,
    /// A descriptor of length zero.
    #[error("descriptor of length zero")]
    Empty,
    /// A readable descriptor follows a writable one.
    #[error("readable descriptor after a writable one")]
    Order,
    /// A descriptor that is not in RAM.
    #[error("descriptor outside guest memory")]
    Address,
    /// An indirect table that is nested, not last, not negotiated or misshapen.
    #[error("bad indirect table")]
    Indirect,
}

/// Where a queue is and how it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Number of descriptors.
    pub size: u16,
    /// Guest physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest physical address of the available ring.
    pub available: u64,
    /// Guest physical address of the used ring.
    pub used: u64,
    /// `VIRTIO_F_EVENT_IDX` was negotiated.
    pub event_idx: bool,
    /// `VIRTIO_F_INDIRECT_DESC` was negotiated.
    pub indirect: bool,
}

/// How far a queue has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Next entry of the available ring.
    pub next_available: u16,
    /// Next entry of the used ring.
    pub next_used: u16,
}

/// A started queue. It belongs to one owner at a time.
#[derive(Debug)]
pub struct Queue {
    config: QueueConfig,
    state: QueueState,
    /// Used index when the guest was last asked whether it wants an interrupt.
    asked: Option<u16>,
    /// The guest was told not to notify.
    quiet: bool,
}

impl Queue {
    /// A queue at its start. The addresses are checked when it is looked at.
    pub fn new(config: QueueConfig, state: QueueState) -> Result<Self, RingError> {
        if !config.size.is_power_of_two() || config.size > MAX_QUEUE_SIZE {
            return Err(RingError::Size(config.size));
        }
        for (address, align) in [
            (config.descriptors, 16),
            (config.available, 2),
            (config.used, 4),
        ] {
            if !address.is_multiple_of(align) {
                return Err(RingError::Address(address));
            }
        }
        Ok(Self {
            config,
            state,
            // A queue that goes on after a restore may owe an interrupt.
            asked: (state == QueueState::default()).then_some(0),
            quiet: false,
        })
    }
    /// Where the queue is.
    pub fn config(&self) -> &QueueConfig {
        &self.config
    }
    /// How far it has come.
    pub fn state(&self) -> QueueState {
        self.state
    }
    /// A queue that somebody else worked on and gave back: it goes on after
    /// what has been used in `ram`. Chains that were taken and not used by then
    /// are taken once more.
    pub fn resume(self, ram: &GuestRam) -> Self {
        let at = GuestAddress(self.config.used.wrapping_add(2));
        let used = ram
            .load(at, Ordering::Acquire)
            .map_or(self.state.next_used, u16::from_le);
        self.with_state(QueueState {
            next_available: used,
            next_used: used,
        })
    }
    /// The same queue, as far as `state` says.
    pub fn with_state(mut self, state: QueueState) -> Self {
        self.state = state;
        self.asked = None;
        self.quiet = false;
        self
    }
    /// Looks at the queue in `ram`, for one batch of work.
    pub fn ring<'a>(&'a mut self, ram: &'a GuestRam) -> Result<Ring<'a>, RingError> {
        Ring::new(self, ram)
    }
}
