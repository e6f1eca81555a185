//! AdvSIMD data processing, and all loads and stores of V registers.
//!
//! Every op keeps the instruction word in `disp`, so that a reader of ops can
//! look at any field; the operands of the common ones are in a to e and `imm`.

mod across;
mod copy;
mod fp;
mod lanes;
mod mem;
mod ops;
mod permute;
mod shift;
mod structs;
mod three;
mod wide;

use super::{Aarch64, SIMD_CODES};
use crate::engine::{Handler, Op};

type A64Op = Op<Aarch64>;

/// Operation numbers: the families of handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    Load = SIMD_CODES,
    Store,
    LoadIndexed,
    StoreIndexed,
    LoadLiteral,
    LoadPair,
    StorePair,
    LoadStructures,
    StoreStructures,
    LoadLane,
    StoreLane,
    LoadReplicate,
    Three,
    Element,
    Long,
    LongElement,
    Two,
    TwoWide,
    Shift,
    Across,
    Dup,
    DupGeneral,
    Ins,
    InsGeneral,
    ToGeneral,
    Movi,
    OrrImm,
    BicImm,
    Ext,
    Table,
    Permute,
    Reverse,
    Not,
    Fp,
}

fn new_op(code: Code, run: Handler<Aarch64>, insn: u32) -> A64Op {
    let mut op = Op::new(code as u16, run);
    op.disp = insn as i32;
    op
}

/// Decodes an AdvSIMD data-processing instruction or a load or store of V
/// registers; `None` where it is undefined.
pub(super) fn decode(insn: u32) -> Option<Op<Aarch64>> {
    match insn >> 25 & 15 {
        // Loads and stores, bit 26 set.
        0b0110 if insn >> 28 & 3 == 0 => structs::decode(insn),
        0b0110 | 0b1110 => mem::decode(insn),
        0b0111 | 0b1111 => data(insn),
        _ => None,
    }
}

fn data(insn: u32) -> Option<A64Op> {
    let scalar = insn >> 28 & 1 != 0;
    // Bit 31 is 0; a scalar has bit 30 set, or it is no AdvSIMD instruction.
    if insn >> 31 != 0 || (scalar && insn >> 30 & 1 == 0) {
        return None;
    }
    if insn >> 24 & 1 != 0 {
        return immediate_or_element(insn, scalar);
    }
    if insn >> 21 & 1 != 0 {
        return match insn >> 10 & 3 {
            1 | 3 if insn >> 14 & 3 == 3 => fp::three_same(insn),
            1 | 3 => three::same(insn),
            0 => wide::different(insn),
            _ => match insn >> 17 & 15 {
                0 => misc(insn, scalar),
                8 => across::decode(insn).or_else(|| fp::across(insn)),
                _ => None,
            },
        };
    }
    if insn >> 15 & 1 != 0 {
        return None;
    }
    if insn >> 22 & 3 == 0 && insn >> 10 & 1 != 0 {
        return copy::decode(insn);
    }
    if scalar || insn >> 10 & 1 != 0 {
        return None;
    }
    permute::decode(insn)
}

fn misc(insn: u32, scalar: bool) -> Option<A64Op> {
    three::misc(insn)
        .or_else(|| wide::misc(insn))
        .or_else(|| if scalar { None } else { permute::misc(insn) })
        .or_else(|| permute::decode_not(insn))
        .or_else(|| fp::misc(insn))
}

fn immediate_or_element(insn: u32, scalar: bool) -> Option<A64Op> {
    if insn >> 10 & 1 == 0 {
        return three::by_element(insn)
            .or_else(|| wide::by_element(insn))
            .or_else(|| fp::by_element(insn));
    }
    if insn >> 23 & 1 != 0 {
        return None;
    }
    if insn >> 19 & 15 == 0 {
        return if scalar {
            None
        } else {
            copy::modified_immediate(insn)
        };
    }
    shift::decode(insn).or_else(|| fp::shift(insn))
}
