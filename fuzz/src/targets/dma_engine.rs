//! The card's DMA engine on descriptors that nobody has checked.
//!
//! Input: control word, adjacent count and slot of the start for each way,
//! address of the write-back word, then descriptors.

use super::Target;
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{Bdf, DmaTarget, NoMsi, create_ram};
use fpga_sim::dma::{Axi, Engine};
use fpga_sim::queue::{BOARD_CONSUMER, BOARD_PRODUCER, HardQueue, QueueWindow, Role, WINDOW};
use fpga_sim::timing::Way;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const TARGET: Target = Target {
    name: "dma_engine",
    about: "DMA descriptors: magic, lists, addresses, lengths, poll mode",
    run,
    max_len: 2048,
    rounds: 100_000,
    // Control words of descriptors, the vendor driver's starts.
    words: &[
        b"\x00\x00\x4b\xad",
        b"\x13\x00\x4b\xad",
        b"\x00\x3e\x4b\xad",
        b"\x1f\x3e\xf8\x00",
        b"\x19\x3e\xf8\x04",
        b"\0\0\x10\0\0\0\0\0",
        b"\0\0\0\x03\0\0\0\0",
    ],
};

/// Host memory: where descriptors lie, its size, a hole in the middle.
const RING: u64 = 0x1_0000;
const HOLE: u64 = 0x10_0000;
const DDR: u64 = 0x30_0000;
const DDR_END: u64 = 0x40_0000;
/// Bytes per slice and channel.
const BUDGET: u64 = 20_000;

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let ram = create_ram(&[(0, HOLE), (2 * HOLE, HOLE)]).expect("2 MiB");
    let host = DmaTarget::new(Bdf::new(0, 3, 0), Arc::new(ram), Arc::new(NoMsi));
    host.set_bus_master(true);
    let ddr = Arc::new(create_ram(&[(0, DDR_END)]).expect("4 MiB"));
    let mut axi = Axi::new(ddr, DDR..DDR_END);
    let queue = Arc::new(HardQueue::new(Duration::ZERO));
    for (at, role) in [
        (BOARD_PRODUCER, Role::Producer),
        (BOARD_CONSUMER, Role::Consumer),
    ] {
        let window = QueueWindow::new(queue.clone(), role);
        axi.map(at, WINDOW, Arc::new(Mutex::new(window)))
            .expect("free addresses");
    }
    let mut engine = Engine::new(2);
    let starts = [Way::H2c, Way::C2h].map(|way| (way, input.u32(), input.u8(), input.u8()));
    let (write_back, breaks) = (input.u64(), input.u8());
    let ring = input.rest();
    let memory = host.raw_memory();
    memory
        .write_slice(ring, GuestAddress(RING))
        .expect("a short ring");
    for (way, control, adjacent, slot) in starts {
        let channel = engine.channel_mut(way, 1).expect("two channels");
        channel.first = RING + u64::from(slot % 64) * 32;
        channel.first_adjacent = adjacent;
        channel.write_back = write_back;
        channel.set_control(control & !1);
        channel.set_control(control | 1);
    }
    for n in 0..24 {
        let did = engine.service(&host, &axi, BUDGET);
        assert!(did.bytes <= 2 * BUDGET, "{did:?}");
        assert!(
            u64::from(did.descriptors) <= 2 * (BUDGET / 64 + 1),
            "{did:?}"
        );
        assert!(!did.more || engine.busy());
        // Bus mastering goes off, a channel is stopped, the engine is reset.
        match breaks {
            n1 if n1 == n + 1 => host.set_bus_master(false),
            n1 if n1 == n + 65 => {
                let channel = engine.channel_mut(Way::H2c, 1).expect("two channels");
                channel.set_control(0);
            }
            n1 if n1 == n + 129 => engine.reset(),
            _ => {}
        }
        if !did.more {
            break;
        }
    }
    engine.reset();
    assert!(!engine.busy());
}
