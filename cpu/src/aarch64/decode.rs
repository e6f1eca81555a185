//! The top of the decoder (Arm ARM C4.1).

use super::build::*;
use super::{Aarch64, Code, Trap, branch, ec, exception, fp, imm, ldst, reg, simd, system};
use crate::engine::{BlockBuilder, Decoded};

pub(super) fn block(cpu: &C, va: u64, bytes: &[u8], out: &mut BlockBuilder<Aarch64>) -> Decoded {
    if va & 3 != 0 {
        out.push_last(raising(Code::Misaligned, Trap::new(ec::PC_ALIGNMENT, 0)), 4);
        return Decoded::Block;
    }
    let fp_on = fp_enabled(cpu, out.mode);
    for word in bytes.as_chunks::<4>().0 {
        if out.is_full() {
            break;
        }
        let insn = u32::from_le_bytes(*word);
        let (op, last) = one(insn, out.mode, fp_on, out.offset())
            .unwrap_or_else(|| (raising(Code::Undefined, Trap::undefined()), true));
        if last {
            out.push_last(op, 4);
            break;
        }
        out.push(op, 4);
    }
    if out.is_empty() {
        Decoded::NeedMore
    } else {
        Decoded::Block
    }
}

/// CPACR_EL1.FPEN.
fn fp_enabled(cpu: &C, mode: u8) -> bool {
    match cpu.s.sys.cpacr >> 20 & 3 {
        3 => true,
        1 => mode == 0,
        _ => false,
    }
}

fn one(insn: u32, mode: u8, fp_on: bool, offset: usize) -> Option<Last> {
    let more = |op: O| (op, false);
    match bits(insn, 25, 4) {
        0b1000 | 0b1001 => imm::decode(insn).map(more),
        0b1010 | 0b1011 => control(insn, mode, fp_on, offset),
        0b0101 | 0b1101 => reg::decode(insn).map(more),
        0b0111 | 0b1111 => floating(fp_on, simd::decode(insn).or_else(|| fp::decode(insn))?),
        n if n & 0b0101 == 0b0100 => {
            let op = ldst::decode(insn)?;
            if bit(insn, 26) {
                floating(fp_on, op)
            } else {
                Some(more(op))
            }
        }
        // Reserved, SVE and the rest.
        _ => None,
    }
}

/// An instruction of floating point, which may be off.
fn floating(on: bool, op: O) -> Option<Last> {
    if on {
        Some((op, false))
    } else {
        // CV is set and the condition is "always", as from AArch64.
        let trap = Trap::new(ec::FP_ACCESS, 1 << 24 | 0xe << 20);
        Some((raising(Code::FpOff, trap), true))
    }
}

fn control(insn: u32, mode: u8, fp_on: bool, offset: usize) -> Option<Last> {
    let at = |op: O| Some((branch::settle(op, offset), true));
    match bits(insn, 25, 7) {
        0b0101010 => at(branch::conditional(insn)?),
        0b1101010 if bit(insn, 24) => {
            if bits(insn, 22, 2) != 0 {
                return None;
            }
            let (op, last) = system::decode(insn, mode)?;
            // FPCR and FPSR.
            if bits(insn, 8, 13) == 0b1_1011_0100_0100 {
                return floating(fp_on, op);
            }
            Some((op, last))
        }
        0b1101010 => system::exception(insn, mode),
        0b1101011 if insn & !0x1f == 0xd69f_03e0 & !0x1f && mode == 0 => {
            // ERET.
            (insn == 0xd69f_03e0).then(|| (op(Code::Eret, exception::eret), true))
        }
        0b1101011 => Some((branch::register(insn)?, true)),
        n if n & 0b0111110 == 0b0001010 => at(branch::immediate(insn)),
        n if n & 0b0111111 == 0b0011010 => at(branch::compare(insn)),
        n if n & 0b0111111 == 0b0011011 => at(branch::test(insn)),
        _ => None,
    }
}
