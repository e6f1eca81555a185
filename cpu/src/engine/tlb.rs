//! The soft TLB: direct-mapped, one table for each mode.
//!
//! An entry has a tag for each kind of access and one host addend. The low bits
//! of a tag are flags; a set flag makes the one compare of the fast path fail.

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;
/// The page bits of an address.
pub const PAGE_MASK: u64 = !(PAGE_SIZE - 1);

const BITS: u32 = 10;
const ENTRIES: usize = 1 << BITS;
const MODES: usize = 2;

/// The tag matches nothing.
pub(super) const INVALID: u64 = 1;
/// The page is no RAM: the addend gives the physical address.
pub(super) const MMIO: u64 = 2;
/// Writes take the slow path because the page holds decoded code.
pub(super) const CODE: u64 = 4;
/// Every access takes the slow path.
pub(super) const SLOW: u64 = 8;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Entry {
    pub read: u64,
    pub write: u64,
    pub exec: u64,
    /// Host address (RAM) or physical address (MMIO) minus virtual address.
    pub addend: u64,
}

/// Bits that choose an entry within a mode.
#[cfg(feature = "jit")]
pub(super) const SLOT_MASK: usize = ENTRIES - 1;
/// Bytes from the entries of one mode to those of the next.
#[cfg(feature = "jit")]
pub(super) const MODE_BYTES: usize = ENTRIES * size_of::<Entry>();

const EMPTY: Entry = Entry {
    read: INVALID,
    write: INVALID,
    exec: INVALID,
    addend: 0,
};

/// Soft TLB of one vCPU.
#[derive(Debug)]
pub struct Tlb {
    // In place: compiled code finds an entry from the CPU itself.
    pub(super) entries: [Entry; ENTRIES * MODES],
    // Slots of each mode filled with non-global translations since the last
    // non-global flush, each listed once: a context switch clears only these.
    nonglobal: [Vec<u16>; MODES],
    listed: Box<[bool; ENTRIES * MODES]>,
    /// Refills since the start, for statistics.
    pub refills: u64,
    /// Flushes since the start (all, non-global), for statistics.
    pub flushes: u64,
}

impl Default for Tlb {
    fn default() -> Self {
        Self {
            entries: [EMPTY; ENTRIES * MODES],
            nonglobal: [Vec::with_capacity(ENTRIES), Vec::with_capacity(ENTRIES)],
            listed: Box::new([false; ENTRIES * MODES]),
            refills: 0,
            flushes: 0,
        }
    }
}

impl Tlb {
    #[inline(always)]
    fn slot(va: u64, mode: u8) -> usize {
        ((va >> 12) as usize & (ENTRIES - 1)) | ((mode as usize & (MODES - 1)) << BITS)
    }
    #[inline(always)]
    pub(super) fn entry(&self, va: u64, mode: u8) -> &Entry {
        &self.entries[Self::slot(va, mode)]
    }
    pub(super) fn entry_mut(&mut self, va: u64, mode: u8) -> &mut Entry {
        &mut self.entries[Self::slot(va, mode)]
    }
    pub(super) fn fill(&mut self, va: u64, mode: u8, entry: Entry, global: bool) {
        let slot = Self::slot(va, mode);
        self.refills += 1;
        self.entries[slot] = entry;
        if !global && !self.listed[slot] {
            self.listed[slot] = true;
            self.nonglobal[mode as usize & (MODES - 1)].push(slot as u16);
        }
    }
    pub(super) fn flush_all(&mut self) {
        self.flushes += 1;
        self.entries.fill(EMPTY);
        self.nonglobal.iter_mut().for_each(Vec::clear);
        self.listed.fill(false);
    }
    /// May also drop global translations that share a slot: that is harmless.
    pub(super) fn flush_nonglobal(&mut self) {
        self.flush_nonglobal_of(0);
        self.flush_nonglobal_of(1);
    }
    /// As [`Tlb::flush_nonglobal`] for one mode. Says whether anything was there.
    pub(super) fn flush_nonglobal_of(&mut self, mode: u8) -> bool {
        let list = &mut self.nonglobal[mode as usize & (MODES - 1)];
        if list.is_empty() {
            return false;
        }
        self.flushes += 1;
        for slot in list.drain(..) {
            self.entries[slot as usize] = EMPTY;
            self.listed[slot as usize] = false;
        }
        true
    }
    pub(super) fn flush_page(&mut self, va: u64) {
        for mode in 0..MODES as u8 {
            let entry = self.entry_mut(va, mode);
            let page = va & PAGE_MASK;
            if [entry.read, entry.write, entry.exec]
                .iter()
                .any(|tag| tag & (PAGE_MASK | INVALID) == page)
            {
                *entry = EMPTY;
            }
        }
    }
    /// Makes writes to the host page at `host` take the slow path.
    pub(super) fn protect(&mut self, host: u64) {
        for entry in self.entries.iter_mut() {
            if entry.write & (INVALID | MMIO) == 0
                && (entry.write & PAGE_MASK).wrapping_add(entry.addend) == host
            {
                entry.write |= CODE;
            }
        }
    }
}
