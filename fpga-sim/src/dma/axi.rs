//! The card's AXI address space, as the DMA engine's master sees it.

use bus::{AddressSpace, BusError, DeviceHandle, GuestRam};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// What answers at an address, and for how many bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// DDR.
    Ddr(u32),
    /// A device; accesses are beats of up to 8 bytes.
    Device(u32),
    /// Nothing: DECERR.
    Nothing(u32),
}

/// DDR and devices by AXI address, which is the board's physical address.
#[derive(Debug)]
pub struct Axi {
    ddr: Arc<GuestRam>,
    window: Range<u64>,
    devices: Mutex<AddressSpace>,
    starts: Vec<Range<u64>>,
}

impl Axi {
    /// DDR at `window` of the board's RAM, where that is RAM, and no devices.
    pub fn new(ddr: Arc<GuestRam>, window: Range<u64>) -> Self {
        Self {
            ddr,
            window,
            devices: Mutex::new(AddressSpace::new()),
            starts: Vec::new(),
        }
    }
    /// Adds a device. DDR goes first where they overlap.
    pub fn map(&mut self, start: u64, len: u64, device: DeviceHandle) -> Result<(), BusError> {
        self.devices().map(start, len, device)?;
        self.starts.push(start..start + len);
        Ok(())
    }
    fn devices(&self) -> MutexGuard<'_, AddressSpace> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The RAM that DDR is part of.
    pub fn ddr(&self) -> &GuestRam {
        &self.ddr
    }
    /// What answers at `at`, for up to `len` (more than 0) bytes.
    pub fn decode(&self, at: u64, len: u32) -> Decoded {
        let within = |range: &Range<u64>| {
            range
                .contains(&at)
                .then(|| u64::from(len).min(range.end - at) as u32)
        };
        if let Some(len) = within(&self.window)
            && let Some(Ok(slice)) = self.ddr.get_slices(GuestAddress(at), len as usize).next()
        {
            return Decoded::Ddr(slice.len() as u32);
        }
        if let Some(len) = self.starts.iter().find_map(within) {
            return Decoded::Device(len);
        }
        // Up to the next thing that answers.
        let next = self.starts.iter().map(|range| range.start);
        let next = next.chain([self.window.start]).filter(|start| *start > at);
        let gap = next.min().map_or(u64::MAX, |start| start - at);
        Decoded::Nothing(u64::from(len).min(gap) as u32)
    }
    /// Reads a beat of a device. A device that does not answer reads as ones.
    pub fn read_beat(&self, at: u64, data: &mut [u8]) -> bool {
        self.devices().read(at, data).is_ok()
    }
    /// Writes a beat to a device.
    pub fn write_beat(&self, at: u64, data: &[u8]) -> bool {
        self.devices().write(at, data).is_ok()
    }
}

/// Bytes of the next beat at `at` when `left` bytes remain: naturally aligned,
/// 1, 2, 4 or 8.
pub(super) fn beat(at: u64, left: u32) -> u32 {
    let aligned = 1u32 << at.trailing_zeros().min(3);
    let mut n = aligned;
    while n > left {
        n /= 2;
    }
    n
}
