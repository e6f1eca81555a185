//! The cache of decoded blocks.

mod builder;
#[cfg(feature = "jit")]
mod code;
mod evict;

pub use builder::BlockBuilder;

#[cfg(feature = "jit")]
use super::jit::Name;
use super::op::{Flow, Op};
use super::{Cpu, Isa, PAGE_MASK, PAGE_SIZE};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// The code of the marker behind a block that no instruction ends.
pub(super) const END: u16 = u16::MAX;
/// The code of the op in front of an instruction that crosses a page.
pub(super) const GUARD: u16 = u16::MAX - 1;

/// Most instructions of one block.
pub const MAX_BLOCK_OPS: usize = 64;

/// All blocks are dropped when their ops together exceed this (32 bytes each).
const MAX_CACHED_OPS: usize = 640 * 1024;
/// All blocks of a page are dropped after this many stores to other bytes of
/// it, so that a page that was code once does not stay slow for ever.
const MAX_DATA_STORES: u32 = 64;

const JUMP_BITS: u32 = 14;
/// Address bits from this one on are folded into the choice of an entry.
pub(super) const JUMP_FOLD: u32 = 14;
/// Bits that choose an entry of the jump cache.
pub(super) const JUMP_MASK: usize = (1 << JUMP_BITS) - 1;

/// A link from the end of a block to the block that followed it last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Where the block that followed was.
    pub va: u64,
    /// Where compiled code goes on: its compiled code, or the way back. Within
    /// a page compiled code looks at nothing else.
    #[cfg(feature = "jit")]
    pub code: u64,
    pub to: u32,
    /// Valid while this equals the epoch that `kind` names.
    pub epoch: u32,
    /// The block that ends with it.
    #[cfg(feature = "jit")]
    pub from: u32,
    pub kind: u8,
    /// Which of that block's.
    #[cfg(feature = "jit")]
    pub which: u8,
}

const NO_LINK: Link = Link {
    va: 0,
    #[cfg(feature = "jit")]
    code: 0,
    to: 0,
    epoch: 0,
    #[cfg(feature = "jit")]
    from: 0,
    kind: 0,
    #[cfg(feature = "jit")]
    which: 0,
};

/// A straight run of decoded instructions.
pub struct Block<I: Isa> {
    pub(super) ops: Box<[Op<I>]>,
    pub(super) links: [Link; 2],
    /// Guest physical address of the first byte.
    pub pa: u64,
    /// Bytes of guest code.
    pub bytes: u16,
    /// Guest instructions.
    pub n: u16,
    /// Mode it was decoded in.
    pub mode: u8,
    pub(super) dead: bool,
    /// Compiled code, or 0.
    #[cfg(feature = "jit")]
    pub(super) code: u64,
    /// Entries since it was decoded.
    #[cfg(feature = "jit")]
    pub(super) heat: u32,
    /// Which block of its place this is.
    #[cfg(feature = "jit")]
    pub(super) serial: u64,
    /// In the cache, and so in memory as long as anything leads to it.
    #[cfg(feature = "jit")]
    pub(super) cached: bool,
    /// Links of the same page that lead here: block and which of its two.
    #[cfg(feature = "jit")]
    incoming: Vec<(u32, u8)>,
    /// First blocks of the compiled regions that this one is part of.
    #[cfg(feature = "jit")]
    covered: Vec<Name>,
}

impl<I: Isa> fmt::Debug for Block<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("pa", &self.pa)
            .field("n", &self.n)
            .field("ops", &self.ops)
            .finish()
    }
}

fn stale<I: Isa>(_: &mut Cpu<I>, _: &Op<I>) -> Flow {
    Flow::Stale
}

/// A multiplicative hash: keys are addresses and never chosen by an attacker
/// who gains from collisions in his own guest.
#[derive(Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type AddressMap<V> = HashMap<u64, V, BuildHasherDefault<AddressHasher>>;

/// An entry of the jump cache. Its size is a power of two, for compiled code.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Jump {
    pub key: u64,
    /// Where compiled code goes on: the block's compiled code, or the way back.
    #[cfg(feature = "jit")]
    pub code: u64,
    pub epoch: u32,
    to: u32,
}

const NO_JUMP: Jump = Jump {
    key: 0,
    #[cfg(feature = "jit")]
    code: 0,
    epoch: 0,
    to: 0,
};

#[derive(Debug, Default)]
struct CodePage {
    blocks: Vec<u32>,
    data_stores: u32,
}

/// Kinds of epochs. A link or a jump-cache entry is valid while the epoch of
/// its kind has not moved on.
pub(super) const EPOCH_ALWAYS: u8 = 0;
pub(super) const EPOCH_LOW: u8 = 1;
pub(super) const EPOCH_HIGH: u8 = 2;

/// The half of the address space: user addresses are low, kernel ones high.
#[inline(always)]
pub(super) fn half(va: u64) -> u8 {
    if (va as i64) < 0 {
        EPOCH_HIGH
    } else {
        EPOCH_LOW
    }
}

/// All blocks of one vCPU.
pub(super) struct BlockCache<I: Isa> {
    slots: Vec<Option<Box<Block<I>>>>,
    free: Vec<u32>,
    by_pa: AddressMap<u32>,
    pages: AddressMap<CodePage>,
    pub jumps: Box<[Jump; JUMP_MASK + 1]>,
    // Boxed: a running block must not move.
    #[allow(clippy::vec_box)]
    graveyard: Vec<Box<Block<I>>>,
    cached_ops: usize,
    most_ops: usize,
    pub epochs: [u32; 3],
    // Which virtual pages (hashed) were fetched from since the epoch moved: a
    // page flush elsewhere need not touch links at all.
    fetched: [[u64; 64]; 2],
    pub decoded: u64,
    /// Ways back for links and jumps that lead to no compiled code.
    #[cfg(feature = "jit")]
    pub ways_back: WaysBack,
    /// A block is gone since compiled code was entered.
    #[cfg(feature = "jit")]
    pub broken: bool,
}

/// Addresses of code that goes back to the run loop.
#[cfg(feature = "jit")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WaysBack {
    /// From a link.
    pub link: u64,
    /// From a jump to any address.
    pub jump: u64,
}

impl<I: Isa> BlockCache<I> {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_pa: AddressMap::default(),
            pages: AddressMap::default(),
            jumps: Box::new([NO_JUMP; JUMP_MASK + 1]),
            graveyard: Vec::new(),
            cached_ops: 0,
            most_ops: MAX_CACHED_OPS,
            epochs: [1; 3],
            fetched: [[0; 64]; 2],
            decoded: 0,
            #[cfg(feature = "jit")]
            ways_back: WaysBack::default(),
            #[cfg(feature = "jit")]
            broken: false,
        }
    }
    #[inline(always)]
    pub fn get(&mut self, index: u32) -> Option<&mut Block<I>> {
        self.slots.get_mut(index as usize)?.as_deref_mut()
    }
    #[inline(always)]
    fn jump_slot(va: u64) -> usize {
        ((va >> I::ALIGN_BITS) ^ (va >> JUMP_FOLD)) as usize & JUMP_MASK
    }
    #[inline(always)]
    fn jump_key(va: u64, mode: u8) -> u64 {
        va ^ (u64::from(mode) << 56)
    }
    #[inline(always)]
    pub fn jump(&self, va: u64, mode: u8) -> Option<u32> {
        let jump = &self.jumps[Self::jump_slot(va)];
        (jump.key == Self::jump_key(va, mode) && jump.epoch == self.epochs[half(va) as usize])
            .then_some(jump.to)
    }
    pub fn remember_jump(&mut self, va: u64, mode: u8, to: u32) {
        self.note_fetch(va);
        self.jumps[Self::jump_slot(va)] = Jump {
            key: Self::jump_key(va, mode),
            #[cfg(feature = "jit")]
            code: self.ways_back.jump,
            epoch: self.epochs[half(va) as usize],
            to,
        };
    }
    /// The link `old`, now from a block at `from_va` to block `to` at `to_va`.
    pub fn link(&mut self, old: Link, from_va: u64, to_va: u64, to: u32) -> Link {
        let kind = if (from_va ^ to_va) & PAGE_MASK == 0 {
            EPOCH_ALWAYS
        } else {
            half(to_va)
        };
        #[cfg(feature = "jit")]
        if kind == EPOCH_ALWAYS
            && let Some(block) = self.get(to)
            && !block.incoming.contains(&(old.from, old.which))
        {
            block.incoming.push((old.from, old.which));
        }
        let epoch = self.epochs[kind as usize];
        let mut link = old;
        (link.va, link.to, link.epoch, link.kind) = (to_va, to, epoch, kind);
        #[cfg(feature = "jit")]
        {
            link.code = self.ways_back.link;
        }
        link
    }
    fn fetch_bit(va: u64) -> (usize, u64) {
        let hash = (va >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        ((hash >> 6) as usize & 63, 1 << (hash & 63))
    }
    pub fn note_fetch(&mut self, va: u64) {
        let (word, bit) = Self::fetch_bit(va);
        self.fetched[half(va) as usize - 1][word] |= bit;
    }
    /// The mapping of the page at `va` changed.
    pub fn flush_page(&mut self, va: u64) {
        let (word, bit) = Self::fetch_bit(va);
        if self.fetched[half(va) as usize - 1][word] & bit != 0 {
            self.bump(half(va));
        }
    }
    /// Mappings changed: links and jumps of this kind have to be found anew.
    pub fn bump(&mut self, kind: u8) {
        let epoch = &mut self.epochs[kind as usize];
        *epoch = epoch.wrapping_add(1);
        let wrapped = *epoch == 0;
        if kind != EPOCH_ALWAYS {
            self.fetched[kind as usize - 1] = [0; 64];
        }
        if wrapped {
            // Once in four billion: entries of old epochs could match again.
            self.drop_all();
        }
    }
    pub fn bump_all(&mut self) {
        for kind in [EPOCH_ALWAYS, EPOCH_LOW, EPOCH_HIGH] {
            self.bump(kind);
        }
    }
    fn key(pa: u64, mode: u8) -> u64 {
        (pa << 1) | u64::from(mode & 1)
    }
    pub fn by_pa(&self, pa: u64, mode: u8) -> Option<u32> {
        self.by_pa.get(&Self::key(pa, mode)).copied()
    }
    /// Adds a block that lies in one page. Says whether it is the first there.
    pub fn insert(&mut self, #[allow(unused_mut)] mut block: Box<Block<I>>) -> (u32, bool) {
        #[cfg(feature = "jit")]
        {
            block.cached = true;
        }
        self.graveyard.clear();
        if self.cached_ops > self.most_ops {
            self.make_room();
        }
        self.decoded += 1;
        #[cfg(feature = "jit")]
        {
            block.serial = self.decoded;
        }
        self.cached_ops += block.ops.len();
        let (pa, mode) = (block.pa, block.mode);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        #[cfg(feature = "jit")]
        for (link, which) in block.links.iter_mut().zip(0..) {
            (link.from, link.which, link.code) = (index, which, self.ways_back.link);
        }
        self.slots[index as usize] = Some(block);
        self.by_pa.insert(Self::key(pa, mode), index);
        let page = self.pages.entry(pa & PAGE_MASK).or_default();
        page.blocks.push(index);
        (index, page.blocks.len() == 1)
    }
    fn kill(&mut self, index: u32) {
        let Some(mut block) = self.slots.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        self.by_pa.remove(&Self::key(block.pa, block.mode));
        self.cached_ops -= block.ops.len();
        self.free.push(index);
        #[cfg(feature = "jit")]
        self.unlink(index, &mut block);
        block.dead = true;
        // The block may be running: what is left of it must not.
        // Guard and end marker are no instructions and do not count as such.
        for op in block.ops.iter().filter(|op| op.len != 0) {
            op.run.set(stale::<I>);
        }
        self.graveyard.push(block);
    }
    /// Drops every block; the running one stays in memory until the next insert.
    pub fn drop_all(&mut self) {
        for index in 0..self.slots.len() as u32 {
            self.kill(index);
        }
        self.slots.clear();
        self.free.clear();
        self.pages.clear();
        self.epochs = self.epochs.map(|epoch| epoch.wrapping_add(1).max(1));
        self.jumps.fill(NO_JUMP);
    }
    /// Drops the block that begins with this op; it may be running.
    pub fn drop_block(&mut self, first: *const Op<I>) {
        let is_it = |slot: &Option<Box<Block<I>>>| {
            let block = slot.as_ref();
            block.is_some_and(|block| std::ptr::eq(block.ops.as_ptr(), first))
        };
        let Some(index) = self.slots.iter().position(is_it) else {
            return;
        };
        let index = index as u32;
        // The next store to a page without blocks lifts its protection.
        self.pages.retain(|_, page| {
            page.blocks.retain(|&other| other != index);
            !page.blocks.is_empty()
        });
        self.kill(index);
    }
    /// Guest code at `pa` was overwritten. Says whether the page holds no more
    /// blocks. `len` is within the page.
    pub fn overwritten(&mut self, pa: u64, len: u64) -> bool {
        let page_pa = pa & PAGE_MASK;
        let Some(page) = self.pages.get_mut(&page_pa) else {
            return true;
        };
        page.data_stores += 1;
        let everything = page.data_stores > MAX_DATA_STORES || len >= PAGE_SIZE;
        let mut kept = Vec::new();
        let mut hit = Vec::new();
        for index in page.blocks.drain(..) {
            let overlaps = self
                .slots
                .get(index as usize)
                .and_then(Option::as_ref)
                .is_some_and(|b| b.pa < pa + len && pa < b.pa + u64::from(b.bytes));
            if everything || overlaps {
                hit.push(index)
            } else {
                kept.push(index)
            }
        }
        let empty = kept.is_empty();
        page.blocks = kept;
        if empty {
            self.pages.remove(&page_pa);
        }
        if !hit.is_empty() {
            for index in hit {
                self.kill(index);
            }
            self.bump_all();
        }
        empty
    }
    pub fn count(&self) -> usize {
        self.by_pa.len()
    }
}
