//! The device's side of rings that a peer works on.

use super::events::Events;
use super::{Connect, Peer, PeerError};
use crate::net::rings::RingBackend;
use crate::net::{FrameRef, FrameSink, NetBackend, Offloads, RxStatus, TxStatus};
use crate::virtio::feature as transport;
use crate::virtio::net::feature;
use crate::virtio::ring::{Queue, QueueState, RingError};
use bus::{DmaTarget, GuestRam, Interrupt, Next, SimTime, Wake};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// How soon to look for a peer again.
const RETRY: SimTime = SimTime::from_ms(50);
/// The same, after one that did not behave: it costs the guest time.
const RETRY_BAD: SimTime = SimTime::from_secs(5);

/// One queue of the device.
struct Slot {
    /// The driver's queue, and whether the peer has it now.
    queue: Option<Queue>,
    running: bool,
    enabled: bool,
    kick: EventFd,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    kicks: u64,
    connects: u64,
    losses: u64,
    errors: u64,
}

/// A back end whose rings a [`Peer`] works on.
pub struct Vhost {
    /// What error messages call it.
    name: String,
    connect: Connect,
    peer: Option<Box<dyn Peer>>,
    /// What the first peer was able to; later ones need what is in use.
    features: u64,
    max_pairs: u16,
    accepted: Option<u64>,
    offloads: Offloads,
    pairs: u16,
    slots: Vec<Slot>,
    events: Arc<Events>,
    dma: Option<DmaTarget>,
    /// The peer knows features and memory.
    prepared: bool,
    /// The device's cable is plugged in: the peer may have the rings.
    plugged: bool,
    /// When to look for a peer again, and the time of the last look.
    retry: SimTime,
    now: SimTime,
    broken: Option<RingError>,
    counters: Counters,
}

impl Vhost {
    /// With its first peer, which has `pairs` queue pairs or more. `listener`
    /// becomes readable when a new one comes.
    pub(super) fn new(
        name: String,
        pairs: u16,
        peer: Box<dyn Peer>,
        connect: Connect,
        listener: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let pairs = pairs.clamp(1, 64);
        let events = Events::new(2 * pairs)?;
        for fd in listener.into_iter().chain(peer.fd()) {
            events.watch(fd)?;
        }
        let mut slots = Vec::new();
        for _ in 0..2 * pairs {
            slots.push(Slot {
                queue: None,
                running: false,
                enabled: false,
                kick: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            });
        }
        Ok(Self {
            name,
            connect,
            features: peer.features(),
            max_pairs: pairs,
            peer: Some(peer),
            accepted: None,
            offloads: Offloads::default(),
            pairs: 1,
            slots,
            events,
            dma: None,
            prepared: false,
            plugged: true,
            retry: SimTime::ZERO,
            now: SimTime::ZERO,
            broken: None,
            counters: Counters {
                connects: 1,
                ..Counters::default()
            },
        })
    }
    /// Gives the peer up: its rings go on, with the next one, after what it
    /// used. Chains that it had in work are done again.
    fn lose(&mut self, why: &PeerError) {
        tracing::warn!(back_end = %self.name, %why, "the back end is gone");
        self.peer = None;
        self.prepared = false;
        self.counters.losses += 1;
        self.retry = self.now + pause(why);
        let ram = self.dma.as_ref().map(DmaTarget::raw_memory);
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            if std::mem::take(&mut slot.running) {
                slot.enabled = false;
                if let Some(ram) = ram {
                    slot.queue = slot.queue.take().map(|queue| queue.resume(ram));
                }
                // It may have used chains and not said so.
                self.events.interrupt(index);
            }
        }
    }
    fn find_peer(&mut self) {
        match (self.connect)() {
            Ok(None) => self.retry = self.now + RETRY,
            Ok(Some(peer)) => {
                let lacks = self.accepted.unwrap_or(0) & self.passed() & !peer.features();
                let fewer = peer.max_pairs() < self.max_pairs;
                let watched = peer.fd().map_or(Ok(()), |fd| self.events.watch(fd));
                if lacks != 0 || fewer || watched.is_err() {
                    self.counters.errors += 1;
                    self.retry = self.now + RETRY_BAD;
                    let why = PeerError::Features(lacks);
                    tracing::warn!(back_end = %self.name, %why, fewer, "no use for this back end");
                    return;
                }
                tracing::info!(back_end = %self.name, "the back end is there");
                self.counters.connects += 1;
                self.peer = Some(peer);
                self.prepared = false;
            }
            Err(why) => {
                self.counters.errors += 1;
                self.retry = self.now + pause(&why);
                tracing::warn!(back_end = %self.name, %why, "no use for this back end");
            }
        }
    }
    /// Features that the peer must know of: those of frames and rings.
    fn passed(&self) -> u64 {
        let ours = transport::RING_RESET;
        self.features & (feature::FRAMES | feature::MQ | transport::TRANSPORT) & !ours
    }
    /// Brings the peer to what the driver wants.
    fn run(&mut self, ram: &Arc<GuestRam>) -> Result<(), PeerError> {
        let passed = self.passed();
        let (Some(accepted), Some(peer)) = (self.accepted, &mut self.peer) else {
            return Ok(());
        };
        if !self.prepared {
            peer.prepare(accepted & passed, ram)?;
            peer.set_offloads(self.offloads)?;
            self.prepared = true;
        }
        let mut started = false;
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            let Some(queue) = slot.queue.as_mut().filter(|_| !slot.running) else {
                continue;
            };
            // The guest may have put it anywhere.
            if let Err(error) = queue.ring(ram) {
                slot.queue = None;
                self.broken = Some(error);
                continue;
            }
            let call = self.events.call(index).ok_or(PeerError::Ring)?;
            let next = queue.state().next_available;
            peer.start(index, queue.config(), next, &slot.kick, call)?;
            slot.running = true;
            started = true;
        }
        if started {
            peer.ready()?;
        }
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            let on = slot.running && index / 2 < self.pairs;
            if slot.running && slot.enabled != on {
                peer.enable(index, on)?;
                slot.enabled = on;
                // What the driver made available before.
                let _ = slot.kick.write(1);
            }
        }
        Ok(())
    }
    /// Takes ring `index` back from the peer.
    fn halt(&mut self, index: u16) -> Result<(), PeerError> {
        let ram = self.dma.as_ref().map(DmaTarget::raw_memory);
        let (Some(slot), Some(peer), Some(ram)) =
            (self.slots.get_mut(usize::from(index)), &mut self.peer, ram)
        else {
            return Ok(());
        };
        if !slot.running {
            return Ok(());
        }
        let next_available = peer.stop(index)?;
        slot.running = false;
        slot.enabled = false;
        slot.queue = slot.queue.take().map(|queue| {
            let queue = queue.resume(ram);
            let next_used = queue.state().next_used;
            queue.with_state(QueueState {
                next_available,
                next_used,
            })
        });
        Ok(())
    }
    /// Takes all rings back. Afterwards nobody touches the guest's memory.
    fn halt_all(&mut self) {
        let rings = 0..self.slots.len() as u16;
        let mut halted = rings.map(|index| self.halt(index)).find(Result::is_err);
        if let (None, true, Some(peer)) = (&halted, self.prepared, &mut self.peer) {
            halted = Some(peer.reset());
        }
        self.prepared = false;
        if let Some(Err(why)) = halted {
            self.lose(&why);
        }
    }
}

/// How long to leave a peer alone that failed in this way.
fn pause(why: &PeerError) -> SimTime {
    match why {
        PeerError::Closed => RETRY,
        _ => RETRY_BAD,
    }
}

impl RingBackend for Vhost {
    fn features(&self) -> u64 {
        self.features
    }
    fn max_pairs(&self) -> u16 {
        self.max_pairs
    }
    fn negotiate(&mut self, accepted: u64) {
        self.accepted = Some(accepted);
        self.prepared = false;
        self.pairs = 1;
    }
    fn start(&mut self, index: u16, queue: Queue, irq: Interrupt) {
        self.events.set_irq(index, Some(irq));
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            slot.queue = Some(queue);
        }
    }
    fn stop(&mut self, index: u16) -> Option<Queue> {
        if let Err(why) = self.halt(index) {
            self.lose(&why);
        }
        self.events.set_irq(index, None);
        self.slots.get_mut(usize::from(index))?.queue.take()
    }
    fn kick(&mut self, index: u16) {
        if let Some(slot) = self.slots.get(usize::from(index)) {
            self.counters.kicks += 1;
            // A full counter is a notification that nobody has looked at yet.
            let _ = slot.kick.write(1);
        }
    }
    fn work(&mut self, now: SimTime) -> Next {
        self.now = now;
        if self.events.take_attention() && self.peer.as_ref().is_some_and(|peer| !peer.alive()) {
            self.lose(&PeerError::Closed);
        }
        if self.peer.is_none() && now >= self.retry {
            self.find_peer();
        }
        let ram = self
            .dma
            .as_ref()
            .filter(|dma| dma.bus_master() && self.plugged)
            .map(|dma| Arc::clone(dma.raw_memory()));
        match ram {
            Some(ram) => {
                if let Err(why) = self.run(&ram) {
                    self.counters.errors += 1;
                    self.lose(&why);
                }
            }
            None => self.halt_all(),
        }
        match self.peer {
            Some(_) => Next::OnKick,
            None => Next::At(self.retry),
        }
    }
    fn set_link(&mut self, up: bool) {
        self.plugged = up;
    }
    fn link_up(&self) -> bool {
        self.peer.is_some()
    }
    fn take_broken(&mut self) -> Option<RingError> {
        self.broken.take()
    }
}

impl NetBackend for Vhost {
    fn transmit(&mut self, _now: SimTime, _frame: FrameRef<'_>) -> TxStatus {
        // The device has no queues of frames to take any from.
        TxStatus::Sent
    }
    fn receive(&mut self, _now: SimTime, _sink: &mut dyn FrameSink) -> RxStatus {
        RxStatus::Idle
    }
    fn pending(&self) -> bool {
        false
    }
    fn rings(&mut self) -> Option<&mut dyn RingBackend> {
        Some(self)
    }
    fn start(&mut self, dma: &DmaTarget) {
        self.dma = Some(dma.clone());
    }
    fn set_offloads(&mut self, offloads: Offloads) {
        self.offloads = offloads;
        if let (Some(peer), true) = (&mut self.peer, self.prepared) {
            self.counters.errors += u64::from(peer.set_offloads(offloads).is_err());
        }
    }
    fn set_pairs(&mut self, pairs: u16) {
        self.pairs = pairs;
    }
    fn host_fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.events.fd()]
    }
    fn host_wake(&self, device: Wake) -> Wake {
        self.events.wake(device)
    }
    fn reset(&mut self) {
        self.halt_all();
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            self.events.set_irq(index, None);
            slot.queue = None;
            // A notification of the old driver is none of the next one.
            let _ = slot.kick.read();
        }
        self.accepted = None;
        self.dma = None;
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Counters {
            kicks,
            connects,
            losses,
            errors,
        } = self.counters;
        vec![
            ("kicks", kicks),
            ("interrupts", self.events.interrupts()),
            ("connects", connects),
            ("losses", losses),
            ("errors", errors),
        ]
    }
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vhost")
            .field("name", &self.name)
            .field("connected", &self.peer.is_some())
            .finish_non_exhaustive()
    }
}
