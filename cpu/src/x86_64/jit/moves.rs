//! MOV, MOVZX, MOVSX, LEA, XCHG, BSWAP, CMOVcc, SETcc, PUSH, POP, LEAVE.

use super::flags::{sign_extend, zero_extend};
use super::form::{Form, Operand};
use super::{L, O, address, immediate, int, offset, read, write};
use crate::x86_64::operand::MEM;
use cranelift_codegen::ir::{InstBuilder, Value, types::I64};
use iced_x86::{Code, ConditionCode, Mnemonic, OpCodeTableKind};

// Opcodes behind 0F, without their condition.
const CMOV: u32 = 0x40;
const SET: u32 = 0x90;

const RSP: u8 = 4;
const RBP: u8 = 5;

/// Reads a source operand of `bytes` bytes.
pub(super) fn source(l: &mut L<'_>, op: &O, from: Operand, bytes: u8) -> Option<Value> {
    Some(match from {
        Operand::Register(r, _) => read(l, r, bytes),
        Operand::Memory(_) => {
            let at = address(l, op);
            l.load(at, int(bytes))
        }
        Operand::Immediate => immediate(l, op, bytes),
        Operand::Nothing => return None,
    })
}

pub(super) fn lower(l: &mut L<'_>, op: &O, form: &Form) -> bool {
    use Mnemonic as M;
    let [to, from, _] = form.operands;
    match form.mnemonic {
        M::Mov => mov(l, op, to, from),
        M::Movzx | M::Movsx | M::Movsxd => {
            let Some(v) = source(l, op, from, from.bytes()) else {
                return false;
            };
            let wide = if form.mnemonic == M::Movzx {
                zero_extend(l, v)
            } else {
                sign_extend(l, v)
            };
            set(l, to, wide)
        }
        M::Lea => {
            let at = offset(l, op);
            if let Operand::Register(r, 8) = to {
                l.set_at(r & 15, at);
                return true;
            }
            let v = l.sum(at);
            set(l, to, v)
        }
        M::Xchg => {
            let (Operand::Register(a, n), Operand::Register(b, _)) = (to, from) else {
                return false;
            };
            let (x, y) = (read(l, a, n), read(l, b, n));
            write(l, a, y);
            write(l, b, x);
            true
        }
        M::Bswap => {
            let Operand::Register(a, n @ (4 | 8)) = to else {
                return false;
            };
            let v = read(l, a, n);
            let v = l.b.ins().bswap(v);
            write(l, a, v);
            true
        }
        M::Cwde | M::Cdqe => {
            let n = if form.mnemonic == M::Cwde { 4 } else { 8 };
            let v = read(l, 0, n / 2);
            let v = l.b.ins().sextend(int(n), v);
            write(l, 0, v);
            true
        }
        M::Cdq | M::Cqo => {
            let n = if form.mnemonic == M::Cdq { 4 } else { 8 };
            let v = read(l, 0, n);
            let v = l.b.ins().sshr_imm(v, 8 * i64::from(n) - 1);
            write(l, 2, v);
            true
        }
        M::Push => push(l, op, to),
        M::Pop => {
            // An address by RSP uses its value after the pop: rare.
            let Operand::Register(r, 8) = to else {
                return false;
            };
            let sp = l.get_at(RSP);
            let v = l.load(sp, I64);
            l.set_at(RSP, sp.plus(8));
            l.set(r & 15, v);
            true
        }
        M::Leave if op.code == Code::Leaveq as u16 => {
            let sp = l.get_at(RBP);
            let v = l.load(sp, I64);
            l.set_at(RSP, sp.plus(8));
            l.set(RBP, v);
            true
        }
        M::Nop | M::Endbr64 | M::Pause => form.mnemonic != M::Pause,
        _ => conditional(l, op, form),
    }
}

/// Writes a value of 64 bits, cut to the operand.
fn set(l: &mut L<'_>, to: Operand, wide: Value) -> bool {
    let Operand::Register(r, bytes) = to else {
        return false;
    };
    let v = if bytes == 8 {
        wide
    } else {
        l.b.ins().ireduce(int(bytes), wide)
    };
    write(l, r, v);
    true
}

fn mov(l: &mut L<'_>, op: &O, to: Operand, from: Operand) -> bool {
    match to {
        Operand::Register(r, bytes) => {
            if let (8, Operand::Register(from, _)) = (bytes, from) {
                l.copy(r & 15, from & 15);
                return true;
            }
            let Some(v) = source(l, op, from, bytes) else {
                return false;
            };
            write(l, r, v);
            true
        }
        Operand::Memory(bytes) => {
            let Some(v) = source(l, op, from, bytes) else {
                return false;
            };
            let at = address(l, op);
            l.store(at, v);
            true
        }
        _ => false,
    }
}

fn push(l: &mut L<'_>, op: &O, what: Operand) -> bool {
    // Of the 16-bit forms and those of segment registers the handlers know.
    let known = match what {
        Operand::Register(_, 8) => true,
        Operand::Immediate => matches!(
            Code::try_from(usize::from(op.code)),
            Ok(Code::Pushq_imm8 | Code::Pushq_imm32)
        ),
        _ => false,
    };
    if !known {
        return false;
    }
    let Some(v) = source(l, op, what, 8) else {
        return false;
    };
    let sp = l.get_at(RSP).plus(-8);
    l.store(sp, v);
    l.set_at(RSP, sp);
    true
}

/// CMOVcc and SETcc.
fn conditional(l: &mut L<'_>, op: &O, form: &Form) -> bool {
    let Ok(code) = Code::try_from(usize::from(op.code)) else {
        return false;
    };
    let info = code.op_code();
    if code.condition_code() == ConditionCode::None || info.table() != OpCodeTableKind::T0F {
        return false;
    }
    let cc = info.op_code() as u8 & 15;
    let [to, from, _] = form.operands;
    match (info.op_code() & 0xf0, to) {
        (CMOV, Operand::Register(r, bytes @ 2..)) => {
            let Some(v) = source(l, op, from, bytes) else {
                return false;
            };
            let holds = l.pending.condition(l, cc);
            let old = read(l, r, bytes);
            let v = l.b.ins().select(holds, v, old);
            write(l, r, v);
            true
        }
        (SET, Operand::Register(r, 1)) => {
            let holds = l.pending.condition(l, cc);
            write(l, r, holds);
            true
        }
        (SET, Operand::Memory(_)) if op.e & MEM != 0 => {
            let holds = l.pending.condition(l, cc);
            let at = address(l, op);
            l.store(at, holds);
            true
        }
        _ => false,
    }
}
