//! Address dispatch: sorted ranges of device windows.

use crate::{Action, BusDevice, IoError};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A device on a bus. The lock is held for one access only.
pub type DeviceHandle = Arc<Mutex<dyn BusDevice>>;

/// A window that cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// It overlaps another window.
    #[error("device window {start:#x}..{end:#x} overlaps the one at {other:#x}")]
    Overlap {
        /// First address.
        start: u64,
        /// First address behind the window.
        end: u64,
        /// Start of the window that is there already.
        other: u64,
    },
    /// It is empty or runs past the end of the address space.
    #[error("device window at {0:#x} is empty or wraps around")]
    Range(u64),
}

#[derive(Clone)]
struct Window {
    start: u64,
    len: u64,
    device: DeviceHandle,
}

/// A sorted set of device windows. The last window that was hit is tried
/// first; otherwise a binary search finds it. A clone has the same devices and
/// its own last hit, for a CPU of its own.
#[derive(Clone, Default)]
pub struct AddressSpace {
    windows: Vec<Window>,
    last: usize,
}

impl AddressSpace {
    /// An empty address space.
    pub fn new() -> Self {
        Self::default()
    }
    /// Maps `device` at `start` for `len` bytes.
    pub fn map(&mut self, start: u64, len: u64, device: DeviceHandle) -> Result<(), BusError> {
        let end = start
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(BusError::Range(start))?;
        let at = self.windows.partition_point(|w| w.start < start);
        let before = at.checked_sub(1).and_then(|i| self.windows.get(i));
        if let Some(other) = before.filter(|w| w.start + w.len > start) {
            return Err(BusError::Overlap {
                start,
                end,
                other: other.start,
            });
        }
        if let Some(other) = self.windows.get(at).filter(|w| w.start < end) {
            return Err(BusError::Overlap {
                start,
                end,
                other: other.start,
            });
        }
        self.windows.insert(at, Window { start, len, device });
        Ok(())
    }
    /// Removes the window that starts at `start`. `false` when there is none.
    pub fn unmap(&mut self, start: u64) -> bool {
        match self.windows.binary_search_by_key(&start, |w| w.start) {
            Ok(at) => {
                self.windows.remove(at);
                true
            }
            Err(_) => false,
        }
    }
    /// The device at `address`, the offset in its window, and the start of the
    /// window, if all `len` bytes lie in it.
    pub fn find(&mut self, address: u64, len: usize) -> Option<(&DeviceHandle, u64)> {
        let inside = |w: &Window| {
            address >= w.start
                && address - w.start <= w.len.saturating_sub(len as u64)
                && len as u64 <= w.len
        };
        if !self.windows.get(self.last).is_some_and(inside) {
            let at = self
                .windows
                .partition_point(|w| w.start <= address)
                .checked_sub(1)?;
            if !inside(&self.windows[at]) {
                return None;
            }
            self.last = at;
        }
        let window = &self.windows[self.last];
        Some((&window.device, address - window.start))
    }
    /// Reads `data.len()` bytes at `address`. On an error `data` is all ones.
    pub fn read(&mut self, address: u64, data: &mut [u8]) -> Result<(), IoError> {
        let result = match self.find(address, data.len()) {
            Some((device, offset)) => device
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read(offset, data),
            None => Err(IoError::Unmapped(address)),
        };
        if result.is_err() {
            data.fill(0xff);
        }
        result
    }
    /// Writes `data` at `address`.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<Action, IoError> {
        match self.find(address, data.len()) {
            Some((device, offset)) => device
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(offset, data),
            None => Err(IoError::Unmapped(address)),
        }
    }
}

impl fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.windows
                    .iter()
                    .map(|w| format_args!("{:#x}+{:#x}", w.start, w.len).to_string()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Id(u8);
    impl BusDevice for Id {
        fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
            data.fill(self.0.wrapping_add(offset as u8));
            Ok(())
        }
        fn write(&mut self, _: u64, _: &[u8]) -> Result<Action, IoError> {
            Ok(Action::None)
        }
    }
    fn id(n: u8) -> DeviceHandle {
        Arc::new(Mutex::new(Id(n)))
    }

    #[test]
    fn windows_are_found_and_never_overlap() {
        let mut bus = AddressSpace::new();
        bus.map(0x2000, 0x1000, id(2)).unwrap();
        bus.map(0x1000, 0x1000, id(1)).unwrap();
        for (start, len) in [(0x2fff, 1), (0x1800, 0x1000), (0x0, 0x1001), (0x0, 0x9000)] {
            assert!(
                matches!(bus.map(start, len, id(3)), Err(BusError::Overlap { .. })),
                "{start:#x}"
            );
        }
        assert_eq!(bus.map(u64::MAX, 2, id(3)), Err(BusError::Range(u64::MAX)));
        assert_eq!(bus.map(0x8000, 0, id(3)), Err(BusError::Range(0x8000)));
        let mut byte = [0];
        for (at, want) in [(0x1000, 1), (0x2001, 3), (0x1fff, 0), (0x2000, 2)] {
            bus.read(at, &mut byte).unwrap();
            assert_eq!(byte[0], want, "{at:#x}");
        }
        let mut word = [0; 4];
        assert!(
            bus.read(0x1ffd, &mut word).is_err(),
            "crosses into the next window"
        );
        assert_eq!(word, [0xff; 4]);
        assert!(bus.read(0xfff, &mut byte).is_err());
        assert!(bus.unmap(0x1000) && !bus.unmap(0x1000));
        assert!(bus.read(0x1000, &mut byte).is_err());
    }
}
