//! A software switch that joins network devices in one process.

use super::fifo::Fifo;
use super::{FrameRef, FrameSink, NetBackend, RxStatus, TxStatus};
use bus::{DmaTarget, SimTime, Wake};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Most ports of one switch.
const MAX_PORTS: usize = 64;
/// Most addresses a switch remembers.
const MAX_ADDRESSES: usize = 4096;

/// What a switch is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkSpec {
    /// Time from sender to receiver.
    pub latency: SimTime,
    /// Bytes that wait at one port.
    pub port_bytes: usize,
    /// Drop frames for a full port instead of holding their sender back.
    pub drop_when_full: bool,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            latency: SimTime::ZERO,
            port_bytes: 512 << 10,
            drop_when_full: false,
        }
    }
}

#[derive(Debug)]
struct Port {
    /// Frames on their way to this port. Senders hold the lock for a copy, the
    /// receiver only to swap the queue for an empty one.
    queue: Mutex<Queue>,
    /// Frames in the queue.
    waiting: AtomicUsize,
    dropped: AtomicU64,
    wake: Mutex<Wake>,
}

#[derive(Debug)]
struct Queue {
    fifo: Fifo,
    /// The port's guest has a driver that receives.
    up: bool,
    /// Ports that wait for room, by bit.
    senders: u64,
}

/// A learning Ethernet switch.
#[derive(Debug)]
pub struct Switch {
    spec: LinkSpec,
    ports: RwLock<Vec<Arc<Port>>>,
    addresses: RwLock<BTreeMap<[u8; 6], usize>>,
    /// Counts changes of `addresses`.
    generation: AtomicU64,
}

impl Switch {
    /// A switch without ports.
    pub fn new(spec: LinkSpec) -> Arc<Self> {
        Arc::new(Self {
            spec,
            ports: RwLock::default(),
            addresses: RwLock::default(),
            generation: AtomicU64::new(0),
        })
    }
    /// Adds a port. `None` when there are 64.
    pub fn port(self: &Arc<Self>) -> Option<Link> {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        let index = ports.len();
        if index == MAX_PORTS {
            return None;
        }
        let fifo = || Fifo::new(self.spec.port_bytes);
        let own = Arc::new(Port {
            queue: Mutex::new(Queue {
                fifo: fifo(),
                up: false,
                senders: 0,
            }),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            wake: Mutex::new(Wake::null()),
        });
        ports.push(Arc::clone(&own));
        Some(Link {
            switch: Arc::clone(self),
            index,
            own,
            taken: fifo(),
            touched: 0,
            source: [0; 6],
            route: None,
            unheard: 0,
        })
    }
    fn learn(&self, address: [u8; 6], port: usize) {
        if address[0] & 1 != 0 {
            return;
        }
        let mut addresses = self
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let fits = addresses.len() < MAX_ADDRESSES || addresses.contains_key(&address);
        if fits && addresses.insert(address, port) != Some(port) {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
    /// Where a frame for `address` goes; `None` means everywhere.
    fn find(&self, address: &[u8]) -> Option<usize> {
        let address: &[u8; 6] = address.try_into().ok()?;
        if address[0] & 1 != 0 {
            return None;
        }
        let addresses = self
            .addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.get(address).copied()
    }
    fn wake(&self, mut ports: u64) {
        let all = self.ports.read().unwrap_or_else(PoisonError::into_inner);
        while ports != 0 {
            if let Some(port) = all.get(ports.trailing_zeros() as usize) {
                lock(&port.wake).wake();
            }
            ports &= ports - 1;
        }
    }
}

/// One port of a [`Switch`] as a back end.
#[derive(Debug)]
pub struct Link {
    switch: Arc<Switch>,
    index: usize,
    own: Arc<Port>,
    /// Frames taken from the port's queue and not delivered yet.
    taken: Fifo,
    /// Ports that got frames in this batch.
    touched: u64,
    /// The sender's address that was learned last.
    source: [u8; 6],
    /// Where the last frame went that went to one port.
    route: Option<Route>,
    /// Frames that no port was up for.
    unheard: u64,
}

/// What the switch said about an address.
#[derive(Debug)]
struct Route {
    address: [u8; 6],
    /// It is true as long as this is the switch's generation.
    generation: u64,
    index: usize,
    port: Arc<Port>,
}

impl Link {
    /// Queues a frame that goes where the last one went, from the same sender.
    /// `false` when it is another one, or cannot go there now.
    #[inline]
    fn follow(&mut self, frame: &FrameRef<'_>, now: SimTime) -> bool {
        let generation = self.switch.generation.load(Ordering::Acquire);
        let Some(route) = self.route.as_ref().filter(|r| r.generation == generation) else {
            return false;
        };
        let mut queue = lock(&route.port.queue);
        let source = &self.source;
        let same = |bytes: &[u8]| {
            bytes.get(..6) == Some(&route.address) && bytes.get(6..12) == Some(source)
        };
        let arrives = now + self.switch.spec.latency;
        if frame.len < 12 || !queue.up || !queue.fifo.push_if(frame, arrives, same) {
            return false;
        }
        let waiting = queue.fifo.frames();
        route.port.waiting.store(waiting, Ordering::Release);
        self.touched |= 1 << route.index;
        true
    }
    /// Queues `frame` at the ports of `targets`, all or none.
    fn queue(
        &mut self,
        targets: &[(usize, Arc<Port>)],
        frame: &FrameRef<'_>,
        now: SimTime,
    ) -> bool {
        let arrives = now + self.switch.spec.latency;
        let mut queues: Vec<_> = targets.iter().map(|t| lock(&t.1.queue)).collect();
        let mut full = false;
        if !self.switch.spec.drop_when_full {
            for queue in queues.iter_mut().filter(|queue| queue.up) {
                if !queue.fifo.fits(frame.len) {
                    queue.senders |= 1 << self.index;
                    full = true;
                }
            }
        }
        if full {
            return false;
        }
        let mut heard = false;
        for (queue, (index, port)) in queues.iter_mut().zip(targets) {
            heard |= queue.up;
            self.touched |= u64::from(put(queue, port, frame, arrives)) << index;
        }
        self.unheard += u64::from(!heard);
        true
    }
}

/// Queues one frame at one port. Whether it is there.
fn put(queue: &mut Queue, port: &Port, frame: &FrameRef<'_>, arrives: SimTime) -> bool {
    if !queue.up {
        return false;
    }
    if !queue.fifo.push(frame, arrives) {
        port.dropped.fetch_add(1, Ordering::Relaxed);
        return false;
    }
    port.waiting.store(queue.fifo.frames(), Ordering::Release);
    true
}

impl NetBackend for Link {
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        if self.follow(&frame, now) {
            return TxStatus::Sent;
        }
        let mut addresses = [0u8; 12];
        let head = FrameRef { len: 12, ..frame };
        if frame.len < 12 || !head.copy_to(&mut addresses) {
            return TxStatus::Sent;
        }
        let (to, from) = addresses.split_at(6);
        self.source.copy_from_slice(from);
        if self.switch.find(from) != Some(self.index) {
            self.switch.learn(self.source, self.index);
        }
        let generation = self.switch.generation.load(Ordering::Acquire);
        let known = self.switch.find(to);
        if known == Some(self.index) {
            return TxStatus::Sent;
        }
        let ports = self
            .switch
            .ports
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = known.and_then(|index| ports.get(index)) {
            let (index, port) = (known.unwrap_or_default(), Arc::clone(port));
            drop(ports);
            self.route = to.first_chunk().map(|address| Route {
                address: *address,
                generation,
                index,
                port: Arc::clone(&port),
            });
            return status(self.queue(&[(index, port)], &frame, now));
        }
        let others: Vec<_> = ports
            .iter()
            .cloned()
            .enumerate()
            .filter(|(index, _)| *index != self.index)
            .collect();
        drop(ports);
        status(self.queue(&others, &frame, now))
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        let mut senders = 0;
        let result = loop {
            let result = self.taken.drain(now, sink);
            if result == RxStatus::Blocked || !self.taken.is_empty() {
                break result;
            }
            // A sender that has the lock wakes this side when it is done.
            let Ok(mut queue) = self.own.queue.try_lock() else {
                break result;
            };
            if queue.fifo.is_empty() {
                break result;
            }
            std::mem::swap(&mut queue.fifo, &mut self.taken);
            self.own.waiting.store(0, Ordering::Release);
            senders |= std::mem::take(&mut queue.senders);
        };
        self.switch.wake(senders);
        result
    }
    fn pending(&self) -> bool {
        !self.taken.is_empty() || self.own.waiting.load(Ordering::Acquire) != 0
    }
    fn next_event(&self) -> Option<SimTime> {
        if let Some(front) = self.taken.front() {
            return Some(front.arrives);
        }
        if self.own.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        lock(&self.own.queue)
            .fifo
            .front()
            .map(|front| front.arrives)
    }
    fn start(&mut self, _dma: &DmaTarget) {
        lock(&self.own.queue).up = true;
    }
    fn flush(&mut self, _now: SimTime) {
        let touched = std::mem::take(&mut self.touched);
        self.switch.wake(touched);
    }
    fn set_wake(&mut self, wake: Wake) {
        *lock(&self.own.wake) = wake;
    }
    fn reset(&mut self) {
        let senders = {
            let mut queue = lock(&self.own.queue);
            queue.up = false;
            queue.fifo.clear();
            std::mem::take(&mut queue.senders)
        };
        self.own.waiting.store(0, Ordering::Release);
        self.taken.clear();
        self.switch.wake(senders);
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("dropped_full", self.own.dropped.load(Ordering::Relaxed)),
            ("unheard", self.unheard),
        ]
    }
}

fn status(sent: bool) -> TxStatus {
    if sent { TxStatus::Sent } else { TxStatus::Full }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
