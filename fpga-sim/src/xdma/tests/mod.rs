//! The register file as its drivers use it.

mod load;
mod spec;

use super::*;
use crate::card::{SimCard, SimCardSpec};
use crate::dma::{Descriptor, SIZE};
use crate::test_memory;
use crate::timing::Profile;
use bus::{DmaTarget, Next, SimTime, create_ram};
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
        let host = test_memory::host(&[(0, 0x800_0000)]);
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
        test_memory::put(&self.host, at, bytes);
    }
    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        test_memory::get(&self.host, at, len)
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
