//! The simulated card.

use super::counters::CardCounters;
use super::direction::Direction;
use super::port::SimPort;
use super::spec::{CardError, SimCardSpec};
use super::timeline::TimeLine;
use super::{Card, CardFault, Side};
use crate::dma::{self, Axi};
use crate::events::{BOARD_EVENTS, EventWindow, UserEvents};
use crate::queue::{self, HardQueue, QueueWindow, Role};
use crate::ring::{DdrWindow, Geometry};
use crate::timing::{LinkClock, Transfer, Way};
use crate::user_bar::UserBar;
use bus::{DeviceHandle, GuestRam, IrqLine, Segment, SimTime, Wake};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// A simulated card, shared by the threads of its two machines.
///
/// Its DDR is the board guest's RAM, at the same addresses. The frame rings are
/// set up only when a NIC attaches, so that other programs may have the window.
#[derive(Debug)]
pub struct SimCard {
    spec: SimCardSpec,
    ddr: Arc<GuestRam>,
    h2c: Direction,
    c2h: Direction,
    link: Mutex<LinkClock>,
    wakes: [RwLock<Wake>; 2],
    h2c_queue: Arc<HardQueue>,
    c2h_queue: Arc<HardQueue>,
    axi: Arc<Axi>,
    events: Arc<UserEvents>,
}

/// User interrupt lines of the card's logic.
pub const USER_IRQS: usize = 16;

impl SimCard {
    /// A card with the RAM of the board guest as its DDR.
    pub fn new(spec: SimCardSpec, ddr: Arc<GuestRam>) -> Result<Arc<Self>, CardError> {
        if !(1..=4).contains(&spec.dma.channels) {
            return Err(CardError::Channels(spec.dma.channels));
        }
        let limit = spec.window_base.saturating_add(spec.window_size);
        let window = (spec.window_base, limit);
        if spec.window_size == 0
            || !ddr.check_range(GuestAddress(window.0), spec.window_size as usize)
        {
            return Err(CardError::NoDdr(window.0, window.1));
        }
        let (slots, bytes) = (spec.fifo.slots, spec.fifo.bytes);
        let [first, second] = Geometry::pair(spec.ring_base, slots, bytes)?;
        let end = second.base() + second.size();
        if spec.ring_base < window.0 || end > window.1 {
            return Err(CardError::Window {
                bytes,
                ring_base: spec.ring_base,
                end,
                start: window.0,
                limit: window.1,
            });
        }
        let latency = spec.timed.then_some(spec.link.latency);
        let link = Mutex::new(LinkClock::new(&spec.link, spec.dma.profile, spec.seed)?);
        let direction = |geometry, way| {
            let ddr = DdrWindow(ddr.clone());
            Direction::new(ddr, geometry, spec.fifo.on_full, way, latency)
        };
        // A lockstep machine must not wait for another thread.
        let hold = if spec.timed {
            Duration::ZERO
        } else {
            queue::LONGEST_HOLD
        };
        let [h2c_queue, c2h_queue] = [0, 1].map(|_| Arc::new(HardQueue::new(hold)));
        let mut axi = Axi::new(ddr.clone(), spec.axi_base..limit);
        let events = Arc::new(UserEvents::default());
        for (start, window) in board_windows(&h2c_queue, &c2h_queue, &events) {
            // The windows overlap neither each other nor a DDR that ends
            // below 2 GiB; a larger DDR hides them.
            let _ = axi.map(start, queue::WINDOW, window);
        }
        Ok(Arc::new(Self {
            h2c_queue,
            c2h_queue,
            axi: Arc::new(axi),
            events,
            h2c: direction(first, Way::H2c),
            c2h: direction(second, Way::C2h),
            link,
            wakes: [RwLock::new(Wake::null()), RwLock::new(Wake::null())],
            ddr,
            spec,
        }))
    }
    /// What it was made from.
    pub fn spec(&self) -> &SimCardSpec {
        &self.spec
    }
    /// The port of `side` for a NIC. One NIC at a time uses a side's port.
    pub fn port(self: &Arc<Self>, side: Side) -> SimPort {
        SimPort::new(self.clone(), side)
    }
    /// Least time between a frame's departure and its arrival: the largest
    /// quantum of a lockstep run. `None` when frames are visible at once.
    pub fn lookahead(&self) -> Option<SimTime> {
        self.spec.timed.then_some(self.spec.link.latency)
    }
    /// FIFO depth over time: host to board, board to host.
    pub fn time_lines(&self) -> [TimeLine; 2] {
        [self.h2c.time_line(), self.c2h.time_line()]
    }

    /// The user BAR, to be mapped into the host's PCI function.
    pub fn user_bar(&self) -> UserBar {
        let (h2c, c2h) = (self.h2c_queue.clone(), self.c2h_queue.clone());
        UserBar::new(h2c, c2h, self.events.clone())
    }
    /// The register windows of the board's bus: address and device, each
    /// [`queue::WINDOW`] bytes.
    pub fn board_windows(&self) -> [(u64, DeviceHandle); 3] {
        board_windows(&self.h2c_queue, &self.c2h_queue, &self.events)
    }
    /// The hard queue that `side` pushes to.
    pub fn queue_from(&self, side: Side) -> &Arc<HardQueue> {
        match side {
            Side::Host => &self.h2c_queue,
            Side::Board => &self.c2h_queue,
        }
    }
    /// The AXI address space that the DMA engine's master sees.
    pub fn axi(&self) -> &Arc<Axi> {
        &self.axi
    }
    /// Connects user interrupt `n` (below [`USER_IRQS`]) to `line`.
    pub fn connect_user_irq(&self, n: usize, line: IrqLine) {
        self.events.connect(n, line);
    }
    /// Drives user interrupt `n`: a level, which nobody acknowledges.
    pub fn set_user_irq(&self, n: usize, level: bool) {
        if n < USER_IRQS {
            self.events.set(1 << n, level);
        }
    }

    /// Puts `bytes` in `frames` pieces on the link of a timed card at `now`:
    /// begins `transfer`, or makes it longer. Called on the host's side only,
    /// which owns the link's clock.
    pub(crate) fn carry(
        &self,
        way: Way,
        now: SimTime,
        transfer: &mut Option<Transfer>,
        frames: u32,
        bytes: u64,
    ) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        match transfer {
            Some(transfer) => link.extend(way, transfer, frames, bytes),
            None => *transfer = Some(link.begin(way, now, frames, bytes)),
        }
    }

    pub(super) fn from(&self, side: Side) -> &Direction {
        match side {
            Side::Host => &self.h2c,
            Side::Board => &self.c2h,
        }
    }
    pub(super) fn to(&self, side: Side) -> &Direction {
        self.from(side.other())
    }
    pub(super) fn link(&self) -> &Mutex<LinkClock> {
        &self.link
    }
    pub(super) fn wake(&self, side: Side) {
        let wake = &self.wakes[side.index()];
        wake.read().unwrap_or_else(PoisonError::into_inner).wake();
    }
}

impl Card for SimCard {
    fn h2c(
        &self,
        channel: usize,
        host: &GuestRam,
        from: &[Segment],
        to: u64,
    ) -> Result<(), CardFault> {
        self.check_channel(channel)?;
        let len = dma::total(from);
        self.check_window(to, len)?;
        let pieces = from.iter().map(|s| (s.address, s.len));
        dma::copy(host, pieces, &self.ddr, [(to, len as u32)])
            .map(drop)
            .map_err(fault(true))
    }
    fn c2h(
        &self,
        channel: usize,
        from: u64,
        host: &GuestRam,
        to: &[Segment],
    ) -> Result<(), CardFault> {
        self.check_channel(channel)?;
        let len = dma::total(to);
        self.check_window(from, len)?;
        let pieces = to.iter().map(|s| (s.address, s.len));
        dma::copy(&self.ddr, [(from, len as u32)], host, pieces)
            .map(drop)
            .map_err(fault(false))
    }
    fn set_wake(&self, side: Side, wake: Wake) {
        let slot = &self.wakes[side.index()];
        *slot.write().unwrap_or_else(PoisonError::into_inner) = wake;
    }
    fn counters(&self) -> CardCounters {
        CardCounters {
            h2c: self.h2c.counters(),
            c2h: self.c2h.counters(),
        }
    }
}

impl SimCard {
    fn check_channel(&self, channel: usize) -> Result<(), CardFault> {
        if channel >= usize::from(self.spec.dma.channels) {
            return Err(CardFault::Channel(channel));
        }
        Ok(())
    }
    fn check_window(&self, at: u64, len: u64) -> Result<(), CardFault> {
        let end = at.checked_add(len).ok_or(CardFault::Card(at))?;
        let limit = self.spec.window_base + self.spec.window_size;
        if at < self.spec.window_base || end > limit {
            return Err(CardFault::Card(at));
        }
        Ok(())
    }
}

fn board_windows(
    h2c: &Arc<HardQueue>,
    c2h: &Arc<HardQueue>,
    events: &Arc<UserEvents>,
) -> [(u64, DeviceHandle); 3] {
    let queue = |queue: &Arc<HardQueue>, role| {
        let window = QueueWindow::new(queue.clone(), role);
        Arc::new(Mutex::new(window)) as DeviceHandle
    };
    let events = Arc::new(Mutex::new(EventWindow(events.clone())));
    [
        (queue::BOARD_PRODUCER, queue(c2h, Role::Producer)),
        (queue::BOARD_CONSUMER, queue(h2c, Role::Consumer)),
        (BOARD_EVENTS, events),
    ]
}

fn fault(host_is_source: bool) -> impl Fn(dma::CopyFault) -> CardFault {
    move |fault| match (fault, host_is_source) {
        (dma::CopyFault::Source(at), true) | (dma::CopyFault::Destination(at), false) => {
            CardFault::Host(at)
        }
        (dma::CopyFault::Source(at), false) | (dma::CopyFault::Destination(at), true) => {
            CardFault::Card(at)
        }
    }
}
