//! Rings that somebody else works on: a vhost-user process or the kernel.
//!
//! [`Vhost`] keeps what the guest wants (which rings, where, how far) and brings
//! a [`Peer`] to it, again whenever the peer was gone. It does nothing with
//! frames.

mod engine;
mod events;
mod kernel;
mod socket;
mod user;
mod wire;

#[cfg(test)]
mod echo;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub use engine::Vhost;
pub use kernel::VhostNetError;
pub use socket::{Role, VhostUser, VhostUserError};

use crate::net::Offloads;
use crate::virtio::ring::QueueConfig;
use bus::GuestRam;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// A peer that did not do what it was asked to; it is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The connection is gone.
    #[error("it closed the connection")]
    Closed,
    /// No answer in time.
    #[error("it does not answer")]
    Silent,
    /// An answer that makes no sense.
    #[error("it gave a malformed answer to {0}")]
    Malformed(&'static str),
    /// It said no.
    #[error("it refused {0}")]
    Refused(&'static str),
    /// The kernel said no.
    #[error("{0}: {1}")]
    Call(&'static str, #[source] vhost::Error),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It cannot do what the driver was promised.
    #[error("it lacks features that are in use: {0:#x}")]
    Features(u64),
    /// A ring that is not in guest memory.
    #[error("a ring is not in guest memory")]
    Ring,
}

/// Who works on the rings. Queues are numbered as in the device: even ones
/// receive.
pub(super) trait Peer: Send {
    /// Features of frames and rings that it can bear.
    fn features(&self) -> u64;
    /// Queue pairs that it has.
    fn max_pairs(&self) -> u16;
    /// What becomes ready when the peer goes away.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Whether it is still there.
    fn alive(&self) -> bool;
    /// Features and memory, before any ring is started.
    fn prepare(&mut self, accepted: u64, ram: &Arc<GuestRam>) -> Result<(), PeerError>;
    /// Which offloads the guest accepts.
    fn set_offloads(&mut self, _offloads: Offloads) -> Result<(), PeerError> {
        Ok(())
    }
    /// Gives it a ring that lies in guest memory. It stays off until `enable`.
    fn start(
        &mut self,
        index: u16,
        ring: &QueueConfig,
        next_available: u16,
        kick: &EventFd,
        call: &EventFd,
    ) -> Result<(), PeerError>;
    /// Turns a started ring on or off.
    fn enable(&mut self, index: u16, on: bool) -> Result<(), PeerError>;
    /// All rings that the driver has are started.
    fn ready(&mut self) -> Result<(), PeerError> {
        Ok(())
    }
    /// Takes a ring back: the next available entry.
    fn stop(&mut self, index: u16) -> Result<u16, PeerError>;
    /// All rings are stopped.
    fn reset(&mut self) -> Result<(), PeerError> {
        Ok(())
    }
}

/// Finds a peer: `None` when there is none now.
pub(super) type Connect = Box<dyn FnMut() -> Result<Option<Box<dyn Peer>>, PeerError> + Send>;
