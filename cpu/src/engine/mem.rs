//! Guest loads and stores.
//!
//! The fast path is one compare and one host access. It covers unaligned
//! accesses that stay in a page. All else goes out of line: refill, page
//! crossing, devices, pages with decoded code.

// Host accesses to guest RAM, which devices and other guests share.
#![allow(unsafe_code)]

use super::tlb::{CODE, Entry, INVALID, MMIO, SLOW};
use super::{Access, Cpu, Flow, Isa, PAGE_MASK, PAGE_SIZE};
use crate::VmExit;

/// A type that guest memory is read and written as: little endian, any alignment.
pub trait Scalar: Copy + Default {
    /// Reads guest RAM.
    ///
    /// # Safety
    /// `size_of::<Self>()` bytes at `at` lie in a mapping of guest RAM.
    unsafe fn read(at: *const u8) -> Self;
    /// Writes guest RAM.
    ///
    /// # Safety
    /// As for [`Scalar::read`].
    unsafe fn write(at: *mut u8, value: Self);
    /// Zero-extends.
    fn to_u128(self) -> u128;
    /// Truncates.
    fn from_u128(value: u128) -> Self;
}

macro_rules! scalar {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            #[inline(always)]
            unsafe fn read(at: *const u8) -> Self {
                // SAFETY: the caller vouches for the bounds. An aligned access
                // of at most eight bytes is one host access, which is what
                // single-copy atomicity asks for.
                unsafe { at.cast::<$t>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn write(at: *mut u8, value: Self) {
                // SAFETY: as above.
                unsafe { at.cast::<$t>().write_unaligned(value) }
            }
            #[inline(always)]
            fn to_u128(self) -> u128 {
                self as u128
            }
            #[inline(always)]
            fn from_u128(value: u128) -> Self {
                value as $t
            }
        }
    )*};
}
scalar!(u8, u16, u32, u64, u128);

impl<I: Isa> Cpu<I> {
    /// Loads from guest virtual memory in the current mode.
    #[inline(always)]
    pub fn load<T: Scalar>(&mut self, va: u64) -> Result<T, Flow> {
        self.load_as(va, self.mode)
    }
    /// Stores to guest virtual memory in the current mode.
    #[inline(always)]
    pub fn store<T: Scalar>(&mut self, va: u64, value: T) -> Result<(), Flow> {
        self.store_as(va, value, self.mode)
    }
    /// Loads in another mode (unprivileged loads, implicit supervisor accesses).
    #[inline(always)]
    pub fn load_as<T: Scalar>(&mut self, va: u64, mode: u8) -> Result<T, Flow> {
        let entry = self.tlb.entry(va, mode);
        if va.wrapping_add(size_of::<T>() as u64 - 1) & PAGE_MASK == entry.read {
            let host = va.wrapping_add(entry.addend);
            // SAFETY: the tag matches, so first and last byte lie in the page,
            // and the addend leads to the host copy of that page.
            return Ok(unsafe { T::read(host as *const u8) });
        }
        self.load_slow(va, mode)
    }
    /// Stores in another mode.
    #[inline(always)]
    pub fn store_as<T: Scalar>(&mut self, va: u64, value: T, mode: u8) -> Result<(), Flow> {
        let entry = self.tlb.entry(va, mode);
        if va.wrapping_add(size_of::<T>() as u64 - 1) & PAGE_MASK == entry.write {
            let host = va.wrapping_add(entry.addend);
            // SAFETY: as in `load_as`, and the write tag says that the page may
            // be written and holds no decoded code.
            unsafe { T::write(host as *mut u8, value) };
            return Ok(());
        }
        self.store_slow(va, value, mode)
    }

    /// Loads what the same instruction is going to store to: faults as that
    /// store would.
    #[inline(always)]
    pub fn load_to_update<T: Scalar>(&mut self, va: u64) -> Result<T, Flow> {
        let entry = self.tlb.entry(va, self.mode);
        if va.wrapping_add(size_of::<T>() as u64 - 1) & PAGE_MASK == entry.write {
            let host = va.wrapping_add(entry.addend);
            // SAFETY: as in `load_as`; what may be written here may be read.
            return Ok(unsafe { T::read(host as *const u8) });
        }
        self.load_to_update_slow(va)
    }
    #[cold]
    #[inline(never)]
    fn load_to_update_slow<T: Scalar>(&mut self, va: u64) -> Result<T, Flow> {
        self.probe_write(va, size_of::<T>() as u64, self.mode)?;
        self.load(va)
    }

    /// Translates the page of `va` for `access`, filling the TLB.
    #[inline(never)]
    pub(super) fn translate(&mut self, va: u64, access: Access, mode: u8) -> Result<Entry, Flow> {
        let va = I::canonical(&self.s, va);
        let page_va = va & PAGE_MASK;
        let wanted = |e: &Entry| match access {
            Access::Read => e.read,
            Access::Write => e.write,
            Access::Fetch => e.exec,
        };
        let entry = *self.tlb.entry(va, mode);
        if wanted(&entry) & (PAGE_MASK | INVALID) == page_va {
            return Ok(entry);
        }
        let page = I::walk(self, va, access, mode)?;
        let slow = if page.slow { SLOW } else { 0 };
        let tag = |allowed: bool, flags: u64| if allowed { page_va | flags } else { INVALID };
        let pa = page.pa & PAGE_MASK;
        let entry = match self.phys.host_page(pa) {
            Some((host, region, offset)) => {
                let code = if region.watch.is_code(offset as usize) {
                    CODE
                } else {
                    0
                };
                Entry {
                    read: tag(page.read, slow),
                    write: tag(page.write, slow | code),
                    exec: tag(page.exec, 0),
                    addend: (host as u64).wrapping_sub(page_va),
                }
            }
            None => Entry {
                read: tag(page.read, MMIO | slow),
                write: tag(page.write, MMIO | slow),
                exec: tag(page.exec, MMIO),
                addend: pa.wrapping_sub(page_va),
            },
        };
        self.tlb.fill(va, mode, entry, page.global);
        Ok(entry)
    }

    #[cold]
    #[inline(never)]
    fn load_slow<T: Scalar>(&mut self, va: u64, mode: u8) -> Result<T, Flow> {
        let size = size_of::<T>() as u64;
        let va = I::canonical(&self.s, va);
        if (va & (PAGE_SIZE - 1)) + size <= PAGE_SIZE {
            let entry = self.translate(va, Access::Read, mode)?;
            let at = va.wrapping_add(entry.addend);
            if entry.read & SLOW != 0 {
                I::check_slow(self, va, size, Access::Read)?;
            }
            if entry.read & MMIO == 0 {
                // SAFETY: translated just now, and in one page.
                return Ok(unsafe { T::read(at as *const u8) });
            }
            return self.read_device(at, size).map(T::from_u128);
        }
        // Crosses into the next page: both must translate before any access.
        let first = PAGE_SIZE - (va & (PAGE_SIZE - 1));
        self.translate(va, Access::Read, mode)?;
        self.translate(va.wrapping_add(first), Access::Read, mode)?;
        let mut value = 0u128;
        for i in 0..size {
            let byte = self.load_slow::<u8>(va.wrapping_add(i), mode)?;
            value |= u128::from(byte) << (8 * i);
        }
        Ok(T::from_u128(value))
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Scalar>(&mut self, va: u64, value: T, mode: u8) -> Result<(), Flow> {
        let size = size_of::<T>() as u64;
        let va = I::canonical(&self.s, va);
        if (va & (PAGE_SIZE - 1)) + size <= PAGE_SIZE {
            let entry = self.translate(va, Access::Write, mode)?;
            let at = va.wrapping_add(entry.addend);
            if entry.write & SLOW != 0 {
                I::check_slow(self, va, size, Access::Write)?;
            }
            if entry.write & MMIO != 0 {
                return self.write_device(at, size, value.to_u128());
            }
            if entry.write & CODE != 0 {
                self.code_written(va, at, size, mode);
            }
            // SAFETY: translated just now, and in one page.
            unsafe { T::write(at as *mut u8, value) };
            return Ok(());
        }
        let first = PAGE_SIZE - (va & (PAGE_SIZE - 1));
        self.translate(va, Access::Write, mode)?;
        self.translate(va.wrapping_add(first), Access::Write, mode)?;
        let value = value.to_u128();
        for i in 0..size {
            self.store_slow::<u8>(va.wrapping_add(i), (value >> (8 * i)) as u8, mode)?;
        }
        Ok(())
    }

    /// A store is about to hit a page with decoded code.
    pub(super) fn code_written(&mut self, va: u64, host: u64, size: u64, mode: u8) {
        let Some((pa, watch, offset)) = self.phys.regions().iter().find_map(|region| {
            let offset = host.wrapping_sub(region.host as u64);
            (offset < region.len).then(|| (region.start + offset, region.watch.clone(), offset))
        }) else {
            return;
        };
        if self.blocks.overwritten(pa, size) {
            watch.clear_code(offset as usize);
            let entry = self.tlb.entry_mut(va, mode);
            if entry.write & (PAGE_MASK | INVALID | MMIO) == va & PAGE_MASK {
                entry.write &= !CODE;
            }
        }
    }

    fn read_device(&mut self, pa: u64, size: u64) -> Result<u128, Flow> {
        if size == 16 {
            let low = self.read_device(pa, 8)?;
            return Ok(low | self.read_device(pa + 8, 8)? << 64);
        }
        let mask = if size == 8 {
            u64::MAX
        } else {
            (1 << (size * 8)) - 1
        };
        if let Some(value) = I::local_read(self, pa, size) {
            return Ok(u128::from(value & mask));
        }
        self.ask(|| VmExit::MmioRead {
            address: pa,
            size: size as u8,
        })
        .map(|value| u128::from(value & mask))
    }

    fn write_device(&mut self, pa: u64, size: u64, value: u128) -> Result<(), Flow> {
        if size == 16 {
            self.write_device(pa, 8, value & u128::from(u64::MAX))?;
            return self.write_device(pa + 8, 8, value >> 64);
        }
        let mask = if size == 8 {
            u64::MAX
        } else {
            (1 << (size * 8)) - 1
        };
        let data = value as u64 & mask;
        if I::local_write(self, pa, size, data) {
            return Ok(());
        }
        self.ask(|| VmExit::MmioWrite {
            address: pa,
            size: size as u8,
            data,
        })
        .map(|_| ())
    }

    /// Host address of `len` bytes of guest memory that may be read at once:
    /// RAM within one page. `Ok(None)` when the access has to be made piecewise.
    pub fn host_read(&mut self, va: u64, len: u64, mode: u8) -> Result<Option<*const u8>, Flow> {
        let va = I::canonical(&self.s, va);
        let entry = self.translate(va, Access::Read, mode)?;
        let inside = (va & (PAGE_SIZE - 1)) + len <= PAGE_SIZE;
        let plain = entry.read & (MMIO | SLOW) == 0;
        Ok((inside && plain).then(|| va.wrapping_add(entry.addend) as *const u8))
    }
    /// As [`Cpu::host_read`] for a write. Code in the range is dropped, so the
    /// caller must write all of it, at once.
    pub fn host_write(&mut self, va: u64, len: u64, mode: u8) -> Result<Option<*mut u8>, Flow> {
        let va = I::canonical(&self.s, va);
        let entry = self.translate(va, Access::Write, mode)?;
        if (va & (PAGE_SIZE - 1)) + len > PAGE_SIZE || entry.write & (MMIO | SLOW) != 0 {
            return Ok(None);
        }
        let at = va.wrapping_add(entry.addend);
        if entry.write & CODE != 0 {
            self.code_written(va, at, len, mode);
        }
        Ok(Some(at as *mut u8))
    }
    /// Checks that `len` bytes (at most a page) may be written, faulting as a
    /// store would, without writing.
    pub fn probe_write(&mut self, va: u64, len: u64, mode: u8) -> Result<(), Flow> {
        self.translate(va, Access::Write, mode)?;
        let last = va.wrapping_add(len.saturating_sub(1));
        if (va ^ last) & PAGE_MASK != 0 {
            self.translate(last & PAGE_MASK, Access::Write, mode)?;
        }
        Ok(())
    }
    /// Physical address behind `va`, for address translation instructions.
    pub fn physical(&mut self, va: u64, access: Access, mode: u8) -> Result<u64, Flow> {
        let page = I::walk(self, I::canonical(&self.s, va), access, mode)?;
        Ok(page.pa & PAGE_MASK | va & (PAGE_SIZE - 1))
    }
}
