//! What compiled code calls in the engine.
//!
//! A helper leaves its flow in [`super::Shared::flow`] and returns the host
//! address at which compiled code finds the bytes it asked for (or may store
//! those it has, which are stored already), or 0 when it has to leave.

// Called from compiled code with raw pointers.
#![allow(unsafe_code)]

use crate::engine::{Block, Cpu, Flow, Isa, Op};

/// In a size: two halves, each an access of its own.
pub(super) const PAIR: u64 = 0x80;

/// Loads for an access that missed the soft TLB: integers alone, so that the host's
/// floating-point flags stay what they are.
pub(super) extern "C" fn load<I: Isa>(cpu: &mut Cpu<I>, va: u64, size: u64) -> u64 {
    let value = match size {
        1 => cpu.load::<u8>(va).map(u128::from),
        2 => cpu.load::<u16>(va).map(u128::from),
        4 => cpu.load::<u32>(va).map(u128::from),
        8 => cpu.load::<u64>(va).map(u128::from),
        16 => cpu.load::<u128>(va),
        _ => pair(cpu, va),
    };
    arrive(cpu, value)
}

/// Two words, each loaded by itself.
fn pair<I: Isa>(cpu: &mut Cpu<I>, va: u64) -> Result<u128, Flow> {
    let low = cpu.load::<u32>(va)?;
    let high = cpu.load::<u32>(va.wrapping_add(4))?;
    Ok(u128::from(low) | u128::from(high) << 32)
}

fn arrive<I: Isa>(cpu: &mut Cpu<I>, value: Result<u128, Flow>) -> u64 {
    match value {
        Ok(value) => {
            cpu.shared.buffer[0] = value;
            &raw const cpu.shared.buffer as u64
        }
        Err(flow) => {
            cpu.shared.flow = flow as u32;
            0
        }
    }
}

/// Carries out an op that compiled code does not, or whose store missed the
/// soft TLB. The address is a buffer that nobody reads.
///
/// # Safety
/// `op` is an op of `block`, which is in memory.
pub(super) unsafe extern "C" fn op<I: Isa>(
    cpu: &mut Cpu<I>,
    op: *const Op<I>,
    block: *const Block<I>,
) -> u64 {
    // SAFETY: the caller vouches for both.
    let (op, dead) = unsafe { (&*op, &raw const (*block).dead) };
    let flow = (op.run.get())(cpu, op);
    // The op may have overwritten its own block, whose next op is stale then.
    let flow = match flow {
        // SAFETY: as above; a dead block stays in memory until one is decoded.
        Flow::Next if unsafe { dead.read() } => Flow::Stale,
        flow => flow,
    };
    cpu.shared.flow = flow as u32;
    // What would follow within the region may be gone.
    if flow == Flow::Next && !cpu.blocks.broken {
        &raw const cpu.shared.buffer as u64
    } else {
        0
    }
}

/// As [`op`], for one that [`Isa::is_float`].
///
/// # Safety
/// As for [`op`].
pub(super) unsafe extern "C" fn float_op<I: Isa>(
    cpu: &mut Cpu<I>,
    op: *const Op<I>,
    block: *const Block<I>,
) -> u64 {
    let collected = cpu.shared.floats != 0;
    if collected {
        I::end_floats(&mut cpu.s);
    }
    // SAFETY: the caller vouches for both.
    let host = unsafe { self::op(cpu, op, block) };
    if collected {
        I::begin_floats(&cpu.s);
    }
    host
}

/// Begins to collect the host's floating-point flags. Returns nothing of use.
pub(super) extern "C" fn begin_floats<I: Isa>(cpu: &mut Cpu<I>, _: u64, _: u64) -> u64 {
    I::begin_floats(&cpu.s);
    cpu.shared.floats = 1;
    0
}

/// As [`op`], for an op that reads `size` bytes at `va` and stores to them: the
/// address holds what was read before.
///
/// # Safety
/// As for [`op`].
pub(super) unsafe extern "C" fn update<I: Isa>(
    cpu: &mut Cpu<I>,
    op: *const Op<I>,
    block: *const Block<I>,
    va: u64,
    size: u64,
) -> u64 {
    let value = match size {
        1 => cpu.load_to_update::<u8>(va).map(u128::from),
        2 => cpu.load_to_update::<u16>(va).map(u128::from),
        4 => cpu.load_to_update::<u32>(va).map(u128::from),
        _ => cpu.load_to_update::<u64>(va).map(u128::from),
    };
    let old = match value {
        Ok(old) => old,
        Err(flow) => {
            cpu.shared.flow = flow as u32;
            return 0;
        }
    };
    // SAFETY: the caller vouches for both.
    let host = unsafe { self::op(cpu, op, block) };
    cpu.shared.buffer[0] = old;
    host
}
