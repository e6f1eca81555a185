//! Memory for compiled code: one bounded file in memory. It is written as a
//! file and run through a mapping that nobody can write.

// Maps memory that holds code.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

/// Functions start at multiples of this many bytes.
const ALIGN: usize = 16;

/// The region and how much of it is in use.
#[derive(Debug)]
pub(super) struct CodeMemory {
    file: File,
    run: NonNull<u8>,
    size: usize,
    used: usize,
    keep: usize,
}

// SAFETY: the region belongs to this value alone.
unsafe impl Send for CodeMemory {}

fn map(file: &File, size: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new shared mapping of a file that nobody else knows.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

impl CodeMemory {
    /// A region of `size` bytes, which cost nothing until they are used.
    pub fn new(size: usize) -> io::Result<Self> {
        // SAFETY: a constant name and flags.
        let fd = unsafe { libc::memfd_create(c"compiled".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size as u64)?;
        let run = map(&file, size)?;
        Ok(Self {
            file,
            run,
            size,
            used: 0,
            keep: 0,
        })
    }
    /// Copies `code` in; the address to run it at, or `None` when it does not fit.
    pub fn add(&mut self, code: &[u8]) -> Option<u64> {
        let at = self.used.next_multiple_of(ALIGN);
        if self.size.checked_sub(at)? < code.len() {
            return None;
        }
        // No running code lies behind `used`.
        self.file.write_all_at(code, at as u64).ok()?;
        // SAFETY: `at` lies in the region.
        let run = unsafe { self.run.as_ptr().add(at) };
        self.used = at + code.len();
        synchronise(run, code.len());
        Some(run as u64)
    }
    /// What is there now survives [`CodeMemory::clear`].
    pub fn keep(&mut self) {
        self.keep = self.used;
    }
    /// Forgets all code but that kept. None of it may run again.
    pub fn clear(&mut self) {
        self.used = self.keep;
    }
    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, with this size; the CPU that ran the code is
        // gone.
        unsafe { libc::munmap(self.run.as_ptr().cast(), self.size) };
    }
}

/// Makes instruction fetches see what was written. x86 does so by itself.
#[cfg(not(target_arch = "aarch64"))]
fn synchronise(_at: *const u8, _len: usize) {}

/// Makes instruction fetches see what was written (Arm ARM B2.4.4).
#[cfg(target_arch = "aarch64")]
fn synchronise(at: *const u8, len: usize) {
    let line = 4;
    // Lines of four bytes at least: more often than needed, never too seldom.
    for offset in (0..len.next_multiple_of(line)).step_by(line) {
        let at = at.wrapping_add(offset);
        // SAFETY: cache maintenance by address changes no memory.
        unsafe { std::arch::asm!("dc cvau, {0}", in(reg) at, options(nostack)) };
    }
    // SAFETY: as above.
    unsafe { std::arch::asm!("dsb ish", options(nostack)) };
    for offset in (0..len.next_multiple_of(line)).step_by(line) {
        let at = at.wrapping_add(offset);
        // SAFETY: as above.
        unsafe { std::arch::asm!("ic ivau, {0}", in(reg) at, options(nostack)) };
    }
    // SAFETY: as above.
    unsafe { std::arch::asm!("dsb ish", "isb", options(nostack)) };
}
