//! Data processing.

use super::flags::Pending;
use super::{L, O, constant, get, set, width};
use crate::aarch64::Code;
use crate::aarch64::regs::{SINK, ZERO};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value, types::I8, types::I16, types::I32, types::I64,
};

pub(super) fn lower(l: &mut L<'_>, op: &O, code: Code) -> bool {
    use Code::*;
    let ty = width(op);
    match code {
        Nop => {}
        Constant => {
            let v = l.constant(op.imm);
            set(l, op.a, v);
        }
        Movk => {
            let v = get(l, op.b, ty);
            let mask = constant(l, ty, !(0xffffu64 << (op.c & 63)));
            let v = l.b.ins().band(v, mask);
            let imm = constant(l, ty, op.imm);
            let v = l.b.ins().bor(v, imm);
            set(l, op.a, v);
        }
        Adr => {
            let v = l.block_va(u64::from(op.off).wrapping_add(op.imm));
            set(l, op.a, v);
        }
        Adrp => {
            let v = l.block_va(0);
            let v = l.b.ins().band_imm(v, !0xfff);
            let imm = l.constant(op.imm);
            let v = l.b.ins().iadd(v, imm);
            set(l, op.a, v);
        }
        MovReg if ty == I64 && op.b != ZERO && op.a != SINK => l.copy(op.a, op.b),
        MovReg => {
            let v = get(l, op.b, ty);
            set(l, op.a, v);
        }
        AddImm | SubImm if ty == I64 && op.b != ZERO && op.a != SINK => {
            let by = op.imm as i64;
            let by = if code == AddImm {
                by
            } else {
                by.wrapping_neg()
            };
            let at = l.get_at(op.b).plus(by);
            l.set_at(op.a, at);
        }
        AddImm | AddsImm | SubImm | SubsImm | AndImm | AndsImm | OrrImm | EorImm => {
            let a = get(l, op.b, ty);
            let b = constant(l, ty, op.imm);
            arithmetic(l, op, code, a, b);
        }
        AndReg | BicReg | OrrReg | OrnReg | EorReg | EonReg | AndsReg | BicsReg | AddReg
        | AddsReg | SubReg | SubsReg => {
            let a = get(l, op.b, ty);
            let b = shifted(l, op, ty);
            arithmetic(l, op, code, a, b);
        }
        AddExt | AddsExt | SubExt | SubsExt => {
            let a = get(l, op.b, ty);
            let b = extended(l, op);
            let b = if ty == I64 {
                b
            } else {
                l.b.ins().ireduce(ty, b)
            };
            arithmetic(l, op, code, a, b);
        }
        Adc | Sbc => {
            let a = get(l, op.b, ty);
            let b = get(l, op.c, ty);
            let b = if code == Sbc { l.b.ins().bnot(b) } else { b };
            let mut c = l.pending.carry(l);
            if ty != I64 {
                c = l.b.ins().ireduce(ty, c);
            }
            let v = l.b.ins().iadd(a, b);
            let v = l.b.ins().iadd(v, c);
            set(l, op.a, v);
        }
        Ubfm | Sbfm => {
            let v = get(l, op.b, ty);
            let v = l.b.ins().ishl_imm(v, i64::from(op.c & 63));
            let by = i64::from(op.d & 63);
            let v = if code == Ubfm {
                l.b.ins().ushr_imm(v, by)
            } else {
                l.b.ins().sshr_imm(v, by)
            };
            set(l, op.a, v);
        }
        Sxtw => {
            let v = get(l, op.b, I32);
            let v = l.b.ins().sextend(I64, v);
            set(l, op.a, v);
        }
        LsrImm => {
            let v = get(l, op.b, ty);
            let v = l.b.ins().ushr_imm(v, i64::from(op.d & 63));
            set(l, op.a, v);
        }
        LslImm => {
            let v = get(l, op.b, ty);
            let v = l.b.ins().ishl_imm(v, i64::from(op.c & 63));
            set(l, op.a, v);
        }
        Bfm => {
            let moved = get(l, op.b, ty);
            let moved = l.b.ins().rotr_imm(moved, i64::from(op.c));
            let old = get(l, op.d, ty);
            let (keep, take) = (constant(l, ty, !op.imm), constant(l, ty, op.imm));
            let old = l.b.ins().band(old, keep);
            let moved = l.b.ins().band(moved, take);
            let v = l.b.ins().bor(old, moved);
            set(l, op.a, v);
        }
        Extr => {
            let bits = ty.bits() as u8;
            let by = op.d & (bits - 1);
            let (high, low) = (get(l, op.b, ty), get(l, op.c, ty));
            let v = if by == 0 {
                low
            } else if op.b == op.c {
                l.b.ins().rotr_imm(low, i64::from(by))
            } else {
                let high = l.b.ins().ishl_imm(high, i64::from(bits - by));
                let low = l.b.ins().ushr_imm(low, i64::from(by));
                l.b.ins().bor(high, low)
            };
            set(l, op.a, v);
        }
        CondCompare => cond_compare(l, op, ty),
        Csel | Csinc | Csinv | Csneg => {
            let (yes, no) = (get(l, op.b, ty), get(l, op.c, ty));
            let no = match code {
                Csel => no,
                Csinc => l.b.ins().iadd_imm(no, 1),
                Csinv => l.b.ins().bnot(no),
                _ => l.b.ins().ineg(no),
            };
            let holds = l.pending.holds(l, op.d);
            let v = l.b.ins().select(holds, yes, no);
            set(l, op.a, v);
        }
        Rbit => unary(l, op, ty, |l, v| l.b.ins().bitrev(v)),
        Rev => unary(l, op, ty, |l, v| l.b.ins().bswap(v)),
        Rev32 => unary(l, op, I64, |l, v| {
            let v = l.b.ins().bswap(v);
            l.b.ins().rotr_imm(v, 32)
        }),
        Clz => unary(l, op, ty, |l, v| l.b.ins().clz(v)),
        Lslv => binary(l, op, ty, |l, a, b| l.b.ins().ishl(a, b)),
        Lsrv => binary(l, op, ty, |l, a, b| l.b.ins().ushr(a, b)),
        Asrv => binary(l, op, ty, |l, a, b| l.b.ins().sshr(a, b)),
        Rorv => binary(l, op, ty, |l, a, b| l.b.ins().rotr(a, b)),
        Mul => binary(l, op, ty, |l, a, b| l.b.ins().imul(a, b)),
        Madd | Msub => {
            let (a, b, d) = (get(l, op.b, ty), get(l, op.c, ty), get(l, op.d, ty));
            let product = l.b.ins().imul(a, b);
            accumulate(l, op, d, product, code == Msub);
        }
        Smaddl | Smsubl | Umaddl | Umsubl => {
            let (a, b) = (get(l, op.b, I32), get(l, op.c, I32));
            let wide = |l: &mut L<'_>, v| match code {
                Smaddl | Smsubl => l.b.ins().sextend(I64, v),
                _ => l.b.ins().uextend(I64, v),
            };
            let (a, b) = (wide(l, a), wide(l, b));
            let product = l.b.ins().imul(a, b);
            let d = get(l, op.d, I64);
            accumulate(l, op, d, product, matches!(code, Smsubl | Umsubl));
        }
        Udiv => binary(l, op, ty, |l, a, b| {
            let (by, zero) = divisor(l, b);
            let v = l.b.ins().udiv(a, by);
            zero_where(l, zero, v)
        }),
        Sdiv => binary(l, op, ty, |l, a, b| {
            let (by, zero) = divisor(l, b);
            // The least number by -1 traps on the host.
            let minus = l.b.ins().icmp_imm(IntCC::Equal, b, -1);
            let one = l.b.ins().iconst(ty, 1);
            let by = l.b.ins().select(minus, one, by);
            let v = l.b.ins().sdiv(a, by);
            let negative = l.b.ins().ineg(v);
            let v = l.b.ins().select(minus, negative, v);
            zero_where(l, zero, v)
        }),
        Smulh => binary(l, op, I64, |l, a, b| l.b.ins().smulhi(a, b)),
        Umulh => binary(l, op, I64, |l, a, b| l.b.ins().umulhi(a, b)),
        _ => return false,
    }
    true
}

/// A divisor that is not zero, and whether `b` is.
fn divisor(l: &mut L<'_>, b: Value) -> (Value, Value) {
    let ty = l.b.func.dfg.value_type(b);
    let zero = l.b.ins().icmp_imm(IntCC::Equal, b, 0);
    let one = l.b.ins().iconst(ty, 1);
    (l.b.ins().select(zero, one, b), zero)
}
/// `v`, or zero where `zero` holds.
fn zero_where(l: &mut L<'_>, zero: Value, v: Value) -> Value {
    let ty = l.b.func.dfg.value_type(v);
    let none = l.b.ins().iconst(ty, 0);
    l.b.ins().select(zero, none, v)
}

fn unary(l: &mut L<'_>, op: &O, ty: Type, f: impl FnOnce(&mut L<'_>, Value) -> Value) {
    let v = get(l, op.b, ty);
    let v = f(l, v);
    set(l, op.a, v);
}
fn binary(l: &mut L<'_>, op: &O, ty: Type, f: impl FnOnce(&mut L<'_>, Value, Value) -> Value) {
    let (a, b) = (get(l, op.b, ty), get(l, op.c, ty));
    let v = f(l, a, b);
    set(l, op.a, v);
}
fn accumulate(l: &mut L<'_>, op: &O, to: Value, product: Value, subtract: bool) {
    let v = if subtract {
        l.b.ins().isub(to, product)
    } else {
        l.b.ins().iadd(to, product)
    };
    set(l, op.a, v);
}

/// `a` and `b` by an operation of any operand form.
fn arithmetic(l: &mut L<'_>, op: &O, code: Code, a: Value, b: Value) {
    use Code::*;
    let r = match code {
        AddImm | AddReg | AddExt | AddsImm | AddsReg | AddsExt => l.b.ins().iadd(a, b),
        SubImm | SubReg | SubExt | SubsImm | SubsReg | SubsExt => l.b.ins().isub(a, b),
        AndImm | AndReg | AndsImm | AndsReg => l.b.ins().band(a, b),
        OrrImm | OrrReg => l.b.ins().bor(a, b),
        EorImm | EorReg => l.b.ins().bxor(a, b),
        _ => {
            let b = l.b.ins().bnot(b);
            match code {
                OrnReg => l.b.ins().bor(a, b),
                EonReg => l.b.ins().bxor(a, b),
                _ => l.b.ins().band(a, b),
            }
        }
    };
    match code {
        AddsImm | AddsReg | AddsExt => l.pending = Pending::Add { a, b, r },
        SubsImm | SubsReg | SubsExt => l.pending = Pending::Sub { a, b, r },
        AndsImm | AndsReg | BicsReg => l.pending = Pending::Logic { r },
        _ => {}
    }
    set(l, op.a, r);
}

/// `c`, shifted as bits 1 and up of `e` say.
fn shifted(l: &mut L<'_>, op: &O, ty: Type) -> Value {
    let v = get(l, op.c, ty);
    let by = i64::from(op.d) & i64::from(ty.bits() - 1);
    match op.e >> 1 {
        0 => v,
        1 => l.b.ins().ishl_imm(v, by),
        2 => l.b.ins().ushr_imm(v, by),
        3 => l.b.ins().sshr_imm(v, by),
        _ => l.b.ins().rotr_imm(v, by),
    }
}

/// `c`, extended as bits 1 and up of `e` say, 64 bits.
fn extended(l: &mut L<'_>, op: &O) -> Value {
    let option = op.e >> 1;
    let narrow = match option & 3 {
        0 => I8,
        1 => I16,
        2 => I32,
        _ => I64,
    };
    let v = get(l, op.c, narrow);
    let v = match (option, narrow) {
        (_, I64) => v,
        (0..4, _) => l.b.ins().uextend(I64, v),
        _ => l.b.ins().sextend(I64, v),
    };
    l.b.ins().ishl_imm(v, i64::from(op.d & 7))
}

fn cond_compare(l: &mut L<'_>, op: &O, ty: Type) {
    let holds = l.pending.holds(l, op.d);
    let a = get(l, op.b, ty);
    let b = if op.e & 4 != 0 {
        constant(l, ty, op.c.into())
    } else {
        get(l, op.c, ty)
    };
    let compared = if op.e & 2 != 0 {
        let r = l.b.ins().iadd(a, b);
        Pending::Add { a, b, r }
    } else {
        let r = l.b.ins().isub(a, b);
        Pending::Sub { a, b, r }
    };
    let words = compared.words(l);
    // As Aarch64State::set_nzcv.
    let bit = |n: u8| u64::from(op.a >> n & 1);
    let otherwise = [bit(3) << 63, 1 - bit(2), bit(1), bit(0)];
    let mut chosen = words;
    for (word, value) in chosen.iter_mut().zip(otherwise) {
        let value = l.constant(value);
        *word = l.b.ins().select(holds, *word, value);
    }
    l.pending = Pending::Words(chosen);
}
