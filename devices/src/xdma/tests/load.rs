//! Ends under load: both directions write without end while the engine's thread
//! and the driver's run side by side.

use super::*;
use std::sync::atomic::AtomicBool;
use std::thread::{Scope, yield_now};

/// Bytes that each direction writes over and over.
const REGION: usize = 4 << 20;
const PIECE: usize = 64 << 10;
/// Host memory that C2H 0 writes, and that H2C 0 reads.
const TO: u64 = 0x40_0000;
const FROM: u64 = 0x80_0000;
/// The same of the card.
const CARD_FROM: u64 = DDR + 0x80_0000;

struct Load {
    rig: Rig,
    services: Arc<AtomicU16>,
}

impl Load {
    /// Runs `driver` beside the engine.
    fn run(driver: impl FnOnce(&mut Self)) {
        let rig = rig();
        let root = rig.m.root.clone();
        let (services, over) = (Arc::new(AtomicU16::new(0)), AtomicBool::new(false));
        let seven = vec![7; REGION];
        rig.m.ram.write_slice(&seven, GuestAddress(FROM)).unwrap();
        let ddr = rig.card.axi().ddr();
        ddr.write_slice(&seven, GuestAddress(CARD_FROM)).unwrap();
        let mut load = Self {
            rig,
            services: services.clone(),
        };
        std::thread::scope(|scope: &Scope<'_, '_>| {
            scope.spawn(|| {
                let mut now = SimTime::ZERO;
                while !over.load(Ordering::Acquire) {
                    root.service(now);
                    now += SimTime::from_ms(1);
                    services.fetch_add(1, Ordering::AcqRel);
                    yield_now();
                }
            });
            // The engine's thread must end also when the test fails.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver(&mut load)));
            over.store(true, Ordering::Release);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
    }
    /// A register, without servicing on this thread.
    fn set(&mut self, at: u64, value: u32) {
        let bus = &mut self.rig.m.bus;
        let _ = bus.write(self.rig.config + at, &value.to_le_bytes());
    }
    fn config(&mut self, register: u64, value: &[u8]) {
        let at = Machine::config(SLOT, register);
        let _ = self.rig.m.bus.write(at, value);
    }
    /// Starts cyclic chains on H2C 0 and C2H 0.
    fn start(&mut self) {
        for (sg, block, ring, from, to) in [
            (0x4080, 0x0000, RING, FROM, DDR),
            (0x5080, 0x1000, RING + 0x1_0000, CARD_FROM, TO),
        ] {
            let n = (REGION / PIECE) as u64;
            for i in 0..n {
                let d = Descriptor {
                    length: PIECE as u32,
                    source: from + i * PIECE as u64,
                    destination: to + i * PIECE as u64,
                    next: ring + (i + 1) % n * 32,
                    ..Descriptor::default()
                };
                let at = GuestAddress(ring + i * 32);
                self.rig.m.ram.write_slice(&d.to_bytes(), at).unwrap();
            }
            self.set(sg, ring as u32);
            self.set(sg + 4, 0);
            self.set(sg + 8, 0);
            self.set(block + 0x04, MASK | 1);
        }
        self.writes();
    }
    fn regions(&self) -> [Vec<u8>; 2] {
        let (mut host, mut card) = (vec![0; REGION], vec![0; REGION]);
        let ram = &self.rig.m.ram;
        ram.read_slice(&mut host, GuestAddress(TO)).unwrap();
        let ddr = self.rig.card.axi().ddr();
        ddr.read_slice(&mut card, GuestAddress(DDR)).unwrap();
        [host, card]
    }
    fn clear(&self) {
        let zeroes = vec![0; REGION];
        let ram = &self.rig.m.ram;
        ram.write_slice(&zeroes, GuestAddress(TO)).unwrap();
        let ddr = self.rig.card.axi().ddr();
        ddr.write_slice(&zeroes, GuestAddress(DDR)).unwrap();
    }
    /// Waits until the engine's thread came by `times` times.
    fn pass(&self, times: u16) {
        let start = self.services.load(Ordering::Acquire);
        while self.services.load(Ordering::Acquire).wrapping_sub(start) < times {
            yield_now();
        }
    }
    /// Both directions write all of their regions.
    fn writes(&self) {
        self.clear();
        for _ in 0..1000 {
            self.pass(1);
            if self
                .regions()
                .iter()
                .all(|region| region.iter().all(|b| *b == 7))
            {
                return;
            }
        }
        panic!("the chains do not run");
    }
    /// Neither writes a byte.
    fn is_silent(&self) {
        self.clear();
        self.pass(40);
        for region in self.regions() {
            assert!(region.iter().all(|b| *b == 0), "a write landed");
        }
    }
}

/// Spec section 1: no DMA while Bus Master Enable is 0, from the moment that
/// the write to the command register is done.
#[test]
fn bus_master_off_under_load() {
    Load::run(|load| {
        load.start();
        for _ in 0..20 {
            load.config(4, &2u16.to_le_bytes());
            load.is_silent();
            load.config(4, &6u16.to_le_bytes());
            load.writes();
        }
    });
}

/// PCI Express base specification, 6.6.2: a function level reset ends all
/// transactions.
#[test]
fn function_level_reset_under_load() {
    Load::run(|load| {
        let express = load.rig.capability(0x10);
        for _ in 0..20 {
            load.start();
            load.config(express + 8, &0xa810u16.to_le_bytes());
            load.is_silent();
            // Nor when it may again.
            for (bar, at) in [(0, load.rig.user), (1, load.rig.config)] {
                load.config(0x10 + 4 * bar, &(at as u32).to_le_bytes());
            }
            load.config(4, &6u16.to_le_bytes());
            load.is_silent();
            assert_eq!((load.rig.reg(0x04), load.rig.reg(0x40)), (0, 0));
        }
    });
}

/// Spec section 6.3: a cleared RUN ends behind the current descriptor, and BUSY
/// says when that is.
#[test]
fn run_cleared_under_load() {
    Load::run(|load| {
        for _ in 0..20 {
            load.start();
            load.set(0x000c, 1);
            load.set(0x100c, 1);
            for block in [0x0000, 0x1000] {
                while load.rig.reg(block + 0x40) & 1 != 0 {
                    yield_now();
                }
            }
            load.is_silent();
        }
    });
}
