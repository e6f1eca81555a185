//! Guest memory: one `vm-memory` map per guest.

// A raw view of guest memory crosses threads with the CPU that owns it.
#![allow(unsafe_code)]

use crate::WriteWatch;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

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
    map(ranges, |_| None)
}

/// As [`create_ram`], in one memory file that other processes can map: what a
/// back end outside of this one needs. [`vm_memory::GuestMemoryRegion::file_offset`]
/// tells where each region lies in it.
///
/// Such memory has no huge pages, so guests that need none of this are faster
/// without.
pub fn create_shared_ram(ranges: &[(u64, u64)]) -> Result<GuestRam, MemoryError> {
    let bytes = ranges.iter().map(|r| r.1).sum();
    let file = memory_file(bytes).map_err(|e| MemoryError::Map {
        bytes,
        why: e.to_string(),
    })?;
    let file = Arc::new(file);
    map(ranges, |offset| {
        Some(FileOffset::from_arc(file.clone(), offset))
    })
}

fn map(
    ranges: &[(u64, u64)],
    mut file: impl FnMut(u64) -> Option<FileOffset>,
) -> Result<GuestRam, MemoryError> {
    let bytes = ranges.iter().map(|r| r.1).sum();
    let mut offset = 0;
    let ranges: Vec<_> = ranges
        .iter()
        .map(|&(at, len)| {
            let place = file(offset);
            offset += len;
            (GuestAddress(at), len as usize, place)
        })
        .collect();
    GuestRam::from_ranges_with_files(&ranges).map_err(|e| MemoryError::Map {
        bytes,
        why: e.to_string(),
    })
}

/// A file of `bytes` zeroes in memory, whose size nobody can change any more:
/// a process that shrank it would take the memory away under this one.
fn memory_file(bytes: u64) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string; the call makes a new descriptor.
    let fd = unsafe { libc::memfd_create(c"guest-ram".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nothing else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(bytes)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: F_ADD_SEALS takes its argument by value.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use vm_memory::Bytes;

    #[test]
    fn shared_memory_is_one_file_that_keeps_its_size() {
        let ram = create_shared_ram(&[(0, 0x10_0000), (0x1_0000_0000, 0x20_0000)]).unwrap();
        ram.write_obj(7u64, GuestAddress(0x1_0000_1000)).unwrap();
        let high = ram.find_region(GuestAddress(0x1_0000_0000)).unwrap();
        let place = high.file_offset().unwrap();
        assert_eq!(place.start(), 0x10_0000);
        let mut raw = [0; 8];
        place.file().read_exact_at(&mut raw, 0x10_1000).unwrap();
        assert_eq!(u64::from_ne_bytes(raw), 7);
        assert!(place.file().set_len(0).is_err());
        assert_eq!(place.file().metadata().unwrap().len(), 0x30_0000);
    }
}
