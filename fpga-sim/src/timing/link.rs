//! Bandwidth of a PCIe link for transfers of a size.
//!
//! Sizes are in bytes, bandwidths in Gb/s (10^9 bits per second).

use crate::card::LinkSpec;

/// Framing, header and LCRC of a memory write or read request with a 64-bit
/// address: 8 + 16 bytes.
pub const REQUEST_OVERHEAD: u64 = 24;
/// Framing, header and LCRC of a completion with data: 8 + 12 bytes.
pub const COMPLETION_OVERHEAD: u64 = 20;
/// An ACK or flow-control DLLP with framing and CRC.
const DLLP: f64 = 8.0;
/// Share of SKIP ordered sets.
const SKIP: f64 = 4.0 / 1538.0;

/// A link that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Generation.
    #[error("PCIe generation {0} is not 1 to 5")]
    Generation(u8),
    /// Lanes.
    #[error("a link has 1, 2, 4, 8 or 16 lanes, not {0}")]
    Lanes(u8),
    /// Max_Payload_Size.
    #[error("max_payload is 128, 256 or 512 bytes, not {0}")]
    Payload(u16),
    /// Max_Read_Request_Size.
    #[error("max_read_request is 128, 256, 512, 1024, 2048 or 4096 bytes, not {0}")]
    ReadRequest(u16),
}

/// A trained PCIe link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcieLink {
    raw: f64,
    tlp: f64,
    max_payload: u64,
    max_read_request: u64,
}

/// Bytes on the wire in each direction, with all TLP overheads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Card to host.
    pub up: u64,
    /// Host to card.
    pub down: u64,
}

/// Bytes between two ACKs (and between two flow-control updates) that the PCIe
/// base specification recommends for 2.5 GT/s, by lanes and max payload 128,
/// 256, 512; faster links wait longer by a constant.
const ACK_INTERVAL: [(u8, [f64; 3]); 5] = [
    (1, [237.0, 416.0, 559.0]),
    (2, [128.0, 217.0, 289.0]),
    (4, [73.0, 118.0, 154.0]),
    (8, [67.0, 107.0, 86.0]),
    (16, [48.0, 72.0, 86.0]),
];

impl PcieLink {
    /// From what a user writes.
    pub fn new(spec: &LinkSpec) -> Result<Self, LinkError> {
        // GT/s, share of payload bits, added ACK interval.
        let (rate, coding, longer) = match spec.generation {
            1 => (2.5, 0.8, 0.0),
            2 => (5.0, 0.8, 51.0),
            3 => (8.0, 128.0 / 130.0, 96.0),
            4 => (16.0, 128.0 / 130.0, 96.0),
            5 => (32.0, 128.0 / 130.0, 96.0),
            other => return Err(LinkError::Generation(other)),
        };
        let column = match spec.max_payload {
            128 => 0,
            256 => 1,
            512 => 2,
            other => return Err(LinkError::Payload(other)),
        };
        if !matches!(spec.max_read_request, 128 | 256 | 512 | 1024 | 2048 | 4096) {
            return Err(LinkError::ReadRequest(spec.max_read_request));
        }
        let row = ACK_INTERVAL.iter().find(|row| row.0 == spec.lanes);
        let interval = row.ok_or(LinkError::Lanes(spec.lanes))?.1[column] + longer;
        let raw = rate * coding * f64::from(spec.lanes);
        Ok(Self {
            raw,
            tlp: raw * (1.0 - 2.0 * DLLP / interval - SKIP),
            max_payload: u64::from(spec.max_payload),
            max_read_request: u64::from(spec.max_read_request),
        })
    }
    /// Bandwidth after line coding.
    pub fn raw(&self) -> f64 {
        self.raw
    }
    /// Bandwidth left for TLPs.
    pub fn tlp(&self) -> f64 {
        self.tlp
    }
    /// Max_Read_Request_Size.
    pub fn max_read_request(&self) -> u64 {
        self.max_read_request
    }
    /// What a device write (C2H) of `size` bytes puts on the wire.
    pub fn write_wire(&self, size: u64) -> Wire {
        Wire {
            up: size + size.div_ceil(self.max_payload) * REQUEST_OVERHEAD,
            down: 0,
        }
    }
    /// What a device read (H2C) of `size` bytes puts on the wire.
    pub fn read_wire(&self, size: u64) -> Wire {
        Wire {
            up: size.div_ceil(self.max_read_request) * REQUEST_OVERHEAD,
            down: size + size.div_ceil(self.max_payload) * COMPLETION_OVERHEAD,
        }
    }
    /// Gb/s of payload when `size` bytes of payload cost `wire`.
    pub fn bandwidth(&self, size: u64, wire: Wire) -> f64 {
        self.tlp * size as f64 / wire.up.max(wire.down) as f64
    }
    /// Gb/s of device writes of `size` bytes.
    pub fn write(&self, size: u64) -> f64 {
        self.bandwidth(size, self.write_wire(size))
    }
    /// Gb/s of device reads of `size` bytes.
    pub fn read(&self, size: u64) -> f64 {
        self.bandwidth(size, self.read_wire(size))
    }
    /// Gb/s in each direction of device writes and reads at once.
    pub fn both(&self, size: u64) -> f64 {
        self.bandwidth(size, self.write_wire(size) + self.read_wire(size))
    }
}

impl std::ops::Add for Wire {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}

/// Gb/s that `tags` outstanding requests of `size` bytes reach when each takes
/// `latency_ns`.
pub fn concurrency(tags: u32, size: u64, latency_ns: f64) -> f64 {
    f64::from(tags) * size as f64 * 8.0 / latency_ns
}

/// Gb/s when each transfer of `packets` packets of `size` bytes costs `fixed_ns`
/// beside its time on a link of `link` Gb/s.
pub fn with_fixed_cost(fixed_ns: f64, packets: u32, size: u64, link: f64) -> f64 {
    let bits = size as f64 * 8.0;
    bits / (fixed_ns / f64::from(packets) + bits / link)
}

/// GB/s of an engine with a data path of `bits` at `mhz` that moves `beats`
/// beats of payload and one of header for each TLP (Intel AN690).
pub fn engine(bits: u32, mhz: f64, beats: u32) -> f64 {
    let beats = f64::from(beats);
    f64::from(bits) / 8.0 * mhz / 1000.0 * beats / (beats + 1.0)
}
