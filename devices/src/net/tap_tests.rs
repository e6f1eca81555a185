//! A real TAP interface in a network namespace of its own.

// System calls for the namespace and the packet socket.
#![allow(unsafe_code)]

use super::{Header, Tap};
use crate::virtio::VirtioPci;
use crate::virtio::driver::{Buffer, Driver, Machine};
use crate::virtio::net::{Net, NetSpec};
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
    let mut m = Machine::new(4 << 20);
    let net = Box::new(Net::new(NetSpec::default(), Box::new(tap)));
    let function = VirtioPci::new(net, m.dma(3), m.line()).unwrap();
    m.add(3, Box::new(function));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, u64::MAX));
    let mut rx = driver.queue(&mut m, 0, 64, 0x10_0000);
    let mut tx = driver.queue(&mut m, 1, 64, 0x12_0000);
    driver.start(&mut m);
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

#[test]
fn frames_cross_a_tap() {
    let thread = std::thread::spawn(|| {
        // SAFETY: only this thread moves to a new, empty namespace; it and the
        // interface in it go away with the thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            println!("SKIP: no permission to make a network namespace");
            return;
        }
        match Tap::open("tap%d", 1) {
            Ok(tap) => {
                assert_eq!(tap.name(), "tap0");
                traffic(tap);
            }
            Err(error) => println!("SKIP: {error}"),
        }
    });
    thread.join().unwrap();
}
