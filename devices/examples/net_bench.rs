//! Frames per second of the network device alone, with synthetic guest rings:
//! `cargo run --release -p devices --example net_bench [seconds per point [name [bytes]]]`.
//!
//! One thread plays the guests' drivers and runs the devices. A batch is 64
//! frames; the time is that of the devices' own calls, the median over batches.

use bus::SimTime;
use devices::net::{Card, Header, LinkSpec, Loopback, NetBackend, Null, Switch};
use devices::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use devices::virtio::net::{Net, NetSpec};
use devices::virtio::{VirtioPci, ring::MAX_QUEUE_SIZE};
use fpga_sim::card::{Side, SimCard, SimCardSpec};
use std::sync::Arc;
use std::time::Instant;
use vm_memory::{Bytes, GuestAddress};

const TX: u64 = 0x20_0000;
const RX: u64 = 0x200_0000;
const STEP: u64 = 0x1_1000;
const BATCH: usize = 64;

struct Nic {
    m: Machine,
    driver: Driver,
    rx: GuestQueue,
    tx: GuestQueue,
}

fn nic(backend: Box<dyn NetBackend>, rx_len: u32) -> Nic {
    let mut m = Machine::new(128 << 20);
    let spec = NetSpec {
        queue_size: MAX_QUEUE_SIZE,
        ..NetSpec::default()
    };
    let net = Box::new(Net::new(spec, backend));
    let function = VirtioPci::new(net, m.dma(3), m.line()).expect("a function");
    m.add(3, Box::new(function));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, u64::MAX));
    let mut rx = driver.queue(&mut m, 0, 1024, 0x10_0000);
    let tx = driver.queue(&mut m, 1, 1024, 0x12_0000);
    driver.start(&mut m);
    for _ in 0..512 {
        refill(&mut rx, rx_len);
    }
    driver.kick(&mut m, &mut rx);
    Nic { m, driver, rx, tx }
}

fn refill(rx: &mut GuestQueue, len: u32) {
    if let Some(head) = rx.next_head() {
        rx.add(&[Buffer::writable(RX + u64::from(head) * STEP, len)]);
    }
}

fn run(name: &str, len: u32, mut nics: Vec<Nic>, receiver: Option<usize>, seconds: f64) {
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let point = [name.to_owned(), len.to_string()];
    if wanted.iter().zip(&point).any(|(wanted, it)| wanted != it) {
        return;
    }
    let header = Header::default().to_bytes();
    let mut frame = vec![0x5a; len as usize];
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    let rx_len = 12 + len.max(2048);
    let (mut sent, mut got) = (0u64, 0u64);
    let mut batches: Vec<f64> = Vec::new();
    for slot in 0..BATCH as u64 {
        let at = TX + slot * STEP;
        nics[0]
            .m
            .ram
            .write_slice(&header, GuestAddress(at))
            .expect("RAM");
        nics[0]
            .m
            .ram
            .write_slice(&frame, GuestAddress(at + 12))
            .expect("RAM");
    }
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures host time")]
    let clock = Instant::now;
    let start = clock();
    while start.elapsed().as_secs_f64() < seconds {
        let from = &mut nics[0];
        for slot in 0..BATCH as u64 {
            let at = TX + slot * STEP;
            let _ = from.tx.add(&[Buffer::readable(at, 12 + len)]);
        }
        let begin = clock();
        from.driver.kick(&mut from.m, &mut from.tx);
        for _ in 0..2 {
            for nic in &nics {
                nic.m.root.service(SimTime::ZERO);
            }
        }
        let device = begin.elapsed().as_secs_f64();
        let mut done = 0u32;
        while nics[0].tx.pop().is_some() {
            done += 1;
        }
        if done > 0 {
            batches.push(device * 1e9 / f64::from(done));
            sent += u64::from(done);
        }
        if let Some(to) = receiver {
            let to = &mut nics[to];
            while to.rx.pop().is_some() {
                got += 1;
                refill(&mut to.rx, rx_len);
            }
            to.driver.kick(&mut to.m, &mut to.rx);
        }
    }
    batches.sort_by(f64::total_cmp);
    let ns = batches[batches.len() / 2];
    let best = batches[batches.len() / 20];
    println!(
        "{name:10} {len:6} B  {:8.2} M frames/s  {ns:8.1} ns/frame (best 5 %: {best:.1})  {:6.2} GB/s",
        1e3 / ns,
        f64::from(len) / ns
    );
    assert!(
        receiver.is_none() || got + 2048 > sent,
        "{got} of {sent} arrived"
    );
}

/// A notification with nothing to do: the register access on the hot path.
fn notify() {
    let mut nic = nic(Box::new(Null::new()), 2048);
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures host time")]
    let clock = Instant::now;
    let at = nic.driver.notify;
    let mut rounds: Vec<f64> = (0..200)
        .map(|_| {
            let start = clock();
            for _ in 0..1000 {
                let _ = nic.m.bus.write(at, &[0, 0]);
            }
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("notification register write: {:.1} ns", rounds[100]);
}

fn main() {
    notify();
    let seconds = std::env::args()
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0.5);
    for len in [64, 256, 1500, 65_500] {
        let rx_len = 12 + len.max(2048);
        run(
            "null",
            len,
            vec![nic(Box::new(Null::new()), rx_len)],
            None,
            seconds,
        );
        run(
            "loopback",
            len,
            vec![nic(Box::new(Loopback::new()), rx_len)],
            Some(0),
            seconds,
        );
        let switch = Switch::new(LinkSpec::default());
        let ddr = Arc::new(bus::create_ram(&[(0, 64 << 20)]).expect("memory"));
        let card = SimCard::new(SimCardSpec::default(), ddr).expect("a card");
        let ends = [Side::Host, Side::Board].map(|side| {
            let end = Card::new(card.clone(), side, Box::new(card.port(side)));
            nic(Box::new(end), rx_len)
        });
        run("card", len, ends.into(), Some(1), seconds);
        let port = || Box::new(switch.port().expect("a port"));
        let mut nics = vec![nic(port(), rx_len), nic(port(), rx_len)];
        // The switch learns where the receiver is.
        let mut hello = [0u8; 72];
        hello[12..24].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        nics[1]
            .m
            .ram
            .write_slice(&hello, GuestAddress(TX))
            .expect("RAM");
        let Nic { m, driver, tx, .. } = &mut nics[1];
        tx.add(&[Buffer::readable(TX, 72)]);
        driver.kick(m, tx);
        run("switch", len, nics, Some(1), seconds);
    }
}
