//! The card between two guest memories, as two NICs use it.

use super::*;
use crate::ring::layout;
use crate::timing::Profile;
use bus::{Bdf, DmaTarget, NoMsi, SimTime, create_ram};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use vm_memory::{Bytes, GuestAddress};

const META: [u8; 12] = *b"meta-of-12-b";
const TX: u64 = 0x10_0000;
const RX: u64 = 0x20_0000;

struct End {
    port: SimPort,
    memory: DmaTarget,
    wakes: Arc<AtomicU32>,
}

impl End {
    fn new(card: &Arc<SimCard>, side: Side, ram: &Arc<GuestRam>) -> Self {
        let memory = DmaTarget::new(Bdf::new(0, 1, 0), ram.clone(), Arc::new(NoMsi));
        memory.set_bus_master(true);
        let wakes = Arc::new(AtomicU32::new(0));
        let count = wakes.clone();
        card.set_wake(
            side,
            Wake::from_fn(move || {
                count.fetch_add(1, Ordering::SeqCst);
            }),
        );
        Self {
            port: card.port(side),
            memory,
            wakes,
        }
    }
    fn attach(&mut self) {
        self.port.attach(self.memory.clone()).unwrap();
    }
    fn woken(&self) -> bool {
        self.wakes.swap(0, Ordering::SeqCst) > 0
    }
    fn send(&mut self, now: u64, frame: &[u8]) -> TxStatus {
        let ram = self.memory.raw_memory();
        ram.write_slice(frame, GuestAddress(TX)).unwrap();
        let third = frame.len() as u32 / 3;
        let pieces = [(0, third), (third, 0), (third, frame.len() as u32 - third)];
        let pieces = pieces.map(|(at, len)| Segment {
            address: TX + u64::from(at),
            len,
        });
        self.port.transmit(SimTime(now), &META, &pieces)
    }
    fn receive(&mut self, now: u64) -> Option<Vec<u8>> {
        let info = self.port.peek(SimTime(now))?;
        assert_eq!(info.meta, META);
        let half = info.len / 2;
        let pieces = [(0, half), (half, 70_000)].map(|(at, len)| Segment {
            address: RX + u64::from(at),
            len,
        });
        assert_eq!(
            self.port.take(SimTime(now), &pieces),
            TakeStatus::Taken,
            "{info:?}"
        );
        let mut frame = vec![0; info.len as usize];
        let ram = self.memory.raw_memory();
        ram.read_slice(&mut frame, GuestAddress(RX)).unwrap();
        Some(frame)
    }
    fn flush(&mut self, now: u64) {
        self.port.flush(SimTime(now));
    }
}

fn small() -> SimCardSpec {
    SimCardSpec {
        window_base: 0x40_0000,
        window_size: 0x80_0000,
        ring_base: 0x40_0000,
        fifo: FifoSpec {
            slots: 8,
            bytes: 256 << 10,
            on_full: OnFull::Backpressure,
        },
        ..SimCardSpec::default()
    }
}

fn pair(spec: SimCardSpec) -> (Arc<SimCard>, End, End) {
    let host = Arc::new(create_ram(&[(0, 0x100_0000)]).unwrap());
    let board = Arc::new(create_ram(&[(0, 0x80_0000), (0x80_0000, 0x80_0000)]).unwrap());
    let card = SimCard::new(spec, board.clone()).unwrap();
    let (host, board) = (
        End::new(&card, Side::Host, &host),
        End::new(&card, Side::Board, &board),
    );
    (card, host, board)
}

fn frame(n: u64, len: usize) -> Vec<u8> {
    bus::fuzz::noise(n * 2 + 1, len)
}

#[test]
fn frames_of_every_size_cross_both_ways() {
    let (card, mut host, mut board) = pair(small());
    host.attach();
    board.attach();
    assert!(host.port.link_up() && board.port.link_up());
    for len in [14, 15, 60, 64, 1500, 1514, 9000, 65_549, 65_550] {
        for _ in 0..7 {
            for (a, b) in [(0, 1), (1, 0)] {
                let ends = [&mut host, &mut board];
                let [a, b] = if a < b {
                    ends
                } else {
                    let [x, y] = ends;
                    [y, x]
                };
                let sent = frame(len as u64, len);
                a.woken();
                b.woken();
                assert_eq!(a.send(0, &sent), TxStatus::Sent);
                assert_eq!(b.receive(0), None, "not before the flush");
                a.flush(0);
                assert!(b.woken() && !a.woken());
                assert_eq!(b.receive(0), Some(sent));
                assert_eq!(b.receive(0), None);
                b.flush(0);
                assert!(!a.woken(), "nobody waits for room");
            }
        }
    }
    let counters = card.counters();
    counters.check().unwrap();
    assert_eq!((counters.h2c.sent, counters.c2h.delivered), (63, 63));
    assert_eq!(counters.h2c.in_flight, 0);
}

#[test]
fn backpressure_loses_nothing_and_wakes_the_producer() {
    let (card, mut host, mut board) = pair(small());
    host.attach();
    board.attach();
    let (mut next, mut got, mut now) = (0u64, 0u64, 0u64);
    while got < 2_000 {
        now += 5;
        let before = (next, got);
        while host.send(now, &frame(next, 14 + (next as usize * 7919) % 60_000)) == TxStatus::Sent {
            next += 1;
        }
        assert_eq!(board.woken(), next > before.0, "a full FIFO was published");
        host.woken();
        for _ in 0..1 + got % 5 {
            if let Some(f) = board.receive(now) {
                assert_eq!(f, frame(got, f.len()));
                got += 1;
            }
        }
        board.flush(now);
        assert_eq!(host.woken(), got > before.1, "room after Full");
        card.counters().check().unwrap();
    }
    let h2c = card.counters().h2c;
    assert_eq!(h2c.dropped.total(), 0);
    assert_eq!(h2c.sent, h2c.delivered + h2c.in_flight);
    assert!(h2c.stalls > 100 && h2c.stalled_time > SimTime::ZERO && h2c.depth_max <= 8);
    assert!(!card.time_lines()[0].points().is_empty());
}

#[test]
fn drop_policies_count_every_frame() {
    for on_full in [OnFull::DropNew, OnFull::DropOldest] {
        let mut spec = small();
        spec.fifo.on_full = on_full;
        spec.fifo.slots = 4;
        let (card, mut host, mut board) = pair(spec);
        host.attach();
        board.attach();
        for n in 0..10 {
            assert_eq!(host.send(0, &frame(n, 100)), TxStatus::Sent);
        }
        host.flush(0);
        let got: Vec<_> = std::iter::from_fn(|| board.receive(0)).collect();
        let want = if on_full == OnFull::DropNew {
            0..4
        } else {
            6..10
        };
        assert_eq!(got, want.map(|n| frame(n, 100)).collect::<Vec<_>>());
        let counters = card.counters();
        counters.check().unwrap();
        let dropped = counters.h2c.dropped;
        assert_eq!(dropped.total(), 6);
        assert_eq!(dropped.full_new + dropped.full_oldest, 6);
    }
}

#[test]
fn drop_oldest_voids_a_frame_that_was_peeked_at() {
    let mut spec = small();
    spec.fifo.on_full = OnFull::DropOldest;
    let (card, mut host, mut board) = pair(spec);
    host.attach();
    board.attach();
    for n in 0..8 {
        assert_eq!(host.send(0, &frame(n, 100)), TxStatus::Sent);
    }
    host.flush(0);
    assert!(board.port.peek(SimTime(0)).is_some());
    assert_eq!(host.send(0, &frame(8, 100)), TxStatus::Sent);
    let into = [Segment {
        address: RX,
        len: 2000,
    }];
    assert_eq!(board.port.take(SimTime(0), &into), TakeStatus::Gone);
    assert_eq!(board.receive(0), Some(frame(1, 100)));
    card.counters().check().unwrap();
}

#[test]
fn frames_that_cannot_be_are_dropped_and_counted() {
    let (card, mut host, mut board) = pair(small());
    host.attach();
    board.attach();
    for len in [0, 13, 65_551, 200_000] {
        assert_eq!(host.send(0, &frame(1, len)), TxStatus::Sent);
    }
    let nowhere = [Segment {
        address: u64::MAX - 20,
        len: 64,
    }];
    assert_eq!(
        host.port.transmit(SimTime(0), &META, &nowhere),
        TxStatus::Sent
    );
    host.memory.set_bus_master(false);
    assert_eq!(host.send(0, &frame(1, 64)), TxStatus::Sent);
    host.memory.set_bus_master(true);
    assert_eq!(host.send(0, &frame(7, 64)), TxStatus::Sent);
    host.flush(0);

    assert!(board.port.peek(SimTime(0)).is_some());
    for bad in [
        Segment {
            address: RX,
            len: 63,
        },
        Segment {
            address: 1 << 40,
            len: 100,
        },
    ] {
        let status = board.port.take(SimTime(0), &[bad]);
        assert_eq!(status, TakeStatus::BadBuffer);
        assert!(board.port.peek(SimTime(0)).is_some(), "the frame stays");
    }
    assert_eq!(board.receive(0), Some(frame(7, 64)));
    let counters = card.counters();
    counters.check().unwrap();
    assert_eq!(counters.h2c.dropped.size, 4);
    assert_eq!(counters.h2c.dropped.dma, 2);
}

#[test]
fn a_restarted_side_gets_no_stale_frame_and_the_other_recovers() {
    let (card, mut host, mut board) = pair(small());
    host.attach();
    for n in 0..3 {
        assert_eq!(host.send(0, &frame(n, 64)), TxStatus::Sent);
    }
    host.flush(0);
    board.attach();
    assert_eq!(
        board.receive(0),
        Some(frame(0, 64)),
        "a first receiver gets what waits for it"
    );
    // The receiver restarts.
    host.woken();
    board.attach();
    assert!(host.woken(), "the producer has to answer");
    assert_eq!(board.receive(0), None, "frames of before are stale");
    host.flush(0);
    assert_eq!(board.receive(0), None);
    assert_eq!(host.send(0, &frame(5, 64)), TxStatus::Sent);
    host.flush(0);
    assert_eq!(board.receive(0), Some(frame(5, 64)));
    assert_eq!(card.counters().h2c.dropped.restart, 2);
    // The sender restarts, with a frame in flight and one peeked at.
    assert_eq!(host.send(0, &frame(6, 64)), TxStatus::Sent);
    host.flush(0);
    assert!(board.port.peek(SimTime(0)).is_some());
    host.attach();
    let into = [Segment {
        address: RX,
        len: 2000,
    }];
    assert_eq!(board.port.take(SimTime(0), &into), TakeStatus::Gone);
    assert_eq!(board.receive(0), None);
    assert_eq!(host.send(0, &frame(9, 64)), TxStatus::Sent);
    host.flush(0);
    assert_eq!(board.receive(0), Some(frame(9, 64)));
    // Both leave and come back.
    host.port.detach();
    board.port.detach();
    assert!(!host.port.link_up());
    card.counters().check().unwrap();
    board.attach();
    host.attach();
    assert_eq!(host.send(0, &frame(1, 64)), TxStatus::Sent);
    host.flush(0);
    assert_eq!(board.receive(0), Some(frame(1, 64)));
    card.counters().check().unwrap();
    assert_eq!(card.counters().h2c.dropped.restart, 3);
}

#[test]
fn nonsense_in_the_ring_is_found_counted_and_survived() {
    let spec = small();
    let base = spec.ring_base;
    let offsets = [
        layout::MAGIC_WORD,
        layout::GEOMETRY_WORD,
        layout::LINK_WORD,
        layout::HEAD_WORD,
        layout::TAIL_WORD,
        layout::CREDITS_WORD,
        layout::REQUEST_WORD,
        layout::RECORDS,
        layout::RECORDS + 8,
        layout::RECORDS + 16,
    ];
    for offset in offsets {
        for bits in [1u64, 1 << 20, 1 << 32, 1 << 63, u64::MAX, 0xffff_ffff] {
            let (card, mut host, mut board) = pair(spec.clone());
            host.attach();
            board.attach();
            assert_eq!(host.send(0, &frame(0, 64)), TxStatus::Sent);
            host.flush(0);
            assert_eq!(board.receive(0).unwrap(), frame(0, 64));
            board.flush(0);
            host.flush(0);
            for _ in 0..2 {
                // Back to the first record: restart the ring.
                host.attach();
                board.flush(0);
                assert_eq!(host.send(0, &frame(1, 64)), TxStatus::Sent);
                host.flush(0);
                let at = GuestAddress(base + offset);
                let ram = board.memory.raw_memory();
                let word: u64 = ram.read_obj(at).unwrap();
                ram.write_obj(word ^ bits, at).unwrap();
                let into = [Segment {
                    address: RX,
                    len: 70_000,
                }];
                if board.port.peek(SimTime(0)).is_some() {
                    let _ = board.port.take(SimTime(0), &into);
                }
                board.flush(0);
                host.flush(0);
                card.counters().check().unwrap();
            }
            // It works again.
            let mut got = 0;
            for n in 0..6 {
                while host.send(0, &frame(n, 300)) == TxStatus::Full {
                    host.flush(0);
                    board.flush(0);
                }
                host.flush(0);
                while let Some(f) = board.receive(0) {
                    got += u32::from((0..=n).any(|n| f == frame(n, 300)));
                }
                board.flush(0);
            }
            assert!(got >= 4, "{offset:#x} ^ {bits:#x}: {got}");
            card.counters().check().unwrap();
        }
    }
}

#[test]
fn timed_frames_and_credits_wait_for_the_latency() {
    let mut spec = small();
    spec.timed = true;
    let latency = spec.link.latency.0;
    let (card, mut host, mut board) = pair(spec);
    assert_eq!(card.lookahead(), Some(SimTime(latency)));
    host.attach();
    board.attach();
    for (first, second) in [(0, 1), (1, 0)] {
        let ends = [&mut host, &mut board];
        let [a, b] = if first < second {
            ends
        } else {
            let [x, y] = ends;
            [y, x]
        };
        let t = 1_000_000_000;
        for n in 0..8 {
            assert_eq!(a.send(t + n, &frame(n, 64)), TxStatus::Sent);
        }
        a.flush(t + 8);
        assert_eq!(a.send(t + 9, &frame(8, 64)), TxStatus::Full);
        assert_eq!(a.port.next_event(), None);
        let due = b.port.next_event().unwrap().0;
        assert_eq!(due, t + 8 + latency);
        assert_eq!(b.receive(due - 1), None);
        for n in 0..8 {
            assert_eq!(b.receive(due), Some(frame(n, 64)));
        }
        assert_eq!(b.receive(due + 100), None);
        b.flush(due);
        assert!(a.woken());
        let room = a.port.next_event().unwrap().0;
        assert_eq!(room, due + latency);
        assert_eq!(a.send(room - 1, &frame(8, 64)), TxStatus::Full);
        assert_eq!(a.send(room, &frame(8, 64)), TxStatus::Sent);
        a.flush(room);
        assert_eq!(b.receive(room + latency), Some(frame(8, 64)));
        b.flush(room + latency);
    }
    let counters = card.counters();
    counters.check().unwrap();
    assert_eq!(counters.c2h.stalls, 1);
}

#[test]
fn a_card_that_cannot_be_is_refused_with_the_reason() {
    let ram = Arc::new(create_ram(&[(0, 0x100_0000)]).unwrap());
    let message = |change: fn(&mut SimCardSpec)| {
        let mut spec = small();
        change(&mut spec);
        SimCard::new(spec, ram.clone()).unwrap_err().to_string()
    };
    let text = message(|s| s.fifo.bytes = 5 << 20);
    assert!(text.contains("use a smaller 'fifo.bytes'"), "{text}");
    let text = message(|s| s.fifo.slots = 0);
    assert!(text.contains("1 to 1048576 slots"), "{text}");
    let text = message(|s| s.window_size = 0x1000_0000);
    assert!(text.contains("not memory of the board"), "{text}");
    let text = message(|s| s.dma.channels = 5);
    assert!(text.contains("1 to 4 channels"), "{text}");
}

#[test]
fn hard_queues_join_the_user_bar_the_board_and_axi() {
    use crate::queue::{BAR_CONSUMER, BAR_PRODUCER, BOARD_CONSUMER};
    use bus::BusDevice;
    let (card, _, _) = pair(small());
    let mut bar = card.user_bar();
    let [(producer_at, producer), (consumer_at, consumer), _] = card.board_windows();
    assert_eq!((producer_at, consumer_at), (0xa030_0000, 0xa032_0000));
    let _ = bar.write(BAR_PRODUCER + 0x40, &[1, 2, 3, 4]).unwrap();
    let _ = bar.write(BAR_PRODUCER + 0x40, &[5, 6, 7, 8]).unwrap();
    let mut word = [0; 4];
    consumer.lock().unwrap().read(0x40, &mut word).unwrap();
    assert_eq!(word, [1, 2, 3, 4]);
    assert!(card.axi().read_beat(BOARD_CONSUMER + 0x40, &mut word));
    assert_eq!(word, [5, 6, 7, 8]);
    let _ = producer.lock().unwrap().write(0x40, &[9; 4]).unwrap();
    bar.read(BAR_CONSUMER + 0x40, &mut word).unwrap();
    assert_eq!(word, [9; 4]);
    assert_eq!(card.queue_from(Side::Board).count(), 0);
}

#[test]
fn user_interrupts_are_levels() {
    let (card, _, _) = pair(small());
    let line = bus::IrqLine::null();
    card.connect_user_irq(3, line.clone());
    card.set_user_irq(3, true);
    card.set_user_irq(16, true);
    assert!(line.level());
    card.set_user_irq(3, false);
    assert!(!line.level());
    // By a program on the board, and by DMA.
    let [.., (at, window)] = card.board_windows();
    assert_eq!(at, 0xa034_0000);
    let _ = window.lock().unwrap().write(4, &[8, 0, 0, 0]).unwrap();
    assert!(line.level());
    assert!(card.axi().write_beat(at + 8, &[8, 0, 0, 0]));
    assert!(!line.level());
}

#[test]
fn two_threads_move_every_frame_in_order() {
    let (card, mut host, mut board) = pair(small());
    host.attach();
    board.attach();
    const N: u64 = 20_000;
    let len = |n: u64| 14 + (n as usize * 7919) % 3_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Waits for a wake before it tries again: a lost one hangs here.
            for n in 0..N {
                while host.send(n, &frame(n, len(n))) == TxStatus::Full {
                    while !host.woken() {
                        std::thread::yield_now();
                    }
                }
                if n % 3 == 0 {
                    host.flush(n);
                }
            }
            host.flush(N);
        });
        scope.spawn(|| {
            let mut got = 0;
            while got < N {
                while let Some(f) = board.receive(got) {
                    assert_eq!(f, frame(got, len(got)));
                    got += 1;
                }
                board.flush(got);
                if got < N {
                    while !board.woken() {
                        std::thread::yield_now();
                    }
                }
            }
        });
    });
    let counters = card.counters();
    counters.check().unwrap();
    assert_eq!(counters.h2c.delivered, N);
}

/// Two machines in quanta of the link's latency; which one goes first in a
/// quantum is up to `first`. Returns everything that each of them saw.
fn quanta(profile: Profile, first: impl Fn(u64) -> usize) -> Vec<Vec<(u64, u64)>> {
    let mut spec = small();
    spec.timed = true;
    spec.dma.profile = profile;
    let quantum = spec.link.latency.0;
    let (card, mut host, mut board) = pair(spec);
    host.attach();
    board.attach();
    let mut seen = vec![Vec::new(), Vec::new()];
    let mut next = [0u64; 2];
    for q in 0..400 {
        for i in [first(q), 1 - first(q)] {
            let end = [&mut host, &mut board].into_iter().nth(i).unwrap();
            for step in 0..3 {
                let now = q * quantum + step * quantum / 3 + i as u64;
                // Bursts that fill the FIFO, and pauses.
                while (q / 50).is_multiple_of(2) && next[i] < q * 3 {
                    let f = frame(next[i], 14 + (next[i] as usize * 7919) % 9000);
                    if end.send(now, &f) == TxStatus::Full {
                        seen[i].push((now, u64::MAX));
                        break;
                    }
                    next[i] += 1;
                }
                for _ in 0..q % 4 {
                    if let Some(f) = end.receive(now) {
                        seen[i].push((now, f.len() as u64));
                    }
                }
                end.flush(now);
            }
        }
        if q % 100 == 0 {
            card.counters().check().unwrap();
        }
    }
    let counters = card.counters();
    counters.check().unwrap();
    for c in [counters.h2c, counters.c2h] {
        assert!(c.delivered > 20 && c.stalls > 0, "{c:?}");
        seen.push(vec![
            (c.delivered, c.stalled_time.0),
            (c.stalls, c.doorbells),
        ]);
    }
    seen
}

#[test]
fn what_a_quantum_brings_does_not_depend_on_who_runs_first() {
    for profile in Profile::ALL {
        let want = quanta(profile, |_| 0);
        assert_eq!(quanta(profile, |_| 1), want, "{profile}");
        assert_eq!(
            quanta(profile, |q| (q % 3 == 0) as usize),
            want,
            "{profile}"
        );
    }
}

#[test]
fn a_profile_delays_each_transfer() {
    let mut spec = small();
    spec.timed = true;
    spec.dma.profile = Profile::XdmaGen3x8Irq;
    let (_, mut host, mut board) = pair(spec);
    host.attach();
    board.attach();
    assert_eq!(host.send(0, &frame(1, 98)), TxStatus::Sent);
    host.flush(0);
    let there = board.port.next_event().unwrap();
    assert!((10_500..10_600).contains(&there.as_ns()), "{there}");
    assert!(board.receive(there.0).is_some());
    assert_eq!(board.send(there.0, &frame(1, 98)), TxStatus::Sent);
    board.flush(there.0);
    // The host's engine learns of it after the latency, then fetches it.
    let known = host.port.next_event().unwrap();
    assert_eq!(known, there + SimTime::from_ns(500));
    assert_eq!(host.receive(known.0), None);
    let back = host.port.next_event().unwrap() - there;
    assert!((10_500..10_600).contains(&back.as_ns()), "{back}");
}

proptest::proptest! {
    /// Whatever two NICs do, every frame is accounted for.
    #[test]
    fn frames_are_conserved(
        steps in proptest::collection::vec((0u8..9, 0u32..3_000), 0..200),
        policy in 0usize..3,
        slots in 1u32..9,
        timed: bool,
    ) {
        let mut spec = small();
        spec.fifo.on_full = [OnFull::Backpressure, OnFull::DropNew, OnFull::DropOldest][policy];
        spec.fifo.slots = slots;
        spec.timed = timed;
        let (card, mut host, mut board) = pair(spec);
        let mut now = 0;
        for (step, value) in steps {
            now += u64::from(value) * 300;
            let end = if value % 2 == 0 { &mut host } else { &mut board };
            match step {
                0..=2 => {
                    let _ = end.send(now, &frame(now, value as usize));
                }
                3 if end.port.peek(SimTime(now)).is_some() => {
                    let into = [Segment { address: RX, len: 70_000 }];
                    let _ = end.port.take(SimTime(now), &into);
                }
                4..=6 => end.flush(now),
                7 => end.attach(),
                _ if value % 8 < 2 => end.port.detach(),
                _ => {
                    end.port.peek(SimTime(now));
                }
            }
            let counters = card.counters();
            proptest::prop_assert_eq!(counters.check(), Ok(()), "{:?}", counters);
        }
    }
}
