//! The engine by PG195's rules and by what its drivers rely on.

use super::*;
use crate::queue::{BOARD_CONSUMER, BOARD_PRODUCER, HardQueue, QueueWindow, Role, WINDOW};
use crate::test_memory;
use crate::timing::Way;
use bus::{DmaTarget, create_ram};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

/// The vendor driver's control words for a start.
const START: u32 = 0x00f8_3e1f;
const START_POLL: u32 = 0x04f8_3e19;
const RING: u64 = 0x10_0000;
const DDR: u64 = 0x300_0000;

struct Bench {
    engine: Engine,
    host: DmaTarget,
    axi: Axi,
    queue: Arc<HardQueue>,
}

impl Bench {
    fn new() -> Self {
        // Host memory with a hole.
        let host = test_memory::host(&[(0, 0x100_0000), (0x200_0000, 0x100_0000)]);
        let ddr = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
        let mut axi = Axi::new(ddr, DDR..0x400_0000);
        let queue = Arc::new(HardQueue::new(Duration::ZERO));
        for (at, role) in [
            (BOARD_PRODUCER, Role::Producer),
            (BOARD_CONSUMER, Role::Consumer),
        ] {
            let window = QueueWindow::new(queue.clone(), role);
            axi.map(at, WINDOW, Arc::new(Mutex::new(window))).unwrap();
        }
        Self {
            engine: Engine::new(4),
            host,
            axi,
            queue,
        }
    }
    fn put(&self, at: u64, bytes: &[u8]) {
        test_memory::put(&self.host, at, bytes);
    }
    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        test_memory::get(&self.host, at, len)
    }
    fn card(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let ddr = self.axi.ddr();
        ddr.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }
    /// A chain as the vendor driver lays it out from ring slot `slot`: pages,
    /// blocks that end at 64 descriptors, the last one stops.
    fn chain(&self, way: Way, slot: u64, pieces: &[(u64, u64, u32)]) -> u8 {
        let n = pieces.len() as u64;
        let adjacent = |i: u64| (63 - (slot + i) % 64).min(n - 1 - i) as u8;
        for (i, &(host, card, length)) in (0u64..).zip(pieces) {
            let last = i + 1 == n;
            let (source, destination) = match way {
                Way::H2c => (host, card),
                Way::C2h => (card, host),
            };
            let d = Descriptor {
                stop: last,
                completed: last,
                eop: last,
                next_adjacent: if last { 0 } else { adjacent(i + 1) },
                length,
                source,
                destination,
                next: if last { 0 } else { RING + (slot + i + 1) * 32 },
            };
            self.put(RING + (slot + i) * 32, &d.to_bytes());
        }
        adjacent(0)
    }
    fn start(&mut self, way: Way, slot: u64, adjacent: u8, control: u32) {
        let channel = self.engine.channel_mut(way, 1).unwrap();
        channel.first = RING + slot * 32;
        channel.first_adjacent = adjacent;
        channel.set_control(control & !1);
        channel.set_control(control);
    }
    fn run(&mut self) -> u32 {
        let mut slices = 0;
        while self.engine.service(&self.host, &self.axi, 10_000).more {
            slices += 1;
            assert!(slices < 100_000, "it never ends");
        }
        slices
    }
    fn state(&self, way: Way) -> (u32, u32) {
        let channel = self.engine.channel(way, 1).unwrap();
        (channel.status(), channel.completed())
    }
}

#[test]
fn descriptors_as_the_driver_writes_them() {
    // Words seen on the bus: first and last of an 8 MiB write.
    let mut bytes = [0u8; SIZE];
    bytes[0..4].copy_from_slice(&0xad4b_3e00u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&0x1000u32.to_le_bytes());
    bytes[8..16].copy_from_slice(&0x1_2345_6000u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&0x300_0000u64.to_le_bytes());
    bytes[24..32].copy_from_slice(&0x8000_0020u64.to_le_bytes());
    let d = Descriptor::parse(&bytes).unwrap();
    assert_eq!((d.next_adjacent, d.length), (62, 0x1000));
    assert_eq!((d.source, d.destination), (0x1_2345_6000, 0x300_0000));
    assert_eq!(d.next, 0x8000_0020);
    assert!(!d.stop && !d.completed && !d.eop);
    assert_eq!(d.to_bytes(), bytes);
    bytes[0..4].copy_from_slice(&0xad4b_0013u32.to_le_bytes());
    let d = Descriptor::parse(&bytes).unwrap();
    assert!(d.stop && d.completed && d.eop && d.next_adjacent == 0);
    bytes[3] = 0xac;
    assert_eq!(Descriptor::parse(&bytes), Err(BadMagic(0xac4b)));
}

#[test]
fn long_chains_both_ways() {
    let mut bench = Bench::new();
    let data = bus::fuzz::noise(1, 1 << 20);
    bench.put(0x20_0000, &data);
    for slot in [0, 1, 63] {
        let pages = |to: u64| -> Vec<_> {
            (0..256u64)
                .map(|i| (to + i * 4096, DDR + 0x77 + i * 4096, 4096))
                .collect()
        };
        let adjacent = bench.chain(Way::H2c, slot, &pages(0x20_0000));
        assert_eq!(adjacent, (63 - slot) as u8);
        bench.start(Way::H2c, slot, adjacent, START);
        assert_eq!(bench.state(Way::H2c), (status::BUSY, 0));
        assert!(bench.run() > 90, "in slices");
        let done = status::DESC_STOPPED | status::DESC_COMPLETED;
        assert_eq!(bench.state(Way::H2c), (done, 256));
        assert_eq!(bench.card(DDR + 0x77, 1 << 20), data);

        let adjacent = bench.chain(Way::C2h, slot, &pages(0x220_0000));
        bench.start(Way::C2h, slot, adjacent, START);
        bench.run();
        assert_eq!(bench.state(Way::C2h), (done, 256));
        assert_eq!(bench.get(0x220_0000, 1 << 20), data);
        // RUN stays set; clearing it does not lose the count.
        let channel = bench.engine.channel_mut(Way::C2h, 1).unwrap();
        assert_eq!(channel.control() & 1, 1);
        channel.set_control(START & !1);
        assert_eq!(channel.completed(), 256);
        channel.clear_status(!0);
        assert_eq!(channel.status(), 0);
        assert!(channel.cycles() >= channel.beats() && channel.beats() > 0);
    }
}

#[test]
fn only_the_last_of_a_block_says_where_the_next_is() {
    let mut bench = Bench::new();
    // Blocks of 32 with garbage in the inner `next`, as the mainline driver.
    for i in 0..64u64 {
        let block_end = i % 32 == 31;
        let last = i == 63;
        let d = Descriptor {
            stop: last,
            completed: last,
            next_adjacent: if block_end && !last { 31 } else { 0x15 },
            length: 8,
            source: 0x20_0000 + i * 8,
            destination: DDR + i * 8,
            next: if block_end {
                RING + 0x8000
            } else {
                0xdead_beef
            },
            eop: false,
        };
        let at = RING
            + if i < 32 {
                i * 32
            } else {
                0x8000 + (i - 32) * 32
            };
        bench.put(at, &d.to_bytes());
    }
    let data = bus::fuzz::noise(2, 512);
    bench.put(0x20_0000, &data);
    bench.start(Way::H2c, 0, 31, 0x00ff_fe1f);
    bench.run();
    assert_eq!(bench.state(Way::H2c).1, 64);
    assert_eq!(bench.card(DDR, 512), data);
}

#[test]
fn a_cyclic_chain_runs_in_slices_until_run_is_cleared() {
    let mut bench = Bench::new();
    for i in 0..128u64 {
        let d = Descriptor {
            length: 64,
            source: 0x20_0000,
            destination: DDR,
            next: RING + (i + 1) % 128 * 32,
            ..Descriptor::default()
        };
        bench.put(RING + i * 32, &d.to_bytes());
    }
    bench.start(Way::H2c, 0, 0, START | status::IDLE_STOPPED);
    for _ in 0..50 {
        let did = bench.engine.service(&bench.host, &bench.axi, 64 * 100);
        assert!(did.more && did.descriptors == 100);
    }
    assert_eq!(bench.state(Way::H2c), (status::BUSY, 5_000));
    let channel = bench.engine.channel_mut(Way::H2c, 1).unwrap();
    channel.set_control(START & !1 | status::IDLE_STOPPED);
    assert!(channel.busy());
    assert!(!bench.engine.service(&bench.host, &bench.axi, 64).more);
    assert_eq!(bench.state(Way::H2c), (status::IDLE_STOPPED, 5_000));
}

#[test]
fn run_cleared_in_a_descriptor_lets_it_finish() {
    let mut bench = Bench::new();
    let data = bus::fuzz::noise(3, 8192);
    bench.put(0x20_0000, &data);
    bench.chain(
        Way::H2c,
        0,
        &[(0x20_0000, DDR, 4096), (0x20_1000, DDR + 4096, 4096)],
    );
    bench.start(Way::H2c, 0, 1, START);
    assert!(bench.engine.service(&bench.host, &bench.axi, 100).more);
    let channel = bench.engine.channel_mut(Way::H2c, 1).unwrap();
    channel.set_control(START & !1);
    bench.run();
    assert_eq!(bench.state(Way::H2c), (0, 1));
    assert_eq!(bench.card(DDR, 4096), data[..4096]);
    assert_eq!(bench.card(DDR + 4096, 4096), [0; 4096]);
}

/// PG195, channel control: an engine that is stopped completes the descriptor
/// it works on. So do the bytes of one that RUN leaves and meets again, and the
/// new run counts its own descriptors alone.
#[test]
fn run_raised_again_in_a_descriptor_runs_behind_it() {
    let mut bench = Bench::new();
    let huge = bus::fuzz::noise(4, 8 << 20);
    bench.put(0x200_0000, &huge);
    bench.put(0x20_0000, &[9; 64]);
    for rises in [1, 2] {
        let zeroes = vec![0; huge.len() + 64];
        bench
            .axi
            .ddr()
            .write_slice(&zeroes, GuestAddress(DDR))
            .unwrap();
        bench.chain(Way::H2c, 0, &[(0x200_0000, DDR, huge.len() as u32)]);
        bench.start(Way::H2c, 0, 0, START);
        assert!(bench.engine.service(&bench.host, &bench.axi, 1 << 20).more);
        let second = [(0x20_0000, DDR + huge.len() as u64, 64)];
        bench.chain(Way::H2c, 64, &second);
        for _ in 0..rises {
            let channel = bench.engine.channel_mut(Way::H2c, 1).unwrap();
            channel.set_control(START & !1);
            assert!(channel.busy(), "until the descriptor is done");
            bench.start(Way::H2c, 64, 0, START);
            assert!(bench.engine.service(&bench.host, &bench.axi, 1 << 20).more);
            assert_eq!(bench.state(Way::H2c), (status::BUSY, 0));
        }
        bench.run();
        let done = status::DESC_STOPPED | status::DESC_COMPLETED;
        assert_eq!(bench.state(Way::H2c), (done, 1), "its own one");
        assert!(bench.card(DDR, huge.len()) == huge);
        assert_eq!(bench.card(DDR + huge.len() as u64, 64), [9; 64]);
    }
    // What fails in the rest, here behind the DDR's end, does not end the new
    // run.
    bench.chain(Way::C2h, 0, &[(0x20_0000, DDR + 0xff_0000, 0x2_0000)]);
    bench.start(Way::C2h, 0, 0, START);
    bench.engine.service(&bench.host, &bench.axi, 0x1000);
    bench
        .engine
        .channel_mut(Way::C2h, 1)
        .unwrap()
        .set_control(0);
    bench.chain(Way::C2h, 64, &[(0x20_0000, DDR, 64)]);
    bench.start(Way::C2h, 64, 0, START);
    bench.run();
    let done = status::DESC_STOPPED | status::DESC_COMPLETED;
    assert_eq!(bench.state(Way::C2h), (done, 1));
}

#[test]
fn a_rising_run_clears_what_the_last_one_left() {
    let mut bench = Bench::new();
    bench.put(RING, &[0; 32]);
    bench.start(Way::H2c, 0, 0, START);
    bench.run();
    assert_eq!(bench.state(Way::H2c), (status::MAGIC_STOPPED, 0));
    bench.chain(Way::H2c, 0, &[(0x20_0000, DDR, 64)]);
    bench.start(Way::H2c, 0, 0, START);
    assert_eq!(bench.state(Way::H2c), (status::BUSY, 0));
    bench.run();
    let done = status::DESC_STOPPED | status::DESC_COMPLETED;
    assert_eq!(bench.state(Way::H2c), (done, 1));
}

#[test]
fn errors_are_logged_by_their_enables() {
    let hole = 0x150_0000;
    let nothing = 0x5000_0000;
    // Way, pieces, control, status, count.
    let h2c = Way::H2c;
    let c2h = Way::C2h;
    let done = status::DESC_STOPPED | status::DESC_COMPLETED;
    let all = 0x00ff_fe7f;
    let cases = [
        // The driver does not enable write errors: it seems to succeed.
        (h2c, (0x20_0000, nothing, 64), START, done, 2),
        (h2c, (0x20_0000, nothing, 64), all, status::WRITE_ERROR, 0),
        (h2c, (hole, DDR, 64), START, status::READ_ERROR, 0),
        (c2h, (0x20_0000, nothing, 64), START, status::READ_ERROR, 0),
        // A posted write to nowhere is lost.
        (c2h, (hole, DDR, 64), all, done, 2),
        (h2c, (0x20_0000, DDR, 0), all, status::INVALID_LENGTH, 0),
        (h2c, (0x20_0000, DDR, 0), 1, 0, 0),
    ];
    for (way, piece, control, want, count) in cases {
        let mut bench = Bench::new();
        bench.chain(way, 0, &[piece, (0x20_0000, DDR, 64)]);
        bench.start(way, 0, 1, control);
        bench.run();
        assert_eq!(
            bench.state(way),
            (want, count),
            "{way:?} {piece:x?} {control:#x}"
        );
    }
    // A descriptor that is not there.
    let mut bench = Bench::new();
    bench.start(h2c, (hole - RING) / 32, 0, START);
    bench.run();
    assert_eq!(bench.state(h2c), (status::DESC_ERROR, 0));
}

#[test]
fn poll_mode_writes_the_count_back() {
    let mut bench = Bench::new();
    let word = |bench: &Bench| u32::from_le_bytes(bench.get(0x8000, 4).try_into().unwrap());
    bench.chain(Way::H2c, 0, &[(0x20_0000, DDR, 64), (0x20_0000, DDR, 64)]);
    let channel = bench.engine.channel_mut(Way::H2c, 1).unwrap();
    channel.write_back = 0x8000;
    bench.start(Way::H2c, 0, 1, START_POLL);
    bench.engine.service(&bench.host, &bench.axi, 64);
    assert_eq!(word(&bench), 0, "not before COMPLETED");
    bench.run();
    assert_eq!(word(&bench), 2);
    bench.put(RING + 32, &[0; 4]);
    bench.start(Way::H2c, 0, 1, START_POLL);
    bench.run();
    assert_eq!(word(&bench), 1 << 31 | 1, "error behind one descriptor");
}

#[test]
fn no_bus_master_no_dma() {
    let mut bench = Bench::new();
    bench.put(0x20_0000, &[7; 64]);
    bench.chain(Way::H2c, 0, &[(0x20_0000, DDR, 64)]);
    bench.host.set_bus_master(false);
    bench.start(Way::H2c, 0, 0, START);
    assert_eq!(bench.run(), 0);
    assert_eq!(bench.state(Way::H2c), (status::BUSY, 0));
    assert_eq!(bench.card(DDR, 64), [0; 64]);
    bench.host.set_bus_master(true);
    bench.run();
    assert_eq!(bench.card(DDR, 64), [7; 64]);
}

#[test]
fn hard_queues_answer_on_the_axi_side() {
    let mut bench = Bench::new();
    bench.put(0x20_0000, &bus::fuzz::noise(9, 24));
    // Three 8-byte words to one address.
    bench.chain(Way::H2c, 0, &[(0x20_0000, BOARD_PRODUCER + 0x40, 24)]);
    bench.start(Way::H2c, 0, 0, START | control::NON_INCREMENTING);
    bench.run();
    assert_eq!(bench.queue.count(), 3);
    bench.chain(Way::C2h, 0, &[(0x21_0000, BOARD_CONSUMER + 0x40, 24)]);
    bench.start(Way::C2h, 0, 0, START | control::NON_INCREMENTING);
    bench.run();
    assert_eq!(bench.get(0x21_0000, 24), bus::fuzz::noise(9, 24));
    // The count register, by a plain transfer.
    bench.queue.push(1);
    bench.chain(Way::C2h, 0, &[(0x21_0000, BOARD_CONSUMER + 8, 4)]);
    bench.start(Way::C2h, 0, 0, START);
    bench.run();
    assert_eq!(bench.get(0x21_0000, 4), [1, 0, 0, 0]);
}

#[test]
fn channels_are_independent() {
    let mut bench = Bench::new();
    for index in 0..4u64 {
        for (way, slot) in [(Way::H2c, index), (Way::C2h, 4 + index)] {
            let host = 0x20_0000 + (slot << 16);
            bench.put(host, &bus::fuzz::noise(slot, 60_000));
            bench.chain(way, slot * 64, &[(host, DDR + (index << 16), 60_000)]);
            let channel = bench.engine.channel_mut(way, index as usize).unwrap();
            channel.first = RING + slot * 64 * 32;
            if way == Way::H2c {
                channel.set_control(START);
            }
        }
    }
    assert!(bench.engine.busy());
    bench.run();
    for index in 0..4 {
        let channel = bench.engine.channel_mut(Way::C2h, index).unwrap();
        channel.set_control(START);
    }
    bench.run();
    assert!(!bench.engine.busy() && bench.engine.channel(Way::H2c, 4).is_none());
    for index in 0..4u64 {
        let got = bench.get(0x20_0000 + ((4 + index) << 16), 60_000);
        assert_eq!(got, bus::fuzz::noise(index, 60_000));
    }
    bench.engine.reset();
    assert_eq!(bench.state(Way::H2c), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any alignment on both sides, any split into slices.
    #[test]
    fn bytes_arrive_from_any_offset(
        from in 0u64..5000,
        to in 0u64..5000,
        len in 1u32..20_000,
        budget in 1u64..30_000,
    ) {
        let mut bench = Bench::new();
        let data = bus::fuzz::noise(u64::from(len), len as usize);
        bench.put(0x20_0000 + from, &data);
        bench.chain(Way::H2c, 0, &[(0x20_0000 + from, DDR + to, len)]);
        bench.start(Way::H2c, 0, 0, START);
        while bench.engine.service(&bench.host, &bench.axi, budget).more {}
        prop_assert_eq!(bench.card(DDR + to, len as usize), data);
        bench.chain(Way::C2h, 0, &[(0x240_0000 + from, DDR + to, len)]);
        bench.start(Way::C2h, 0, 0, START);
        while bench.engine.service(&bench.host, &bench.axi, budget).more {}
        prop_assert_eq!(bench.get(0x240_0000 + from, len as usize), bench.card(DDR + to, len as usize));
    }
}
