//! The register file by PG195 and by the accesses of its drivers.

use super::*;
use crate::card::{SimCard, SimCardSpec};
use crate::dma::{Descriptor, SIZE};
use crate::timing::Profile;
use bus::{Bdf, DmaTarget, Next, NoMsi, SimTime, create_ram};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

/// What xdma.ko writes to the control register to start, by interrupts and by
/// polling, and to the interrupt mask.
const START: u32 = 0x00f8_3e1f;
const START_POLL: u32 = 0x04f8_3e19;
const STOP: u32 = START & !1;
const MASK: u32 = 0x00f8_3e1e;
const RING: u64 = 0x10_0000;
const DDR: u64 = 0x300_0000;
/// AXI address where nothing is.
const HOLE: u64 = 0x9000_0000;

struct Bench {
    xdma: Xdma,
    host: DmaTarget,
    card: Arc<SimCard>,
    now: SimTime,
    raised: Vec<u8>,
    intx: bool,
}

impl Bench {
    fn new() -> Self {
        Self::of(SimCardSpec::default())
    }
    fn of(spec: SimCardSpec) -> Self {
        let ram = create_ram(&[(0, 0x800_0000)]).unwrap();
        let host = DmaTarget::new(Bdf::new(0, 3, 0), Arc::new(ram), Arc::new(NoMsi));
        host.set_bus_master(true);
        let ddr = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
        let card = SimCard::new(spec, ddr).unwrap();
        Self {
            xdma: Xdma::new(card.spec().dma.channels),
            host,
            card,
            now: SimTime::ZERO,
            raised: Vec::new(),
            intx: false,
        }
    }
    fn read(&mut self, at: u64) -> u32 {
        let mut data = [0; 4];
        self.xdma.load(at, &mut data);
        self.look();
        u32::from_le_bytes(data)
    }
    fn write(&mut self, at: u64, value: u32) {
        self.xdma.store(at, &value.to_le_bytes());
        self.look();
    }
    fn look(&mut self) {
        self.intx = self.xdma.interrupts(|vector| self.raised.push(vector));
    }
    /// Services until nothing more is to be done; the number of slices.
    fn run(&mut self) -> u32 {
        let mut slices = 0;
        while let Next::At(at) = self.slice() {
            self.now = at;
            slices += 1;
            assert!(slices < 10_000, "it never ends");
        }
        slices
    }
    fn slice(&mut self) -> Next {
        let next = self.xdma.service(self.now, &self.host, &self.card);
        self.look();
        next
    }
    fn put(&self, at: u64, bytes: &[u8]) {
        self.host
            .raw_memory()
            .write_slice(bytes, GuestAddress(at))
            .unwrap();
    }
    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.host
            .raw_memory()
            .read_slice(&mut bytes, GuestAddress(at))
            .unwrap();
        bytes
    }
    fn ddr(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.card
            .axi()
            .ddr()
            .read_slice(&mut bytes, GuestAddress(at))
            .unwrap();
        bytes
    }
    /// What the driver does at probe (register accesses in its order).
    fn probe(&mut self, poll: bool) {
        assert_eq!(self.read(0x2000) & 0xffff_0000, 0x1fc2_0000);
        assert_eq!(self.read(0x3000) & 0xffff_0000, 0x1fc3_0000);
        self.write(0x2018, !0);
        self.write(0x200c, !0);
        for block in [0x0000, 0x1000] {
            for channel in 0..4 {
                let at = block + channel * 0x100;
                let id = self.read(at);
                assert_eq!(id >> 16, if block == 0 { 0x1fc0 } else { 0x1fc1 });
                assert_eq!(u64::from(id >> 8 & 0xf), channel);
                assert_eq!(id >> 15 & 1, 0, "memory mapped");
                self.write(at + 0x0c, 0x0200_0000);
                assert_eq!(self.read(at + 0x4c), 0x0001_0140);
                if poll {
                    self.write(at + 0x88, 0x8000 + (block + channel * 0x100) as u32);
                    self.write(at + 0x8c, 0);
                }
                self.write(at + 0x90, if poll { 0x00f8_3e18 } else { MASK });
            }
        }
        for (at, value) in [
            (0x20a0, 0x0302_0100),
            (0x20a4, 0x0706_0504),
            (0x2080, 0x0b0a_0908),
            (0x2084, 0x0f0e_0d0c),
            (0x2088, 0x1312_1110),
            (0x208c, 0x1716_1514),
        ] {
            self.write(at, value);
            assert_eq!(self.read(at), value);
        }
        if !poll {
            self.write(0x2014, !0);
        }
        self.write(0x2008, 0x1_ffff);
        assert_eq!((self.read(0x2040), self.read(0x2044)), (0, 0));
        assert_eq!(self.read(0x2004), 0xffff, "16 user interrupts");
    }
    /// Descriptors from ring slot 0 on, in blocks as the driver makes them.
    fn chain(&self, way: Way, ring: u64, pieces: &[(u64, u64, u32)]) -> u32 {
        let n = pieces.len() as u64;
        let adjacent = |i: u64| (63 - i % 64).min(n - 1 - i);
        for (i, &(host, card, length)) in (0u64..).zip(pieces) {
            let last = i + 1 == n;
            let (source, destination) = match way {
                Way::H2c => (host, card),
                Way::C2h => (card, host),
            };
            let descriptor = Descriptor {
                stop: last,
                completed: last,
                eop: last,
                next_adjacent: if last { 0 } else { adjacent(i + 1) as u8 },
                length,
                source,
                destination,
                next: if last { 0 } else { ring + (i + 1) * 32 },
            };
            self.put(ring + i * SIZE as u64, &descriptor.to_bytes());
        }
        adjacent(0) as u32
    }
    /// Registers of channel `n`: its block and its SGDMA block.
    fn at(way: Way, n: u64) -> (u64, u64) {
        match way {
            Way::H2c => (n * 0x100, 0x4000 + n * 0x100),
            Way::C2h => (0x1000 + n * 0x100, 0x5000 + n * 0x100),
        }
    }
    fn ring(way: Way, n: u64) -> u64 {
        RING + n * 0x2_0000 + if way == Way::C2h { 0x10_0000 } else { 0 }
    }
    fn start(&mut self, way: Way, n: u64, pieces: &[(u64, u64, u32)], control: u32) {
        let ring = Self::ring(way, n);
        let adjacent = self.chain(way, ring, pieces);
        let (block, sg) = Self::at(way, n);
        self.write(sg + 0x80, ring as u32);
        self.write(sg + 0x84, (ring >> 32) as u32);
        self.write(sg + 0x88, adjacent);
        self.write(block + 0x04, control);
        assert_eq!(self.read(sg + 0x80), ring as u32);
    }
    /// The driver's MSI-X handler and its work item; the descriptor count.
    fn complete(&mut self, way: Way, n: u64) -> (u32, u32) {
        let (block, _) = Self::at(way, n);
        self.write(block + 0x98, MASK);
        self.read(0x204c);
        let status = self.read(block + 0x44);
        assert_eq!(status & 1, 0, "idle");
        self.write(block + 0x04, STOP);
        let count = self.read(block + 0x48);
        self.write(block + 0x94, MASK);
        (status, count)
    }
}

fn pages(host: u64, card: u64, n: u64) -> Vec<(u64, u64, u32)> {
    (0..n)
        .map(|i| (host + i * 4096, card + i * 4096, 4096))
        .collect()
}

/// Spec section 3: identifiers of all blocks; what does not exist is zero.
#[test]
fn identifiers_and_holes() {
    let mut bench = Bench::new();
    for (at, id) in [
        (0x0000, 0x1fc0_0006),
        (0x0300, 0x1fc0_0306),
        (0x1200, 0x1fc1_0206),
        (0x2000, 0x1fc2_0006),
        (0x3000, 0x1fc3_0006),
        (0x4100, 0x1fc4_0106),
        (0x5300, 0x1fc5_0306),
        (0x6000, 0x1fc6_0006),
    ] {
        assert_eq!(bench.read(at), id, "{at:#x}");
        bench.write(at, 0);
        assert_eq!(bench.read(at), id, "read only");
    }
    for hole in [
        0x0400, 0x1f00, 0x2100, 0x5400, 0x7000, 0x9000, 0xffc0, 0x0010, 0x3004,
    ] {
        bench.write(hole, !0);
        assert_eq!(bench.read(hole), 0, "{hole:#x}");
    }
    let mut two = Bench::of(SimCardSpec {
        dma: crate::card::DmaSpec {
            channels: 2,
            ..Default::default()
        },
        ..Default::default()
    });
    assert_eq!(two.read(0x0100), 0x1fc0_0106);
    assert_eq!((two.read(0x0200), two.read(0x1200)), (0, 0));
}

/// Spec section 5: probe, start, MSI-X completion; 8 MiB is one run of 2048
/// descriptors.
#[test]
fn a_transfer_by_the_drivers_accesses() {
    let mut bench = Bench::new();
    bench.probe(false);
    let data = bus::fuzz::noise(11, 8 << 20);
    bench.put(0x100_0000, &data);
    for (way, vector) in [(Way::H2c, 1), (Way::C2h, 5)] {
        let host = if way == Way::H2c {
            0x100_0000
        } else {
            0x200_0000
        };
        bench.start(way, 1, &pages(host, DDR, 2048), START);
        let slices = bench.run();
        assert!(slices > 8, "in bounded slices, not at once: {slices}");
        assert_eq!(
            bench.raised,
            [vector],
            "one message for stopped and completed"
        );
        let (status, count) = bench.complete(way, 1);
        assert_eq!((status, count), (0x6, 2048));
        assert_eq!(
            bench.read(Bench::at(way, 1).0 + 0x44),
            0,
            "cleared by reading"
        );
        bench.raised.clear();
    }
    assert!(bench.ddr(DDR, data.len()) == data && bench.get(0x200_0000, data.len()) == data);
}

/// Spec section 6.4: a transfer that ends while its source is masked raises its
/// message when the mask opens, and a status that was cleared raises none.
#[test]
fn requests_are_evaluated_again() {
    let mut bench = Bench::new();
    bench.probe(false);
    bench.write(0x98, MASK);
    bench.start(Way::H2c, 0, &pages(0, DDR, 1), START);
    bench.run();
    assert!(bench.raised.is_empty());
    assert_eq!(
        bench.read(0x204c),
        0,
        "masked in the channel: not even pending"
    );
    bench.write(0x94, MASK);
    assert_eq!(bench.raised, [0]);
    bench.write(0x94, MASK);
    assert_eq!(bench.raised, [0], "no second rise");
    // The same by the IRQ block's enable.
    bench.write(0x2018, 1);
    assert_eq!((bench.read(0x204c), bench.read(0x2044)), (1, 0));
    assert!(!bench.intx);
    bench.write(0x2014, 1);
    assert_eq!(bench.raised, [0, 0]);
    assert_eq!((bench.read(0x2044), bench.intx), (1, true));
    assert_eq!(bench.read(0x44), 0x6);
    assert_eq!((bench.read(0x2044), bench.intx), (0, false));
    // Write-one-to-clear leaves the other bits.
    bench.write(0x04, STOP);
    bench.start(Way::H2c, 0, &pages(0, DDR, 1), START);
    bench.run();
    bench.write(0x40, 0x2);
    assert_eq!(bench.read(0x40), 0x4);
    bench.write(0x40, !0);
    assert!(!bench.intx);
}

/// Spec section 5, MSI and INTx: one handler for all sources.
#[test]
fn the_shared_handlers_accesses() {
    let mut bench = Bench::new();
    bench.probe(false);
    for round in 0..1000u32 {
        let way = if round % 2 == 0 { Way::H2c } else { Way::C2h };
        let bit = if way == Way::H2c { 2 } else { 6 };
        bench.start(way, 2, &pages(0, DDR, 3), START);
        bench.run();
        assert!(bench.intx, "{round}");
        assert_eq!(bench.read(0x2044), 1 << bit);
        bench.write(0x2018, 1 << bit);
        assert!(!bench.intx, "masked by the handler");
        assert_eq!(bench.read(0x2040), 0);
        let (block, _) = Bench::at(way, 2);
        assert_eq!(bench.read(block + 0x44), 0x6);
        bench.write(block + 0x04, STOP);
        assert_eq!(bench.read(block + 0x48), 3);
        bench.write(0x2014, 1 << bit);
        assert!(!bench.intx);
    }
    assert_eq!(bench.xdma.counters().interrupts, 1000);
}

/// Spec section 5, poll mode: the count and the error bit in host memory, no
/// interrupt.
#[test]
fn polling() {
    let mut bench = Bench::new();
    bench.probe(true);
    let word = |bench: &Bench, at: u64| u32::from_le_bytes(bench.get(at, 4).try_into().unwrap());
    for round in 0..1000 {
        bench.put(0x8000, &[0; 4]);
        bench.start(Way::H2c, 0, &pages(0, DDR, round % 70 + 1), START_POLL);
        bench.run();
        assert_eq!(u64::from(word(&bench, 0x8000)), round % 70 + 1);
        bench.write(0x04, START_POLL & !1);
    }
    // C2H from nowhere: an error, and the next run starts with a clean status.
    bench.start(Way::C2h, 0, &pages(0, HOLE, 1), START_POLL);
    bench.run();
    assert_eq!(word(&bench, 0x9000), 1 << 31);
    assert_eq!(bench.read(0x1040) & !1, 1 << 9);
    bench.write(0x1004, START_POLL & !1);
    bench.start(Way::C2h, 0, &pages(0, DDR, 1), START_POLL);
    bench.run();
    assert_eq!(word(&bench, 0x9000), 1);
    assert!(bench.raised.is_empty());
}

/// Spec section 5, errors: what stops, what is logged, what is silent.
#[test]
fn errors_as_the_ip_makes_them() {
    let mut bench = Bench::new();
    bench.probe(false);
    // A write to nowhere: not enabled by the driver, so it seems to succeed.
    bench.start(Way::H2c, 0, &pages(0, HOLE, 2), START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (0x6, 2));
    // As mainline enables it, it stops.
    bench.start(Way::H2c, 0, &pages(0, HOLE, 2), 0x00ff_fe1f);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 14, 0));
    // A read from nowhere behind one good descriptor.
    bench.start(
        Way::C2h,
        0,
        &[(0, DDR, 64), (64, HOLE, 64), (128, DDR, 64)],
        START,
    );
    bench.run();
    assert_eq!(bench.complete(Way::C2h, 0), (1 << 9, 1));
    // Bad magic.
    let adjacent = bench.chain(Way::H2c, RING, &pages(0, DDR, 2));
    bench.put(RING + 34, &[0]);
    bench.write(0x4080, RING as u32);
    bench.write(0x4084, 0);
    bench.write(0x4088, adjacent);
    bench.write(0x04, START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 4, 1));
    // Descriptors that are not in memory.
    bench.write(0x4084, 0x7fff);
    bench.write(0x04, START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 19, 0));
}

/// Spec section 6.5 and the performance counters: a cyclic chain runs in slices
/// until RUN is cleared.
#[test]
fn the_performance_chain() {
    let mut bench = Bench::new();
    bench.probe(false);
    for i in 0..128u64 {
        let descriptor = Descriptor {
            length: 4096,
            source: 0x100_0000,
            destination: 0,
            next: RING + (i + 1) % 128 * 32,
            ..Descriptor::default()
        };
        bench.put(RING + i * 32, &descriptor.to_bytes());
    }
    bench.write(0xc0, 2);
    bench.write(0xc0, 5);
    bench.write(0x4080, RING as u32);
    bench.write(0x4084, 0);
    bench.write(0x4088, 0);
    bench.write(0x04, START);
    let mut counts = Vec::new();
    // Longer than any transfer: then it leaves time to the processor.
    let mut gaps = Vec::new();
    for _ in 0..40 {
        let Next::At(at) = bench.slice() else {
            panic!("it runs for ever")
        };
        gaps.push((at - bench.now).0);
        bench.now = at;
    }
    assert_eq!((gaps[0], gaps[39]), (0, SimTime::from_us(500).0));
    for _ in 0..5 {
        let Next::At(at) = bench.slice() else {
            panic!("it runs for ever")
        };
        bench.now = at;
        let cycles = bench.read(0xc4);
        let beats = bench.read(0xcc);
        assert!(cycles >= beats && beats > 0);
        counts.push((cycles, beats, bench.read(0x48)));
    }
    assert!(counts.windows(2).all(|w| w[0] < w[1]), "{counts:?}");
    bench.write(0x0c, 1);
    assert_eq!(bench.run(), 0);
    assert_eq!(bench.read(0x40) & 1, 0);
    bench.write(0xc0, 2);
    assert_eq!((bench.read(0xc4), bench.read(0xcc)), (0, 0));
}

/// All channels at once, at every offset in a page on both sides.
#[test]
fn all_channels_at_all_offsets() {
    let mut bench = Bench::new();
    bench.probe(false);
    let data = bus::fuzz::noise(5, 0x1_0000);
    bench.put(0x100_0000, &data);
    for offset in 0..4096u64 {
        let len = 1 + (offset * 7 % 300) as u32;
        for n in 0..4 {
            let from = 0x100_0000 + offset + n * 0x4000;
            let to = DDR + n * 0x4000 + (offset * 31 + n) % 4096;
            bench.start(Way::H2c, n, &[(from, to, len)], START);
        }
        bench.run();
        for n in 0..4 {
            assert_eq!(bench.complete(Way::H2c, n), (0x6, 1));
            let from = DDR + n * 0x4000 + (offset * 31 + n) % 4096;
            bench.start(
                Way::C2h,
                n,
                &[(0x200_0000 + n * 0x4000 + offset, from, len)],
                START,
            );
        }
        bench.run();
        for n in 0..4u64 {
            assert_eq!(bench.complete(Way::C2h, n), (0x6, 1));
            let at = (offset + n * 0x4000) as usize;
            let got = bench.get(0x200_0000 + at as u64, len as usize);
            assert!(
                got == data[at..at + len as usize],
                "offset {offset} channel {n}"
            );
        }
    }
}

/// Spec section 6.8: a user interrupt is a level that the driver never
/// acknowledges: one message for each rise.
#[test]
fn user_interrupts() {
    let mut bench = Bench::new();
    bench.probe(false);
    bench.xdma.set_user(1 << 3);
    bench.look();
    bench.look();
    assert_eq!((bench.read(0x2048), bench.read(0x2040)), (1 << 3, 1 << 3));
    assert_eq!(bench.raised, [11]);
    assert!(bench.intx, "stays up");
    bench.xdma.set_user(0);
    bench.look();
    assert!(!bench.intx);
    bench.xdma.set_user(1 << 3 | 1);
    bench.look();
    assert_eq!(bench.raised, [11, 8, 11]);
    bench.write(0x200c, 1);
    assert_eq!((bench.read(0x2048), bench.read(0x2040)), (9, 8));
}

/// RUN cleared in the middle, Bus Master Enable cleared, reset: nothing is
/// written behind them.
#[test]
fn nothing_lands_after_the_end() {
    let mut bench = Bench::new();
    bench.probe(false);
    let whole = pages(0x100_0000, DDR, 2048);
    bench.put(0x100_0000, &vec![7; 8 << 20]);
    for way in 0..3 {
        bench.start(Way::H2c, 0, &whole, START);
        bench.slice();
        match way {
            0 => bench.write(0x04, STOP),
            1 => bench.host.set_bus_master(false),
            _ => bench.xdma.reset(0),
        }
        bench
            .card
            .axi()
            .ddr()
            .write_slice(&vec![0; 8 << 20], GuestAddress(DDR))
            .unwrap();
        bench.run();
        // The descriptor that was under way may end: its first 4 KiB at most.
        let after = bench.ddr(DDR, 8 << 20);
        assert!(
            after.iter().filter(|byte| **byte != 0).count() <= 4096,
            "{way}"
        );
        match way {
            0 => assert_eq!(bench.read(0x40) & 1, 0),
            1 => {
                assert_eq!(bench.read(0x40) & 1, 1, "it waits");
                bench.host.set_bus_master(true);
                bench.run();
                assert_eq!(bench.complete(Way::H2c, 0), (0x6, 2048));
            }
            _ => {
                assert_eq!(
                    (bench.read(0x04), bench.read(0x40), bench.read(0x48)),
                    (0, 0, 0)
                );
                assert_eq!(
                    (bench.read(0x90), bench.read(0x2010), bench.read(0x20a0)),
                    (0, 0, 0)
                );
            }
        }
    }
}

/// A timed card shows a completion when the link has carried the data.
#[test]
fn completions_take_the_profiles_time() {
    let mut bench = Bench::of(SimCardSpec {
        dma: crate::card::DmaSpec {
            profile: Profile::XdmaGen3x8Poll,
            ..Default::default()
        },
        timed: true,
        ..Default::default()
    });
    bench.probe(true);
    let mut took = Vec::new();
    for n in [1, 64, 1024] {
        let before = bench.now;
        bench.put(0x8000, &[0; 4]);
        bench.start(Way::H2c, 0, &pages(0x100_0000, DDR, n), START_POLL);
        let Next::At(ready) = bench.slice() else {
            panic!("it takes time")
        };
        assert!(ready > before);
        bench.now = SimTime(ready.0 - 1);
        bench.slice();
        assert_eq!(bench.get(0x8000, 4), [0; 4], "not before its time");
        bench.now = ready;
        bench.run();
        assert_eq!(bench.get(0x8000, 2), (n as u16).to_le_bytes());
        took.push((bench.now - before).0);
        bench.write(0x04, START_POLL & !1);
    }
    // Gen3 x8 carries less than 7.88 GB/s: 4 MiB take more than 530 us.
    assert!(
        took[0] < took[1] && took[1] < took[2] && took[2] > 530_000_000,
        "{took:?}"
    );
}

/// Random accesses of any width with random memory behind them.
#[test]
fn fuzz() {
    struct Behind(Bench);
    impl bus::BusDevice for Behind {
        fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), bus::IoError> {
            self.0.xdma.load(offset, data);
            Ok(())
        }
        fn write(&mut self, offset: u64, data: &[u8]) -> Result<bus::Action, bus::IoError> {
            // Half of the writes go to the registers that start something, and
            // chains start where descriptors are.
            let mut data = data.to_vec();
            let mut offset = offset;
            if offset & 4 == 0 {
                const HOT: [u64; 8] = [0x04, 0x08, 0x4080, 0x4088, 0x1004, 0x1008, 0x5080, 0x90];
                offset = HOT[(offset >> 3) as usize % 8] + (offset >> 6 & 3) * 0x100;
                if offset & 0xff == 0x80 && data.len() >= 4 {
                    data.truncate(4);
                    data[0] &= 0xe0;
                    data[2] &= 0x3f;
                    data[3] = 0;
                }
            }
            self.0.xdma.store(offset, &data);
            Ok(bus::Action::None)
        }
    }
    let bench = Bench::new();
    let mut noise = bus::fuzz::noise(9, 0x40_0000);
    for (i, descriptor) in noise.chunks_exact_mut(32).enumerate() {
        descriptor[2..4].copy_from_slice(&[0x4b, 0xad]);
        if i % 3 > 0 {
            // Lengths and addresses that are often good ones.
            descriptor[6..8].fill(0);
            descriptor[11..16].fill(0);
            descriptor[19..24].fill(0);
            descriptor[24] &= 0xe0;
            descriptor[26] &= 0x3f;
            descriptor[27..32].fill(0);
        }
    }
    bench.put(0, &noise);
    let mut behind = Behind(bench);
    let input = bus::fuzz::noise(21, 60_000);
    bus::fuzz::drive(&mut behind, CONFIG_BAR, &input, |behind| {
        behind.0.now += SimTime::from_ms(1);
        behind.0.slice();
    });
    let done = behind.0.xdma.counters().descriptors;
    assert!(done > 100, "{done}: it reaches the engine");
}
