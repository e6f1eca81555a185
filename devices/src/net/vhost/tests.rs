use super::echo::Running;
use super::{Role, VhostUser};
use crate::net::{Header, NetBackend, Vhost};
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::net::{Net, NetSpec, feature};
use crate::virtio::{VirtioPci, feature as common};
use bus::{Bdf, SimTime, Wake};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const RX_DATA: u64 = 0x20_0000;
const TX_DATA: u64 = 0x80_0000;

pub(super) struct Guest {
    pub m: Machine,
    pub driver: Driver,
    pub rx: GuestQueue,
    pub tx: GuestQueue,
    outside: Wake,
    sent: u64,
}

/// Waits for a back end at `path`, as the machine's builder does.
pub(super) fn find(path: &Path, role: Role) -> Vhost {
    let mut place = VhostUser::new(path, role, 1).unwrap();
    for _ in 0..500 {
        match place.open().unwrap() {
            Ok(vhost) => return vhost,
            Err(again) => place = again,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no back end came");
}

impl Guest {
    pub fn new(vhost: Vhost) -> Self {
        let mut m = Machine::shared(16 << 20);
        m.advances = 0;
        let outside = vhost.host_wake(Wake::null());
        let net = Box::new(Net::new(NetSpec::default(), Box::new(vhost)));
        m.add(
            3,
            Box::new(VirtioPci::new(net, m.dma(3), m.line()).unwrap()),
        );
        let driver = Driver::probe(&mut m, 3);
        driver.enable_msix(&mut m, 3);
        let rx = GuestQueue::new(&m.ram, 0, 256, 0x10_0000, 0);
        let tx = GuestQueue::new(&m.ram, 1, 256, 0x12_0000, 0);
        let mut guest = Self {
            m,
            driver,
            rx,
            tx,
            outside,
            sent: 0,
        };
        guest.start();
        guest
    }
    /// Resets the device and sets it up.
    pub fn start(&mut self) {
        assert!(self.driver.negotiate(&mut self.m, u64::MAX));
        let config_vector = self.driver.common + 0x10;
        self.m.write(config_vector, &0u16.to_le_bytes());
        self.rx = self.driver.queue(&mut self.m, 0, 256, 0x10_0000);
        self.tx = self.driver.queue(&mut self.m, 1, 256, 0x12_0000);
        self.driver.start(&mut self.m);
        self.fill();
    }
    fn fill(&mut self) {
        while let Some(head) = self.rx.next_head() {
            let at = RX_DATA + u64::from(head) * 4096;
            self.rx.add(&[Buffer::writable(at, 2048)]).unwrap();
        }
        self.driver.kick(&mut self.m, &mut self.rx);
    }
    fn frame(number: u64) -> Vec<u8> {
        let mut frame = vec![number as u8; 60 + (number % 1400) as usize];
        frame[14..22].copy_from_slice(&number.to_le_bytes());
        frame
    }
    /// Sends the next frame. `false` when the ring is full.
    pub fn send(&mut self) -> bool {
        while self.tx.pop().is_some() {}
        let Some(head) = self.tx.next_head() else {
            return false;
        };
        let at = TX_DATA + u64::from(head) * 4096;
        let frame = Self::frame(self.sent);
        self.sent += 1;
        let ram = &self.m.ram;
        ram.write_slice(&Header::default().to_bytes(), GuestAddress(at))
            .unwrap();
        ram.write_slice(&frame, GuestAddress(at + 12)).unwrap();
        let len = frame.len() as u32 + 12;
        self.tx.add(&[Buffer::readable(at, len)]).unwrap();
        self.driver.kick(&mut self.m, &mut self.tx);
        true
    }
    /// The next frame that came back.
    pub fn receive(&mut self) -> Option<u64> {
        let (head, used) = self.rx.pop()?;
        let mut bytes = vec![0; used as usize];
        let at = RX_DATA + u64::from(head) * 4096;
        self.m.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        let frame = &bytes[12..];
        let number = u64::from_le_bytes(*frame[14..].first_chunk().unwrap());
        assert_eq!(frame, Self::frame(number));
        self.fill();
        Some(number)
    }
    /// Lets things outside happen, until `done` or for five seconds.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            self.turn();
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what} never happened");
    }
    /// One look at what came from outside.
    pub fn turn(&mut self) {
        self.outside.wake();
        let now = self.m.now + SimTime::from_ms(20);
        self.m.now = now;
        self.m.root.request(Bdf::new(0, 3, 0));
        let _ = self.m.root.service(now);
    }
    pub fn link_up(&mut self) -> bool {
        let status = self.m.read16(self.driver.device + 6);
        status & 1 != 0
    }
    pub fn set_link(&mut self, up: bool) {
        self.m.root.with(Bdf::new(0, 3, 0), |function| {
            VirtioPci::with_device(function, |net: &mut Net| net.set_link(up)).unwrap();
        });
        self.turn();
    }
    pub fn counter(&mut self, name: &str) -> u64 {
        let counters = self
            .m
            .root
            .with(Bdf::new(0, 3, 0), |f| f.counters())
            .unwrap();
        let name = format!("backend.{name}");
        counters.iter().find(|c| c.0 == name).unwrap().1
    }
    /// Sends `count` frames and gets them all back, in order.
    fn exchange(&mut self, count: u64) {
        let (mut left, mut next) = (count, self.sent);
        let end = self.sent + count;
        self.until("the last frame's return", |guest| {
            while left > 0 && guest.send() {
                left -= 1;
            }
            while let Some(number) = guest.receive() {
                assert_eq!(number, next);
                next += 1;
            }
            next == end
        });
        self.until("the last chain's return", |guest| {
            while guest.tx.pop().is_some() {}
            guest.tx.free() == 256
        });
    }
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    (dir, path)
}

#[test]
fn frames_go_through_a_back_end_that_listens() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let _back_end = server.join().unwrap();
    assert!(guest.link_up());
    // What the back end lacks is not on offer, nor what only the device's own
    // hands could do.
    let offered = guest.driver.features;
    assert_eq!(offered & (feature::CSUM | feature::HOST_TSO4), 0);
    assert_eq!(offered & feature::CTRL_RX, 0);
    assert_ne!(offered & (feature::MRG_RXBUF | feature::CTRL_MAC_ADDR), 0);
    guest.m.msi.take();
    guest.exchange(2000);
    let messages = guest.m.msi.take();
    for queue in [0x41, 0x42] {
        assert!(
            messages.iter().any(|m| m.data == queue),
            "no interrupt {queue:#x}"
        );
    }
    assert!(guest.counter("kicks") > 0 && guest.counter("interrupts") > 0);
}
#[test]
fn frames_go_through_a_back_end_that_connects() {
    let (_dir, path) = socket();
    // A socket that somebody left behind is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let place = VhostUser::new(&path, Role::Server, 1).unwrap();
    let place = place.open().unwrap().expect_err("nobody is there yet");
    let client = std::thread::spawn({
        let path = path.clone();
        move || Running::client(&path)
    });
    let mut place = Some(place);
    let vhost = loop {
        match place.take().unwrap().open().unwrap() {
            Ok(vhost) => break vhost,
            Err(again) => place = Some(again),
        }
    };
    let back_end = client.join().unwrap();
    let mut guest = Guest::new(vhost);
    guest.exchange(500);
    // The next one connects to the same socket.
    drop(back_end);
    guest.until("link down", |guest| !guest.link_up());
    let _back_end = Running::client(&path);
    guest.until("link up", |guest| guest.link_up());
    guest.exchange(500);
    assert_eq!(guest.counter("connects"), 2);
    drop(guest);
    assert!(!path.exists(), "the socket stays behind");
}
#[test]
fn a_killed_back_end_comes_back_under_traffic() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let mut back_end = server.join().unwrap();
    for round in 0..3 {
        guest.exchange(100);
        // Frames in work when it goes.
        for _ in 0..40 {
            guest.send();
        }
        drop(back_end);
        let changes = guest.m.msi.take();
        guest.until("link down", |guest| !guest.link_up());
        assert!(
            !changes.iter().any(|m| m.data == 0x40),
            "link changed early"
        );
        assert!(
            guest.m.msi.take().iter().any(|m| m.data == 0x40),
            "nobody told"
        );
        // The driver goes on all the same, until its ring is full.
        while guest.send() {}
        let server = Running::server(&path, 0);
        guest.until("link up", |guest| guest.link_up());
        back_end = server.join().unwrap();
        assert!(
            guest.m.msi.take().iter().any(|m| m.data == 0x40),
            "nobody told"
        );
        // Every frame that was not taken yet comes back, the last one included.
        let last = guest.sent - 1;
        let mut before = None;
        guest.until("the last frame's return", |guest| {
            while let Some(number) = guest.receive() {
                assert!(before < Some(number), "{before:?} then {number}");
                before = Some(number);
            }
            before == Some(last)
        });
        guest.until("every chain's return", |guest| {
            while guest.tx.pop().is_some() {}
            guest.tx.free() == 256
        });
        assert_eq!(guest.counter("losses"), round + 1);
    }
    guest.exchange(1000);
}
#[test]
fn the_driver_starts_over_as_often_as_it_likes() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let _back_end = server.join().unwrap();
    for round in 0..10 {
        guest.exchange(50 + round);
        guest.start();
    }
    // One queue alone: it goes on where it was.
    guest.exchange(10);
    let common = guest.driver.common;
    assert_ne!(guest.driver.features & common::RING_RESET, 0);
    guest.m.write(common + 0x16, &1u16.to_le_bytes());
    guest.m.write(common + 0x3a, &1u16.to_le_bytes());
    guest.tx = guest.driver.queue(&mut guest.m, 1, 128, 0x12_0000);
    guest.turn();
    let (sent, mut got) = (guest.sent, None);
    assert!(guest.send());
    guest.until("a frame on the new queue", |guest| {
        got = got.or_else(|| guest.receive());
        got.is_some()
    });
    assert_eq!(got, Some(sent));
    assert_eq!(guest.counter("losses"), 0);
}
#[test]
fn nothing_moves_while_the_function_is_no_bus_master() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let _back_end = server.join().unwrap();
    guest.exchange(10);
    let command = Machine::config(3, 4);
    guest.m.write(command, &2u16.to_le_bytes());
    let sent = guest.sent;
    assert!(guest.send());
    for _ in 0..20 {
        guest.turn();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(guest.receive(), None);
    guest.m.write(command, &6u16.to_le_bytes());
    let mut got = None;
    guest.until("the frame's return", |guest| {
        got = got.or_else(|| guest.receive());
        got.is_some()
    });
    assert_eq!(got, Some(sent));
}
#[test]
fn a_ring_outside_of_memory_breaks_the_device_only() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let _back_end = server.join().unwrap();
    for at in [0x100_0000 - 2048u64, 0x8000_0000, !4095] {
        assert!(guest.driver.negotiate(&mut guest.m, u64::MAX));
        let common = guest.driver.common;
        guest.m.write(common + 0x16, &0u16.to_le_bytes());
        for register in [0x20, 0x28, 0x30] {
            guest.m.write(common + register, &(at as u32).to_le_bytes());
            let high = (at >> 32) as u32;
            guest.m.write(common + register + 4, &high.to_le_bytes());
        }
        guest.m.write(common + 0x1c, &1u16.to_le_bytes());
        guest.driver.start(&mut guest.m);
        assert_ne!(guest.driver.status(&mut guest.m) & 64, 0, "{at:#x}");
    }
    guest.start();
    guest.exchange(100);
    assert_eq!(guest.counter("losses"), 0);
}
#[test]
fn a_back_end_that_lacks_what_is_in_use_is_not_taken() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let back_end = server.join().unwrap();
    guest.exchange(10);
    drop(back_end);
    guest.until("link down", |guest| !guest.link_up());
    let server = Running::server(&path, feature::MRG_RXBUF);
    guest.until("a refusal", |guest| guest.counter("errors") == 1);
    drop(server.join().unwrap());
    assert!(!guest.link_up());
    let server = Running::server(&path, 0);
    guest.until("link up", |guest| guest.link_up());
    let _back_end = server.join().unwrap();
    guest.exchange(10);
}
#[test]
fn a_pulled_cable_stops_the_rings() {
    let (_dir, path) = socket();
    let server = Running::server(&path, 0);
    let mut guest = Guest::new(find(&path, Role::Client));
    let _back_end = server.join().unwrap();
    for _ in 0..3 {
        guest.exchange(100);
        let _ = guest.m.msi.take();
        guest.set_link(false);
        assert!(!guest.link_up());
        assert!(
            guest.m.msi.take().iter().any(|m| m.data == 0x40),
            "nobody told"
        );
        let first = guest.sent;
        for _ in 0..20 {
            guest.send();
        }
        for _ in 0..20 {
            guest.turn();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(guest.receive(), None, "frames pass without a cable");
        }
        guest.set_link(true);
        assert!(guest.link_up());
        let mut next = first;
        guest.until("the waiting frames' return", |guest| {
            while let Some(number) = guest.receive() {
                assert_eq!(number, next);
                next += 1;
            }
            next == first + 20
        });
    }
    assert_eq!(guest.counter("losses"), 0);
}
