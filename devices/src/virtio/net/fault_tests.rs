//! Frames that a hook or a pulled cable takes off the wire, and the guest's
//! announcement.

use super::tests::{ALL, CTRL_RING, Nic, machine, nic_with, pair, service_both};
use super::{Net, NetSpec};
use crate::net::{Fault, FaultHook, Header, LinkSpec, Loopback, NetBackend, Switch, Verdict, Way};
use crate::virtio::VirtioPci;
use crate::virtio::driver::{Buffer, Driver};
use bus::SimTime;
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

/// Drops the frames of one length in one way, and keeps what it was asked.
struct Choosy {
    drop: (Way, u32),
    asked: Arc<Mutex<Vec<(Way, u32)>>>,
}

impl FaultHook for Choosy {
    fn frame(&mut self, _: SimTime, way: Way, len: u32) -> Verdict {
        self.asked.lock().unwrap().push((way, len));
        match (way, len) == self.drop {
            true => Verdict::Drop,
            false => Verdict::Pass,
        }
    }
}

#[test]
fn a_hook_is_asked_once_for_each_frame() {
    for way in [Way::Out, Way::In] {
        let asked = Arc::default();
        let hook = Choosy {
            drop: (way, 200),
            asked: Arc::clone(&asked),
        };
        let backend = Fault::new(Box::new(Loopback::new()), Box::new(hook));
        let mut nic = nic_with(NetSpec::default(), Box::new(backend), ALL);
        // They wait for buffers behind the hook.
        for len in [100, 200, 300] {
            nic.send(&Header::default(), &vec![7; len]);
        }
        assert!(nic.receive().is_none());
        nic.fill_rx(8, 2048);
        let got: Vec<usize> = std::iter::from_fn(|| nic.receive())
            .map(|(_, bytes)| bytes.len())
            .collect();
        assert_eq!(got, [100, 300], "{way:?}");
        let asked = asked.lock().unwrap();
        for len in [100, 200, 300] {
            let n = |way| asked.iter().filter(|a| **a == (way, len)).count();
            let back = usize::from(len != 200 || way == Way::In);
            assert_eq!((n(Way::Out), n(Way::In)), (1, back), "{way:?} {len}");
        }
        let dropped = [
            nic.counter("backend.dropped_fault_out"),
            nic.counter("backend.dropped_fault_in"),
        ];
        assert_eq!(
            dropped,
            [u64::from(way == Way::Out), u64::from(way == Way::In)]
        );
    }
}

/// Virtio 1.2, section 5.1.6.5.4.
#[test]
fn a_guest_is_asked_to_announce_itself() {
    const DATA: u64 = 0x30_0000;
    let mut m = machine(NetSpec::default(), Box::new(Loopback::new()));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, ALL));
    let mut control = driver.queue(&mut m, 2, 64, CTRL_RING);
    driver.start(&mut m);
    let status = driver.device + 6;
    assert_eq!(m.read16(status), 1, "link up");
    m.root.with(bus::Bdf::new(0, 3, 0), |function| {
        VirtioPci::with_device(function, Net::announce).unwrap();
    });
    assert_eq!(m.read16(status), 3, "and announce");
    m.ram.write_slice(&[3, 0], GuestAddress(DATA)).unwrap();
    control
        .add(&[Buffer::readable(DATA, 2), Buffer::writable(DATA + 8, 1)])
        .unwrap();
    driver.kick(&mut m, &mut control);
    assert_eq!(control.pop().map(|used| used.1), Some(1));
    let answer: u8 = m.ram.read_obj(GuestAddress(DATA + 8)).unwrap();
    assert_eq!(answer, 0, "VIRTIO_NET_OK");
    assert_eq!(m.read16(status), 1, "it did");
}

/// Frames that meet a pulled cable are gone; those of later pass.
#[test]
fn a_pulled_cable_stops_both_ways() {
    let switch = Switch::new(LinkSpec::default());
    let mut nics = pair([0, 1].map(|_| Box::new(switch.port().unwrap()) as Box<dyn NetBackend>));
    let set_link = |nic: &mut Nic, up| {
        nic.m.root.with(bus::Bdf::new(0, 3, 0), |function| {
            VirtioPci::with_device(function, |net: &mut Net| net.set_link(up)).unwrap();
        });
    };
    for nic in &mut nics {
        nic.fill_rx(64, 2048);
    }
    let mut bytes = vec![255; 64];
    let mut cross = |nics: &mut [Nic; 2], from: usize, mark| {
        bytes[14] = mark;
        nics[from].send(&Header::default(), &bytes);
        assert!(nics[from].tx.pop().is_some(), "a chain waits");
        service_both(nics);
        nics[1 - from].receive().map(|(_, bytes)| bytes[14])
    };
    for round in 0..3 {
        for from in [0, 1] {
            assert_eq!(cross(&mut nics, from, 1), Some(1));
        }
        set_link(&mut nics[0], false);
        for from in [0, 1] {
            assert_eq!(cross(&mut nics, from, 2), None);
        }
        set_link(&mut nics[0], true);
        for way in ["tx0.link_down", "rx0.link_down"] {
            assert_eq!(nics[0].counter(way), round + 1);
        }
    }
}
