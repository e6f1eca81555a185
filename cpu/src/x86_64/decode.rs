//! From bytes to ops.

use super::trap::{nm, ud};
use super::{X86, int, sse, sys, x87};
use crate::Cpu;
use crate::engine::{BlockBuilder, Decoded, Op};
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic};

/// LZCNT and TZCNT are hidden: their encodings are BSR and BSF.
const OPTIONS: u32 = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD;

const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR4_OSFXSR: u64 = 1 << 9;

/// An op, and whether control never goes on behind it in the block.
#[derive(Debug)]
pub(super) struct Lowered {
    pub op: Op<X86>,
    pub last: bool,
    /// End the block after the instruction that follows (interrupt shadow).
    pub last_but_one: bool,
}

impl From<Op<X86>> for Lowered {
    fn from(op: Op<X86>) -> Self {
        Self {
            op,
            last: false,
            last_but_one: false,
        }
    }
}

/// Decodes a block; see [`crate::Isa::decode`].
pub(super) fn decode(
    cpu: &Cpu<X86>,
    va: u64,
    bytes: &[u8],
    out: &mut BlockBuilder<X86>,
) -> Decoded {
    let mut decoder = Decoder::with_ip(64, bytes, va, OPTIONS);
    let mut i = Instruction::default();
    let mut more = usize::MAX;
    while !out.is_full() && more > 0 {
        if !decoder.can_decode() {
            break;
        }
        decoder.decode_out(&mut i);
        if i.is_invalid() {
            if decoder.last_error() == DecoderError::NoMoreBytes {
                break;
            }
            out.push_last(Op::new(i.code() as u16, |cpu, _| ud(cpu)), i.len());
            return Decoded::Block;
        }
        let lowered = lower(cpu, &i, va);
        more = if lowered.last_but_one { 1 } else { more - 1 };
        if lowered.last {
            out.push_last(lowered.op, i.len());
        } else {
            out.push(lowered.op, i.len());
        }
    }
    if out.is_empty() {
        Decoded::NeedMore
    } else {
        Decoded::Block
    }
}

/// Lowers one instruction. `va` is the start of the block.
fn lower(cpu: &Cpu<X86>, i: &Instruction, va: u64) -> Lowered {
    if let Some(lowered) = int::lower(i, va).or_else(|| sys::lower(i)) {
        return lowered;
    }
    if let Some(op) = sse::lower_crc32(i) {
        return op.into();
    }
    // Blocks are dropped when these control bits change, so the ops themselves
    // need not look at them.
    if let Some(op) = sse::lower(i) {
        let state = matches!(
            i.mnemonic(),
            Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64
        );
        return if !state && (cpu.s.cr0 & CR0_EM != 0 || cpu.s.cr4 & CR4_OSFXSR == 0) {
            undefined(i)
        } else if cpu.s.cr0 & (CR0_TS | CR0_EM) != 0 {
            last(Op::new(i.code() as u16, |cpu, _| nm(cpu)))
        } else {
            op.into()
        };
    }
    if let Some(op) = x87::lower(i) {
        return if cpu.s.cr0 & (CR0_TS | CR0_EM) != 0 {
            last(Op::new(i.code() as u16, |cpu, _| nm(cpu)))
        } else {
            op.into()
        };
    }
    undefined(i)
}

fn undefined(i: &Instruction) -> Lowered {
    last(Op::new(i.code() as u16, |cpu, _| ud(cpu)))
}

/// An op that always leaves the block.
pub(super) fn last(op: Op<X86>) -> Lowered {
    Lowered {
        op,
        last: true,
        last_but_one: false,
    }
}
