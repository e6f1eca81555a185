//! The general registers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Index of the stack pointer in use.
pub const SP: u8 = 31;
/// Index that always reads as zero and is never written: XZR as a source.
pub const ZERO: u8 = 32;
/// Index whose value is never read: XZR as a destination.
pub const SINK: u8 = 33;

/// X0 to X30, the stack pointer in use, and the two sides of XZR.
///
/// The decoder turns register fields into indices of this file
/// ([`source`], [`dest`], base registers as they are), so that no handler looks
/// at register number 31. There are as many elements as a `u8` has values, so
/// that no access needs a bounds check.
#[derive(Clone)]
pub struct Regs([u64; 256]);

/// The index of a source register field: 31 is XZR.
#[inline]
pub const fn source(field: u8) -> u8 {
    if field & 31 == 31 { ZERO } else { field & 31 }
}

/// The index of a destination register field: 31 is XZR.
#[inline]
pub const fn dest(field: u8) -> u8 {
    if field & 31 == 31 { SINK } else { field & 31 }
}

impl Regs {
    /// The value at a register index (not a field: see [`source`]).
    #[inline(always)]
    pub fn get(&self, index: u8) -> u64 {
        self.0[index as usize]
    }
    /// Sets the value at a register index (not a field: see [`dest`]).
    #[inline(always)]
    pub fn set(&mut self, index: u8, value: u64) {
        self.0[index as usize] = value;
    }
}

impl Default for Regs {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl PartialEq for Regs {
    fn eq(&self, other: &Self) -> bool {
        self.0[..=SP as usize] == other.0[..=SP as usize]
    }
}

impl fmt::Debug for Regs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0[..=SP as usize]).finish()
    }
}

impl Serialize for Regs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut live = [0u64; 32];
        live.copy_from_slice(&self.0[..32]);
        live.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Regs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let live = <[u64; 32]>::deserialize(deserializer)?;
        let mut regs = Self::default();
        regs.0[..32].copy_from_slice(&live);
        Ok(regs)
    }
}
