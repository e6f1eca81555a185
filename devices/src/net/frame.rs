//! The virtio network header and copies between frames and guest memory.

use super::{Buffers, FrameRef};
use serde::{Deserialize, Serialize};

/// `struct virtio_net_hdr` with `num_buffers` (virtio 1.2, section 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `VIRTIO_NET_HDR_F_*`.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`.
    pub gso_type: u8,
    /// Length of the protocol headers, a hint.
    pub hdr_len: u16,
    /// Payload bytes per segment.
    pub gso_size: u16,
    /// Where the checksum starts.
    pub csum_start: u16,
    /// Where it is stored, from `csum_start`.
    pub csum_offset: u16,
    /// Number of merged receive buffers.
    pub num_buffers: u16,
}

impl Header {
    /// Bytes of the header.
    pub const LEN: usize = 12;
    /// The checksum at `csum_offset` is still to be computed.
    pub const NEEDS_CSUM: u8 = 1;
    /// The checksum was verified.
    pub const DATA_VALID: u8 = 2;
    /// Not segmented.
    pub const GSO_NONE: u8 = 0;
    /// TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// UDP fragmentation over IPv4.
    pub const GSO_UDP: u8 = 3;
    /// TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// UDP segmentation.
    pub const GSO_UDP_L4: u8 = 5;
    /// Modifier: TCP with ECN.
    pub const GSO_ECN: u8 = 0x80;

    /// From guest memory's form.
    #[inline]
    pub fn from_bytes(raw: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        Self {
            flags: raw[0],
            gso_type: raw[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
            num_buffers: word(10),
        }
    }
    /// To guest memory's form.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut raw = [0; Self::LEN];
        raw[0] = self.flags;
        raw[1] = self.gso_type;
        let words = [
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
            self.num_buffers,
        ];
        for (to, word) in raw[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        raw
    }
}

/// Offloads in received frames: what `VIRTIO_NET_F_GUEST_*` negotiates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offloads {
    /// Checksums may be partial.
    pub csum: bool,
    /// TCP over IPv4 may be unsegmented.
    pub tso4: bool,
    /// TCP over IPv6 may be unsegmented.
    pub tso6: bool,
    /// Unsegmented TCP may carry ECN.
    pub ecn: bool,
    /// UDP may be unsegmented (USO).
    pub uso: bool,
    /// UDP may be unfragmented (UFO).
    pub ufo: bool,
}

impl Offloads {
    /// Everything.
    pub const ALL: Self = Self {
        csum: true,
        tso4: true,
        tso6: true,
        ecn: true,
        uso: true,
        ufo: true,
    };

    /// Whether a frame with `header` may go to one who accepts `self`.
    #[inline]
    pub fn allows(&self, header: &Header) -> bool {
        let gso = match header.gso_type & !Header::GSO_ECN {
            Header::GSO_NONE => true,
            Header::GSO_TCPV4 => self.tso4,
            Header::GSO_TCPV6 => self.tso6,
            Header::GSO_UDP => self.ufo,
            Header::GSO_UDP_L4 => self.uso,
            _ => false,
        };
        let csum = header.flags & Header::NEEDS_CSUM == 0 || self.csum;
        gso && csum && (header.gso_type & Header::GSO_ECN == 0 || self.ecn)
    }
}

impl std::ops::Not for Offloads {
    type Output = Self;
    fn not(self) -> Self {
        Self {
            csum: !self.csum,
            tso4: !self.tso4,
            tso6: !self.tso6,
            ecn: !self.ecn,
            uso: !self.uso,
            ufo: !self.ufo,
        }
    }
}

impl FrameRef<'_> {
    /// Copies the frame to `out`, which is at least as long. `false` when guest
    /// memory went away under it.
    #[must_use]
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> bool {
        let mut left = self.len as usize;
        let mut at = 0;
        for segment in self.segments {
            let n = left.min(segment.len as usize);
            let Some(to) = out.get_mut(at..at + n) else {
                return false;
            };
            if !self.memory.read(segment.address, to) {
                return false;
            }
            at += n;
            left -= n;
            if left == 0 {
                break;
            }
        }
        left == 0
    }
}

/// Bytes of a frame on the host's side, in up to two pieces (a ring that wraps).
#[derive(Clone, Copy, Debug)]
pub struct ReadBytes<'a>(pub &'a [u8], pub &'a [u8]);

impl ReadBytes<'_> {
    /// Bytes in both pieces.
    pub fn len(&self) -> usize {
        self.0.len() + self.1.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies to guest buffers of the same total length.
    #[inline]
    pub fn copy_to(&self, to: &Buffers<'_>) {
        let mut pieces = [self.0, self.1].into_iter();
        let mut piece = pieces.next().unwrap_or_default();
        for segment in to.segments {
            let mut address = segment.address;
            let mut left = segment.len as usize;
            while left > 0 {
                if piece.is_empty() {
                    match pieces.next() {
                        Some(next) => piece = next,
                        None => return,
                    }
                    continue;
                }
                let n = left.min(piece.len());
                // The sink checked the segments against guest memory.
                let _ = to.memory.write(address, &piece[..n]);
                piece = &piece[n..];
                address += n as u64;
                left -= n;
            }
        }
    }
}
