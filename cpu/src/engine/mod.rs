//! The engine that both instruction sets share.
//!
//! | file | idea |
//! |---|---|
//! | `isa` | what an instruction set has to say |
//! | `op` | a decoded instruction, and how control goes on after it |
//! | `block` | cache of decoded blocks, links between them, self-modifying code |
//! | `crossing` | instructions that cross into the next page |
//! | `tlb` | soft TLB |
//! | `phys` | guest physical memory as the CPU sees it |
//! | `mem` | guest loads and stores |
//! | `atomic` | read-modify-write accesses |
//! | `io` | device accesses that leave the CPU and are replayed |
//! | `run` | the run loop: exact budgets, interrupts at block heads |
//! | `jit` | hot blocks compiled (feature `jit`) |

mod atomic;
mod block;
mod cpu;
mod crossing;
mod io;
mod isa;
#[cfg(feature = "jit")]
pub mod jit;
mod mem;
mod op;
mod phys;
mod run;
#[cfg(test)]
mod tests;
mod tlb;

pub use atomic::AtomicScalar;
pub use block::{Block, BlockBuilder, MAX_BLOCK_OPS};
pub use cpu::{Cpu, EngineStats};
pub use io::IoLog;
pub use isa::{Access, Decoded, Isa, Page};
pub use mem::Scalar;
pub use op::{Flow, Handler, Op};
pub use phys::PhysMap;
pub use tlb::{PAGE_MASK, PAGE_SIZE, Tlb};
