//! How often compiled code leaves an op to its handler, counted by operation
//! where the environment variable `VMM_JIT_CALLS` asks for it.

// Called from compiled code with raw pointers.
#![allow(unsafe_code)]

use super::helpers;
use crate::engine::{Block, Cpu, Isa, Op};

/// Operations that are told apart.
const CODES: usize = 1 << 13;
/// Operations in a report.
const SHOWN: usize = 60;

/// Calls by operation; reported at the end.
#[derive(Debug)]
pub(super) struct Calls {
    counts: Vec<u64>,
    name: fn(u16) -> String,
}

impl Calls {
    /// Counters, if they are asked for.
    pub fn from_env<I: Isa>() -> Option<Self> {
        std::env::var_os("VMM_JIT_CALLS")?;
        Some(Self {
            counts: vec![0; CODES],
            name: I::name,
        })
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let mut found: Vec<(u64, u16)> = self.counts.iter().copied().zip(0..).collect();
        found.retain(|&(count, _)| count != 0);
        found.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        let all: u64 = found.iter().map(|&(count, _)| count).sum();
        let list = |&(count, code): &(u64, u16)| format!("{} {count}", (self.name)(code));
        let list: Vec<String> = found.iter().take(SHOWN).map(list).collect();
        tracing::warn!("{all} calls of handlers: {}", list.join(", "));
    }
}

/// As [`helpers::op`], counted.
///
/// # Safety
/// As for that.
pub(super) unsafe extern "C" fn op<I: Isa>(
    cpu: &mut Cpu<I>,
    op: *const Op<I>,
    block: *const Block<I>,
) -> u64 {
    // SAFETY: the caller vouches for it.
    count(cpu, unsafe { &*op });
    // SAFETY: the caller vouches for it.
    unsafe { helpers::op(cpu, op, block) }
}

/// As [`helpers::float_op`], counted.
///
/// # Safety
/// As for that.
pub(super) unsafe extern "C" fn float_op<I: Isa>(
    cpu: &mut Cpu<I>,
    op: *const Op<I>,
    block: *const Block<I>,
) -> u64 {
    // SAFETY: the caller vouches for it.
    count(cpu, unsafe { &*op });
    // SAFETY: the caller vouches for it.
    unsafe { helpers::float_op(cpu, op, block) }
}

fn count<I: Isa>(cpu: &mut Cpu<I>, op: &Op<I>) {
    let calls = cpu.jit.as_mut().and_then(|jit| jit.calls.as_mut());
    if let Some(count) = calls.and_then(|calls| calls.counts.get_mut(usize::from(op.code))) {
        *count += 1;
    }
}
