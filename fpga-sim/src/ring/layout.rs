//! The bytes of a ring. All fields are little endian.
//!
//! ```text
//! 0x000  magic u32, version u32            written by the producer
//! 0x008  capacity u32 (8-byte units), slots u32
//! 0x010  link:    ack u32,     epoch u32
//! 0x018  head:    position u32, epoch u32
//! 0x040  tail:    position u32, epoch u32   written by the consumer
//! 0x048  credits: frames u32,   epoch u32
//! 0x050  request: nonce u32,    0
//! 0x080  records, `capacity` units, wrapping at any unit
//! ```
//! Positions count 8-byte units from the start of the epoch and wrap at 2^32.
//! `credits` is the number of frames of this epoch that the producer may have
//! sent in all: the frames consumed plus the slots.
//!
//! A record is `len u32, seq u32, meta [u8; 12], check u32`, the frame, and
//! padding to 8 bytes. `check` mixes length, sequence number and epoch, so that
//! a stale or torn record is found out.

use serde::{Deserialize, Serialize};

/// `"VRNG"`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"VRNG");
/// Version of this layout.
pub const VERSION: u32 = 1;
/// Bytes of opaque metadata with each frame: a virtio-net header.
pub const META_LEN: usize = 12;
/// Shortest frame: an Ethernet header.
pub const MIN_FRAME: u32 = 14;
/// Longest frame: an Ethernet header and 64 KiB.
pub const MAX_FRAME: u32 = 65_550;

/// Offset of the producer's line: magic, geometry, link, head.
pub const PRODUCER_LINE: u64 = 0x00;
/// Offset of the magic and version word.
pub const MAGIC_WORD: u64 = 0x00;
/// Offset of the capacity and slots word.
pub const GEOMETRY_WORD: u64 = 0x08;
/// Offset of the link word.
pub const LINK_WORD: u64 = 0x10;
/// Offset of the head word.
pub const HEAD_WORD: u64 = 0x18;
/// Offset of the consumer's line: tail, credits, request.
pub const CONSUMER_LINE: u64 = 0x40;
/// Offset of the tail word.
pub const TAIL_WORD: u64 = 0x40;
/// Offset of the credits word.
pub const CREDITS_WORD: u64 = 0x48;
/// Offset of the request word.
pub const REQUEST_WORD: u64 = 0x50;
/// Offset of the first record.
pub const RECORDS: u64 = 0x80;
/// Bytes of a record before the frame.
pub const RECORD_HEADER: usize = 24;

/// Size of a position unit in bytes.
pub const UNIT: u64 = 8;

/// A value with the epoch it belongs to, as one atomic word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// Position, frame count or nonce.
    pub value: u32,
    /// Epoch.
    pub epoch: u32,
}

impl Tagged {
    /// From its word.
    pub const fn from_word(word: u64) -> Self {
        Self {
            value: word as u32,
            epoch: (word >> 32) as u32,
        }
    }
    /// As one word.
    pub const fn word(self) -> u64 {
        self.value as u64 | (self.epoch as u64) << 32
    }
}

/// A ring that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// No slots, or more than a credit word can count.
    #[error("a FIFO needs 1 to 1048576 slots, not {0}")]
    Slots(u32),
    /// More bytes than a position can count.
    #[error("a FIFO of {0} bytes is too large; at most 1 GiB")]
    Bytes(u64),
    /// The base is not on a 64-byte line.
    #[error("ring base {0:#x} is not a multiple of 64")]
    Base(u64),
}

/// Where a ring lies and how much it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    base: u64,
    capacity: u32,
    limit: u32,
    slots: u32,
}

impl Geometry {
    /// A ring at card address `base` that holds at most `slots` frames and
    /// `bytes` bytes of records. The record area is `bytes` rounded up to a
    /// power of two (at least 64).
    pub fn new(base: u64, slots: u32, bytes: u64) -> Result<Self, GeometryError> {
        if slots == 0 || slots > 1 << 20 {
            return Err(GeometryError::Slots(slots));
        }
        if bytes > 1 << 30 {
            return Err(GeometryError::Bytes(bytes));
        }
        if !base.is_multiple_of(64) || base > u64::MAX >> 1 {
            return Err(GeometryError::Base(base));
        }
        let units = (bytes / UNIT) as u32;
        Ok(Self {
            base,
            capacity: units.next_power_of_two().max(8),
            limit: units.max(4),
            slots,
        })
    }
    /// The two rings of a card: host to board at `base`, board to host on the
    /// next 4 KiB boundary behind it.
    pub fn pair(base: u64, slots: u32, bytes: u64) -> Result<[Self; 2], GeometryError> {
        let first = Self::new(base, slots, bytes)?;
        let second = (base + first.size()).next_multiple_of(4096);
        Ok([first, Self::new(second, slots, bytes)?])
    }
    /// Card address of the header.
    pub fn base(&self) -> u64 {
        self.base
    }
    /// Bytes of header and record area.
    pub fn size(&self) -> u64 {
        RECORDS + u64::from(self.capacity) * UNIT
    }
    /// Most frames in the ring.
    pub fn slots(&self) -> u32 {
        self.slots
    }
    /// Units of the record area, a power of two.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }
    /// Most units of records in the ring; at most `capacity`.
    pub fn limit(&self) -> u32 {
        self.limit
    }
    /// The geometry word of the header.
    pub fn word(&self) -> u64 {
        u64::from(self.capacity) | u64::from(self.slots) << 32
    }
    /// The magic and version word of the header.
    pub const fn magic_word() -> u64 {
        MAGIC as u64 | (VERSION as u64) << 32
    }
    /// Card address of the header word at `offset`.
    pub fn at(&self, offset: u64) -> u64 {
        self.base + offset
    }
    /// Where `len` bytes lie that start `skip` bytes behind position `unit`.
    /// `len` is at most the record area.
    pub fn spans(&self, unit: u32, skip: u32, len: u32) -> Spans {
        let area = u64::from(self.capacity) * UNIT;
        let start = (u64::from(unit & (self.capacity - 1)) * UNIT + u64::from(skip)) & (area - 1);
        let first = u64::from(len).min(area - start) as u32;
        let records = self.base + RECORDS;
        Spans([(records + start, first), (records, len - first)])
    }
}

/// One or two pieces of the record area: `(card address, bytes)`. The second is
/// empty unless the bytes wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans(pub [(u64, u32); 2]);

impl Spans {
    /// Bytes in all.
    #[allow(clippy::len_without_is_empty, reason = "never asked whether empty")]
    pub fn len(&self) -> u32 {
        self.0[0].1 + self.0[1].1
    }
}

/// Units that a record with a frame of `len` bytes takes.
pub const fn record_units(len: u32) -> u32 {
    (RECORD_HEADER as u32 + len).div_ceil(UNIT as u32)
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the frame.
    pub len: u32,
    /// Number of the frame in its epoch.
    pub seq: u32,
    /// Opaque metadata.
    pub meta: [u8; META_LEN],
}

fn check_word(len: u32, seq: u32, epoch: u32) -> u32 {
    let mixed = len.wrapping_mul(0x9e37_79b1) ^ seq.rotate_left(16) ^ epoch;
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b)
}

impl RecordHeader {
    /// As bytes, in `epoch`.
    pub fn to_bytes(self, epoch: u32) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..20].copy_from_slice(&self.meta);
        bytes[20..24].copy_from_slice(&check_word(self.len, self.seq, epoch).to_le_bytes());
        bytes
    }
    /// From bytes, when they are frame number `seq` of `epoch` and the length
    /// is one that a frame can have.
    pub fn parse(bytes: &[u8; RECORD_HEADER], seq: u32, epoch: u32) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut meta = [0; META_LEN];
        meta.copy_from_slice(&bytes[8..20]);
        let header = Self {
            len: word(0),
            seq: word(4),
            meta,
        };
        (header.seq == seq
            && (MIN_FRAME..=MAX_FRAME).contains(&header.len)
            && word(20) == check_word(header.len, seq, epoch))
        .then_some(header)
    }
}
