//! Cuts an unsegmented frame into the ones that a driver without that offload
//! takes (virtio 1.2, section 5.1.6.4: the device must not give it others).

use super::checksum::{fold, sum};
use crate::net::Header;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// TCP flags (RFC 9293 section 3.1, RFC 3168 section 6.1.2).
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// The segments of one frame, made one at a time: how many there are is the
/// sender's choice.
#[derive(Debug)]
pub(super) struct Segmenter {
    frame: Vec<u8>,
    /// Offset of the IP header.
    network: usize,
    /// Offset of the TCP or UDP header.
    transport: usize,
    /// Offset of the payload.
    payload: usize,
    size: usize,
    protocol: u8,
    version: u8,
    /// Payload bytes done, and segments.
    done: usize,
    count: u16,
}

impl Segmenter {
    /// Of a `frame` with this header; `None` when it is not what the header
    /// says.
    pub fn new(header: &Header, frame: Vec<u8>) -> Option<Self> {
        let (protocol, versions): (u8, &[u8]) = match header.gso_type & !Header::GSO_ECN {
            Header::GSO_TCPV4 => (TCP, &[4]),
            Header::GSO_TCPV6 => (TCP, &[6]),
            Header::GSO_UDP_L4 => (UDP, &[4, 6]),
            _ => return None,
        };
        let mut network = 14;
        while matches!(
            frame.get(network - 2..network)?,
            [0x81, 0x00] | [0x88, 0xa8]
        ) {
            network += 4;
        }
        let version = match frame.get(network - 2..network)? {
            [0x08, 0x00] => 4,
            [0x86, 0xdd] => 6,
            _ => return None,
        };
        let transport = usize::from(header.csum_start);
        let least = if version == 4 { 20 } else { 40 };
        // An IPv4 header's length; extensions of IPv6 go into each segment.
        let starts = match version {
            4 => network + usize::from(*frame.get(network)? & 15) * 4,
            _ => transport,
        };
        if !versions.contains(&version) || transport < network + least || transport != starts {
            return None;
        }
        if version == 4 && *frame.get(network + 9)? != protocol {
            return None;
        }
        let payload = match protocol {
            TCP => transport + usize::from(*frame.get(transport + 12)? >> 4) * 4,
            _ => transport + 8,
        };
        let shortest = transport + if protocol == TCP { 20 } else { 8 };
        let size = usize::from(header.gso_size);
        let fits = payload >= shortest && payload < frame.len() && size != 0;
        // Lengths of 16 bits in each segment.
        (fits && payload - network + size <= 0xffff).then_some(Self {
            frame,
            network,
            transport,
            payload,
            size,
            protocol,
            version,
            done: 0,
            count: 0,
        })
    }
    /// The next segment, with all its checksums; `None` after the last.
    pub fn segment(&self) -> Option<Vec<u8>> {
        let body = self.frame.get(self.payload + self.done..)?;
        if body.is_empty() {
            return None;
        }
        let part = body.get(..self.size.min(body.len()))?;
        let last = part.len() == body.len();
        let mut out = Vec::with_capacity(self.payload + part.len());
        out.extend_from_slice(self.frame.get(..self.payload)?);
        out.extend_from_slice(part);
        self.network_header(&mut out)?;
        self.transport_header(&mut out, last)?;
        Some(out)
    }
    /// The segment was taken.
    pub fn advance(&mut self) {
        self.done += self.size;
        self.count = self.count.wrapping_add(1);
    }
    fn network_header(&self, out: &mut [u8]) -> Option<()> {
        let len = out.len() - self.network;
        if self.version == 6 {
            put(out, self.network + 4, (len - 40) as u16)?;
            return Some(());
        }
        put(out, self.network + 2, len as u16)?;
        // Each is a packet of its own, with an identification of its own.
        let id = out.get(self.network + 4..self.network + 6)?;
        let id = u16::from_be_bytes([id[0], id[1]]).wrapping_add(self.count);
        put(out, self.network + 4, id)?;
        put(out, self.network + 10, 0)?;
        let sum = !fold(sum(out.get(self.network..self.transport)?));
        put(out, self.network + 10, sum)
    }
    fn transport_header(&self, out: &mut [u8], last: bool) -> Option<()> {
        let at = self.transport;
        let len = out.len() - at;
        let field = if self.protocol == TCP {
            let sequence = out.get(at + 4..at + 8)?.first_chunk::<4>()?;
            let sequence = u32::from_be_bytes(*sequence).wrapping_add(self.done as u32);
            out.get_mut(at + 4..at + 8)?
                .copy_from_slice(&sequence.to_be_bytes());
            let flags = out.get_mut(at + 13)?;
            if !last {
                *flags &= !(FIN | PSH);
            }
            if self.done > 0 {
                *flags &= !CWR;
            }
            at + 16
        } else {
            put(out, at + 4, len as u16)?;
            at + 6
        };
        put(out, field, 0)?;
        // The pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
        let addresses = match self.version {
            4 => self.network + 12..self.network + 20,
            _ => self.network + 8..self.network + 40,
        };
        let pseudo = sum(out.get(addresses)?) + len as u64 + u64::from(self.protocol);
        let sum = !fold(pseudo + sum(out.get(at..)?));
        // Zero means "none" in UDP; in others both zeros are the same.
        put(out, field, if sum == 0 { 0xffff } else { sum })
    }
}

fn put(out: &mut [u8], at: usize, value: u16) -> Option<()> {
    out.get_mut(at..at + 2)?
        .copy_from_slice(&value.to_be_bytes());
    Some(())
}
