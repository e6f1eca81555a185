//! Segments read back by parsers that are not ours.

use super::NetSpec;
use super::feature;
use super::segment::Segmenter;
use super::tests::{ALL, Nic, nic_with, pair};
use crate::net::{Card, Header, LinkSpec, NetBackend, Switch};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use fpga_sim::card::{Side, SimCard, SimCardSpec};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetFrame, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// An unsegmented frame as a driver sends it, and its header.
fn big(v6: bool, udp: bool, tagged: bool, len: usize, size: u16) -> (Header, Vec<u8>) {
    let mut frame = Vec::new();
    let eth = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let body = payload(len);
    macro_rules! rest {
        ($ip:expr) => {
            if udp {
                $ip.udp(1000, 2000).write(&mut frame, &body).unwrap()
            } else {
                $ip.tcp(1000, 2000, u32::MAX - 3000, 512)
                    .ack(77)
                    .psh()
                    .fin()
                    .write(&mut frame, &body)
                    .unwrap()
            }
        };
    }
    if v6 {
        rest!(eth.ipv6([0x20; 16], [0x21; 16], 60));
    } else {
        rest!(eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 60));
    }
    if tagged {
        frame.splice(12..12, [0x81, 0, 0, 9]);
    }
    let ip = if tagged { 18 } else { 14 };
    let start = ip + if v6 { 40 } else { 20 };
    if !udp {
        // Congestion window reduced.
        frame[start + 13] |= 0x80;
    }
    let header = Header {
        flags: Header::NEEDS_CSUM,
        gso_type: match (udp, v6) {
            (true, _) => Header::GSO_UDP_L4,
            (false, true) => Header::GSO_TCPV6,
            (false, false) => Header::GSO_TCPV4,
        },
        gso_size: size,
        csum_start: start as u16,
        csum_offset: if udp { 6 } else { 16 },
        ..Header::default()
    };
    (header, frame)
}

fn segments(header: &Header, frame: Vec<u8>) -> Vec<Vec<u8>> {
    let mut segmenter = Segmenter::new(header, frame).unwrap();
    let mut all = Vec::new();
    while let Some(segment) = segmenter.segment() {
        all.push(segment);
        segmenter.advance();
    }
    all
}

/// smoltcp takes the checksums for right, or this panics.
fn checksums(frame: &[u8]) {
    let mut frame = frame.to_vec();
    if frame[12..14] == [0x81, 0] {
        frame.drain(12..16);
    }
    let eth = EthernetFrame::new_checked(&frame[..]).unwrap();
    let _ = ChecksumCapabilities::default();
    let (from, to, protocol, body): (IpAddress, IpAddress, _, Vec<u8>) =
        if eth.ethertype() == smoltcp::wire::EthernetProtocol::Ipv4 {
            let ip = Ipv4Packet::new_checked(eth.payload()).unwrap();
            assert!(ip.verify_checksum(), "IPv4 header checksum");
            assert_eq!(usize::from(ip.total_len()), eth.payload().len());
            (
                ip.src_addr().into(),
                ip.dst_addr().into(),
                ip.next_header(),
                ip.payload().to_vec(),
            )
        } else {
            let ip = Ipv6Packet::new_checked(eth.payload()).unwrap();
            assert_eq!(ip.total_len(), eth.payload().len());
            (
                ip.src_addr().into(),
                ip.dst_addr().into(),
                ip.next_header(),
                ip.payload().to_vec(),
            )
        };
    if protocol == smoltcp::wire::IpProtocol::Tcp {
        let tcp = TcpPacket::new_checked(&body[..]).unwrap();
        assert!(tcp.verify_checksum(&from, &to), "TCP checksum");
    } else {
        let udp = UdpPacket::new_checked(&body[..]).unwrap();
        assert!(udp.verify_checksum(&from, &to), "UDP checksum");
        assert_eq!(usize::from(udp.len()), body.len());
        assert_ne!(udp.checksum(), 0);
    }
}

/// The segments make up the payload again, each with the right numbers.
fn reassemble(all: &[Vec<u8>], v6: bool, udp: bool, len: usize, size: usize) {
    let mut whole = Vec::new();
    assert_eq!(all.len(), len.div_ceil(size));
    for (i, bytes) in all.iter().enumerate() {
        checksums(bytes);
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        match packet.net.unwrap() {
            NetSlice::Ipv4(ip) if !v6 => {
                assert_eq!(usize::from(ip.header().identification()), i);
            }
            NetSlice::Ipv6(_) if v6 => {}
            other => panic!("{other:?}"),
        }
        let last = i + 1 == all.len();
        match packet.transport.unwrap() {
            TransportSlice::Tcp(tcp) if !udp => {
                let sequence = (u32::MAX - 3000).wrapping_add(whole.len() as u32);
                assert_eq!(tcp.sequence_number(), sequence);
                assert_eq!((tcp.psh(), tcp.fin()), (last, last));
                assert_eq!(tcp.cwr(), i == 0);
                assert_eq!(tcp.acknowledgment_number(), 77);
                whole.extend_from_slice(tcp.payload());
            }
            TransportSlice::Udp(udp_slice) if udp => {
                whole.extend_from_slice(udp_slice.payload());
            }
            other => panic!("{other:?}"),
        }
        assert!(last || whole.len() == (i + 1) * size);
    }
    assert_eq!(whole, payload(len));
}

#[test]
fn segments_make_the_whole_again() {
    for v6 in [false, true] {
        for udp in [false, true] {
            for tagged in [false, true] {
                for (len, size) in [
                    (1, 1),
                    (1448, 1448),
                    (1449, 1448),
                    (20_000, 1400),
                    (65_000, 1448),
                    (999, 10),
                ] {
                    let (header, frame) = big(v6, udp, tagged, len, size);
                    reassemble(&segments(&header, frame), v6, udp, len, size.into());
                }
            }
        }
    }
}

const NO_OFFLOADS: u64 = feature::GUEST_CSUM
    | feature::GUEST_TSO4
    | feature::GUEST_TSO6
    | feature::GUEST_ECN
    | feature::GUEST_USO4
    | feature::GUEST_USO6;

/// What the driver gets, with few buffers at a time.
fn collect(nic: &mut Nic, expect: usize, wake: &mut dyn FnMut(&mut Nic)) -> Vec<(Header, Vec<u8>)> {
    let mut all = Vec::new();
    for _ in 0..200 {
        wake(nic);
        while let Some(frame) = nic.receive() {
            all.push(frame);
        }
        if all.len() >= expect {
            break;
        }
        nic.fill_rx(3, 2048);
    }
    all
}

fn between(backends: [Box<dyn NetBackend>; 2], merge: bool) {
    let [near, far] = backends;
    let mut near = nic_with(NetSpec::default(), near, ALL);
    let mask = if merge { 0 } else { feature::MRG_RXBUF };
    let mut far = nic_with(NetSpec::default(), far, ALL & !NO_OFFLOADS & !mask);
    let mut wake = |nic: &mut Nic| {
        nic.m.root.request(bus::Bdf::new(0, 3, 0));
        nic.m.service();
    };
    far.fill_rx(if merge { 35 } else { 100 }, 2048);
    for (v6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let (header, frame) = big(v6, udp, false, 60_000, 1448);
        near.send(&header, &frame);
        let want = 60_000usize.div_ceil(1448);
        let got = collect(&mut far, want, &mut wake);
        assert!(got.iter().all(|(header, _)| {
            (header.flags, header.gso_type, header.num_buffers) == (0, 0, 1)
        }));
        let frames: Vec<_> = got.into_iter().map(|(_, frame)| frame).collect();
        reassemble(&frames, v6, udp, 60_000, 1448);
        wake(&mut near);
        assert!(near.tx.pop().is_some());
        far.fill_rx(if merge { 35 } else { 100 }, 2048);
    }
    assert_eq!(far.counter("rx0.segmented"), 4);
    assert_eq!(far.counter("rx0.unwanted_offload"), 0);
    // One that is not what it says goes nowhere, and holds nothing up.
    let (mut header, frame) = big(false, false, false, 3000, 1000);
    header.csum_start += 1;
    near.send(&header, &frame);
    let (good, frame) = big(false, false, false, 500, 1000);
    near.send(&good, &frame);
    let got = collect(&mut far, 1, &mut wake);
    assert_eq!(got.len(), 1);
    assert_eq!(far.counter("rx0.unwanted_offload"), 1);
}

#[test]
fn a_switch_to_a_guest_without_offloads() {
    for merge in [true, false] {
        let switch = Switch::new(LinkSpec::default());
        let port = || Box::new(switch.port().unwrap()) as Box<dyn NetBackend>;
        between([port(), port()], merge);
    }
}
#[test]
fn a_card_to_a_guest_without_offloads() {
    let ddr = std::sync::Arc::new(bus::create_ram(&[(0, 64 << 20)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    between(
        [Side::Host, Side::Board].map(|side| {
            let port = Box::new(card.port(side));
            Box::new(Card::new(card.clone(), side, port)) as Box<dyn NetBackend>
        }),
        true,
    );
}
#[test]
fn guests_with_offloads_get_it_whole() {
    let switch = Switch::new(LinkSpec::default());
    let port = || Box::new(switch.port().unwrap()) as Box<dyn NetBackend>;
    let [mut near, mut far] = pair([port(), port()]);
    // TSO4 and TSO6, with and without ECN, and USO4 and USO6.
    for (v6, udp, ecn, kind) in [
        (false, false, false, 1),
        (true, false, false, 4),
        (false, false, true, 0x81),
        (true, false, true, 0x84),
        (false, true, false, 5),
        (true, true, false, 5),
    ] {
        far.fill_rx(64, 2048);
        let (mut header, frame) = big(v6, udp, false, 60_000, 1448);
        header.gso_type |= if ecn { Header::GSO_ECN } else { 0 };
        near.send(&header, &frame);
        assert!(near.tx.pop().is_some());
        far.m.root.request(bus::Bdf::new(0, 3, 0));
        far.m.service();
        let (got, bytes) = far.receive().unwrap();
        assert_eq!((got.gso_type, got.gso_size), (kind, 1448));
        assert_eq!(bytes, frame);
    }
    assert_eq!(far.counter("rx0.segmented"), 0);
}

proptest! {
    /// Whatever a neighbour sends as unsegmented, cutting it ends.
    #[test]
    fn any_frame_can_be_cut(
        v6: bool, udp: bool, tagged: bool,
        len in 0usize..3000,
        size: u16,
        start in 0u16..120,
        kind: u8,
        changes in prop::collection::vec((0usize..80, any::<u8>()), 0..6),
        exact: bool,
    ) {
        let (mut header, mut frame) = big(v6, udp, tagged, len, size);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if !exact {
            header.csum_start = start;
            header.gso_type = kind;
        }
        let length = frame.len();
        if let Some(mut segmenter) = Segmenter::new(&header, frame) {
            let mut count = 0;
            while let Some(segment) = segmenter.segment() {
                prop_assert!(segment.len() <= length);
                segmenter.advance();
                count += 1;
                prop_assert!(count <= length);
            }
        }
    }
}
