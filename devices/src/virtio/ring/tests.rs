//! Malformed chains and rings, through a live device.

use crate::net::{Header, Loopback};
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::net::{Net, NetSpec};
use crate::virtio::{VirtioPci, feature};
use bus::Bdf;
use vm_memory::{Bytes, GuestAddress};

const DATA: u64 = 0x20_0000;
const TABLE: u64 = 0x30_0000;
const END: u64 = 4 << 20;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

struct Rig {
    m: Machine,
    driver: Driver,
    rx: GuestQueue,
    tx: GuestQueue,
}

fn rig(wanted: u64) -> Rig {
    let mut m = Machine::new(END);
    let device = Box::new(Net::new(NetSpec::default(), Box::new(Loopback::new())));
    let function = VirtioPci::new(device, m.dma(3), m.line()).unwrap();
    m.add(3, Box::new(function));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, wanted));
    let rx = driver.queue(&mut m, 0, 16, 0x10_0000);
    let tx = driver.queue(&mut m, 1, 16, 0x12_0000);
    driver.start(&mut m);
    Rig { m, driver, rx, tx }
}

impl Rig {
    fn counter(&mut self, name: &str) -> u64 {
        let counters = self
            .m
            .root
            .with(Bdf::new(0, 3, 0), |f| f.counters())
            .unwrap();
        counters.iter().find(|c| c.0 == name).unwrap().1
    }
    /// A good frame crosses.
    fn still_works(&mut self) {
        for _ in 0..4 {
            self.rx
                .add(&[Buffer::writable(DATA + 0x1000, 2048)])
                .unwrap();
        }
        self.driver.kick(&mut self.m, &mut self.rx);
        self.m
            .ram
            .write_slice(&[0; 12], GuestAddress(DATA))
            .unwrap();
        self.tx.add(&[Buffer::readable(DATA, 100)]).unwrap();
        self.driver.kick(&mut self.m, &mut self.tx);
        assert!(self.tx.pop().is_some());
        assert_eq!(self.rx.pop().map(|used| used.1), Some(100));
        assert_eq!(self.driver.status(&mut self.m), 15);
    }
}

type Descriptors = &'static [(u64, u32, u16, u16)];

#[test]
fn malformed_chains_go_back_unused() {
    const CASES: &[(&str, Descriptors, Descriptors)] = &[
        ("loop of one", &[(DATA, 100, NEXT, 0)], &[]),
        (
            "loop of two",
            &[(DATA, 100, NEXT, 1), (DATA, 100, NEXT, 0)],
            &[],
        ),
        ("next out of range", &[(DATA, 100, NEXT, 16)], &[]),
        ("next far out of range", &[(DATA, 100, NEXT, 0xffff)], &[]),
        ("length zero", &[(DATA, 0, 0, 0)], &[]),
        (
            "length zero behind",
            &[(DATA, 100, NEXT, 1), (DATA, 0, 0, 0)],
            &[],
        ),
        ("outside memory", &[(END, 100, 0, 0)], &[]),
        ("across the end of memory", &[(END - 50, 100, 0, 0)], &[]),
        ("wraps around", &[(u64::MAX - 50, 100, 0, 0)], &[]),
        ("too long for memory", &[(DATA, u32::MAX, 0, 0)], &[]),
        ("write-only", &[(DATA, 100, WRITE, 0)], &[]),
        (
            "readable behind writable",
            &[(DATA, 100, NEXT | WRITE, 1), (DATA, 100, 0, 0)],
            &[],
        ),
        ("header only", &[(DATA, 12, 0, 0)], &[]),
        ("header too short", &[(DATA, 11, 0, 0)], &[]),
        ("frame too short", &[(DATA, 25, 0, 0)], &[]),
        ("empty indirect table", &[(TABLE, 0, INDIRECT, 0)], &[]),
        (
            "crooked indirect table",
            &[(TABLE, 24, INDIRECT, 0)],
            &[(DATA, 100, 0, 0)],
        ),
        (
            "huge indirect table",
            &[(TABLE, 16 * 1025, INDIRECT, 0)],
            &[(DATA, 100, 0, 0)],
        ),
        (
            "indirect table outside memory",
            &[(END, 16, INDIRECT, 0)],
            &[],
        ),
        (
            "indirect with next",
            &[(TABLE, 16, INDIRECT | NEXT, 1), (DATA, 9, 0, 0)],
            &[(DATA, 100, 0, 0)],
        ),
        (
            "indirect in indirect",
            &[(TABLE, 16, INDIRECT, 0)],
            &[(TABLE, 16, INDIRECT, 0)],
        ),
        (
            "next outside the indirect table",
            &[(TABLE, 16, INDIRECT, 0)],
            &[(DATA, 100, NEXT, 1)],
        ),
        (
            "loop in the indirect table",
            &[(TABLE, 32, INDIRECT, 0)],
            &[(DATA, 9, NEXT, 1), (DATA, 9, NEXT, 0)],
        ),
    ];
    for (name, descriptors, table) in CASES {
        let mut rig = rig(u64::MAX);
        for (i, d) in table.iter().enumerate() {
            rig.tx
                .write_descriptor(TABLE + 16 * i as u64, d.0, d.1, d.2, d.3);
        }
        for (i, d) in descriptors.iter().enumerate() {
            rig.tx.set_descriptor(i as u16, d.0, d.1, d.2, d.3);
        }
        let head = rig.tx.take_free().unwrap();
        assert_eq!(head, 0);
        rig.tx.offer(head);
        rig.driver.kick(&mut rig.m, &mut rig.tx);
        assert_eq!(rig.tx.pop(), Some((0, 0)), "{name}");
        assert_eq!(rig.counter("tx0.malformed"), 1, "{name}");
        assert_eq!(rig.counter("tx0.frames"), 0, "{name}");
        rig.still_works();
    }
}
#[test]
fn indirect_needs_negotiation() {
    let mut rig = rig(!feature::INDIRECT_DESC);
    rig.tx
        .add_indirect(TABLE, &[Buffer::readable(DATA, 100)])
        .unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.tx);
    assert_eq!(rig.counter("tx0.malformed"), 1);
}
#[test]
fn a_receive_chain_that_is_readable_goes_back() {
    let mut rig = rig(u64::MAX);
    rig.rx.add(&[Buffer::readable(DATA, 2048)]).unwrap();
    rig.rx.add(&[Buffer::writable(DATA, 11)]).unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.rx);
    rig.m.ram.write_slice(&[0; 12], GuestAddress(DATA)).unwrap();
    rig.tx.add(&[Buffer::readable(DATA, 100)]).unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.tx);
    assert_eq!(rig.rx.pop().map(|used| used.1), Some(0));
    assert_eq!(rig.rx.pop().map(|used| used.1), Some(0));
    assert_eq!(rig.counter("rx0.malformed"), 2);
    rig.rx.add(&[Buffer::writable(DATA, 2048)]).unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.rx);
    assert_eq!(rig.rx.pop().map(|used| used.1), Some(100));
}
#[test]
fn a_malformed_chain_between_merged_buffers() {
    let mut rig = rig(u64::MAX);
    rig.rx.add(&[Buffer::writable(DATA + 0x1000, 60)]).unwrap();
    rig.rx.add(&[Buffer::readable(DATA + 0x2000, 60)]).unwrap();
    rig.rx.add(&[Buffer::writable(DATA + 0x3000, 60)]).unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.rx);
    rig.m.ram.write_slice(&[0; 12], GuestAddress(DATA)).unwrap();
    rig.tx.add(&[Buffer::readable(DATA, 100)]).unwrap();
    rig.driver.kick(&mut rig.m, &mut rig.tx);
    let used: Vec<_> = std::iter::from_fn(|| rig.rx.pop()).collect();
    assert_eq!(used, [(0, 60), (2, 40), (1, 0)]);
    let mut count = [0; 2];
    rig.m
        .ram
        .read_slice(&mut count, GuestAddress(DATA + 0x100a))
        .unwrap();
    assert_eq!(count, [2, 0], "num_buffers");
}
#[test]
fn header_split_at_every_byte() {
    for modern in [u64::MAX, !crate::virtio::net::feature::MRG_RXBUF] {
        for cut in 1..40u32 {
            let mut rig = rig(modern);
            rig.rx
                .add(&[
                    Buffer::writable(DATA + 0x4000, cut),
                    Buffer::writable(DATA + 0x5000, 2048),
                ])
                .unwrap();
            rig.driver.kick(&mut rig.m, &mut rig.rx);
            let header = Header {
                flags: 1,
                csum_start: 3,
                csum_offset: 5,
                ..Header::default()
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend((0..100u8).map(|i| i ^ 0x55));
            let (front, back) = bytes.split_at(cut as usize);
            rig.m.ram.write_slice(front, GuestAddress(DATA)).unwrap();
            rig.m
                .ram
                .write_slice(back, GuestAddress(DATA + 0x1000))
                .unwrap();
            rig.tx
                .add(&[
                    Buffer::readable(DATA, cut),
                    Buffer::readable(DATA + 0x1000, 112 - cut),
                ])
                .unwrap();
            rig.driver.kick(&mut rig.m, &mut rig.tx);
            assert!(rig.tx.pop().is_some());
            assert_eq!(rig.rx.pop().map(|used| used.1), Some(112), "cut at {cut}");
            let mut got = vec![0; 112];
            let (front, back) = got.split_at_mut(cut as usize);
            rig.m
                .ram
                .read_slice(front, GuestAddress(DATA + 0x4000))
                .unwrap();
            rig.m
                .ram
                .read_slice(back, GuestAddress(DATA + 0x5000))
                .unwrap();
            bytes[10] = 1;
            assert_eq!(got, bytes, "cut at {cut}");
        }
    }
}
#[test]
fn bad_headers_are_dropped_and_counted() {
    let plain = Header::default();
    let cases = [
        Header {
            flags: 1,
            csum_start: 99,
            csum_offset: 0,
            ..plain
        },
        Header {
            flags: 1,
            csum_start: 0xffff,
            csum_offset: 0xffff,
            ..plain
        },
        Header {
            gso_type: 1,
            gso_size: 1000,
            ..plain
        },
        Header {
            gso_type: 1,
            flags: 1,
            gso_size: 0,
            ..plain
        },
        Header {
            gso_type: 2,
            flags: 1,
            gso_size: 9,
            ..plain
        },
        Header {
            gso_type: 3,
            flags: 1,
            gso_size: 9,
            ..plain
        },
        Header {
            gso_type: 0x7f,
            flags: 1,
            gso_size: 9,
            ..plain
        },
    ];
    let mut rig = rig(u64::MAX);
    for (i, header) in cases.into_iter().enumerate() {
        rig.m
            .ram
            .write_slice(&header.to_bytes(), GuestAddress(DATA))
            .unwrap();
        rig.tx.add(&[Buffer::readable(DATA, 112)]).unwrap();
        rig.driver.kick(&mut rig.m, &mut rig.tx);
        assert!(rig.tx.pop().is_some());
        assert_eq!(rig.counter("tx0.bad_header"), i as u64 + 1, "{header:?}");
    }
    rig.still_works();
}
#[test]
fn broken_rings_need_a_reset_and_get_one() {
    for case in 0..3 {
        let mut rig = rig(u64::MAX);
        match case {
            0 => rig.tx.set_available_index(17),
            1 => rig.tx.set_available_index(0x8000),
            _ => {
                rig.tx.offer(16);
                rig.tx.publish();
            }
        }
        let at = rig.driver.notify + rig.driver.notify_step;
        rig.m.write(at, &[1, 0]);
        assert_eq!(rig.driver.status(&mut rig.m), 0x4f, "case {case}");
        assert_eq!(rig.counter("broken_rings"), 1);
        assert!(rig.driver.negotiate(&mut rig.m, u64::MAX));
        rig.rx = rig.driver.queue(&mut rig.m, 0, 16, 0x10_0000);
        rig.tx = rig.driver.queue(&mut rig.m, 1, 16, 0x12_0000);
        rig.driver.start(&mut rig.m);
        rig.still_works();
    }
}
