//! How much host memory a run takes.

// mincore is a system call on a raw mapping; malloc_trim is the C library's.
#![allow(unsafe_code)]

use bus::{GuestRam, ram_regions};

/// Host memory behind guest RAM in KiB: pages that were touched.
pub(super) fn kib(ram: &GuestRam) -> u64 {
    const PAGE: u64 = 4096;
    let mut pages = 0;
    for region in ram_regions(ram) {
        let mut present = vec![0u8; region.len.div_ceil(PAGE) as usize];
        // SAFETY: the mapping lives as long as `ram`, and `present` has a byte
        // for each of its pages.
        let done = unsafe {
            libc::mincore(
                region.host.cast(),
                region.len as usize,
                present.as_mut_ptr(),
            )
        };
        if done == 0 {
            pages += present.iter().filter(|&&page| page & 1 != 0).count() as u64;
        }
    }
    pages * PAGE / 1024
}

/// Gives the system back what the allocator keeps of freed memory: images that
/// were loaded, above all.
pub(super) fn trim() {
    // SAFETY: no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}
