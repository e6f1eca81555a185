//! Hashes against the values that Microsoft publishes for verification
//! ("Verifying the RSS hash calculation"), and where frames go by them.

use super::rss::{HEAD, Rss};
use super::tests::{ALL, CTRL_RING, Control, Nic, RX_DATA, RX_RING, TX_DATA, machine};
use super::{NetSpec, feature};
use crate::net::{Card, LinkSpec, Loopback, NetBackend, Switch};
use crate::virtio::driver::{Buffer, Driver, GuestQueue};
use etherparse::PacketBuilder;
use fpga_sim::card::{Side, SimCard, SimCardSpec};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use vm_memory::{Bytes, GuestAddress};

const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Source, destination, hash of the addresses, hash with ports.
const V4: [(&str, u16, &str, u16, u32, u32); 5] = [
    (
        "66.9.149.187",
        2794,
        "161.142.100.80",
        1766,
        0x323e8fc2,
        0x51ccc178,
    ),
    (
        "199.92.111.2",
        14230,
        "65.69.140.83",
        4739,
        0xd718262a,
        0xc626b0ea,
    ),
    (
        "24.19.198.95",
        12898,
        "12.22.207.184",
        38024,
        0xd2d0a5de,
        0x5c2b394a,
    ),
    (
        "38.27.205.30",
        48228,
        "209.142.163.6",
        2217,
        0x82989176,
        0xafc7327f,
    ),
    (
        "153.39.163.191",
        44251,
        "202.188.127.2",
        1303,
        0x5d1809c5,
        0x10e828a2,
    ),
];
const V6: [(&str, u16, &str, u16, u32, u32); 3] = [
    (
        "3ffe:2501:200:1fff::7",
        2794,
        "3ffe:2501:200:3::1",
        1766,
        0x2cc18cd5,
        0x40207d3d,
    ),
    (
        "3ffe:501:8::260:97ff:fe40:efab",
        14230,
        "ff02::1",
        4739,
        0x0f0c461c,
        0xdde51bbf,
    ),
    (
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
        44251,
        "fe80::200:f8ff:fe21:67cf",
        38024,
        0x4b61e985,
        0x02d1feef,
    ),
];

fn v4(a: &str) -> [u8; 4] {
    a.parse::<Ipv4Addr>().unwrap().octets()
}
fn v6(a: &str) -> [u8; 16] {
    a.parse::<Ipv6Addr>().unwrap().octets()
}

fn built(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"payload").unwrap();
    bytes
}
fn built_udp(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"payload").unwrap();
    bytes
}

/// Two of each: TCP and UDP.
fn frames4(i: usize) -> [Vec<u8>; 2] {
    let (from, sport, to, dport, ..) = V4[i];
    let ip = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(v4(from), v4(to), 64);
    [
        built(ip().tcp(sport, dport, 1, 1)),
        built_udp(ip().udp(sport, dport)),
    ]
}
fn frames6(i: usize) -> [Vec<u8>; 2] {
    let (from, sport, to, dport, ..) = V6[i];
    let ip = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(v6(from), v6(to), 64);
    [
        built(ip().tcp(sport, dport, 1, 1)),
        built_udp(ip().udp(sport, dport)),
    ]
}

/// A configuration that hashes `types` and sends everything to pair 0.
fn hashes(types: u32) -> Rss {
    let mut data = types.to_le_bytes().to_vec();
    data.extend([0; 8]);
    data.push(40);
    data.extend(KEY);
    Rss::hash_config(&data).unwrap()
}

#[test]
fn the_published_hashes() {
    for (i, row) in V4.iter().enumerate() {
        let [tcp, udp] = frames4(i);
        assert_eq!(hashes(1).hash(&tcp), Some((row.4, 1)));
        assert_eq!(hashes(1).hash(&udp), Some((row.4, 1)));
        assert_eq!(hashes(0x1ff).hash(&tcp), Some((row.5, 2)));
        assert_eq!(hashes(0x1ff).hash(&udp), Some((row.5, 3)));
        assert_eq!(hashes(1 | 2).hash(&udp), Some((row.4, 1)));
        assert_eq!(hashes(2).hash(&udp), None);
        assert_eq!(hashes(0x38).hash(&tcp), None);
        // A tag in front, and a part of a packet.
        let mut tagged = tcp.clone();
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        assert_eq!(hashes(0x1ff).hash(&tagged), Some((row.5, 2)));
        for part in [[0x20, 0], [0, 9]] {
            let mut fragment = tcp.clone();
            fragment[20..22].copy_from_slice(&part);
            assert_eq!(hashes(0x1ff).hash(&fragment), Some((row.4, 1)));
        }
    }
    for (i, row) in V6.iter().enumerate() {
        let [tcp, udp] = frames6(i);
        assert_eq!(hashes(8).hash(&tcp), Some((row.4, 4)));
        assert_eq!(hashes(0x1ff).hash(&tcp), Some((row.5, 5)));
        assert_eq!(hashes(0x1ff).hash(&udp), Some((row.5, 6)));
        assert_eq!(hashes(8 | 0x10).hash(&udp), Some((row.4, 4)));
        assert_eq!(hashes(7).hash(&tcp), None);
    }
}
#[test]
fn extension_headers_name_other_addresses() {
    let (from, sport, to, dport, addresses, with_ports) = V6[0];
    // The packet's own addresses are others than those that are hashed.
    let mut frame = Vec::new();
    frame.extend([2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0x86, 0xdd]);
    let mut ip = vec![0x60, 0, 0, 0, 0, 0, 60, 64];
    ip.extend(v6("2001:db8::1"));
    ip.extend(v6("2001:db8::2"));
    // Destination options: padding, home address; then routing header type 2.
    let mut options = vec![43, 2, 1, 2, 0, 0, 201, 16];
    options.extend(v6(from));
    let mut routing = vec![6, 2, 2, 1, 0, 0, 0, 0];
    routing.extend(v6(to));
    let mut tcp = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    tcp.extend([0; 16]);
    frame.extend([ip, options, routing, tcp].concat());
    assert_eq!(hashes(0x1ff).hash(&frame), Some((with_ports, 8)));
    assert_eq!(hashes(0x40).hash(&frame), Some((addresses, 7)));
    assert_eq!(hashes(0x40 | 0x100).hash(&frame), Some((addresses, 7)));
    // Without the extended types it is a packet like any other.
    let plain = hashes(0x10).hash(&frame).unwrap();
    assert_eq!(plain.1, 5);
    assert_ne!(plain.0, with_ports);
    let unextended = |port| {
        let ip =
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(v6("2001:db8::1"), v6("2001:db8::2"), 64);
        built(ip.tcp(sport, port, 1, 1))
    };
    assert_eq!(hashes(0x10).hash(&unextended(dport)), Some(plain));
    assert_ne!(hashes(0x10).hash(&unextended(dport + 1)), Some(plain));
}

fn rss_command(types: u32, table: &[u16], unclassified: u16) -> Vec<u8> {
    let mut data = types.to_le_bytes().to_vec();
    data.extend((table.len() as u16 - 1).to_le_bytes());
    data.extend(unclassified.to_le_bytes());
    for pair in table {
        data.extend(pair.to_le_bytes());
    }
    data.extend(4u16.to_le_bytes());
    data.push(40);
    data.extend(KEY);
    data
}

/// A device of 4 pairs, with its receive queues.
fn four(backend: Box<dyn NetBackend>) -> (Nic, Control, Vec<GuestQueue>) {
    let spec = NetSpec {
        queue_pairs: 4,
        ..NetSpec::default()
    };
    let mut m = machine(spec, backend);
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, ALL));
    let both = feature::RSS | feature::HASH_REPORT;
    assert_eq!(driver.features & both, both);
    // Key, table and types, as the configuration tells them.
    let config = m.read::<8>(driver.device + 16);
    assert_eq!(config, [1, 40, 128, 0, 0xff, 1, 0, 0]);
    let queues = (0..8).map(|i| driver.queue(&mut m, i, 64, RX_RING + u64::from(i) * 0x4000));
    let mut queues: Vec<GuestQueue> = queues.collect();
    let control = Control(driver.queue(&mut m, 8, 64, CTRL_RING + 0x10_0000));
    driver.start(&mut m);
    let tx = queues.remove(1);
    let mut rx: Vec<GuestQueue> = queues
        .into_iter()
        .filter(|queue| queue.index.is_multiple_of(2))
        .collect();
    for (i, queue) in rx.iter_mut().enumerate() {
        for slot in 0..32u64 {
            let at = RX_DATA + 0x10_0000 + (i as u64 * 32 + slot) * 4096;
            queue.add(&[Buffer::writable(at, 2048)]).unwrap();
        }
        driver.kick(&mut m, queue);
    }
    let spare = GuestQueue::new(&m.ram, 0, 16, 0x1c_0000, ALL);
    let nic = Nic {
        m,
        driver,
        rx: spare,
        tx,
    };
    (nic, control, rx)
}

/// Sends on pair 0, with the header of 20 bytes.
fn send(nic: &mut Nic, frame: &[u8]) {
    let ram = nic.m.ram.clone();
    ram.write_slice(&[0; 20], GuestAddress(TX_DATA)).unwrap();
    ram.write_slice(frame, GuestAddress(TX_DATA + 20)).unwrap();
    let len = 20 + frame.len() as u32;
    nic.tx.add(&[Buffer::readable(TX_DATA, len)]).unwrap();
    nic.driver.kick(&mut nic.m, &mut nic.tx);
    assert!(nic.tx.pop().is_some());
}

/// The pair that a frame came on, and its hash and report.
fn receive(nic: &Nic, rx: &mut [GuestQueue], frame: &[u8]) -> Option<(usize, u32, u16)> {
    let (pair, (head, used)) = rx
        .iter_mut()
        .enumerate()
        .find_map(|(pair, queue)| Some((pair, queue.pop()?)))?;
    assert_eq!(used as usize, 20 + frame.len());
    let at = nic
        .m
        .ram
        .read_obj::<u64>(GuestAddress(rx[pair].addresses()[0] + 16 * u64::from(head)));
    let mut bytes = vec![0; used as usize];
    let at = GuestAddress(at.unwrap());
    nic.m.ram.read_slice(&mut bytes, at).unwrap();
    assert_eq!(&bytes[20..], frame);
    let value = u32::from_le_bytes(*bytes[12..].first_chunk().unwrap());
    let kind = u16::from_le_bytes(*bytes[16..].first_chunk().unwrap());
    assert!(rx.iter_mut().all(|queue| queue.pop().is_none()));
    Some((pair, value, kind))
}

fn steering(near: Box<dyn NetBackend>, mut far: Option<(Nic, Control, Vec<GuestQueue>)>) {
    let (mut nic, mut control, mut rx) = four(near);
    let table = [3, 2, 1, 0, 2, 2, 1, 1];
    let command = rss_command(0x1ff, &table, 3);
    {
        let (nic, control) = match &mut far {
            Some((nic, control, _)) => (nic, control),
            None => (&mut nic, &mut control),
        };
        assert_eq!(control.send(nic, 4, 1, &command), Some(0));
    }
    let plain: Vec<u8> = (0..64).collect();
    let mut cases = vec![(plain, 3, 0, 0)];
    for (i, row) in V4.iter().enumerate() {
        let [tcp, udp] = frames4(i);
        let pair = table[row.5 as usize & 7] as usize;
        cases.push((tcp, pair, row.5, 2));
        cases.push((udp, pair, row.5, 3));
    }
    for (i, row) in V6.iter().enumerate() {
        let [tcp, _] = frames6(i);
        cases.push((tcp, table[row.5 as usize & 7] as usize, row.5, 5));
    }
    for (frame, pair, value, kind) in cases {
        send(&mut nic, &frame);
        let got = match &mut far {
            Some((nic, _, rx)) => {
                nic.m.root.request(bus::Bdf::new(0, 3, 0));
                nic.m.service();
                receive(nic, rx, &frame)
            }
            None => receive(&nic, &mut rx, &frame),
        };
        assert_eq!(got, Some((pair, value, kind)));
    }
}

#[test]
fn frames_go_where_their_hash_says() {
    steering(Box::new(Loopback::new()), None);
}
#[test]
fn over_a_switch_too() {
    let switch = Switch::new(LinkSpec::default());
    let far = four(Box::new(switch.port().unwrap()));
    steering(Box::new(switch.port().unwrap()), Some(far));
}
#[test]
fn over_a_card_too() {
    // A card shows nothing of a frame before it is in the guest's buffers.
    let ddr = std::sync::Arc::new(bus::create_ram(&[(0, 64 << 20)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    let [near, far] = [Side::Host, Side::Board].map(|side| {
        let port = Box::new(card.port(side));
        Box::new(Card::new(card.clone(), side, port)) as Box<dyn NetBackend>
    });
    let far = four(far);
    steering(near, Some(far));
}
#[test]
fn wrong_configurations_are_refused() {
    let (mut nic, mut control, _) = four(Box::new(Loopback::new()));
    let good = rss_command(0x1ff, &[0, 1], 0);
    assert_eq!(control.send(&mut nic, 4, 1, &good), Some(0));
    for wrong in [
        rss_command(0x3ff, &[0, 1], 0),
        rss_command(0x1ff, &[0, 4], 0),
        rss_command(0x1ff, &[0, 1], 4),
        rss_command(0x1ff, &[0, 1, 2], 0),
        rss_command(0x1ff, &[0; 256], 0),
        good[..good.len() - 1].to_vec(),
        good[..4].to_vec(),
    ] {
        assert_eq!(control.send(&mut nic, 4, 1, &wrong), Some(1), "{wrong:?}");
    }
    let mut long_key = good;
    long_key[14] = 41;
    long_key.push(0);
    assert_eq!(control.send(&mut nic, 4, 1, &long_key), Some(1));
    assert_eq!(control.send(&mut nic, 4, 2, &[0; 12]), Some(1));
}

proptest! {
    /// Whatever a frame holds, hashing it ends.
    #[test]
    fn any_frame_can_be_hashed(
        mut frame in prop::collection::vec(any::<u8>(), 0..HEAD + 20),
        kind in 0usize..3,
        next in prop::sample::select(vec![0u8, 6, 17, 43, 44, 51, 59, 60, 135]),
    ) {
        if let (Some(to), [_, _]) = (frame.get_mut(12..14), [0, 0]) {
            to.copy_from_slice(&[[0x08, 0], [0x86, 0xdd], [0x81, 0]][kind]);
        }
        if let Some(to) = frame.get_mut(20) {
            *to = next;
        }
        let _ = hashes(0x1ff).hash(&frame);
        let _ = Rss::config(&frame, 4);
        let _ = Rss::hash_config(&frame);
    }
}
