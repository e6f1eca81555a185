//! Measures the DMA engine alone: GB/s and descriptors per second by
//! descriptor size, over chains in host memory as the driver lays them out.
//!
//! `cargo run --release -p fpga-sim --example engine`

#![allow(clippy::disallowed_methods, reason = "it measures host time")]
#![allow(clippy::unwrap_used, reason = "a measuring program may stop")]

use bus::{Bdf, DmaTarget, NoMsi, create_ram};
use fpga_sim::card::{SimCard, SimCardSpec};
use fpga_sim::dma::{Descriptor, Engine, SIZE, control};
use fpga_sim::timing::Way;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

const RING: u64 = 0x10_0000;
const BUFFERS: u64 = 0x100_0000;
const DDR: u64 = 0x300_0000;
const CHAIN: u64 = 256;

fn main() {
    let ram = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
    let host = DmaTarget::new(Bdf::new(0, 1, 0), ram.clone(), Arc::new(NoMsi));
    host.set_bus_master(true);
    let ddr = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    println!("way  bytes    GB/s  descriptors/s");
    for way in [Way::H2c, Way::C2h] {
        for length in [64u32, 256, 1024, 4096, 16384] {
            // A working set that caches hold, as a driver's own would be.
            let spread = (256 << 10) / u64::from(length);
            for i in 0..CHAIN {
                let offset = i % spread * u64::from(length);
                let (source, destination) = match way {
                    Way::H2c => (BUFFERS + offset, DDR + offset),
                    Way::C2h => (DDR + offset, BUFFERS + offset),
                };
                let last = i + 1 == CHAIN;
                let descriptor = Descriptor {
                    stop: last,
                    completed: last,
                    next_adjacent: (63 - (i + 1) % 64).min(CHAIN.saturating_sub(i + 2)) as u8,
                    length,
                    source,
                    destination,
                    next: RING + (i + 1) * SIZE as u64,
                    ..Descriptor::default()
                };
                let at = GuestAddress(RING + i * SIZE as u64);
                ram.write_slice(&descriptor.to_bytes(), at).unwrap();
            }
            let mut engine = Engine::new(1);
            let (start, mut bytes, mut descriptors) = (Instant::now(), 0, 0u64);
            while start.elapsed() < Duration::from_millis(500) {
                let channel = engine.channel_mut(way, 0).unwrap();
                channel.first = RING;
                channel.first_adjacent = 0;
                channel.set_control(0);
                channel.set_control(control::RUN | control::ENABLES);
                let did = engine.service(&host, card.axi(), u64::MAX);
                assert_eq!(u64::from(did.descriptors), CHAIN);
                bytes += did.bytes;
                descriptors += u64::from(did.descriptors);
            }
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{way:?} {length:6} {:7.2} {:14.0}",
                bytes as f64 / seconds / 1e9,
                descriptors as f64 / seconds
            );
        }
    }
}
