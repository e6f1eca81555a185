//! The host's port of a real card: a NIC's frames over the device nodes.

use super::counters::{CardCounters, DirectionCounters};
use super::port::{CardPort, FrameInfo, PortError, TakeStatus, TxStatus};
use super::{Card, CardFault, Side};
use crate::nodes::XdmaNodes;
use crate::ring::{Batched, End, EndCounters, Frame, Geometry, META_LEN};
use bus::{DmaTarget, GuestRam, Segment, SimTime, Wake};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_memory::{Bytes, GuestAddress};

/// How often the rings are looked at: the board has no way to wake this side.
const LOOK: SimTime = SimTime::from_us(100);
/// How often a card that does not answer is tried again.
const RETRY: SimTime = SimTime::from_ms(500);

/// A real card, shared by the threads that use it.
#[derive(Debug)]
pub struct XdmaCard {
    nodes: XdmaNodes,
    rings: [Geometry; 2],
    /// And the frames in the ring to the board.
    counters: Mutex<(EndCounters, u32)>,
    trouble: Mutex<Option<String>>,
}

impl XdmaCard {
    /// A card by its open nodes, with its two rings: host to board, board to
    /// host.
    pub fn new(nodes: XdmaNodes, rings: [Geometry; 2]) -> Arc<Self> {
        Arc::new(Self {
            nodes,
            rings,
            counters: Mutex::default(),
            trouble: Mutex::default(),
        })
    }
    /// The host's port.
    pub fn port(self: &Arc<Self>) -> XdmaPort {
        XdmaPort {
            card: self.clone(),
            end: None,
            memory: None,
            peeked: None,
            bytes: Vec::new(),
            before: EndCounters::default(),
            next: None,
        }
    }
    /// Why the card does not answer now, when it does not.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
    fn set_trouble(&self, trouble: Option<String>) {
        let mut slot = lock(&self.trouble);
        if *slot != trouble {
            match &trouble {
                Some(why) => tracing::error!("{why}"),
                None => tracing::info!("the card answers again"),
            }
            *slot = trouble;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Card for XdmaCard {
    fn h2c(&self, _: usize, host: &GuestRam, from: &[Segment], to: u64) -> Result<(), CardFault> {
        let mut at = to;
        for segment in from {
            let mut bytes = vec![0; segment.len as usize];
            host.read_slice(&mut bytes, GuestAddress(segment.address))
                .map_err(|_| CardFault::Host(segment.address))?;
            let written = self.nodes.write_card(at, &bytes);
            written.map_err(|_| CardFault::Card(at))?;
            at += u64::from(segment.len);
        }
        Ok(())
    }
    fn c2h(&self, _: usize, from: u64, host: &GuestRam, to: &[Segment]) -> Result<(), CardFault> {
        let mut at = from;
        for segment in to {
            let mut bytes = vec![0; segment.len as usize];
            let read = self.nodes.read_card(at, &mut bytes);
            read.map_err(|_| CardFault::Card(at))?;
            host.write_slice(&bytes, GuestAddress(segment.address))
                .map_err(|_| CardFault::Host(segment.address))?;
            at += u64::from(segment.len);
        }
        Ok(())
    }
    /// Nobody wakes: the port looks by itself.
    fn set_wake(&self, _: Side, _: Wake) {}
    fn counters(&self) -> CardCounters {
        let (c, depth) = *lock(&self.counters);
        let in_flight = u64::from(depth);
        let mut counters = CardCounters {
            h2c: DirectionCounters {
                sent: c.sent + c.dropped_size,
                sent_bytes: c.sent_bytes,
                delivered: c.sent.saturating_sub(c.lost + in_flight),
                delivered_bytes: c.sent_bytes,
                in_flight,
                stalls: c.stalls,
                ..DirectionCounters::default()
            },
            c2h: DirectionCounters {
                sent: c.received,
                sent_bytes: c.received_bytes,
                delivered: c.received,
                delivered_bytes: c.received_bytes,
                restarts: c.restarts,
                corruptions: c.corruptions,
                ..DirectionCounters::default()
            },
        };
        counters.h2c.dropped.size = c.dropped_size;
        counters.h2c.dropped.restart = c.lost;
        counters
    }
}

/// The host's port of a real card. While the card does not answer, frames wait
/// in their queues, and the port tries again twice a second.
#[derive(Debug)]
pub struct XdmaPort {
    card: Arc<XdmaCard>,
    end: Option<End<Batched<XdmaNodes>>>,
    memory: Option<DmaTarget>,
    peeked: Option<Frame>,
    bytes: Vec<u8>,
    /// Counted by ends that are gone.
    before: EndCounters,
    next: Option<SimTime>,
}

impl XdmaPort {
    /// The end, attached now if it is time to try.
    fn end(&mut self, now: SimTime) -> Option<&mut End<Batched<XdmaNodes>>> {
        if self.end.is_none() && self.memory.is_some() && self.next.is_none_or(|at| at <= now) {
            let nodes = &self.card.nodes;
            let [send, receive] = self.card.rings;
            match nodes.probe() {
                Ok(()) => self.end = End::attach(Batched::new(nodes.clone()), send, receive).ok(),
                Err(why) => self.card.set_trouble(Some(why.to_string())),
            }
            self.next = Some(now + RETRY);
            if self.end.is_some() {
                self.card.set_trouble(None);
            }
        }
        self.end.as_mut()
    }
    /// What `end` left in the ring is lost: a new end starts the ring anew.
    fn leave(&mut self, end: &End<Batched<XdmaNodes>>) {
        self.before = self.before + end.counters();
        self.before.lost += u64::from(end.depth());
        *lock(&self.card.counters) = (self.before, 0);
    }
    /// An access failed: the card is left alone for a while.
    fn fail(&mut self, now: SimTime) {
        if let Some(end) = self.end.take() {
            self.leave(&end);
        }
        self.peeked = None;
        let why = self.card.nodes.probe().err();
        self.card.set_trouble(why.map(|why| why.to_string()));
        self.next = Some(now + RETRY);
    }
    fn copy_to_guest(&self, into: &[Segment]) -> bool {
        let Some(memory) = self.memory.as_ref().and_then(DmaTarget::memory) else {
            return false;
        };
        let mut rest = &self.bytes[..];
        for segment in into {
            let (piece, left) = rest.split_at(rest.len().min(segment.len as usize));
            if memory
                .write_slice(piece, GuestAddress(segment.address))
                .is_err()
            {
                return false;
            }
            rest = left;
        }
        rest.is_empty()
    }
}

impl CardPort for XdmaPort {
    fn attach(&mut self, memory: DmaTarget) -> Result<(), PortError> {
        self.memory = Some(memory);
        self.next = None;
        Ok(())
    }
    fn detach(&mut self) {
        self.memory = None;
        if let Some(end) = self.end.take() {
            self.leave(&end);
        }
        self.peeked = None;
    }
    fn transmit(&mut self, now: SimTime, meta: &[u8; META_LEN], frame: &[Segment]) -> TxStatus {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let memory = self.memory.as_ref().and_then(DmaTarget::memory);
        let read = memory.is_some_and(|memory| {
            frame.iter().all(|segment| {
                let start = bytes.len();
                bytes.resize(start + segment.len as usize, 0);
                memory
                    .read_slice(&mut bytes[start..], GuestAddress(segment.address))
                    .is_ok()
            })
        });
        let sent = match self.end(now) {
            Some(end) if read => end.send(meta, &bytes),
            // Buffers that are no memory are given back.
            Some(_) => Ok(true),
            None => Ok(false),
        };
        self.bytes = bytes;
        match sent {
            Ok(true) => TxStatus::Sent,
            Ok(false) => TxStatus::Full,
            Err(_) => {
                self.fail(now);
                TxStatus::Full
            }
        }
    }
    fn peek(&mut self, now: SimTime) -> Option<FrameInfo> {
        match self.end(now)?.peek() {
            Ok(frame) => {
                self.peeked = frame;
                frame.map(|frame| FrameInfo {
                    len: frame.len,
                    meta: frame.meta,
                })
            }
            Err(_) => {
                self.fail(now);
                None
            }
        }
    }
    fn take(&mut self, now: SimTime, into: &[Segment]) -> TakeStatus {
        let (Some(frame), Some(end)) = (self.peeked.take(), self.end.as_mut()) else {
            return TakeStatus::Gone;
        };
        let room: u64 = into.iter().map(|s| u64::from(s.len)).sum();
        if !into.is_empty() && room < u64::from(frame.len) {
            return TakeStatus::BadBuffer;
        }
        let taken = if into.is_empty() {
            self.bytes.clear();
            end.discard(&frame)
        } else {
            end.take(&frame, &mut self.bytes)
        };
        match taken {
            // The frame left the ring: bad buffers lose it.
            Ok(true) if self.copy_to_guest(into) || into.is_empty() => TakeStatus::Taken,
            Ok(_) => TakeStatus::Gone,
            Err(_) => {
                self.fail(now);
                TakeStatus::Gone
            }
        }
    }
    fn flush(&mut self, now: SimTime) {
        let Some(end) = self.end(now) else { return };
        let (flushed, counters, depth) = (end.flush(), end.counters(), end.depth());
        if flushed.is_err() {
            self.fail(now);
            return;
        }
        *lock(&self.card.counters) = (self.before + counters, depth);
        self.next = Some(now + LOOK);
    }
    fn next_event(&self) -> Option<SimTime> {
        self.memory.as_ref()?;
        Some(self.next.unwrap_or(SimTime::ZERO))
    }
    fn link_up(&self) -> bool {
        self.end.as_ref().is_some_and(End::has_peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NodesSpec;
    use bus::{Bdf, NoMsi, create_ram};
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::FileExt;

    const DDR: u64 = 0x300_0000;

    struct Rig {
        dir: tempfile::TempDir,
        card: Arc<XdmaCard>,
        host: DmaTarget,
        board: End<XdmaNodes>,
    }

    /// The nodes as sparse files with the same semantics.
    fn rig() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let node = |suffix: &str| dir.path().join(format!("xdma0{suffix}"));
        File::create(node("_h2c_0"))
            .unwrap()
            .set_len(0x400_0000)
            .unwrap();
        std::fs::hard_link(node("_h2c_0"), node("_c2h_0")).unwrap();
        File::create(node("_user"))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        let nodes = XdmaNodes::open(NodesSpec {
            device: dir.path().join("xdma0"),
            ddr: DDR,
            bytes: 16 << 20,
            h2c: 0,
            c2h: 0,
        })
        .unwrap();
        let rings = Geometry::pair(DDR, 64, 1 << 20).unwrap();
        let ram = Arc::new(create_ram(&[(0, 1 << 20)]).unwrap());
        let host = DmaTarget::new(Bdf::new(0, 1, 0), ram, Arc::new(NoMsi));
        host.set_bus_master(true);
        let board = End::attach(nodes.clone(), rings[1], rings[0]).unwrap();
        Rig {
            dir,
            card: XdmaCard::new(nodes, rings),
            host,
            board,
        }
    }

    fn segment(address: u64, len: u32) -> Segment {
        Segment { address, len }
    }

    #[test]
    fn frames_both_ways_and_a_link_that_goes_down() {
        let mut rig = rig();
        let mut port = rig.card.port();
        let ram = rig.host.raw_memory().clone();
        port.attach(rig.host.clone()).unwrap();
        let mut now = SimTime::ZERO;
        let data = bus::fuzz::noise(1, 3000);
        ram.write_slice(&data, GuestAddress(0x1000)).unwrap();
        // Frames wait until the board follows, then none is lost.
        let pieces = [segment(0x1000, 1000), segment(0x1000 + 1000, 2000)];
        assert_eq!(port.transmit(now, &[5; META_LEN], &pieces), TxStatus::Sent);
        port.flush(now);
        rig.board.flush().unwrap();
        let mut bytes = Vec::new();
        let frame = rig.board.peek().unwrap().expect("the frame");
        assert_eq!(frame.meta, [5; META_LEN]);
        assert!(rig.board.take(&frame, &mut bytes).unwrap() && bytes == data);
        assert!(rig.board.send(&[6; META_LEN], &data[..64]).unwrap());
        rig.board.flush().unwrap();
        now = port.next_event().expect("it looks by itself");
        let info = port.peek(now).expect("the answer");
        assert_eq!((info.len, info.meta), (64, [6; META_LEN]));
        assert_eq!(
            port.take(now, &[segment(0x8000, 10)]),
            TakeStatus::BadBuffer
        );
        port.peek(now).unwrap();
        let into = [segment(0x8000, 10), segment(0x9000, 54)];
        assert_eq!(port.take(now, &into), TakeStatus::Taken);
        let mut got = vec![0; 10];
        ram.read_slice(&mut got, GuestAddress(0x8000)).unwrap();
        assert_eq!(got, data[..10]);
        port.flush(now);
        assert!(port.link_up());
        rig.card.counters().check().unwrap();

        // The card leaves the bus: transfers end, registers read as ones.
        let open = |suffix: &str| {
            let path = rig.dir.path().join(format!("xdma0{suffix}"));
            OpenOptions::new().write(true).open(path).unwrap()
        };
        let (memory, user) = (open("_h2c_0"), open("_user"));
        let size = 0x400_0000;
        memory.set_len(DDR).unwrap();
        user.write_all_at(&[0xff; 4], crate::queue::BAR_CONSUMER)
            .unwrap();
        assert_eq!(port.peek(now), None);
        let why = rig.card.trouble().expect("it says why");
        assert!(why.contains("link") && why.contains("all ones"), "{why}");
        let full = port.transmit(now, &[0; META_LEN], &[segment(0x1000, 64)]);
        assert_eq!(full, TxStatus::Full, "the frame stays in its queue");
        // And comes back.
        user.write_all_at(&[0; 4], crate::queue::BAR_CONSUMER)
            .unwrap();
        memory.set_len(size).unwrap();
        // Its memory is empty: the ring starts anew, and what was sent before
        // the board has noticed is lost and counted.
        let mut arrived = None;
        for _ in 0..20 {
            now = port.next_event().unwrap();
            let sent = port.transmit(now, &[7; META_LEN], &[segment(0x1000, 64)]);
            assert_eq!(sent, TxStatus::Sent);
            port.flush(now);
            rig.board.flush().unwrap();
            arrived = rig.board.peek().unwrap();
            if arrived.is_some() {
                break;
            }
        }
        let frame = arrived.expect("frames arrive again");
        assert_eq!((frame.len, frame.meta), (64, [7; META_LEN]));
        assert!(rig.board.take(&frame, &mut bytes).unwrap());
        assert_eq!(rig.card.trouble(), None);
        rig.card.counters().check().unwrap();
    }
}
