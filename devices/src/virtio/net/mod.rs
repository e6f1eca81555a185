//! The network device (virtio 1.2, section 5.1).
//!
//! [`Net`] moves frames between its guest's queues and one [`NetBackend`]. It
//! runs in `service` only, for a bounded number of frames per call.

mod batch;
mod checksum;
mod config;
mod control;
mod counters;
mod filter;
mod lane;
mod moderation;
mod pending;
mod rings;
mod rss;
mod rx;
mod segment;
mod service;
mod sink;
mod steering;
mod toeplitz;
mod tx;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod rss_tests;
#[cfg(test)]
mod segment_tests;
#[cfg(test)]
mod tests;

pub use config::{NetSpec, feature};
pub use counters::{NetCounters, QueueCounters};
pub use filter::Filter;

use super::device::{DeviceEvents, QueueIrq, VirtioDevice};
use super::ring::{Queue, QueueState};
use crate::net::{NetBackend, Offloads};
use batch::Batch;
use bus::{DmaTarget, Segment, Wake};
use moderation::{Limits, Moderation};
use std::fmt;

/// Frames per queue and call of `service`.
const BUDGET: u32 = 256;

/// Descriptors of the control queue.
const CONTROL_SIZE: u16 = 64;

/// A queue that runs.
#[derive(Debug)]
struct ActiveQueue {
    queue: Queue,
    irq: QueueIrq,
    /// There may be work.
    kicked: bool,
    moderation: Moderation,
}

/// One receive and one transmit queue.
#[derive(Debug, Default)]
struct Pair {
    rx: Option<ActiveQueue>,
    tx: Option<ActiveQueue>,
    rx_counters: QueueCounters,
    tx_counters: QueueCounters,
    rx_limits: Limits,
    tx_limits: Limits,
}

/// A virtio network device.
pub struct Net {
    spec: NetSpec,
    backend: Box<dyn NetBackend>,
    /// What the far side bears that works on the rings itself.
    ring_features: Option<u64>,
    /// It is there.
    far_up: bool,
    dma: Option<DmaTarget>,
    pairs: Vec<Pair>,
    /// Pairs that receive.
    active_pairs: usize,
    control: Option<ActiveQueue>,
    filter: Filter,
    steering: steering::Table,
    rss: rss::Rss,
    features: u64,
    /// What the guest takes now.
    offloads: Offloads,
    /// The guest is asked to announce itself.
    announce: bool,
    events: DeviceEvents,
    link_up: bool,
    counters: NetCounters,
    /// Frames wait for receive buffers.
    rx_blocked: bool,
    batch: Batch,
    // Kept between calls for their capacity.
    segments: Vec<Segment>,
    rx_scratch: sink::Scratch,
}

impl Net {
    /// A device by `spec` whose far side is `backend`.
    pub fn new(mut spec: NetSpec, mut backend: Box<dyn NetBackend>) -> Self {
        if let Some(rings) = backend.rings() {
            spec.queue_pairs = spec.queue_pairs.min(rings.max_pairs());
        }
        let spec = spec.clamped();
        if let (false, Some(rings)) = (spec.link_up, backend.rings()) {
            rings.set_link(false);
        }
        Self {
            ring_features: backend.rings().map(|rings| rings.features()),
            far_up: true,
            pairs: (0..spec.queue_pairs).map(|_| Pair::default()).collect(),
            active_pairs: 1,
            control: None,
            filter: Filter::open(spec.mac),
            steering: steering::Table::default(),
            rss: rss::Rss::default(),
            offloads: Offloads::default(),
            announce: false,
            link_up: spec.link_up,
            backend,
            dma: None,
            features: 0,
            events: DeviceEvents::default(),
            counters: NetCounters::default(),
            rx_blocked: false,
            batch: Batch::default(),
            segments: Vec::new(),
            rx_scratch: sink::Scratch::default(),
            spec,
        }
    }
    /// The back end.
    pub fn backend(&mut self) -> &mut dyn NetBackend {
        &mut *self.backend
    }
    /// Sets the link state; the guest is told. While it is down, frames that
    /// come from either side are dropped and counted (`link_down`), and rings
    /// that somebody else works on stand still.
    pub fn set_link(&mut self, up: bool) {
        if self.link_up != up {
            self.link_up = up;
            self.events.config_changed = true;
            if let Some(rings) = self.backend.rings() {
                rings.set_link(up);
            }
        }
    }
    /// Asks the guest to announce its addresses, after its wire changed.
    pub fn announce(&mut self) {
        if self.features & feature::GUEST_ANNOUNCE != 0 {
            self.announce = true;
            self.events.config_changed = true;
        }
    }
    /// The receive filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
    /// Counters so far.
    pub fn net_counters(&self) -> NetCounters {
        let mut all = self.counters.clone();
        all.rx = self.pairs.iter().map(|pair| pair.rx_counters).collect();
        all.tx = self.pairs.iter().map(|pair| pair.tx_counters).collect();
        all
    }
    /// Bytes of the header before each frame.
    fn header_len(&self) -> u32 {
        let long = super::feature::VERSION_1 | feature::MRG_RXBUF;
        match self.features {
            // virtio 1.2, section 5.1.6: hash value, its type, padding.
            has if has & feature::HASH_REPORT != 0 => 20,
            has if has & long != 0 => 12,
            _ => 10,
        }
    }
    fn control_index(&self) -> usize {
        let many = self.features & (feature::MQ | feature::RSS) != 0;
        if many { 2 * self.pairs.len() } else { 2 }
    }
    fn queue_mut(&mut self, index: u16) -> Option<&mut Option<ActiveQueue>> {
        if usize::from(index) == self.control_index() {
            let used = self.features & feature::CTRL_VQ != 0;
            return used.then_some(&mut self.control);
        }
        let pair = self.pairs.get_mut(usize::from(index / 2))?;
        Some(if index.is_multiple_of(2) {
            &mut pair.rx
        } else {
            &mut pair.tx
        })
    }
}

impl VirtioDevice for Net {
    fn device_id(&self) -> u16 {
        1
    }
    fn class(&self) -> u32 {
        0x02_00_00
    }
    fn features(&self) -> u64 {
        let mine = self.spec.offered() & !feature::host_bits(!self.backend.offloads());
        feature::closed(match self.ring_features {
            Some(far) => mine & !feature::INSIDE & !(feature::FRAMES & !far),
            None => mine,
        })
    }
    fn transport_features(&self) -> u64 {
        use super::feature::{RING_RESET, TRANSPORT};
        TRANSPORT & (self.ring_features.unwrap_or(TRANSPORT) | RING_RESET)
    }
    fn queue_sizes(&self) -> Vec<u16> {
        let control = usize::from(self.spec.offered() & feature::CTRL_VQ != 0);
        let mut sizes = vec![self.spec.queue_size; 2 * self.pairs.len() + control];
        if let (1, Some(size)) = (control, sizes.last_mut()) {
            *size = CONTROL_SIZE;
        }
        sizes
    }
    fn config_read(&mut self, offset: u64, data: &mut [u8]) {
        let up = self.link_up && self.far_up;
        let status = u16::from(up) | u16::from(self.announce) << 1;
        let image = self.spec.config_image(self.filter.mac, status);
        data.fill(0);
        let from = image.get(offset as usize..).unwrap_or_default();
        for (to, from) in data.iter_mut().zip(from) {
            *to = *from;
        }
    }
    fn config_write(&mut self, offset: u64, data: &[u8]) {
        // Only legacy drivers set the address in this way.
        if self.features & super::feature::VERSION_1 == 0 {
            for (i, byte) in data.iter().enumerate() {
                if let Some(to) = self.filter.mac.get_mut(offset as usize + i) {
                    *to = *byte;
                }
            }
        }
    }
    fn negotiate(&mut self, accepted: u64) -> bool {
        if !feature::consistent(accepted) {
            return false;
        }
        self.features = accepted;
        self.offloads = feature::guest_offloads(accepted);
        self.backend.set_offloads(self.offloads);
        if let Some(rings) = self.backend.rings() {
            rings.negotiate(accepted);
        }
        self.filter = Filter::open(self.filter.mac);
        if accepted & feature::CTRL_VLAN != 0 {
            self.filter.filter_vlans();
        }
        true
    }
    fn start_queue(&mut self, index: u16, queue: Queue, dma: &DmaTarget, irq: QueueIrq) {
        if self.dma.is_none() {
            self.backend.start(dma);
            self.dma = Some(dma.clone());
        }
        let (queue, irq) = match self.give_away(index, queue, irq) {
            Some(kept) => kept,
            None => return,
        };
        let limits = match self.pairs.get(usize::from(index / 2)) {
            Some(pair) if index.is_multiple_of(2) => pair.rx_limits,
            Some(pair) => pair.tx_limits,
            None => Limits::default(),
        };
        if let Some(slot) = self.queue_mut(index) {
            *slot = Some(ActiveQueue {
                queue,
                irq,
                kicked: true,
                moderation: Moderation::new(limits),
            });
        }
    }
    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        if let Some(queue) = self.take_back(index) {
            return Some(queue.state());
        }
        let active = self.queue_mut(index)?.take()?;
        Some(active.queue.state())
    }
    fn kick(&mut self, index: u16) {
        self.batch.kicked |= index % 2 == 1;
        if self.is_outside(index) {
            if let Some(rings) = self.backend.rings() {
                rings.kick(index);
            }
        } else if let Some(Some(queue)) = self.queue_mut(index) {
            queue.kicked = true;
        }
        let pair = match usize::from(index) == self.control_index() {
            true => None,
            false => self.pairs.get_mut(usize::from(index / 2)),
        };
        *match pair {
            Some(pair) if index.is_multiple_of(2) => &mut pair.rx_counters.notifications,
            Some(pair) => &mut pair.tx_counters.notifications,
            None => &mut self.counters.notifications,
        } += 1;
    }
    fn reset(&mut self) {
        for pair in &mut self.pairs {
            pair.rx = None;
            pair.tx = None;
            pair.rx_limits = Limits::default();
            pair.tx_limits = Limits::default();
        }
        self.dma = None;
        self.control = None;
        self.active_pairs = 1;
        self.announce = false;
        self.filter = Filter::open(self.spec.mac);
        self.steering = steering::Table::default();
        self.rss = rss::Rss::default();
        self.rx_scratch = sink::Scratch::default();
        self.offloads = Offloads::default();
        self.features = 0;
        self.rx_blocked = false;
        self.batch = Batch::default();
        self.backend.set_offloads(Offloads::default());
        self.backend.set_pairs(1);
        self.backend.reset();
    }
    fn take_events(&mut self) -> DeviceEvents {
        std::mem::take(&mut self.events)
    }
    fn set_wake(&mut self, wake: Wake) {
        self.backend.set_wake(wake);
    }
    fn counters(&self) -> Vec<(String, u64)> {
        let mut all = self.net_counters().list();
        let backend = self.backend.counters().into_iter();
        all.extend(backend.map(|(name, n)| (format!("backend.{name}"), n)));
        all
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("spec", &self.spec)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}
