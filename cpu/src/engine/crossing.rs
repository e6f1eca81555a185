//! Instructions that cross into the next page, each a block of its own.
//!
//! The block belongs to the page in which the instruction begins. The mapping and
//! the bytes of the next page may change on their own, so an op in front of the
//! instruction, the guard, looks at both whenever the block runs.

// Reads guest code by host addresses.
#![allow(unsafe_code)]

use super::block::{BlockBuilder, GUARD};
use super::tlb::{Entry, MMIO};
use super::{Access, Cpu, Decoded, Flow, Isa, Op, PAGE_MASK, PAGE_SIZE};

/// Most bytes of one instruction of any instruction set.
const LONGEST: usize = 16;

/// The first bytes of the page at `va`, which `entry` is for.
fn start_of_page(va: u64, entry: &Entry) -> u128 {
    // SAFETY: at least a page lies at that host address.
    unsafe { (va.wrapping_add(entry.addend) as *const u128).read_unaligned() }
}

/// Of bytes of the next page, the first `count`, kept in the fields of a guard.
fn keep<I: Isa>(op: &mut Op<I>, bytes: u128, count: usize) {
    op.imm = bytes as u64;
    op.disp = (bytes >> 64) as i32;
    [op.a, op.b, op.c, op.d] = ((bytes >> 96) as u32).to_le_bytes();
    op.e = count as u8;
}

/// Whether the bytes are those that a guard keeps.
fn are_kept<I: Isa>(op: &Op<I>, bytes: u128) -> bool {
    let top = u32::from_le_bytes([op.a, op.b, op.c, op.d]);
    let kept = u128::from(op.imm) | u128::from(op.disp as u32) << 64 | u128::from(top) << 96;
    (bytes ^ kept) << (8 * (LONGEST - usize::from(op.e))) == 0
}

impl<I: Isa> Cpu<I> {
    /// Decodes the instruction at `pc`, whose first bytes, all that its page
    /// has, are `start`. `None` where it cannot be fetched from memory.
    pub(super) fn decode_crossing(
        &mut self,
        pc: u64,
        start: &[u8],
    ) -> Result<Option<BlockBuilder<I>>, Flow> {
        let next = (pc & PAGE_MASK).wrapping_add(PAGE_SIZE);
        let entry = self.translate(next, Access::Fetch, self.mode)?;
        let have = start.len();
        if entry.exec & MMIO != 0 || have >= I::MAX_LEN {
            return Ok(None);
        }
        let rest = start_of_page(I::canonical(&self.s, next), &entry);
        let mut bytes = [0u8; LONGEST * 2];
        bytes[..have].copy_from_slice(start);
        bytes[have..have + LONGEST].copy_from_slice(&rest.to_le_bytes());
        // One instruction only: what follows lies in the next page.
        let mut builder = BlockBuilder::new(self.mode, 1);
        let decoded = I::decode(self, pc, &bytes[..I::MAX_LEN], &mut builder);
        if decoded == Decoded::NeedMore || builder.is_empty() {
            return Ok(None);
        }
        // What is no instruction may be so for any of its bytes.
        let seen = match builder.offset() {
            len if len > have => len,
            _ => I::MAX_LEN,
        };
        let mut op = Op::new(GUARD, guard::<I> as _);
        keep(&mut op, rest, seen - have);
        builder.guard(op);
        Ok(Some(builder))
    }

    /// Looks at the next page anew, which is not in the TLB or has other bytes.
    #[cold]
    #[inline(never)]
    fn cross_again(&mut self, op: &Op<I>) -> Result<Flow, Flow> {
        let next = (self.block_va() & PAGE_MASK).wrapping_add(PAGE_SIZE);
        let entry = self.translate(next, Access::Fetch, self.mode)?;
        let va = I::canonical(&self.s, next);
        if entry.exec & MMIO == 0 && are_kept(op, start_of_page(va, &entry)) {
            return Ok(Flow::Next);
        }
        self.blocks.drop_block(op);
        self.blocks.bump_all();
        Err(Flow::Stale)
    }
}

/// Lets the instruction behind it run if it is still what it was.
fn guard<I: Isa>(cpu: &mut Cpu<I>, op: &Op<I>) -> Flow {
    let va = I::canonical(&cpu.s, cpu.block_va());
    let next = (va & PAGE_MASK).wrapping_add(PAGE_SIZE);
    let entry = cpu.tlb.entry(next, cpu.mode);
    if entry.exec == next && are_kept(op, start_of_page(next, entry)) {
        return Flow::Next;
    }
    cpu.cross_again(op).unwrap_or_else(|flow| flow)
}
