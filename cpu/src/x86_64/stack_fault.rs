//! Which accesses to non-canonical addresses are stack faults.
//!
//! #SS takes the place of #GP for an access through SS (Intel SDM volume 3,
//! 6.15, vector 12): that of PUSH, CALL and their like, and that of a memory
//! operand whose base is RSP or RBP, unless FS or GS is given. In 64-bit mode
//! the other segment prefixes do nothing. It is found out when the fault is
//! delivered, so that no access pays for it.

use super::X86;
use super::trap::{X86Trap, vector};
use crate::Cpu;
use crate::engine::{Access, Flow};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// Raises #GP for an access to `va`, which is not canonical; [`sort`] may make
/// it #SS.
#[cold]
#[inline(never)]
pub(super) fn raise(cpu: &mut Cpu<X86>, va: u64, access: Access) -> Flow {
    cpu.raise(X86Trap {
        // 0 is canonical: it stands for any other #GP.
        info: if access == Access::Fetch { 0 } else { va },
        ..X86Trap::with_code(vector::GP, 0)
    })
}

/// The exception to deliver for `trap`, which the instruction at the pc raised.
pub(super) fn sort(cpu: &mut Cpu<X86>, trap: X86Trap) -> X86Trap {
    if trap.vector != vector::GP || trap.info == 0 {
        return trap;
    }
    let is_stack = instruction(cpu).is_some_and(|i| through_stack(cpu, &i, trap.info));
    X86Trap {
        vector: if is_stack { vector::SS } else { vector::GP },
        info: 0,
        ..trap
    }
}

/// The instruction at the pc. It was decoded there before, so its bytes can be
/// read.
fn instruction(cpu: &mut Cpu<X86>) -> Option<Instruction> {
    let (pc, mode) = (cpu.s.rip, cpu.mode());
    let mut bytes = [0; 15];
    let mut count = 0;
    for (at, byte) in (0..).zip(&mut bytes) {
        let Ok(value) = cpu.load_as::<u8>(pc.wrapping_add(at), mode) else {
            // The next page is none of this instruction's.
            cpu.exit = None;
            break;
        };
        *byte = value;
        count += 1;
    }
    let mut decoder = Decoder::with_ip(64, &bytes[..count], pc, DecoderOptions::NONE);
    let i = decoder.decode();
    (!i.is_invalid()).then_some(i)
}

fn through_stack(cpu: &Cpu<X86>, i: &Instruction, va: u64) -> bool {
    let operand = (0..i.op_count()).find(|&n| i.op_kind(n) == OpKind::Memory);
    let Some(operand) = operand else {
        return i.is_stack_instruction();
    };
    let segment = match i.memory_segment() {
        Register::FS => cpu.s.seg[4].base,
        Register::GS => cpu.s.seg[5].base,
        _ => 0,
    };
    let based = !matches!(i.memory_segment(), Register::FS | Register::GS)
        && matches!(
            i.memory_base().full_register(),
            Register::RSP | Register::RBP
        );
    // A bit number in a register reaches beyond the operand.
    let far = matches!(
        i.mnemonic(),
        Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts
    );
    let at = i.virtual_address(operand, 0, |register, _, _| {
        if register.is_segment_register() {
            return Some(segment);
        }
        Some(cpu.s.gpr[register.full_register().number() & 15])
    });
    let size = i.memory_size().size().max(1) as u64;
    if far || at.is_some_and(|at| va.wrapping_sub(at) < size) {
        based
    } else {
        // Not the operand: the stack, or a descriptor table.
        i.is_stack_instruction()
    }
}
