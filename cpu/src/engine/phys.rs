//! Guest physical memory as the CPU sees it.

// Raw access to guest RAM, which devices and other guests share.
#![allow(unsafe_code)]

use super::mem::Scalar;
use bus::{GuestRam, RamRegion, ram_regions};

/// The RAM regions of the guest, and where they lie in the host.
#[derive(Debug)]
pub struct PhysMap {
    regions: Vec<RamRegion>,
    // Keeps the mappings alive as long as the pointers above.
    _ram: GuestRam,
}

impl PhysMap {
    /// The map of all of `ram`.
    pub fn new(ram: &GuestRam) -> Self {
        Self {
            regions: ram_regions(ram),
            _ram: ram.clone(),
        }
    }
    /// The region with `len` bytes of RAM at `pa`, and the offset in it.
    #[inline]
    pub(super) fn find(&self, pa: u64, len: u64) -> Option<(&RamRegion, u64)> {
        self.regions.iter().find_map(|region| {
            let offset = pa.wrapping_sub(region.start);
            (offset < region.len && region.len - offset >= len).then_some((region, offset))
        })
    }
    /// Host address of the page at `pa`, if it is RAM.
    #[inline]
    pub(super) fn host_page(&self, pa: u64) -> Option<(*mut u8, &RamRegion, u64)> {
        let (region, offset) = self.find(pa, super::PAGE_SIZE)?;
        // SAFETY: `find` checked that the offset lies in the mapping.
        Some((unsafe { region.host.add(offset as usize) }, region, offset))
    }
    /// Reads naturally aligned RAM; `None` where there is none. For page walks.
    #[inline]
    pub fn read<T: Scalar>(&self, pa: u64) -> Option<T> {
        let (region, offset) = self.find(pa, size_of::<T>() as u64)?;
        // SAFETY: `find` checked the bounds; the mapping lives as long as self.
        Some(unsafe { T::read(region.host.add(offset as usize)) })
    }
    /// Writes RAM; `false` where there is none. Not for pages that hold code.
    #[inline]
    pub fn write<T: Scalar>(&self, pa: u64, value: T) -> bool {
        let Some((region, offset)) = self.find(pa, size_of::<T>() as u64) else {
            return false;
        };
        // SAFETY: as for `read`.
        unsafe { T::write(region.host.add(offset as usize), value) };
        true
    }
    /// Copies bytes out; stops at the end of RAM. Returns the bytes copied.
    pub fn copy_out(&self, pa: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let Some(byte) = self.read::<u8>(pa.wrapping_add(done as u64)) else {
                break;
            };
            into[done] = byte;
            done += 1;
        }
        done
    }
    pub(super) fn regions(&self) -> &[RamRegion] {
        &self.regions
    }
}
