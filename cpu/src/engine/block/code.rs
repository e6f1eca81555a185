//! Compiled code of cached blocks: which are compiled together, and what leads to
//! their code.

use super::super::jit::{Name, Source};
use super::super::{Isa, PAGE_MASK};
use super::{Block, BlockCache, END, EPOCH_ALWAYS};

/// Most blocks of a region.
const MOST_BLOCKS: usize = 8;
/// Ops after which no more blocks are added to a region.
const MOST_OPS: usize = 96;

impl<I: Isa> Block<I> {
    /// How far from the block the target of one of its links is.
    pub(in crate::engine) fn link_offset(&self, which: u8) -> u64 {
        match (which, self.ops.last()) {
            (0, Some(last)) => last.imm,
            _ => self.bytes.into(),
        }
    }

    /// Whether it is the first of a region, or was part of one since it began to
    /// count.
    pub(super) fn is_compiled(&self) -> bool {
        self.code != 0 || !self.covered.is_empty()
    }
    /// Its place and its number.
    fn name(&self) -> Name {
        Name {
            index: self.links[0].from,
            serial: self.serial,
        }
    }
}

impl<I: Isa> BlockCache<I> {
    /// The region of blocks to compile with `head`: those of its page that
    /// follow it, are not compiled, and are entered about as often as
    /// `threshold` says. They do not ask for a compilation of their own before
    /// [`BlockCache::begin_anew`] or [`BlockCache::set_code`] tells how this one ended.
    pub fn region(&mut self, head: &Block<I>, threshold: u32) -> (Vec<Name>, Source<I>) {
        let mut names = vec![head.name()];
        let mut source = Source::of(head);
        let mut ops = head.ops.len();
        let mut at = 0;
        while let Some(&name) = names.get(at) {
            for which in 0..2 {
                let Some((to, pa)) = self.follower(name.index, which) else {
                    continue;
                };
                let member = names.iter().position(|name| name.index == to);
                let room = names.len() < MOST_BLOCKS && ops < MOST_OPS;
                let Some(block) = self.get(to) else {
                    continue;
                };
                if block.pa != pa || block.mode != head.mode {
                    continue;
                }
                // One that is waited for is hotter.
                let hot = ((threshold / 4).max(1)..threshold).contains(&block.heat);
                if let Some(member) = member {
                    source.lead(at, which, member);
                } else if room && hot && block.code == 0 {
                    block.heat = threshold + 1;
                    source.add(block, at, which);
                    ops += block.ops.len();
                    names.push(block.name());
                }
            }
            at += 1;
        }
        (names, source)
    }
    /// The place of the block that a link within a page led to, and its address,
    /// if compiled code of both could do without the link.
    fn follower(&mut self, index: u32, which: usize) -> Option<(u32, u64)> {
        let now = self.epochs[usize::from(EPOCH_ALWAYS)];
        let block = self.get(index)?;
        let last = block.ops.last()?;
        let link = block.links[which];
        let pa = block.pa.wrapping_add(block.link_offset(which as u8));
        let same_page = (pa ^ block.pa) & PAGE_MASK == 0;
        let good = link.kind == EPOCH_ALWAYS && link.epoch == now && same_page;
        (good && (last.code == END || I::is_jump(last))).then_some((link.to, pa))
    }
    /// Whether these blocks are still there.
    pub fn have(&mut self, names: &[Name]) -> bool {
        names.iter().all(|name| self.named(*name).is_some())
    }
    /// A compilation came to nothing: the blocks begin to count anew.
    pub fn begin_anew(&mut self, names: &[Name]) {
        for &name in names {
            if let Some(block) = self.named(name) {
                block.heat = 0;
            }
        }
    }
    fn named(&mut self, name: Name) -> Option<&mut Block<I>> {
        self.get(name.index)
            .filter(|block| block.serial == name.serial)
    }
    /// Gives a region, by its blocks, its code. Those behind the first begin to
    /// count how often they are entered from elsewhere.
    pub fn set_code(&mut self, names: &[Name], code: u64) {
        let Some((&first, others)) = names.split_first() else {
            return;
        };
        if let Some(head) = self.named(first) {
            head.code = code;
        }
        for &name in others {
            if let Some(block) = self.named(name) {
                block.covered.push(first);
                block.heat = 0;
            }
        }
    }
    /// Takes a block its code: a block that is part of it is gone.
    fn uncompile(&mut self, name: Name) {
        let back = self.ways_back.link;
        let Some(head) = self.named(name) else {
            return;
        };
        (head.code, head.heat) = (0, 0);
        let incoming = head.incoming.clone();
        for (from, which) in incoming {
            if let Some(source) = self.get(from)
                && source.links[usize::from(which)].to == name.index
            {
                source.links[usize::from(which)].code = back;
            }
        }
    }
    /// Lets compiled code go straight to the block at `va`, which is in the
    /// jump cache.
    pub fn remember_code(&mut self, va: u64, code: u64) {
        self.jumps[Self::jump_slot(va)].code = code;
    }
    /// Forgets all compiled code.
    pub fn forget_code(&mut self) {
        let back = self.ways_back;
        for block in self.slots.iter_mut().flatten() {
            (block.code, block.heat) = (0, 0);
            block.covered.clear();
            block
                .links
                .iter_mut()
                .for_each(|link| link.code = back.link);
        }
        self.jumps.iter_mut().for_each(|jump| jump.code = back.jump);
    }
    /// No compiled code may go to or from this block, which was just taken out.
    pub(super) fn unlink(&mut self, index: u32, block: &mut Block<I>) {
        self.broken = true;
        for head in block.covered.drain(..) {
            self.uncompile(head);
        }
        let back = self.ways_back.link;
        for (from, which) in block.incoming.drain(..) {
            // Another block may have its place by now.
            if let Some(Some(source)) = self.slots.get_mut(from as usize)
                && source.links[usize::from(which)].to == index
            {
                source.links[usize::from(which)].code = back;
            }
        }
        block.links.iter_mut().for_each(|link| link.code = back);
    }
}
