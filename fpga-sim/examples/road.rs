//! Measures the card alone: ns per frame and GB/s from the host's memory to the
//! board's, one copy into the ring and one out of it.
//!
//! `cargo run --release -p fpga-sim --example road`

#![allow(clippy::disallowed_methods, reason = "it measures host time")]
#![allow(clippy::unwrap_used, reason = "a measuring program may stop")]

use bus::{Bdf, DmaTarget, GuestRam, NoMsi, Segment, SimTime, create_ram};
use fpga_sim::card::{CardPort, Side, SimCard, SimCardSpec, SimPort, TakeStatus, TxStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

const META: [u8; 12] = [0; 12];
const BATCH: u32 = 64;
/// Guest buffers: a ring of this many bytes, as a guest's own would be.
const BUFFERS: u64 = 1 << 20;

fn port(card: &Arc<SimCard>, side: Side, ram: &Arc<GuestRam>) -> SimPort {
    let memory = DmaTarget::new(Bdf::new(0, 1, 0), ram.clone(), Arc::new(NoMsi));
    memory.set_bus_master(true);
    let mut port = card.port(side);
    port.attach(memory).unwrap();
    port
}

fn buffer(n: u64, len: u32) -> Segment {
    let slots = BUFFERS / u64::from(len.next_power_of_two());
    let address = 0x10_0000 + n % slots * u64::from(len.next_power_of_two());
    Segment { address, len }
}

fn send(port: &mut SimPort, len: u32, sent: &mut u64) {
    for _ in 0..BATCH {
        match port.transmit(SimTime::ZERO, &META, &[buffer(*sent, len)]) {
            TxStatus::Sent => *sent += 1,
            TxStatus::Full => break,
        }
    }
    port.flush(SimTime::ZERO);
}

fn receive(port: &mut SimPort, got: &mut u64) {
    for _ in 0..BATCH {
        let Some(frame) = port.peek(SimTime::ZERO) else {
            break;
        };
        let into = [buffer(*got, frame.len)];
        if port.take(SimTime::ZERO, &into) == TakeStatus::Taken {
            *got += 1;
        }
    }
    port.flush(SimTime::ZERO);
}

/// Time that this thread was on a CPU: what others do on the machine is left out.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

fn report(what: &str, len: u32, frames: u64, took: Duration) {
    let ns = took.as_nanos() as f64 / frames as f64;
    println!(
        "{what:>22} {len:>6} B {ns:>9.1} ns/frame {:>7.2} M frames/s {:>7.2} GB/s",
        1e3 / ns,
        f64::from(len) / ns
    );
}

fn main() {
    for len in [64u32, 1500, 65_536] {
        let frames = 200_000_000 / u64::from(len.max(100));
        for threads in [1, 2] {
            let mut times: Vec<_> = (0..5).map(|_| run(len, frames, threads)).collect();
            times.sort();
            if threads == 1 {
                report("one thread, CPU time", len, frames, times[2].1);
            }
            let what = ["one thread", "two threads"][threads as usize - 1];
            report(what, len, frames, times[2].0);
        }
    }
}

fn run(len: u32, frames: u64, threads: u32) -> (Duration, Duration) {
    let host = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
    let board = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), board.clone()).unwrap();
    let mut from = port(&card, Side::Host, &host);
    let mut to = port(&card, Side::Board, &board);
    let (mut sent, mut got) = (0, 0);
    let (start, cpu) = (Instant::now(), on_cpu());
    if threads == 1 {
        while got < frames {
            send(&mut from, len, &mut sent);
            receive(&mut to, &mut got);
        }
    } else {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while sent < frames {
                    send(&mut from, len, &mut sent);
                }
            });
            while got < frames {
                receive(&mut to, &mut got);
            }
        });
    }
    (start.elapsed(), on_cpu() - cpu)
}
