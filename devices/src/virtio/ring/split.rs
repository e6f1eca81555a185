//! The split ring.

use super::{ChainError, MAX_CHAIN, Queue, RingError};
use bus::{GuestRam, RamSlice, RamView, Segment};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{Ordering, fence};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const DESCRIPTOR: usize = 16;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT` and `VIRTQ_USED_F_NO_NOTIFY`.
const QUIET: u16 = 1;

struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// What a chain offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Number of segments the device may read; they come first.
    pub readable: usize,
    /// Their bytes.
    pub readable_len: u64,
    /// Bytes of the segments the device may write.
    pub writable_len: u64,
}

/// A queue and the memory it lies in.
pub struct Ring<'a> {
    queue: &'a mut Queue,
    /// Guest memory with the region at hand that was hit last.
    ram: Cell<RamView<'a>>,
    descriptors: RamSlice<'a>,
    available: RamSlice<'a>,
    used: RamSlice<'a>,
}

impl<'a> Ring<'a> {
    pub(super) fn new(queue: &'a mut Queue, ram: &'a GuestRam) -> Result<Self, RingError> {
        let size = usize::from(queue.config.size);
        // Both event fields are always there: virtio 1.2, section 2.7.
        let view = RamView::new(ram, queue.config.descriptors);
        let part = |address: u64, len: usize| match view.near(address, len) {
            Some(slice) => Ok(slice),
            None => ram
                .get_slice(GuestAddress(address), len)
                .map_err(|_| RingError::Address(address)),
        };
        Ok(Self {
            descriptors: part(queue.config.descriptors, DESCRIPTOR * size)?,
            available: part(queue.config.available, 6 + 2 * size)?,
            used: part(queue.config.used, 6 + 8 * size)?,
            queue,
            ram: Cell::new(view),
        })
    }
    /// Guest memory.
    #[inline]
    pub fn memory(&self) -> RamView<'a> {
        self.ram.get()
    }
    /// Number of descriptors.
    #[inline]
    pub fn size(&self) -> u16 {
        self.queue.config.size
    }
    /// Number of chains that the guest made available and the device has not
    /// taken yet.
    #[inline]
    pub fn available(&self) -> Result<u16, RingError> {
        let index = load(&self.available, 2, Ordering::Acquire);
        let seen = self.queue.state.next_available;
        let ahead = index.wrapping_sub(seen);
        if ahead > self.size() {
            return Err(RingError::AvailableIndex { index, seen });
        }
        Ok(ahead)
    }
    /// Head of the `nth` chain that is available; `nth` is below
    /// [`Ring::available`].
    #[inline]
    pub fn head(&self, nth: u16) -> Result<u16, RingError> {
        let slot = self.queue.state.next_available.wrapping_add(nth) & (self.size() - 1);
        let head = load(
            &self.available,
            4 + 2 * usize::from(slot),
            Ordering::Relaxed,
        );
        if head >= self.size() {
            return Err(RingError::Head(head));
        }
        Ok(head)
    }
    /// Appends the segments of the chain at `head` to `segments`, readable ones
    /// first. On an error `segments` holds a part of them.
    #[inline]
    pub fn walk(&self, head: u16, segments: &mut Vec<Segment>) -> Result<Walk, ChainError> {
        let mut walk = Walk::default();
        let mut table = self.descriptors;
        let mut entries = usize::from(self.size());
        let mut limit = entries;
        let mut indirect = false;
        let mut index = head;
        loop {
            if limit == 0 {
                return Err(ChainError::Length);
            }
            limit -= 1;
            let at = usize::from(index);
            if at >= entries {
                return Err(ChainError::Next);
            }
            let d = descriptor(&table, at * DESCRIPTOR).ok_or(ChainError::Next)?;
            if d.flags & INDIRECT != 0 {
                let len = d.len as usize;
                let fits = (DESCRIPTOR..=MAX_CHAIN * DESCRIPTOR).contains(&len);
                let shape = fits && len.is_multiple_of(DESCRIPTOR) && d.flags & NEXT == 0;
                if indirect || !shape || !self.queue.config.indirect {
                    return Err(ChainError::Indirect);
                }
                table = self.slice(d.address, len).ok_or(ChainError::Address)?;
                entries = len / DESCRIPTOR;
                limit = entries;
                indirect = true;
                index = 0;
                continue;
            }
            if d.len == 0 {
                return Err(ChainError::Empty);
            }
            if !self.in_ram(d.address, d.len) {
                return Err(ChainError::Address);
            }
            if d.flags & WRITE != 0 {
                walk.writable_len += u64::from(d.len);
            } else if walk.writable_len != 0 {
                return Err(ChainError::Order);
            } else {
                walk.readable += 1;
                walk.readable_len += u64::from(d.len);
            }
            segments.push(Segment {
                address: d.address,
                len: d.len,
            });
            if d.flags & NEXT == 0 {
                return Ok(walk);
            }
            index = d.next;
        }
    }
    /// `len` bytes of guest memory in one piece.
    #[inline]
    fn slice(&self, address: u64, len: usize) -> Option<RamSlice<'a>> {
        let near = self.ram.get().near(address, len);
        near.or_else(|| self.look_up(address, len))
    }
    /// As [`Ring::slice`], in another region, which is at hand from now on.
    #[cold]
    fn look_up(&self, address: u64, len: usize) -> Option<RamSlice<'a>> {
        let view = RamView::new(self.ram.get().ram(), address);
        let slice = view.near(address, len)?;
        self.ram.set(view);
        Some(slice)
    }
    /// Whether a segment lies in RAM; it may cross from one region to the next.
    #[inline]
    fn in_ram(&self, address: u64, len: u32) -> bool {
        let len = len as usize;
        let ram = self.ram.get().ram();
        self.slice(address, len).is_some() || ram.check_range(GuestAddress(address), len)
    }
    /// Takes `count` chains off the available ring.
    #[inline]
    pub fn consume(&mut self, count: u16) {
        let next = &mut self.queue.state.next_available;
        *next = next.wrapping_add(count);
    }
    /// Puts a chain on the used ring, `written` bytes of it filled. The guest
    /// sees it after [`Ring::publish`].
    #[inline]
    pub fn push_used(&mut self, head: u16, written: u32) {
        let next = &mut self.queue.state.next_used;
        let at = 4 + 8 * usize::from(*next & (self.queue.config.size - 1));
        store32(&self.used, at, u32::from(head));
        store32(&self.used, at + 4, written);
        *next = next.wrapping_add(1);
    }
    /// Lets the guest see what was pushed.
    pub fn publish(&mut self) {
        let next = self.queue.state.next_used;
        store(&self.used, 2, next, Ordering::Release);
    }
    /// Whether the guest wants an interrupt for what was published since the
    /// last call.
    pub fn wants_interrupt(&mut self) -> bool {
        let new = self.queue.state.next_used;
        let old = self.queue.asked.replace(new);
        if old == Some(new) {
            return false;
        }
        // The used index must be visible before the guest's wish is read.
        fence(Ordering::SeqCst);
        if !self.queue.config.event_idx {
            return load(&self.available, 0, Ordering::Relaxed) & QUIET == 0;
        }
        let Some(old) = old else { return true };
        let event = load(
            &self.available,
            4 + 2 * usize::from(self.size()),
            Ordering::Relaxed,
        );
        passed(event, new, old)
    }
    /// Asks the guest to notify when it makes more than `seen` chains available.
    /// Returns whether it did so in the meantime: then look again.
    pub fn listen(&mut self, seen: u16) -> Result<bool, RingError> {
        self.queue.quiet = false;
        if self.queue.config.event_idx {
            let event = self.queue.state.next_available.wrapping_add(seen);
            store(&self.used, self.event_at(), event, Ordering::Relaxed);
        } else {
            store(&self.used, 0, 0, Ordering::Relaxed);
        }
        // The wish must be visible before the index is read again.
        fence(Ordering::SeqCst);
        Ok(self.available()? != seen)
    }
    /// Asks the guest not to notify. With event indexes the old wish stays
    /// behind, and the guest passes it once in 65,536 chains at most.
    #[inline]
    pub fn hush(&mut self) {
        if self.queue.quiet {
            return;
        }
        self.queue.quiet = true;
        if !self.queue.config.event_idx {
            store(&self.used, 0, QUIET, Ordering::Relaxed);
        }
    }
    fn event_at(&self) -> usize {
        4 + 8 * usize::from(self.size())
    }
}

/// Whether an index that went from `old` to `new` passed `event`
/// (virtio 1.2, section 2.7.7.1).
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[inline]
fn descriptor(table: &RamSlice<'_>, at: usize) -> Option<Descriptor> {
    let mut raw = [0u8; DESCRIPTOR];
    table.read_slice(&mut raw, at).ok()?;
    let (address, rest) = raw.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (flags, next) = rest.split_first_chunk::<2>()?;
    Some(Descriptor {
        address: u64::from_le_bytes(*address),
        len: u32::from_le_bytes(*len),
        flags: u16::from_le_bytes(*flags),
        next: u16::from_le_bytes([next[0], next[1]]),
    })
}

// The slices were made with room for every offset used here, and queue
// addresses are aligned: these accesses cannot fail.
#[inline]
fn load(slice: &RamSlice<'_>, at: usize, order: Ordering) -> u16 {
    slice.load(at, order).map_or(0, u16::from_le)
}

#[inline]
fn store(slice: &RamSlice<'_>, at: usize, value: u16, order: Ordering) {
    let _ = slice.store(value.to_le(), at, order);
}

#[inline]
fn store32(slice: &RamSlice<'_>, at: usize, value: u32) {
    let _ = slice.store(value.to_le(), at, Ordering::Relaxed);
}

impl fmt::Debug for Ring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("queue", &self.queue).finish()
    }
}
