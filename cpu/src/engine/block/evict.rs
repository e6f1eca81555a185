//! Which blocks go when there are too many.

use super::BlockCache;
#[cfg(feature = "jit")]
use super::{Block, MAX_CACHED_OPS};
use crate::engine::Isa;

/// As [`MAX_CACHED_OPS`], where blocks that run seldom go before the others.
#[cfg(feature = "jit")]
const MAX_FRUGAL_OPS: usize = 256 * 1024;
/// Blocks that were entered so often stay at first. Most code of a boot runs
/// once or twice.
#[cfg(feature = "jit")]
const OFTEN: u32 = 8;

impl<I: Isa> BlockCache<I> {
    /// Keeps fewer blocks, and chooses them by how often they run. Then page
    /// walks for fetches, and so accessed bits, may depend on what is compiled.
    #[cfg(feature = "jit")]
    pub fn set_frugal(&mut self, frugal: bool) {
        self.most_ops = if frugal {
            MAX_FRUGAL_OPS
        } else {
            MAX_CACHED_OPS
        };
    }
    /// Drops blocks until at most half of those that may be are left. No block
    /// runs.
    pub(super) fn make_room(&mut self) {
        #[cfg(feature = "jit")]
        if self.most_ops < MAX_CACHED_OPS {
            for often in [OFTEN, u32::MAX] {
                self.drop_where(|block| !block.is_compiled() && block.heat < often);
                if self.cached_ops <= self.most_ops / 2 {
                    return;
                }
            }
        }
        self.drop_all();
        self.graveyard.clear();
    }

    #[cfg(feature = "jit")]
    fn drop_where(&mut self, goes: impl Fn(&Block<I>) -> bool) {
        let gone = |slot: &Option<Box<Block<I>>>| slot.as_deref().is_some_and(&goes);
        for page in self.pages.values_mut() {
            let slots = &self.slots;
            page.blocks
                .retain(|&n| slots.get(n as usize).is_some_and(|slot| !gone(slot)));
        }
        // The next store to a page without blocks lifts its protection.
        self.pages.retain(|_, page| !page.blocks.is_empty());
        for index in (0..self.slots.len() as u32).rev() {
            if self.slots.get(index as usize).is_some_and(gone) {
                self.kill(index);
            }
        }
        self.graveyard.clear();
        self.bump_all();
    }
}
