//! Back ends that work on the guest's rings themselves.

use crate::virtio::ring::{Queue, RingError};
use bus::{Interrupt, Next, SimTime};

/// A back end that takes the queues of frames away from the device and has
/// them worked on somewhere else: in another process, or in the kernel. The
/// device keeps the control queue.
///
/// Life: [`negotiate`](RingBackend::negotiate), then
/// [`start`](RingBackend::start) for each queue; [`work`](RingBackend::work)
/// brings about what was asked for. `NetBackend::start` tells where the rings
/// lie, and `NetBackend::reset` stops and forgets all of it.
pub trait RingBackend {
    /// Features that the far side can bear: those of frames and rings, and
    /// `CTRL_GUEST_OFFLOADS` if they can be switched while it runs. It does not
    /// change.
    fn features(&self) -> u64;
    /// Queue pairs that the far side has.
    fn max_pairs(&self) -> u16;
    /// The driver accepted these features, all of them on offer.
    fn negotiate(&mut self, accepted: u64);
    /// Moves queue `index` to the back end. `irq` tells the driver of used
    /// buffers; it is delivered on any thread.
    fn start(&mut self, index: u16, queue: Queue, irq: Interrupt);
    /// Moves queue `index` back; the far side does not touch it any more.
    fn stop(&mut self, index: u16) -> Option<Queue>;
    /// The driver notified queue `index`.
    fn kick(&mut self, index: u16);
    /// Whether the far side may work on the rings; it may at first.
    fn set_link(&mut self, up: bool);
    /// Does what is due: finds a far side, starts or stops rings.
    fn work(&mut self, now: SimTime) -> Next;
    /// Whether the far side is there.
    fn link_up(&self) -> bool;
    /// A ring that was found broken since the last call; it was not started.
    fn take_broken(&mut self) -> Option<RingError>;
}
