//! How a side of a ring reaches card memory.

use super::Spans;
use bus::{GuestRam, WriteWatch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MmapRegion, VolatileMemory,
};

/// Card memory did not answer: an address that is not memory, or a DMA that
/// failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("card memory at {0:#x} does not answer")]
pub struct RingFault(pub u64);

/// Access to card memory by card address.
///
/// `load` and `store` are for 8-byte words at multiples of 8 and are single-copy
/// atomic. A store is a release: bytes written before are visible to whoever
/// loads the word. A load is an acquire.
pub trait RingMemory {
    /// Reads bytes.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault>;
    /// Writes bytes.
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault>;
    /// Loads a word.
    fn load(&self, at: u64) -> Result<u64, RingFault>;
    /// Stores a word.
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault>;
    /// Loads neighbouring words, in order. Where each access is a DMA, this is
    /// one of them.
    fn load_line(&self, at: u64, words: &mut [u64]) -> Result<(), RingFault> {
        for (word, at) in words.iter_mut().zip((at..).step_by(8)) {
            *word = self.load(at)?;
        }
        Ok(())
    }
    /// Says that `spans` are to be read and then the word at `witness` loaded,
    /// and that copies made now, in this order, may answer until the next
    /// [`RingMemory::load_line`]. Worth something where accesses are costly.
    fn read_ahead(&self, _spans: &Spans, _witness: u64) -> Result<(), RingFault> {
        Ok(())
    }
}

impl<M: RingMemory + ?Sized> RingMemory for &M {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        (**self).read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        (**self).write(at, from)
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        (**self).load(at)
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        (**self).store(at, word)
    }
    fn load_line(&self, at: u64, words: &mut [u64]) -> Result<(), RingFault> {
        (**self).load_line(at, words)
    }
    fn read_ahead(&self, spans: &Spans, witness: u64) -> Result<(), RingFault> {
        (**self).read_ahead(spans, witness)
    }
}

/// Direct access to the card's DDR: the RAM of the board guest, whose physical
/// addresses are the card's addresses.
#[derive(Clone, Debug)]
pub struct DdrWindow(pub Arc<GuestRam>);

impl DdrWindow {
    /// The word at `at`, when it is in RAM and aligned.
    fn word(&self, at: u64) -> Result<&AtomicU64, RingFault> {
        // Every access of a word goes through one slice: the write watch of the
        // region is not told, because card memory of rings holds no guest code.
        self.0
            .find_region(GuestAddress(at))
            .and_then(|region| {
                let offset = at - region.start_addr().0;
                let map: &MmapRegion<WriteWatch> = region;
                map.get_atomic_ref(offset as usize).ok()
            })
            .ok_or(RingFault(at))
    }
}

impl RingMemory for DdrWindow {
    #[inline]
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        match self.0.get_slice(GuestAddress(at), into.len()) {
            Ok(slice) => {
                slice.copy_to(into);
                Ok(())
            }
            Err(_) => self
                .0
                .read_slice(into, GuestAddress(at))
                .map_err(|_| RingFault(at)),
        }
    }
    #[inline]
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        match self.0.get_slice(GuestAddress(at), from.len()) {
            Ok(slice) => {
                slice.copy_from(from);
                Ok(())
            }
            Err(_) => self
                .0
                .write_slice(from, GuestAddress(at))
                .map_err(|_| RingFault(at)),
        }
    }
    #[inline]
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        Ok(u64::from_le(self.word(at)?.load(Ordering::Acquire)))
    }
    #[inline]
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        self.word(at)?.store(word.to_le(), Ordering::Release);
        Ok(())
    }
    #[inline]
    fn load_line(&self, at: u64, words: &mut [u64]) -> Result<(), RingFault> {
        for (word, at) in words.iter_mut().zip((at..).step_by(8)) {
            *word = self.load(at)?;
        }
        Ok(())
    }
}
