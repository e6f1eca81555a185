//! The shared window on the board: physical memory, mapped.

// Mapping device memory and accessing it is a system interface.
#![allow(unsafe_code)]

use fpga_sim::ring::{RingFault, RingMemory};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which memory.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// `/dev/mem`, or a UIO node whose first map is the window.
    pub path: PathBuf,
    /// Card address, which is the physical address.
    pub ddr: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A window that cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot map {bytes} bytes at {ddr:#x} of {path}: {source}; run as root, and keep the range out \
     of Linux (reserved-memory with no-map) or the kernel refuses it",
    path = spec.path.display(), bytes = spec.bytes, ddr = spec.ddr
)]
pub struct WindowError {
    spec: WindowSpec,
    source: io::Error,
}

#[derive(Debug)]
struct Map {
    start: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to the process and is accessed by volatile and
// atomic operations only, on whatever thread.
unsafe impl Send for Map {}
// SAFETY: as for `Send`.
unsafe impl Sync for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, which nobody uses
        // any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// The mapped window. The kernel may map it as Device memory, where unaligned
/// accesses fault: every access here is aligned.
#[derive(Clone, Debug)]
pub struct Window {
    map: Arc<Map>,
    ddr: u64,
}

impl Window {
    /// Maps the window.
    pub fn open(spec: &WindowSpec) -> Result<Self, WindowError> {
        let error = |source| WindowError {
            spec: spec.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_SYNC)
            .open(&spec.path)
            .map_err(error)?;
        let uio = spec.path.to_string_lossy().starts_with("/dev/uio");
        let offset = if uio { 0 } else { spec.ddr };
        let (len, offset) = match (usize::try_from(spec.bytes), libc::off_t::try_from(offset)) {
            (Ok(len), Ok(offset)) if len > 0 => (len, offset),
            _ => return Err(error(io::ErrorKind::InvalidInput.into())),
        };
        // SAFETY: a new shared mapping at an address of the kernel's choice;
        // nothing else in this process refers to it.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(error(io::Error::last_os_error()));
        }
        let map = Arc::new(Map {
            start: start.cast(),
            len,
        });
        Ok(Self { map, ddr: spec.ddr })
    }
    /// Host address of `len` bytes at card address `at`.
    fn place(&self, at: u64, len: usize) -> Result<*mut u8, RingFault> {
        let offset = at.checked_sub(self.ddr).ok_or(RingFault(at))?;
        let offset = usize::try_from(offset).map_err(|_| RingFault(at))?;
        if offset.checked_add(len).is_none_or(|end| end > self.map.len) {
            return Err(RingFault(at));
        }
        // SAFETY: offset + len lies in the mapping.
        Ok(unsafe { self.map.start.add(offset) })
    }
    fn word(&self, at: u64) -> Result<&AtomicU64, RingFault> {
        let place = self.place(at, 8)?;
        if !at.is_multiple_of(8) {
            return Err(RingFault(at));
        }
        // SAFETY: eight bytes of the mapping, which starts on a page, at a
        // multiple of 8; all accesses to words are atomic, and the mapping
        // lives as long as `self`.
        Ok(unsafe { AtomicU64::from_ptr(place.cast()) })
    }
}

/// Pieces of `len` bytes from `at` on for aligned accesses: bytes up to a
/// multiple of 8, whole words, the rest.
fn pieces(at: u64, len: usize) -> (usize, usize) {
    let head = (at.wrapping_neg() & 7) as usize;
    let head = head.min(len);
    (head, (len - head) / 8 * 8)
}

impl RingMemory for Window {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        let place = self.place(at, into.len())?;
        let (head, words) = pieces(at, into.len());
        // SAFETY: `place` has `into.len()` bytes, of which this is one.
        let byte = |i: usize| unsafe { place.add(i).read_volatile() };
        for (i, to) in into[..head].iter_mut().enumerate() {
            *to = byte(i);
        }
        for (i, to) in (head..)
            .step_by(8)
            .zip(into[head..head + words].chunks_exact_mut(8))
        {
            // SAFETY: eight of these bytes, at a multiple of 8.
            let word = unsafe { place.add(i).cast::<u64>().read_volatile() };
            to.copy_from_slice(&word.to_ne_bytes());
        }
        for (i, to) in (head + words..).zip(&mut into[head + words..]) {
            *to = byte(i);
        }
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        let place = self.place(at, from.len())?;
        let (head, words) = pieces(at, from.len());
        // SAFETY: `place` has `from.len()` bytes, of which this is one.
        let byte = |i: usize, value: u8| unsafe { place.add(i).write_volatile(value) };
        for (i, value) in from[..head].iter().enumerate() {
            byte(i, *value);
        }
        for (i, bytes) in (head..)
            .step_by(8)
            .zip(from[head..head + words].chunks_exact(8))
        {
            let word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
            // SAFETY: eight of these bytes, at a multiple of 8.
            unsafe { place.add(i).cast::<u64>().write_volatile(word) };
        }
        for (i, value) in (head + words..).zip(&from[head + words..]) {
            byte(i, *value);
        }
        Ok(())
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        Ok(u64::from_le(self.word(at)?.load(Ordering::Acquire)))
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        self.word(at)?.store(word.to_le(), Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_length() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(0x4000).unwrap();
        // A file is mapped from 0 on, as a UIO node is.
        let spec = WindowSpec {
            path: file.path().to_owned(),
            ddr: 0,
            bytes: 0x4000,
        };
        let window = Window::open(&spec).unwrap();
        for at in 0..24u64 {
            for len in 0..40usize {
                let data: Vec<u8> = (1..=len as u8).collect();
                window.write(0, &[0; 80]).unwrap();
                window.write(at, &data).unwrap();
                let mut all = [0; 80];
                window.read(0, &mut all).unwrap();
                let start = at as usize;
                assert_eq!(all[start..start + len], data);
                assert!(
                    all[..start]
                        .iter()
                        .chain(&all[start + len..])
                        .all(|b| *b == 0)
                );
                let mut back = vec![9; len];
                window.read(at, &mut back).unwrap();
                assert_eq!(back, data);
            }
        }
        window.store(8, 0x1122_3344_5566_7788).unwrap();
        assert_eq!(window.load(8), Ok(0x1122_3344_5566_7788));
        assert_eq!(window.load(9), Err(RingFault(9)));
        assert_eq!(window.load(0x3ffc), Err(RingFault(0x3ffc)));
        assert_eq!(window.write(0x3fff, &[0; 2]), Err(RingFault(0x3fff)));
        let missing = WindowSpec {
            path: "/nowhere/mem".into(),
            ..spec
        };
        let error = Window::open(&missing).unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/mem") && error.contains("no-map"),
            "{error}"
        );
    }
}
