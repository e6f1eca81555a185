//! A descriptor: 32 bytes, little endian (PG195, "Descriptors").

/// Bytes of a descriptor.
pub const SIZE: usize = 32;
/// Longest transfer of one descriptor.
pub const LENGTH_MAX: u32 = (1 << 28) - 1;

const MAGIC: u32 = 0xad4b;
const STOP: u32 = 1 << 0;
const COMPLETED: u32 = 1 << 1;
const EOP: u32 = 1 << 4;

/// A descriptor does not start with 0xad4b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("descriptor magic {0:#06x} is not 0xad4b")]
pub struct BadMagic(pub u16);

/// One piece of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The engine stops behind it.
    pub stop: bool,
    /// Its completion is told (status, poll write-back).
    pub completed: bool,
    /// End of packet.
    pub eop: bool,
    /// Descriptors that lie behind the next one, 0 to 63.
    pub next_adjacent: u8,
    /// Bytes to move, at most [`LENGTH_MAX`].
    pub length: u32,
    /// Where from.
    pub source: u64,
    /// Where to.
    pub destination: u64,
    /// Host address of the next descriptor. Only that of a block's last one
    /// counts.
    pub next: u64,
}

impl Descriptor {
    /// From memory. Reserved bits are ignored.
    pub fn parse(bytes: &[u8; SIZE]) -> Result<Self, BadMagic> {
        let word = |n: usize| {
            let at = n * 4;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let wide = |n| u64::from(word(n)) | u64::from(word(n + 1)) << 32;
        let control = word(0);
        if control >> 16 != MAGIC {
            return Err(BadMagic((control >> 16) as u16));
        }
        Ok(Self {
            stop: control & STOP != 0,
            completed: control & COMPLETED != 0,
            eop: control & EOP != 0,
            next_adjacent: (control >> 8 & 0x3f) as u8,
            length: word(1) & LENGTH_MAX,
            source: wide(2),
            destination: wide(4),
            next: wide(6),
        })
    }
    /// As it lies in memory.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut control = MAGIC << 16 | u32::from(self.next_adjacent & 0x3f) << 8;
        for (set, bit) in [
            (self.stop, STOP),
            (self.completed, COMPLETED),
            (self.eop, EOP),
        ] {
            control |= if set { bit } else { 0 };
        }
        let mut bytes = [0; SIZE];
        bytes[0..4].copy_from_slice(&control.to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.length & LENGTH_MAX).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.source.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.destination.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}
