//! Guest memory for many small accesses.

use crate::{GuestRam, WriteWatch};
use std::fmt;
use vm_memory::bitmap::RefSlice;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress, VolatileSlice,
};

/// A piece of guest memory.
pub type RamSlice<'a> = VolatileSlice<'a, RefSlice<'a, WriteWatch>>;

/// Guest memory, and one region of it at hand: mostly that one holds all that
/// is asked for, and no region has to be looked up.
#[derive(Clone, Copy)]
pub struct RamView<'a> {
    ram: &'a GuestRam,
    start: u64,
    region: Option<RamSlice<'a>>,
}

impl<'a> RamView<'a> {
    /// With the region that holds `address` at hand.
    pub fn new(ram: &'a GuestRam, address: u64) -> Self {
        let region = ram.find_region(GuestAddress(address));
        let slice = region.and_then(|region| {
            let len = usize::try_from(region.len()).ok()?;
            region.get_slice(MemoryRegionAddress(0), len).ok()
        });
        Self {
            ram,
            start: region.map_or(0, |region| region.start_addr().0),
            region: slice,
        }
    }
    /// All of the guest's memory.
    #[inline]
    pub fn ram(&self) -> &'a GuestRam {
        self.ram
    }
    /// `len` bytes at `address`, if they lie in the region at hand.
    #[inline]
    pub fn near(&self, address: u64, len: usize) -> Option<RamSlice<'a>> {
        let offset = address.checked_sub(self.start)?;
        self.region?
            .subslice(usize::try_from(offset).ok()?, len)
            .ok()
    }
    /// Copies guest memory to `to`. `false` when not all of it is there; `to`
    /// holds anything then.
    #[inline]
    pub fn read(&self, address: u64, to: &mut [u8]) -> bool {
        match self.near(address, to.len()) {
            Some(slice) => slice.copy_to(to) == to.len(),
            None => self.ram.read_slice(to, GuestAddress(address)).is_ok(),
        }
    }
    /// Copies `from` to guest memory. `false` when not all of it is there; a
    /// part may be written then.
    #[inline]
    pub fn write(&self, address: u64, from: &[u8]) -> bool {
        match self.near(address, from.len()) {
            Some(slice) => {
                slice.copy_from(from);
                true
            }
            None => self.ram.write_slice(from, GuestAddress(address)).is_ok(),
        }
    }
}

impl fmt::Debug for RamView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamView")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create_ram;

    #[test]
    fn it_reaches_everything_and_nothing_else() {
        let ranges = [(0x1000, 0x2000), (0x3000, 0x1000), (0x10_0000, 0x1000)];
        let ram = create_ram(&ranges).unwrap();
        for hint in [0, 0x1000, 0x3fff, 0x10_0000, u64::MAX] {
            let view = RamView::new(&ram, hint);
            for (at, len, there) in [
                (0x1000u64, 16usize, true),
                (0x2ff8, 16, true),
                (0x3ff0, 16, true),
                (0x3ff8, 16, false),
                (0x10_0ff0, 16, true),
                (0x10_0ff8, 16, false),
                (0xff8, 16, false),
                (u64::MAX - 7, 16, false),
                (0, 1, false),
            ] {
                let bytes: Vec<u8> = (0..len as u8).map(|i| i ^ hint as u8).collect();
                assert_eq!(view.write(at, &bytes), there, "{hint:#x} {at:#x}");
                let mut back = vec![0; len];
                assert_eq!(view.read(at, &mut back), there, "{hint:#x} {at:#x}");
                assert!(!there || back == bytes, "{hint:#x} {at:#x}");
                if there {
                    ram.read_slice(&mut back, GuestAddress(at)).unwrap();
                    assert_eq!(back, bytes);
                }
            }
        }
    }
}
