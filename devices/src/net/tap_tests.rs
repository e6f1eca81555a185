//! A real TAP interface in a network namespace of its own.

// System calls for the namespace and the packet socket.
#![allow(unsafe_code)]

use super::tests::nic;
use super::{Header, Tap};
use crate::virtio::VirtioPci;
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::net::{Net, NetSpec, feature};
use etherparse::PacketBuilder;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

fn ioctl_flags(socket: i32, name: &str, flags: i32) -> i32 {
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&(flags as u16).to_le_bytes());
    // SAFETY: SIOCSIFFLAGS reads one `struct ifreq` (40 bytes).
    unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, request.as_ptr()) }
}

/// A raw socket on interface `name`, which is switched on.
fn packet_socket(name: &str) -> File {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system calls; the address is a whole `sockaddr_ll`.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol));
        assert!(socket >= 0);
        assert_eq!(ioctl_flags(socket, name, libc::IFF_UP), 0);
        let c_name = std::ffi::CString::new(name).unwrap();
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = libc::if_nametoindex(c_name.as_ptr()) as i32;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        let bound = libc::bind(socket, (&raw const address).cast(), len);
        assert_eq!(bound, 0);
        let timeout = libc::timeval {
            tv_sec: 2,
            tv_usec: 0,
        };
        let len = size_of::<libc::timeval>() as u32;
        let (level, what) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
        libc::setsockopt(socket, level, what, (&raw const timeout).cast(), len);
        File::from_raw_fd(socket)
    }
}

fn frame(len: usize, mark: u8) -> Vec<u8> {
    let mut bytes = vec![mark; len];
    bytes[..14].copy_from_slice(&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    bytes
}

fn traffic(tap: Tap) {
    let mut wire = packet_socket(tap.name());
    let (mut m, driver, mut rx, mut tx) = nic(tap);
    for i in 0..32 {
        rx.add(&[Buffer::writable(0x20_0000 + i * 4096, 2048)])
            .unwrap();
    }
    driver.kick(&mut m, &mut rx);
    // Guest to wire, the frame in three pieces.
    for (i, len) in [60, 999, 1514].into_iter().enumerate() {
        let sent = frame(len, i as u8);
        m.ram
            .write_slice(&Header::default().to_bytes(), GuestAddress(0x30_0000))
            .unwrap();
        m.ram
            .write_slice(&sent[..20], GuestAddress(0x30_1000))
            .unwrap();
        m.ram
            .write_slice(&sent[20..], GuestAddress(0x30_2000))
            .unwrap();
        tx.add(&[
            Buffer::readable(0x30_0000, 12),
            Buffer::readable(0x30_1000, 20),
            Buffer::readable(0x30_2000, len as u32 - 20),
        ])
        .unwrap();
        driver.kick(&mut m, &mut tx);
        assert!(tx.pop().is_some());
        let mut got = [0; 2000];
        loop {
            let n = wire.read(&mut got).expect("the frame is on the wire");
            // The kernel sends frames of its own.
            if got[12..14] == [0x88, 0xb5] {
                assert_eq!(got[..n], sent);
                break;
            }
        }
    }
    // Wire to guest.
    let kick = |m: &mut Machine| m.write(driver.notify, &[0, 0]);
    for mark in 0..10u8 {
        let sent = frame(200, mark);
        wire.write_all(&sent).unwrap();
        let mut got = false;
        for _ in 0..200 {
            kick(&mut m);
            while let Some((head, used)) = rx.pop() {
                let mut bytes = vec![0; used as usize];
                let at = 0x20_0000 + u64::from(head) * 4096;
                m.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
                got |= bytes[12..] == sent;
            }
            if got {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(got, "frame {mark} did not arrive");
    }
}

/// A guest without receive buffers while the wire sends more than the TAP
/// holds, and it sends all the time itself: nothing stands still afterwards.
fn both_full(tap: Tap) {
    let mut wire = packet_socket(tap.name());
    let (mut m, driver, mut rx, mut tx) = nic(tap);
    let sent = frame(200, 1);
    let header = Header::default().to_bytes();
    m.ram.write_slice(&header, GuestAddress(0x30_0000)).unwrap();
    m.ram
        .write_slice(&sent, GuestAddress(0x30_0000 + 12))
        .unwrap();
    let mut came = [0; 2000];
    for round in 0..3u8 {
        let mut out = 0;
        // A TAP's queue has 500 frames by default.
        for _ in 0..700 {
            let _ = wire.write(&frame(200, 7));
            if tx.add(&[Buffer::readable(0x30_0000, 212)]).is_some() {
                out += 1;
            }
            driver.kick(&mut m, &mut tx);
            while tx.pop().is_some() {}
            // The wire's own buffer has an end, too.
            while matches!(wire.read(&mut came), Ok(n) if came[..n] != sent[..]) {}
        }
        assert!(out > 600, "{out} frames went out");
        assert_eq!(tx.free(), 64, "a chain stays");
        // With buffers again what waits comes, and then what is new.
        let mut seen = 0;
        for turn in 0..2000 {
            while let Some(head) = rx.next_head() {
                let at = 0x20_0000 + u64::from(head) * 4096;
                rx.add(&[Buffer::writable(at, 2048)]).unwrap();
            }
            driver.kick(&mut m, &mut rx);
            m.write(driver.notify, &[0, 0]);
            let mut new = false;
            while let Some((head, used)) = rx.pop() {
                let mut bytes = vec![0; used as usize];
                let at = 0x20_0000 + u64::from(head) * 4096;
                m.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
                seen += u32::from(bytes[12..] == frame(200, 7));
                new |= bytes[12..] == frame(200, 100 + round);
            }
            if new {
                break;
            }
            assert!(turn < 1999, "round {round} is frozen after {seen} frames");
            if turn % 20 == 10 {
                wire.write_all(&frame(200, 100 + round)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(seen > 100, "{seen} of those that waited");
    }
}

/// In a namespace that holds nothing else.
fn alone(pairs: u16, test: fn(Tap)) {
    let thread = std::thread::spawn(move || {
        // SAFETY: only this thread moves to a new, empty namespace; it and the
        // interface in it go away with the thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            println!("SKIP: no permission to make a network namespace");
            return;
        }
        match Tap::open("tap%d", pairs) {
            Ok(tap) => {
                assert_eq!(tap.name(), "tap0");
                test(tap);
            }
            Err(error) => println!("SKIP: {error}"),
        }
    });
    thread.join().unwrap();
}

fn datagram(from: (u8, u16), to: (u8, u16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, from.0], [2, 0, 0, 0, 0, to.0])
        .ipv4([10, 9, 9, from.0], [10, 9, 9, to.0], 9)
        .udp(from.1, to.1)
        .write(&mut bytes, b"which queue?")
        .unwrap();
    bytes
}

const PAIRS: u16 = 3;

/// The kernel answers a flow on the queue that it came from.
fn flows(tap: Tap) {
    let mut wire = packet_socket(tap.name());
    let mut m = Machine::new(8 << 20);
    let spec = NetSpec {
        queue_pairs: PAIRS,
        ..NetSpec::default()
    };
    let net = Box::new(Net::new(spec, Box::new(tap)));
    m.add(
        3,
        Box::new(VirtioPci::new(net, m.dma(3), m.line()).unwrap()),
    );
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, !(feature::RSS | feature::HASH_REPORT)));
    let mut queues: Vec<_> = (0..=2 * PAIRS)
        .map(|i| driver.queue(&mut m, i, 64, 0x10_0000 + u64::from(i) * 0x4000))
        .collect();
    driver.start(&mut m);
    for queue in queues.iter_mut().take(6).step_by(2) {
        for slot in 0..32 {
            let at = 0x20_0000 + (u64::from(queue.index) * 32 + slot) * 4096;
            queue.add(&[Buffer::writable(at, 2048)]).unwrap();
        }
        driver.kick(&mut m, queue);
    }
    let set_pairs = |m: &mut Machine, control: &mut GuestQueue, pairs: u8| {
        let at = 0x1f_0000;
        m.ram
            .write_slice(&[4, 0, pairs, 0, 9], GuestAddress(at))
            .unwrap();
        control
            .add(&[Buffer::readable(at, 4), Buffer::writable(at + 4, 1)])
            .unwrap();
        driver.kick(m, control);
        assert!(control.pop().is_some());
        assert_eq!(m.ram.read_obj::<u8>(GuestAddress(at + 4)).unwrap(), 0);
    };
    set_pairs(&mut m, &mut queues[6], PAIRS as u8);
    let port = |pair: u16| 4000 + 77 * pair;
    for pair in 0..PAIRS {
        let at = 0x1e_0000;
        let bytes = datagram((1, port(pair)), (2, 5000));
        m.ram.write_slice(&[0; 12], GuestAddress(at)).unwrap();
        m.ram.write_slice(&bytes, GuestAddress(at + 12)).unwrap();
        let tx = &mut queues[usize::from(2 * pair + 1)];
        tx.add(&[Buffer::readable(at, 12 + bytes.len() as u32)])
            .unwrap();
        driver.kick(&mut m, tx);
        assert!(tx.pop().is_some());
    }
    let mut answer = |m: &mut Machine, queues: &mut [GuestQueue], pair: u16| {
        let sent = datagram((2, 5000), (1, port(pair)));
        wire.write_all(&sent).unwrap();
        for _ in 0..200 {
            m.write(driver.notify, &[0, 0]);
            for queue in queues.iter_mut().take(6).step_by(2) {
                while let Some((head, used)) = queue.pop() {
                    let descriptor = queue.addresses()[0] + 16 * u64::from(head);
                    let at: u64 = m.ram.read_obj(GuestAddress(descriptor)).unwrap();
                    let mut bytes = vec![0; used as usize];
                    m.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
                    if bytes[12..] == sent {
                        return queue.index / 2;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no answer on flow {pair}");
    };
    for pair in [0, 2, 1, 1, 2, 0] {
        assert_eq!(answer(&mut m, &mut queues, pair), pair);
    }
    // With one pair everything comes there.
    set_pairs(&mut m, &mut queues[6], 1);
    for pair in [2, 0, 1] {
        assert_eq!(answer(&mut m, &mut queues, pair), 0);
    }
    set_pairs(&mut m, &mut queues[6], PAIRS as u8);
    for pair in [2, 0, 1] {
        answer(&mut m, &mut queues, pair);
    }
    let counters = m
        .root
        .with(bus::Bdf::new(0, 3, 0), |f| f.counters())
        .unwrap();
    let errors = counters.iter().find(|c| c.0 == "backend.tap_errors");
    assert_eq!(errors.unwrap().1, 0);
}

#[test]
fn frames_cross_a_tap() {
    alone(1, traffic);
}
#[test]
fn nothing_freezes_when_both_ways_are_full() {
    alone(1, both_full);
}
#[test]
fn flows_keep_their_queue() {
    alone(PAIRS, flows);
}
