use super::{Capture, Direction, Loopback, NetBackend, PcapNg, Tap, TapError};
use crate::virtio::VirtioPci;
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::net::{Net, NetSpec};
use bus::SimTime;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A machine with a NIC on `backend`, its driver, and its two queues.
pub(super) fn nic(backend: impl NetBackend + 'static) -> (Machine, Driver, GuestQueue, GuestQueue) {
    let mut m = Machine::new(4 << 20);
    let net = Box::new(Net::new(NetSpec::default(), Box::new(backend)));
    let function = VirtioPci::new(net, m.dma(3), m.line()).unwrap();
    m.add(3, Box::new(function));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, u64::MAX));
    let rx = driver.queue(&mut m, 0, 64, 0x10_0000);
    let tx = driver.queue(&mut m, 1, 64, 0x12_0000);
    driver.start(&mut m);
    (m, driver, rx, tx)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Kind and body of each block; lengths at both ends must agree.
fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let len = word(bytes, 4) as usize;
        assert_eq!(len % 4, 0);
        assert_eq!(word(bytes, len - 4) as usize, len);
        all.push((word(bytes, 0), bytes[8..len - 4].to_vec()));
        bytes = &bytes[len..];
    }
    all
}

#[test]
fn pcapng_blocks() {
    let out = Memory::default();
    let file = PcapNg::new(Box::new(out.clone())).unwrap();
    let eth0 = file.interface("host.eth0").unwrap();
    let eth1 = file.interface("board.eth0").unwrap();
    let at = SimTime::from_ns((7 << 32) + 9);
    file.frame(eth1, at, Direction::Inbound, &[1, 2, 3, 4, 5]);
    file.flush().unwrap();
    let bytes = out.0.lock().unwrap().clone();
    assert_eq!(bytes[8..16], [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
    let blocks = blocks(&bytes);
    let kinds: Vec<u32> = blocks.iter().map(|b| b.0).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 1, 6]);
    assert_eq!((eth0, eth1), (0, 1));
    assert_eq!(blocks[2].1[8..12], [2, 0, 10, 0]);
    assert_eq!(&blocks[2].1[12..22], b"board.eth0");
    let packet = &blocks[3].1;
    let words: Vec<u32> = (0..5).map(|i| word(packet, 4 * i)).collect();
    assert_eq!(words, [1, 7, 9, 5, 5]);
    assert_eq!(packet[20..28], [1, 2, 3, 4, 5, 0, 0, 0]);
    assert_eq!(packet[28..], [2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}
#[test]
fn a_full_disk_ends_the_capture_only() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let file = PcapNg::new(Box::new(Full(100))).unwrap();
    file.frame(0, SimTime::ZERO, Direction::Outbound, &[0; 100]);
    file.frame(0, SimTime::ZERO, Direction::Outbound, &[0; 100]);
    let error = file.flush().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
#[test]
fn a_capture_holds_both_directions() {
    let out = Memory::default();
    let file = PcapNg::new(Box::new(out.clone())).unwrap();
    let interface = file.interface("eth0").unwrap();
    let capture = Capture::new(Box::new(Loopback::new()), file, interface);
    let (mut m, driver, mut rx, mut tx) = nic(capture);
    for i in 0..4 {
        rx.add(&[Buffer::writable(0x20_0000 + i * 4096, 64)])
            .unwrap();
    }
    driver.kick(&mut m, &mut rx);
    let bytes: Vec<u8> = (0..100).collect();
    m.ram.write_slice(&bytes, GuestAddress(0x30_000c)).unwrap();
    m.now = SimTime::from_us(3);
    tx.add(&[Buffer::readable(0x30_0000, 112)]).unwrap();
    driver.kick(&mut m, &mut tx);
    let blocks = blocks(&out.0.lock().unwrap().clone());
    assert_eq!(blocks.len(), 4);
    for (block, flags) in [(&blocks[2].1, 2), (&blocks[3].1, 1)] {
        let words: Vec<u32> = (0..5).map(|i| word(block, 4 * i)).collect();
        assert_eq!(words, [0, 0, 3000, 100, 100]);
        assert_eq!(block[20..120], bytes);
        assert_eq!(block[124], flags);
    }
}
#[test]
fn tap_names_are_checked() {
    assert!(matches!(Tap::open("", 1), Err(TapError::Name(_))));
    assert!(matches!(
        Tap::open("a-name-of-16-byt", 1),
        Err(TapError::Name(_))
    ));
}
