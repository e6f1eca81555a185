//! Loads and stores of structures: LD1 to LD4, ST1 to ST4, LD1R to LD4R
//! (Arm ARM C4.1.66, "Advanced SIMD load/store ...").
//!
//! Operands: a = first register, b = base, c = post-index register, d = 1 for
//! write-back with the register, 2 with `imm`, which is the number of bytes.

use super::{A64Op, Code, new_op};
use crate::access;
use crate::engine::{Cpu, Flow};

use super::super::fp::fp_on;
use super::super::{Aarch64, regs};

fn write_back(cpu: &mut Cpu<Aarch64>, op: &A64Op) {
    let step = match op.d {
        0 => return,
        1 => cpu.s.r.get(op.c),
        _ => op.imm,
    };
    let base = cpu.s.r.get(op.b);
    cpu.s.r.set(op.b, base.wrapping_add(step));
}

fn load_element(cpu: &mut Cpu<Aarch64>, va: u64, size: u32) -> Result<u128, Flow> {
    Ok(match size {
        0 => cpu.load::<u8>(va)?.into(),
        1 => cpu.load::<u16>(va)?.into(),
        2 => cpu.load::<u32>(va)?.into(),
        3 => cpu.load::<u64>(va)?.into(),
        _ => cpu.load::<u128>(va)?,
    })
}

fn store_element(cpu: &mut Cpu<Aarch64>, va: u64, size: u32, value: u128) -> Result<(), Flow> {
    match size {
        0 => cpu.store(va, value as u8),
        1 => cpu.store(va, value as u16),
        2 => cpu.store(va, value as u32),
        3 => cpu.store(va, value as u64),
        _ => cpu.store(va, value),
    }
}

/// Registers, of how many elements, per structure.
fn shape(opcode: u32) -> Option<(u32, u32)> {
    Some(match opcode {
        0b0000 => (4, 4),
        0b0010 => (4, 1),
        0b0100 => (3, 3),
        0b0110 => (3, 1),
        0b0111 => (1, 1),
        0b1000 => (2, 2),
        0b1010 => (2, 1),
        _ => return None,
    })
}

fn multiple<const LOAD: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let insn = op.disp as u32;
    let Some((registers, per_structure)) = shape(insn >> 12 & 15) else {
        return Flow::Next;
    };
    let q = insn >> 30 & 1;
    let mut va = cpu.s.r.get(op.b);
    let first = u32::from(op.a);
    let mut values = [0u128; 4];
    if !LOAD {
        for i in 0..registers {
            values[i as usize & 3] = cpu.s.v[(first + i) as usize & 31];
        }
    }
    if per_structure == 1 {
        for i in 0..registers {
            let value = &mut values[i as usize & 3];
            if LOAD {
                *value = access!(load_element(cpu, va, 3 + q));
            } else {
                access!(store_element(cpu, va, 3 + q, *value));
            }
            va = va.wrapping_add(8 << q);
        }
    } else {
        let size = insn >> 10 & 3;
        for element in 0..(8u32 << q) >> size {
            let shift = element << (size + 3);
            for i in 0..registers {
                let value = &mut values[i as usize & 3];
                if LOAD {
                    *value |= access!(load_element(cpu, va, size)) << shift;
                } else {
                    access!(store_element(cpu, va, size, *value >> shift));
                }
                va = va.wrapping_add(1 << size);
            }
        }
    }
    if LOAD {
        for i in 0..registers {
            cpu.s.v[(first + i) as usize & 31] = values[i as usize & 3];
        }
    }
    write_back(cpu, op);
    Flow::Next
}

/// LD1 to LD4 and ST1 to ST4 of one lane. `e` is the bit position of the lane.
fn lane<const LOAD: bool>(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let insn = op.disp as u32;
    let (registers, size) = lane_shape(insn);
    let mut va = cpu.s.r.get(op.b);
    let first = u32::from(op.a);
    let mut values = [0u128; 4];
    for i in 0..registers {
        if LOAD {
            values[i as usize & 3] = access!(load_element(cpu, va, size));
        } else {
            let value = cpu.s.v[(first + i) as usize & 31] >> (op.e & 127);
            access!(store_element(cpu, va, size, value));
        }
        va = va.wrapping_add(1 << size);
    }
    if LOAD {
        let mask = (1u128 << (8 << size)) - 1;
        for i in 0..registers {
            let v = &mut cpu.s.v[(first + i) as usize & 31];
            *v = *v & !(mask << (op.e & 127)) | values[i as usize & 3] << (op.e & 127);
        }
    }
    write_back(cpu, op);
    Flow::Next
}

fn replicate(cpu: &mut Cpu<Aarch64>, op: &A64Op) -> Flow {
    fp_on!(cpu);
    let insn = op.disp as u32;
    let (registers, _) = lane_shape(insn);
    let size = insn >> 10 & 3;
    let mut va = cpu.s.r.get(op.b);
    let mut values = [0u128; 4];
    for i in 0..registers {
        values[i as usize & 3] = access!(load_element(cpu, va, size));
        va = va.wrapping_add(1 << size);
    }
    for i in 0..registers {
        let mut value = values[i as usize & 3];
        for step in size..3 {
            value |= value << (8u32 << step);
        }
        if insn >> 30 & 1 != 0 {
            value |= value << 64;
        }
        cpu.s.v[(u32::from(op.a) + i) as usize & 31] = value;
    }
    write_back(cpu, op);
    Flow::Next
}

/// Registers and element size (as a power of two).
fn lane_shape(insn: u32) -> (u32, u32) {
    let registers = (insn >> 13 & 1) * 2 + (insn >> 21 & 1) + 1;
    let size = match insn >> 14 & 3 {
        2 if insn >> 10 & 1 != 0 => 3,
        scale => scale,
    };
    (registers, size)
}

/// Decodes loads and stores of structures.
pub(super) fn decode(insn: u32) -> Option<A64Op> {
    // 0 Q 00110 single post L ...
    if insn & 0xbe00_0000 != 0x0c00_0000 {
        return None;
    }
    let is_load = insn >> 22 & 1 != 0;
    let post = insn >> 23 & 1 != 0;
    let rm = (insn >> 16) as u8 & 31;
    if !post && rm != 0 {
        return None;
    }
    let q = insn >> 30 & 1;
    let (mut op, bytes);
    if insn >> 24 & 1 == 0 {
        if insn >> 21 & 1 != 0 {
            return None;
        }
        let (registers, per_structure) = shape(insn >> 12 & 15)?;
        if per_structure > 1 && insn >> 10 & 3 == 3 && q == 0 {
            return None;
        }
        bytes = registers * (8 << q);
        op = if is_load {
            new_op(Code::LoadStructures, multiple::<true>, insn)
        } else {
            new_op(Code::StoreStructures, multiple::<false>, insn)
        };
    } else if insn >> 14 & 3 == 3 {
        if !is_load || insn >> 12 & 1 != 0 {
            return None;
        }
        let (registers, _) = lane_shape(insn);
        bytes = registers << (insn >> 10 & 3);
        op = new_op(Code::LoadReplicate, replicate, insn);
    } else {
        let (registers, size) = lane_shape(insn);
        let (s, low) = (insn >> 12 & 1, insn >> 10 & 3);
        // Index bits Q:S:size, as many as the element size leaves.
        let index = match (size, insn >> 14 & 3) {
            (0, _) => q << 3 | s << 2 | low,
            (1, _) if low & 1 == 0 => q << 2 | s << 1 | low >> 1,
            (2, 2) if low == 0 => q << 1 | s,
            (3, 2) if low == 1 && s == 0 => q,
            _ => return None,
        };
        bytes = registers << size;
        op = if is_load {
            new_op(Code::LoadLane, lane::<true>, insn)
        } else {
            new_op(Code::StoreLane, lane::<false>, insn)
        };
        op.e = (index << (size + 3)) as u8;
    }
    op.a = insn as u8 & 31;
    op.b = (insn >> 5) as u8 & 31;
    if post {
        op.c = regs::source(rm);
        op.d = if rm == 31 { 2 } else { 1 };
        op.imm = bytes.into();
    }
    Some(op)
}
