//! What an instruction set has to say to run on the engine.

use super::{BlockBuilder, Cpu, Flow};
use crate::VmExit;
use bus::SimTime;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Kind of a guest memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write (and read-modify-write).
    Write,
    /// Instruction fetch.
    Fetch,
}

/// What a page walk found for one 4 KiB page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Guest physical address of the page.
    pub pa: u64,
    /// Reads are allowed in the mode of the walk.
    pub read: bool,
    /// Writes are allowed now, with no bookkeeping left to do (an x86 page that
    /// is not dirty yet says `false`, so that the first write walks again).
    pub write: bool,
    /// Fetches are allowed.
    pub exec: bool,
    /// Survives [`Cpu::flush_nonglobal`].
    pub global: bool,
    /// Every access takes the slow path although it is memory (for rules that
    /// only the slow path checks, such as alignment of Device accesses).
    pub slow: bool,
}

/// What [`Isa::decode`] made of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The builder holds at least one op.
    Block,
    /// The first instruction goes on beyond the given bytes.
    NeedMore,
}

/// An instruction set.
///
/// Modes: 0 is the privileged mode, 1 the user mode. A mode selects a TLB table
/// and is part of the key of a block.
pub trait Isa: Sized + 'static {
    /// All that a snapshot needs of one vCPU.
    type State: Clone + Debug + Send + Serialize + DeserializeOwned;
    /// An exception that waits for delivery.
    type Trap: Copy + Debug + Default + Send;
    /// Run-time connections of the vCPU (interrupt lines, message inbox).
    type Extra: Send;
    /// Longest instruction in bytes.
    const MAX_LEN: usize;
    /// Low bits of an instruction's address that are always zero.
    const ALIGN_BITS: u32;

    /// What compiled code keeps of the flags in force, instead of the words of
    /// the state; the default says that these are up to date.
    #[cfg(feature = "jit")]
    type Pending: Copy + Debug + Default;
    /// Byte offset of the program counter in the state.
    #[cfg(feature = "jit")]
    const PC_OFFSET: usize;
    /// Byte offset of the general registers in the state, eight bytes each.
    #[cfg(feature = "jit")]
    const GPR_OFFSET: usize;
    /// Appends code that does what the handler of `op` does. Says `false`,
    /// having appended nothing, for an op that is to be left to its handler. The
    /// last op of a block settles and leaves it.
    #[cfg(feature = "jit")]
    fn lower(to: &mut super::jit::Lower<'_, Self>, op: &super::Op<Self>) -> bool;
    /// The name of an operation, for people.
    #[cfg(feature = "jit")]
    fn name(code: u16) -> String;
    /// Whether an op is a jump to a place that its immediate gives.
    #[cfg(feature = "jit")]
    fn is_jump(op: &super::Op<Self>) -> bool;
    /// Describes pending flags for [`Isa::write_flags`]: what they are of, and up
    /// to three operands of 64 bits. `None` leaves them to [`Isa::store_flags`].
    #[cfg(feature = "jit")]
    fn describe_flags(
        to: &mut super::jit::Lower<'_, Self>,
        pending: Self::Pending,
    ) -> Option<(u64, [super::jit::Value; 3])>;
    /// Writes flags so described to the state.
    #[cfg(feature = "jit")]
    extern "C" fn write_flags(cpu: &mut Cpu<Self>, what: u64, a: u64, b: u64, r: u64);
    /// Whether the handler of an op looks at floating-point flags, or computes with
    /// floating-point numbers.
    #[cfg(feature = "jit")]
    fn is_float(op: &super::Op<Self>) -> bool;
    /// Makes the host ready to collect floating-point flags; see
    /// [`super::jit::sticky`].
    #[cfg(feature = "jit")]
    fn begin_floats(state: &Self::State);
    /// Adds to the state what the host collected, before anything else may look at
    /// it or compute.
    #[cfg(feature = "jit")]
    fn end_floats(state: &mut Self::State);
    /// Writes pending flags to the state. Uses the values in `pending` alone.
    #[cfg(feature = "jit")]
    fn store_flags(to: &mut super::jit::Lower<'_, Self>, pending: Self::Pending);

    /// The program counter.
    fn pc(state: &Self::State) -> u64;
    /// Sets the program counter.
    fn set_pc(state: &mut Self::State, pc: u64);
    /// Virtual address as the TLB and the block cache use it (drops tag bits).
    fn canonical(_state: &Self::State, va: u64) -> u64 {
        va
    }

    /// Walks the page tables for `va` in `mode`. On a fault sets
    /// [`Cpu::trap`] and returns `Err(Flow::Trap)`. Must not allocate or loop
    /// without bound. Guest tables are read and updated by the `phys` methods.
    fn walk(cpu: &mut Cpu<Self>, va: u64, access: Access, mode: u8) -> Result<Page, Flow>;

    /// Checks a data access to a page that the walk marked `slow`. On a fault
    /// sets [`Cpu::trap`] and returns `Err(Flow::Trap)`.
    fn check_slow(_cpu: &mut Cpu<Self>, _va: u64, _size: u64, _access: Access) -> Result<(), Flow> {
        Ok(())
    }

    /// Reads from a device that is part of the CPU itself; `None` where there is
    /// none. Called with the physical address of an access outside RAM; must
    /// answer alike when the instruction is replayed.
    fn local_read(_cpu: &mut Cpu<Self>, _pa: u64, _size: u64) -> Option<u64> {
        None
    }
    /// Writes to a device that is part of the CPU itself. Says whether there
    /// is one.
    fn local_write(_cpu: &mut Cpu<Self>, _pa: u64, _size: u64, _data: u64) -> bool {
        false
    }

    /// Decodes instructions from `bytes`, which lie at virtual address `va`,
    /// into `out` until a branch, the end of the bytes or a full builder. An
    /// instruction that does not lie in `bytes` whole ends the block before it.
    /// Bytes that are no instruction become an op that raises the right trap.
    fn decode(cpu: &Cpu<Self>, va: u64, bytes: &[u8], out: &mut BlockBuilder<Self>) -> Decoded;

    /// Delivers [`Cpu::trap`]; the pc is that of the instruction that raised
    /// it. Returns an exit when the CPU cannot go on.
    fn deliver(cpu: &mut Cpu<Self>) -> Option<VmExit>;

    /// Called at a block head when a signal bit of [`Cpu::signal_mask`] is set
    /// and whenever [`Isa::next_timer`] may have passed: updates timers, takes
    /// an interrupt if one is deliverable, updates [`Cpu::signal_mask`].
    fn poll(cpu: &mut Cpu<Self>, now: SimTime) -> Option<VmExit>;

    /// When the next per-CPU timer needs [`Isa::poll`]; [`SimTime::MAX`] for never.
    fn next_timer(cpu: &Cpu<Self>) -> SimTime;

    /// Whether a halted CPU has a reason to run on (a pending interrupt, masked
    /// or not as the instruction set says).
    fn wakes(cpu: &Cpu<Self>) -> bool;

    /// A register dump, for a crash report.
    fn dump(state: &Self::State) -> String;
}
