//! The operand forms of an op, from its instruction code.

use super::O;
use crate::x86_64::operand::{LOCKED, MEM};
use iced_x86::{Code, Mnemonic, OpCodeOperandKind};

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A general register, by its number in the op, of so many bytes.
    Register(u8, u8),
    /// Memory of so many bytes (0 where the instruction does not say).
    Memory(u8),
    /// The immediate.
    Immediate,
    /// None.
    Nothing,
}

impl Operand {
    pub fn bytes(self) -> u8 {
        match self {
            Self::Register(_, bytes) | Self::Memory(bytes) => bytes,
            _ => 0,
        }
    }
}

/// Mnemonic and up to three operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub mnemonic: Mnemonic,
    pub operands: [Operand; 3],
}

impl Form {
    /// The form of an op; `None` if an operand is of another kind, or the access
    /// has to be atomic.
    pub fn of(op: &O) -> Option<Self> {
        let code = Code::try_from(usize::from(op.code)).ok()?;
        let mnemonic = code.mnemonic();
        let info = code.op_code();
        let mut registers = [op.a, op.b].into_iter();
        let mut operands = [Operand::Nothing; 3];
        if info.op_count() > 3 || op.e & LOCKED != 0 && op.e & MEM != 0 {
            return None;
        }
        for n in 0..info.op_count() {
            let memory = op.e & MEM != 0;
            use OpCodeOperandKind as K;
            let (bytes, may_be_memory) = match info.op_kind(n) {
                K::r8_or_mem => (1, true),
                K::r16_or_mem => (2, true),
                K::r32_or_mem => (4, true),
                K::r64_or_mem => (8, true),
                K::r8_reg | K::r8_opcode | K::al | K::cl => (1, false),
                K::r16_reg | K::r16_opcode | K::ax => (2, false),
                K::r32_reg | K::r32_opcode | K::eax => (4, false),
                K::r64_reg | K::r64_opcode | K::rax => (8, false),
                K::mem => {
                    operands[n as usize] = Operand::Memory(0);
                    continue;
                }
                K::imm8
                | K::imm8_const_1
                | K::imm8sex16
                | K::imm8sex32
                | K::imm8sex64
                | K::imm16
                | K::imm32
                | K::imm32sex64
                | K::imm64
                | K::br64_1
                | K::br64_4 => {
                    operands[n as usize] = Operand::Immediate;
                    continue;
                }
                _ => return None,
            };
            operands[n as usize] = if may_be_memory && memory {
                Operand::Memory(bytes)
            } else {
                Operand::Register(registers.next()?, bytes)
            };
        }
        Some(Self { mnemonic, operands })
    }
}
