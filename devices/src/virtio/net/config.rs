//! Features and device configuration (virtio 1.2, sections 5.1.3 and 5.1.4).

use super::rss;
use crate::virtio::ring::MAX_QUEUE_SIZE;
use serde::{Deserialize, Serialize};

/// Feature bits of the network device.
pub mod feature {
    use crate::net::Offloads;

    /// The device takes frames with partial checksums.
    pub const CSUM: u64 = 1 << 0;
    /// The driver takes frames with partial checksums.
    pub const GUEST_CSUM: u64 = 1 << 1;
    /// Received offloads can be switched at run time.
    pub const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
    /// The device tells its MTU.
    pub const MTU: u64 = 1 << 3;
    /// The device has a MAC address.
    pub const MAC: u64 = 1 << 5;
    /// The driver takes unsegmented TCP over IPv4.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// The driver takes unsegmented TCP over IPv6.
    pub const GUEST_TSO6: u64 = 1 << 8;
    /// The driver takes unsegmented TCP with ECN.
    pub const GUEST_ECN: u64 = 1 << 9;
    /// The driver takes unfragmented UDP.
    pub const GUEST_UFO: u64 = 1 << 10;
    /// The device takes unsegmented TCP over IPv4.
    pub const HOST_TSO4: u64 = 1 << 11;
    /// The device takes unsegmented TCP over IPv6.
    pub const HOST_TSO6: u64 = 1 << 12;
    /// The device takes unsegmented TCP with ECN.
    pub const HOST_ECN: u64 = 1 << 13;
    /// The device takes unfragmented UDP.
    pub const HOST_UFO: u64 = 1 << 14;
    /// Frames may be spread over several receive buffers.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// Link state in the configuration.
    pub const STATUS: u64 = 1 << 16;
    /// There is a control queue.
    pub const CTRL_VQ: u64 = 1 << 17;
    /// Receive modes and address tables.
    pub const CTRL_RX: u64 = 1 << 18;
    /// VLAN filtering.
    pub const CTRL_VLAN: u64 = 1 << 19;
    /// More receive modes.
    pub const CTRL_RX_EXTRA: u64 = 1 << 20;
    /// The device asks the driver to announce itself.
    pub const GUEST_ANNOUNCE: u64 = 1 << 21;
    /// Several queue pairs.
    pub const MQ: u64 = 1 << 22;
    /// The MAC address is set by command.
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    /// Interrupt moderation by queue.
    pub const VQ_NOTF_COAL: u64 = 1 << 52;
    /// Interrupt moderation.
    pub const NOTF_COAL: u64 = 1 << 53;
    /// The driver takes unsegmented UDP over IPv4.
    pub const GUEST_USO4: u64 = 1 << 54;
    /// The driver takes unsegmented UDP over IPv6.
    pub const GUEST_USO6: u64 = 1 << 55;
    /// The device takes unsegmented UDP.
    pub const HOST_USO: u64 = 1 << 56;
    /// A hash in the header of received frames.
    pub const HASH_REPORT: u64 = 1 << 57;
    /// Receive queues are chosen by hash.
    pub const RSS: u64 = 1 << 60;
    /// Link speed and duplex mode in the configuration.
    pub const SPEED_DUPLEX: u64 = 1 << 63;

    /// Pairs of (feature, one of these it needs), virtio 1.2 section 5.1.3.1.
    const NEEDS: &[(u64, u64)] = &[
        (GUEST_TSO4, GUEST_CSUM),
        (GUEST_TSO6, GUEST_CSUM),
        (GUEST_ECN, GUEST_TSO4 | GUEST_TSO6),
        (GUEST_UFO, GUEST_CSUM),
        (GUEST_USO4, GUEST_CSUM),
        (GUEST_USO6, GUEST_CSUM),
        (HOST_TSO4, CSUM),
        (HOST_TSO6, CSUM),
        (HOST_ECN, HOST_TSO4 | HOST_TSO6),
        (HOST_UFO, CSUM),
        (HOST_USO, CSUM),
        (CTRL_RX, CTRL_VQ),
        (CTRL_VLAN, CTRL_VQ),
        (CTRL_RX_EXTRA, CTRL_VQ),
        (GUEST_ANNOUNCE, CTRL_VQ),
        (MQ, CTRL_VQ),
        (CTRL_MAC_ADDR, CTRL_VQ),
        (CTRL_GUEST_OFFLOADS, CTRL_VQ),
        (NOTF_COAL, CTRL_VQ),
        (VQ_NOTF_COAL, CTRL_VQ),
        (RSS, CTRL_VQ),
        (HASH_REPORT, CTRL_VQ),
    ];

    /// Whether every accepted feature has what it needs.
    pub fn consistent(accepted: u64) -> bool {
        NEEDS
            .iter()
            .all(|(bit, needs)| accepted & bit == 0 || accepted & needs != 0)
    }
    /// `bits` without those that lack what they need.
    pub(crate) fn closed(mut bits: u64) -> u64 {
        while !consistent(bits) {
            for (bit, needs) in NEEDS {
                if bits & needs == 0 {
                    bits &= !bit;
                }
            }
        }
        bits
    }
    /// Features that whoever works on the rings must bear; the others are the
    /// device's own.
    pub(crate) const FRAMES: u64 = CSUM
        | HOST_TSO4
        | HOST_TSO6
        | HOST_ECN
        | HOST_UFO
        | HOST_USO
        | MRG_RXBUF
        | CTRL_GUEST_OFFLOADS
        | GUEST_OFFLOADS;
    /// Features of frames that pass through the device's own hands.
    pub(crate) const INSIDE: u64 =
        CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | NOTF_COAL | VQ_NOTF_COAL | RSS | HASH_REPORT;
    /// Features of devices that have several queue pairs.
    pub(crate) const MANY: u64 = MQ | RSS | HASH_REPORT;

    /// What the driver accepts in frames it receives.
    pub(crate) fn guest_offloads(accepted: u64) -> Offloads {
        let has = |bits: u64| accepted & bits == bits;
        Offloads {
            csum: has(GUEST_CSUM),
            tso4: has(GUEST_TSO4),
            tso6: has(GUEST_TSO6),
            ecn: has(GUEST_ECN),
            ufo: has(GUEST_UFO),
            uso: has(GUEST_USO4 | GUEST_USO6),
        }
    }
    /// The features behind offloads of the sending side.
    pub(crate) fn host_bits(offloads: Offloads) -> u64 {
        [
            (offloads.csum, CSUM),
            (offloads.tso4, HOST_TSO4),
            (offloads.tso6, HOST_TSO6),
            (offloads.ecn, HOST_ECN),
            (offloads.ufo, HOST_UFO),
            (offloads.uso, HOST_USO),
        ]
        .into_iter()
        .fold(0, |bits, (on, bit)| if on { bits | bit } else { bits })
    }
    /// The features behind offloads of the receiving side.
    pub(crate) fn guest_bits(offloads: Offloads) -> u64 {
        [
            (offloads.csum, GUEST_CSUM),
            (offloads.tso4, GUEST_TSO4),
            (offloads.tso6, GUEST_TSO6),
            (offloads.ecn, GUEST_ECN),
            (offloads.ufo, GUEST_UFO),
            (offloads.uso, GUEST_USO4 | GUEST_USO6),
        ]
        .into_iter()
        .fold(0, |bits, (on, bit)| if on { bits | bit } else { bits })
    }
    /// What the driver may send.
    pub(crate) fn host_offloads(accepted: u64) -> Offloads {
        let has = |bits: u64| accepted & bits == bits;
        Offloads {
            csum: has(CSUM),
            tso4: has(HOST_TSO4),
            tso6: has(HOST_TSO6),
            ecn: has(HOST_ECN),
            ufo: has(HOST_UFO),
            uso: has(HOST_USO),
        }
    }

    /// The receive offloads that `CTRL_GUEST_OFFLOADS` can switch.
    pub const GUEST_OFFLOADS: u64 =
        GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | GUEST_UFO | GUEST_USO4 | GUEST_USO6;

    /// What the device offers when nothing is masked.
    pub const OFFERED: u64 = CSUM
        | GUEST_CSUM
        | MTU
        | MAC
        | GUEST_TSO4
        | GUEST_TSO6
        | GUEST_ECN
        | HOST_TSO4
        | HOST_TSO6
        | HOST_ECN
        | MRG_RXBUF
        | STATUS
        | CTRL_GUEST_OFFLOADS
        | CTRL_VQ
        | CTRL_RX
        | CTRL_VLAN
        | CTRL_RX_EXTRA
        | GUEST_ANNOUNCE
        | MQ
        | CTRL_MAC_ADDR
        | NOTF_COAL
        | VQ_NOTF_COAL
        | GUEST_USO4
        | GUEST_USO6
        | HOST_USO
        | HASH_REPORT
        | RSS
        | SPEED_DUPLEX;
}

/// What a network device is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSpec {
    /// MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes (68 to 65535).
    pub mtu: u16,
    /// Queue pairs (1 to 64).
    pub queue_pairs: u16,
    /// Descriptors per queue: a power of two from 16 to 1024.
    pub queue_size: u16,
    /// Link speed in Mb/s, for show.
    pub speed: u32,
    /// Features that are offered, as a mask over what the device can do.
    pub features: u64,
    /// The link is up at the start.
    pub link_up: bool,
}

impl Default for NetSpec {
    fn default() -> Self {
        Self {
            mac: [0x52, 0x54, 0, 0, 0, 1],
            mtu: 1500,
            queue_pairs: 1,
            queue_size: 256,
            speed: 10_000,
            features: u64::MAX,
            link_up: true,
        }
    }
}

impl NetSpec {
    /// With every value in its range.
    pub(super) fn clamped(mut self) -> Self {
        self.mtu = self.mtu.max(68);
        self.queue_pairs = self.queue_pairs.clamp(1, 64);
        let size = self.queue_size.clamp(16, MAX_QUEUE_SIZE);
        self.queue_size = 1 << size.ilog2();
        self
    }
    pub(super) fn offered(&self) -> u64 {
        let single = if self.queue_pairs > 1 {
            0
        } else {
            feature::MANY
        };
        feature::closed(feature::OFFERED & self.features & !single)
    }
    /// `struct virtio_net_config`.
    pub(super) fn config_image(&self, mac: [u8; 6], status: u16) -> [u8; 24] {
        let mut raw = [0; 24];
        raw[..6].copy_from_slice(&mac);
        raw[6..8].copy_from_slice(&status.to_le_bytes());
        raw[8..10].copy_from_slice(&self.queue_pairs.to_le_bytes());
        raw[10..12].copy_from_slice(&self.mtu.to_le_bytes());
        raw[12..16].copy_from_slice(&self.speed.to_le_bytes());
        raw[16] = 1;
        raw[17] = rss::MAX_KEY;
        raw[18..20].copy_from_slice(&rss::MAX_TABLE.to_le_bytes());
        raw[20..24].copy_from_slice(&rss::TYPES.to_le_bytes());
        raw
    }
}
