//! Guest memory: one `vm-memory` map per guest.

// A raw view of guest memory crosses threads with the CPU that owns it.
#![allow(unsafe_code)]

use crate::WriteWatch;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// All RAM of one guest. Cloning is cheap and gives the same memory.
pub type GuestRam = GuestMemoryMmap<WriteWatch>;

/// Guest memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The ranges overlap, are empty, or the host has no memory left.
    #[error(
        "cannot map {bytes} bytes of guest memory: {why}; use a smaller 'memory:' or free some"
    )]
    Map {
        /// Bytes wanted in all.
        bytes: u64,
        /// What the system said.
        why: String,
    },
}

/// Maps zeroed guest memory for ranges of `(guest physical address, bytes)`.
/// Pages take host memory when they are first touched.
pub fn create_ram(ranges: &[(u64, u64)]) -> Result<GuestRam, MemoryError> {
    let bytes = ranges.iter().map(|r| r.1).sum();
    let ranges: Vec<_> = ranges
        .iter()
        .map(|&(at, len)| (GuestAddress(at), len as usize))
        .collect();
    GuestRam::from_ranges(&ranges).map_err(|e| MemoryError::Map {
        bytes,
        why: e.to_string(),
    })
}

/// One contiguous piece of guest memory as the host sees it.
///
/// The pointer stays valid while the [`GuestRam`] it came from, or a clone of
/// it, lives. The memory is shared with devices and with the guest: never form
/// a reference into it.
#[derive(Clone, Debug)]
pub struct RamRegion {
    /// Guest physical address of the first byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Host address of the first byte.
    pub host: *mut u8,
    /// The region's write watch.
    pub watch: WriteWatch,
}

// SAFETY: the pointer is an address only; whoever follows it keeps the `GuestRam`
// alive and uses volatile or atomic accesses, on whatever thread.
unsafe impl Send for RamRegion {}
// SAFETY: as for `Send`.
unsafe impl Sync for RamRegion {}

/// The regions of `ram`, by rising address.
pub fn ram_regions(ram: &GuestRam) -> Vec<RamRegion> {
    ram.iter()
        .map(|region| RamRegion {
            start: region.start_addr().0,
            len: region.len(),
            host: region.as_ptr(),
            watch: region.get_mmap().bitmap().clone(),
        })
        .collect()
}
