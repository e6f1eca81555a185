//! Network back ends behind one contract.
//!
//! A front end (the virtio network device) lends its guest's buffers for one
//! call; a back end moves frames out of and into them. Wrappers (capture, rate
//! limit, faults) are back ends around back ends.

mod capture;
mod card;
mod fault;
mod fifo;
mod frame;
mod limit;
mod link;
mod loopback;
mod null;
mod pcapng;
mod rings;
mod tap;
mod tap_file;
mod vhost;
mod wrapper;

#[cfg(test)]
mod tap_tests;
#[cfg(test)]
mod tests;

pub use capture::Capture;
pub use card::Card;
pub use fault::{Fault, FaultHook, Verdict, Way};
pub use frame::{Header, Offloads, ReadBytes};
pub use limit::{RateLimit, RateSpec};
pub use link::{Link, LinkSpec, Switch};
pub use loopback::Loopback;
pub use null::Null;
pub use pcapng::{Direction, PcapNg};
pub use rings::RingBackend;
pub use tap::Tap;
pub use tap_file::TapError;
pub use vhost::{Role as VhostUserRole, Vhost, VhostNetError, VhostUser, VhostUserError};

use std::os::fd::BorrowedFd;

use bus::{DmaTarget, RamView, Segment, SimTime, Wake};

/// Longest frame that crosses a back end: 64 KiB of IP packet behind an
/// Ethernet header (65,550 bytes with a VLAN tag or without).
pub const MAX_FRAME: u32 = 65_550;

/// A frame that the guest sends, in its own memory. Lent for one call.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// The virtio network header, always in its 12-byte form.
    pub header: &'a Header,
    /// Bytes of the frame, without the header.
    pub len: u32,
    /// Where the bytes are; the lengths add up to at least `len`.
    pub segments: &'a [Segment],
    /// The memory they are in.
    pub memory: RamView<'a>,
    /// Queue pair that it was sent on.
    pub queue: u16,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TxStatus {
    /// The back end has it, or dropped it and counted that.
    Sent,
    /// No room now. The frame stays in its queue; the back end calls its
    /// [`Wake`] when it is worth trying again, or names a time in
    /// [`NetBackend::next_event`].
    Full,
}

/// How a call of [`NetBackend::receive`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum RxStatus {
    /// No frame waits. The back end calls its [`Wake`] when one comes.
    Idle,
    /// The sink refused; frames wait.
    Blocked,
}

/// Guest buffers for one frame.
#[derive(Clone, Copy, Debug)]
pub struct Buffers<'a> {
    /// Where the frame goes; the lengths add up to exactly what was asked for.
    pub segments: &'a [Segment],
    /// The memory they are in.
    pub memory: RamView<'a>,
}

/// The answer to [`FrameSink::reserve`].
#[derive(Debug)]
#[must_use]
pub enum Reserve<'a> {
    /// Fill these, then [`FrameSink::commit`].
    Ready(Buffers<'a>),
    /// No buffers now: keep the frame and return [`RxStatus::Blocked`].
    Full,
    /// This frame can never be taken (link down, too long for the guest's
    /// buffers); the sink counted it. Forget it and go on.
    Refused,
}

/// Where received frames go: the guest's receive queue.
pub trait FrameSink {
    /// Finds room for a frame of `len` bytes. `head` is as much of its start as
    /// the back end can show without cost (64 bytes are plenty), for filters
    /// and steering; it may be empty. What was reserved before and not
    /// committed is free again.
    fn reserve(&mut self, len: u32, head: &[u8]) -> Reserve<'_>;
    /// Gives the reserved buffers to the guest. `header.num_buffers` is filled
    /// in here.
    fn commit(&mut self, header: &Header);
    /// The far side chose the queue pair of the frames that follow; with `None`
    /// the device chooses.
    fn steer(&mut self, _pair: Option<u16>) {}
}

/// Copies one frame into `sink`. `true` when the frame is done with (delivered
/// or refused), `false` when it must be kept.
pub fn deliver(sink: &mut dyn FrameSink, header: &Header, bytes: ReadBytes<'_>) -> bool {
    match sink.reserve(bytes.len() as u32, bytes.0) {
        Reserve::Full => false,
        Reserve::Refused => true,
        Reserve::Ready(buffers) => {
            bytes.copy_to(&buffers);
            sink.commit(header);
            true
        }
    }
}

/// The far side of a network device.
pub trait NetBackend: Send {
    /// Takes a frame from the guest.
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus;
    /// Puts waiting frames into `sink`, until none is left or the sink refuses.
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus;
    /// Whether [`NetBackend::receive`] would find a frame. A guess may be wrong
    /// in the direction of `true` only.
    fn pending(&self) -> bool {
        true
    }
    /// When the back end has something to do by itself.
    fn next_event(&self) -> Option<SimTime> {
        None
    }
    /// The driver has set the device up: `dma` is where all segments lie from
    /// now on.
    fn start(&mut self, _dma: &DmaTarget) {}
    /// End of a batch of `transmit` and `receive` calls, also when nothing
    /// moved: one doorbell for all.
    fn flush(&mut self, _now: SimTime) {}
    /// Which offloads the guest may use in frames it sends. The device offers
    /// no others to its driver.
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }
    /// Which offloads the guest accepts in frames it receives.
    fn set_offloads(&mut self, _offloads: Offloads) {}
    /// What to wake when frames wait or room has come.
    fn set_wake(&mut self, _wake: Wake) {}
    /// The driver receives on this many queue pairs.
    fn set_pairs(&mut self, _pairs: u16) {}
    /// Descriptors whose readiness means work. The machine waits for them, edge
    /// triggered, and then calls what [`NetBackend::host_wake`] made.
    fn host_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
    /// What to call when a descriptor is ready, on the thread that waited:
    /// `device` has this device serviced. A back end that can do some of its
    /// work on any thread does it there.
    fn host_wake(&self, device: Wake) -> Wake {
        device
    }
    /// For a back end that works on the rings by itself. The device then calls
    /// neither `transmit` nor `receive`.
    fn rings(&mut self) -> Option<&mut dyn RingBackend> {
        None
    }
    /// The guest reset the device: forget what it has not got yet. Nothing is
    /// called then until [`NetBackend::start`].
    fn reset(&mut self) {}
    /// Counters of the back end by name, for results.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
