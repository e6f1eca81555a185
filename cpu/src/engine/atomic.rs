//! Read-modify-write accesses: one host atomic operation on RAM, so that other
//! vCPUs and devices never see or lose half of one.

// Host atomics on guest RAM.
#![allow(unsafe_code)]

use super::mem::Scalar;
use super::tlb::{CODE, MMIO};
use super::{Access, Cpu, Flow, Isa, PAGE_MASK};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A scalar with host compare-and-exchange.
pub trait AtomicScalar: Scalar + PartialEq {
    /// Compares and exchanges guest RAM; the value found.
    ///
    /// # Safety
    /// `at` is aligned and lies in a mapping of guest RAM.
    unsafe fn compare_exchange(at: *mut u8, expected: Self, new: Self) -> Result<Self, Self>;
}

macro_rules! atomic {
    ($($t:ty => $a:ty),*) => {$(
        impl AtomicScalar for $t {
            #[inline(always)]
            unsafe fn compare_exchange(at: *mut u8, expected: Self, new: Self) -> Result<Self, Self> {
                // SAFETY: the caller vouches for bounds and alignment.
                let cell = unsafe { <$a>::from_ptr(at.cast()) };
                cell.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst)
            }
        }
    )*};
}
atomic!(u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64);

impl<I: Isa> Cpu<I> {
    /// Replaces memory by `f` of it, atomically where it is aligned RAM, and
    /// returns the old value. `f` may run more than once.
    #[inline]
    pub fn update<T: AtomicScalar>(&mut self, va: u64, f: impl Fn(T) -> T) -> Result<T, Flow> {
        if let Some(at) = self.atomic_host::<T>(va)? {
            // SAFETY: `atomic_host` checked bounds and alignment.
            let mut old = unsafe { T::read(at) };
            loop {
                // SAFETY: as above.
                match unsafe { T::compare_exchange(at, old, f(old)) } {
                    Ok(old) => return Ok(old),
                    Err(found) => old = found,
                }
            }
        }
        self.probe_write(va, size_of::<T>() as u64, self.mode)?;
        let old = self.load::<T>(va)?;
        self.store(va, f(old))?;
        Ok(old)
    }
    /// Stores `new` if memory holds `expected`; returns what it held.
    #[inline]
    pub fn compare_exchange<T: AtomicScalar>(
        &mut self,
        va: u64,
        expected: T,
        new: T,
    ) -> Result<T, Flow> {
        if let Some(at) = self.atomic_host::<T>(va)? {
            // SAFETY: `atomic_host` checked bounds and alignment.
            return Ok(match unsafe { T::compare_exchange(at, expected, new) } {
                Ok(old) | Err(old) => old,
            });
        }
        self.probe_write(va, size_of::<T>() as u64, self.mode)?;
        let old = self.load::<T>(va)?;
        // A failed exchange writes the old value back, as hardware does.
        self.store(va, if old == expected { new } else { old })?;
        Ok(old)
    }
    /// As [`Cpu::compare_exchange`] for 16 bytes. Atomic with respect to this
    /// guest's vCPUs while there is one of them.
    pub fn compare_exchange_16(
        &mut self,
        va: u64,
        expected: u128,
        new: u128,
    ) -> Result<u128, Flow> {
        self.probe_write(va, 16, self.mode)?;
        let old = self.load::<u128>(va)?;
        self.store(va, if old == expected { new } else { old })?;
        Ok(old)
    }
    #[inline(always)]
    fn atomic_host<T: Scalar>(&mut self, va: u64) -> Result<Option<*mut u8>, Flow> {
        if va & (size_of::<T>() as u64 - 1) != 0 {
            return Ok(None);
        }
        let entry = self.tlb.entry(va, self.mode);
        if va & PAGE_MASK == entry.write {
            return Ok(Some(va.wrapping_add(entry.addend) as *mut u8));
        }
        let entry = self.translate(va, Access::Write, self.mode)?;
        let va = I::canonical(&self.s, va);
        Ok((entry.write & (MMIO | CODE) == 0).then(|| va.wrapping_add(entry.addend) as *mut u8))
    }
}
