//! Receive-side scaling and hash reports (virtio 1.2, sections 5.1.6.4.3 and
//! 5.1.6.5.6.4 to 5.1.6.5.6.7).

use super::toeplitz::{KEY, Toeplitz};

/// Entries of the longest indirection table.
pub(super) const MAX_TABLE: u16 = 128;
/// Longest key.
pub(super) const MAX_KEY: u8 = KEY as u8;
/// Bytes at a frame's start that the hash may depend on: an Ethernet header
/// with tags, an IPv6 header with extensions, ports.
pub(super) const HEAD: usize = 192;
/// Extension headers that are looked behind.
const MAX_EXTENSIONS: u32 = 8;

/// `VIRTIO_NET_HASH_TYPE_*`.
mod kind {
    pub const IPV4: u32 = 1 << 0;
    pub const TCP4: u32 = 1 << 1;
    pub const UDP4: u32 = 1 << 2;
    pub const IPV6: u32 = 1 << 3;
    pub const TCP6: u32 = 1 << 4;
    pub const UDP6: u32 = 1 << 5;
    pub const IP_EX: u32 = 1 << 6;
    pub const TCP_EX: u32 = 1 << 7;
    pub const UDP_EX: u32 = 1 << 8;
}
/// All of them.
pub(super) const TYPES: u32 = 0x1ff;

/// A frame's hash, and `VIRTIO_NET_HASH_REPORT_*` of what it was made of.
pub(super) type Hashed = (u32, u16);

/// What the driver asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rss {
    types: u32,
    key: Option<Toeplitz>,
    /// Pair of each hash value's low bits; empty without steering.
    table: Vec<u16>,
    unclassified: u16,
}

impl Rss {
    /// `struct virtio_net_rss_config`, for a device with `pairs` pairs.
    pub fn config(data: &[u8], pairs: u16) -> Option<Self> {
        let mut data = data;
        let types = u32(&mut data)?;
        let mask = u16(&mut data)?;
        let unclassified = u16(&mut data)?;
        let entries = mask.checked_add(1)?;
        if !entries.is_power_of_two() || entries > MAX_TABLE {
            return None;
        }
        let table: Vec<u16> = (0..entries)
            .map(|_| u16(&mut data))
            .collect::<Option<_>>()?;
        let transmit = u16(&mut data)?;
        let (length, key) = data.split_first()?;
        let key = key.get(..usize::from(*length))?;
        let known = |pair: &u16| *pair < pairs;
        let fits = *length <= MAX_KEY && types & !TYPES == 0;
        let places = table.iter().all(known) && known(&unclassified);
        (fits && places && (1..=pairs).contains(&transmit)).then(|| Self {
            types,
            key: Some(Toeplitz::new(key)),
            table,
            unclassified,
        })
    }
    /// `struct virtio_net_hash_config`: what to hash, and nothing of where
    /// frames go.
    pub fn hash_config(data: &[u8]) -> Option<Self> {
        let mut data = data;
        let types = u32(&mut data)?;
        let (length, key) = data.get(8..)?.split_first()?;
        let key = key.get(..usize::from(*length))?;
        (*length <= MAX_KEY && types & !TYPES == 0).then(|| Self {
            types,
            key: Some(Toeplitz::new(key)),
            ..Self::default()
        })
    }
    /// Whether hashes say where frames go.
    pub fn steers(&self) -> bool {
        !self.table.is_empty()
    }
    /// Ends that; hashes go on.
    pub fn stop_steering(&mut self) {
        self.table.clear();
    }
    /// Pairs that frames may go to: one more than the last.
    pub fn pairs(&self) -> u16 {
        let last = self.table.iter().chain([&self.unclassified]).max();
        last.copied().unwrap_or(0) + 1
    }
    /// The pair of a frame with this hash.
    pub fn pair(&self, hashed: Option<Hashed>) -> u16 {
        let Some((value, _)) = hashed else {
            return self.unclassified;
        };
        let slot = value as usize & self.table.len().saturating_sub(1);
        self.table.get(slot).copied().unwrap_or(self.unclassified)
    }
    /// The hash of a frame that starts with `head` (as much of it as there is,
    /// up to [`HEAD`]).
    pub fn hash(&self, head: &[u8]) -> Option<Hashed> {
        let key = self.key.as_ref().filter(|_| self.types != 0)?;
        let mut at = 12;
        while matches!(head.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
            at += 4;
        }
        let packet = head.get(at + 2..)?;
        match head.get(at..at + 2)? {
            [0x08, 0x00] => self.ipv4(key, packet),
            [0x86, 0xdd] => self.ipv6(key, packet),
            _ => None,
        }
    }
    fn ipv4(&self, key: &Toeplitz, packet: &[u8]) -> Option<Hashed> {
        let addresses = packet.get(12..20)?;
        let length = usize::from(packet.first()? & 15) * 4;
        // A part of a packet has no ports, or belongs to one that has none.
        let whole = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff == 0;
        let ports = packet.get(length..length + 4).filter(|_| whole);
        let with_ports = |kind: u32, report: u16| {
            let ports = ports.filter(|_| self.types & kind != 0)?;
            Some((key.hash(&[addresses, ports]), report))
        };
        match packet[9] {
            TCP if self.types & kind::TCP4 != 0 && ports.is_some() => with_ports(kind::TCP4, 2),
            UDP if self.types & kind::UDP4 != 0 && ports.is_some() => with_ports(kind::UDP4, 3),
            _ if self.types & kind::IPV4 != 0 => Some((key.hash(&[addresses]), 1)),
            _ => None,
        }
    }
    fn ipv6(&self, key: &Toeplitz, packet: &[u8]) -> Option<Hashed> {
        let inside = Inside::of(packet)?;
        let plain = (packet.get(8..24)?, packet.get(24..40)?);
        let home = (
            inside.home.unwrap_or(plain.0),
            inside.routed.unwrap_or(plain.1),
        );
        let ports = |protocol: u8| inside.ports.filter(|_| inside.protocol == protocol);
        let has = |kind: u32| self.types & kind != 0;
        let hash = |(from, to): (&[u8], &[u8]), ports: &[u8], report: u16| {
            Some((key.hash(&[from, to, ports]), report))
        };
        if inside.extended {
            match (ports(TCP), ports(UDP)) {
                (Some(ports), _) if has(kind::TCP_EX) => return hash(home, ports, 8),
                (_, Some(ports)) if has(kind::UDP_EX) => return hash(home, ports, 9),
                _ if has(kind::IP_EX) => return hash(home, &[], 7),
                _ => {}
            }
        }
        match (ports(TCP), ports(UDP)) {
            (Some(ports), _) if has(kind::TCP6) => hash(plain, ports, 5),
            (_, Some(ports)) if has(kind::UDP6) => hash(plain, ports, 6),
            _ if has(kind::IPV6) => hash(plain, &[], 4),
            _ => None,
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What an IPv6 packet holds behind its header (RFC 8200; home address:
/// RFC 6275, section 6.3; routing header type 2: section 6.4).
#[derive(Default)]
struct Inside<'a> {
    protocol: u8,
    /// The first 4 bytes, of a whole packet.
    ports: Option<&'a [u8]>,
    extended: bool,
    home: Option<&'a [u8]>,
    routed: Option<&'a [u8]>,
}

impl<'a> Inside<'a> {
    fn of(packet: &'a [u8]) -> Option<Self> {
        let mut this = Self {
            protocol: *packet.get(6)?,
            ..Self::default()
        };
        let mut at = 40;
        for _ in 0..MAX_EXTENSIONS {
            let Some(header) = packet.get(at..at + 8) else {
                break;
            };
            let len = match this.protocol {
                // Hop by hop, routing, destination options, mobility.
                0 | 43 | 60 | 135 => (usize::from(header[1]) + 1) * 8,
                44 => 8,
                51 => (usize::from(header[1]) + 2) * 4,
                _ => break,
            };
            this.extended = true;
            let body = packet.get(at..at + len).unwrap_or_default();
            match this.protocol {
                60 => this.home = this.home.or_else(|| home_address(body)),
                43 if body.get(2) == Some(&2) => this.routed = body.get(8..24),
                // A part of a packet: what follows is no header.
                44 if u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0 => {
                    this.protocol = 59;
                    return Some(this);
                }
                _ => {}
            }
            this.protocol = header[0];
            at += len;
        }
        this.ports = packet.get(at..at + 4);
        Some(this)
    }
}

/// The home address among destination options.
fn home_address(options: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    loop {
        match options.get(at..)? {
            [0, ..] => at += 1,
            [201, 16, ..] => return options.get(at + 2..at + 18),
            [_, len, ..] => at += 2 + usize::from(*len),
            _ => return None,
        }
    }
}

fn u16(data: &mut &[u8]) -> Option<u16> {
    let (bytes, rest) = data.split_first_chunk::<2>()?;
    *data = rest;
    Some(u16::from_le_bytes(*bytes))
}

fn u32(data: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = data.split_first_chunk::<4>()?;
    *data = rest;
    Some(u32::from_le_bytes(*bytes))
}
