//! Memory for compiled code: one bounded region, mapped twice. It is written
//! through one view and run through the other, and neither may do both.

// Maps and writes memory that holds code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Functions start at multiples of this many bytes.
const ALIGN: usize = 16;

/// The region and how much of it is in use.
#[derive(Debug)]
pub(super) struct CodeMemory {
    write: NonNull<u8>,
    run: NonNull<u8>,
    size: usize,
    used: usize,
    keep: usize,
}

// SAFETY: the region belongs to this value alone.
unsafe impl Send for CodeMemory {}

fn map(fd: &OwnedFd, size: usize, protection: i32) -> io::Result<NonNull<u8>> {
    // SAFETY: a new shared mapping of a file that nobody else knows.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            protection,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
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
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: plain system call on an open file.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let write = map(&fd, size, libc::PROT_READ | libc::PROT_WRITE)?;
        let run = match map(&fd, size, libc::PROT_READ | libc::PROT_EXEC) {
            Ok(run) => run,
            Err(error) => {
                // SAFETY: mapped above, with this size.
                unsafe { libc::munmap(write.as_ptr().cast(), size) };
                return Err(error);
            }
        };
        Ok(Self {
            write,
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
        // SAFETY: `code.len()` bytes at `at` lie in the region, and no running
        // code lies behind `used`.
        let run = unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.write.as_ptr().add(at), code.len());
            self.run.as_ptr().add(at)
        };
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
        for view in [self.write, self.run] {
            // SAFETY: mapped in `new`, with this size; the CPU that ran the
            // code is gone.
            unsafe { libc::munmap(view.as_ptr().cast(), self.size) };
        }
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
