//! Finds writes to pages that hold translated code.
//!
//! A CPU engine keeps decoded blocks of guest code. Its own stores find out by
//! its TLB when they hit such a page; a device that writes guest memory goes
//! through `vm-memory`, which reports every write to the region's bitmap. This
//! bitmap is that report: pages are marked as code by the engine, and a device
//! write to a marked page is remembered until the engine has dropped its blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use vm_memory::bitmap::{Bitmap, NewBitmap, RefSlice, WithBitmapSlice};

const PAGE_SHIFT: usize = 12;
const CODE: u8 = 1;
const WRITTEN: u8 = 2;

#[derive(Debug, Default)]
struct Shared {
    pages: Vec<AtomicU8>,
    any_written: AtomicBool,
}

/// The write watch of one memory region.
#[derive(Clone, Debug, Default)]
pub struct WriteWatch {
    shared: Arc<Shared>,
}

impl WriteWatch {
    /// Marks the page that holds byte `offset` as holding decoded code.
    pub fn set_code(&self, offset: usize) {
        if let Some(page) = self.page(offset) {
            page.fetch_or(CODE, Ordering::Relaxed);
        }
    }
    /// The page that holds byte `offset` has no decoded code any more.
    pub fn clear_code(&self, offset: usize) {
        if let Some(page) = self.page(offset) {
            page.store(0, Ordering::Relaxed);
        }
    }
    /// Whether the page that holds byte `offset` is marked as code.
    pub fn is_code(&self, offset: usize) -> bool {
        self.page(offset)
            .is_some_and(|page| page.load(Ordering::Relaxed) & CODE != 0)
    }
    /// Whether a device wrote to any code page since the last [`Self::take_written`].
    pub fn any_written(&self) -> bool {
        self.shared.any_written.load(Ordering::Acquire)
    }
    /// Calls `each` with the byte offset of every code page that a device wrote
    /// to, and forgets them.
    pub fn take_written(&self, mut each: impl FnMut(usize)) {
        if !self.shared.any_written.swap(false, Ordering::AcqRel) {
            return;
        }
        for (index, page) in self.shared.pages.iter().enumerate() {
            if page.load(Ordering::Relaxed) & WRITTEN != 0 {
                page.fetch_and(!WRITTEN, Ordering::Relaxed);
                each(index << PAGE_SHIFT);
            }
        }
    }
    fn page(&self, offset: usize) -> Option<&AtomicU8> {
        self.shared.pages.get(offset >> PAGE_SHIFT)
    }
}

impl<'a> WithBitmapSlice<'a> for WriteWatch {
    type S = RefSlice<'a, Self>;
}

impl Bitmap for WriteWatch {
    #[inline]
    fn mark_dirty(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = offset >> PAGE_SHIFT;
        let last = offset.saturating_add(len - 1) >> PAGE_SHIFT;
        let end = self.shared.pages.len().min(last + 1);
        for page in self.shared.pages.get(first..end).unwrap_or_default() {
            if page.load(Ordering::Relaxed) & CODE != 0 {
                page.fetch_or(WRITTEN, Ordering::Relaxed);
                self.shared.any_written.store(true, Ordering::Release);
            }
        }
    }
    fn dirty_at(&self, offset: usize) -> bool {
        self.page(offset)
            .is_some_and(|page| page.load(Ordering::Relaxed) & WRITTEN != 0)
    }
    #[inline]
    fn slice_at(&self, offset: usize) -> RefSlice<'_, Self> {
        RefSlice::new(self, offset)
    }
}

impl NewBitmap for WriteWatch {
    fn with_len(len: usize) -> Self {
        let pages = (0..len.div_ceil(1 << PAGE_SHIFT))
            .map(|_| AtomicU8::new(0))
            .collect();
        Self {
            shared: Arc::new(Shared {
                pages,
                any_written: AtomicBool::new(false),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::create_ram;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

    #[test]
    fn device_writes_to_code_pages_are_found() {
        let ram = create_ram(&[(0x1000, 0x4000)]).unwrap();
        let region = ram.iter().next().unwrap();
        let mmap = region.get_mmap();
        let watch = mmap.bitmap();
        ram.write_obj(1u64, GuestAddress(0x2000)).unwrap();
        assert!(!watch.any_written());
        watch.set_code(0x1000);
        ram.write_slice(&[1; 16], GuestAddress(0x1ff8)).unwrap();
        let mut found = Vec::new();
        watch.take_written(|offset| found.push(offset));
        assert_eq!(found, [0x1000]);
        assert!(!watch.any_written());
        watch.clear_code(0x1000);
        ram.write_slice(&[1; 16], GuestAddress(0x1ff8)).unwrap();
        assert!(!watch.any_written());
    }
}
