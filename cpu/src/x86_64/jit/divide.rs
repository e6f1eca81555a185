//! DIV and IDIV. What is not plain (a dividend of more than 64 bits, an
//! exception) is for the handler.

use super::form::{Form, Operand};
use super::moves::source;
use super::{L, O, int, read, write};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types::I64};
use iced_x86::Mnemonic as M;

const RAX: u8 = 0;
const RDX: u8 = 2;

pub(super) fn lower(l: &mut L<'_>, op: &O, form: &Form) -> bool {
    let signed = match form.mnemonic {
        M::Div => false,
        M::Idiv => true,
        _ => return false,
    };
    let to = form.operands[0];
    let bytes = to.bytes();
    if !matches!(to, Operand::Register(..) | Operand::Memory(..)) || bytes < 4 {
        return false;
    }
    let Some(by) = source(l, op, to, bytes) else {
        return false;
    };
    let (low, high) = (read(l, RAX, bytes), read(l, RDX, bytes));
    let (all, by, unusual) = match (bytes, signed) {
        (8, false) => {
            let zero = l.b.ins().icmp_imm(IntCC::Equal, by, 0);
            let wide = l.b.ins().icmp_imm(IntCC::NotEqual, high, 0);
            (low, by, l.b.ins().bor(zero, wide))
        }
        (8, true) => {
            let sign = l.b.ins().sshr_imm(low, 63);
            let wide = l.b.ins().icmp(IntCC::NotEqual, sign, high);
            let small = small(l, by);
            (low, by, l.b.ins().bor(small, wide))
        }
        (_, false) => {
            // Also where the divisor is zero.
            let over = l.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, high, by);
            let all = join(l, low, high);
            (all, l.b.ins().uextend(I64, by), over)
        }
        (_, true) => {
            let all = join(l, low, high);
            let by = l.b.ins().sextend(I64, by);
            let small = small(l, by);
            (all, by, small)
        }
    };
    l.unless(unusual);
    let (q, r) = if signed {
        (l.b.ins().sdiv(all, by), l.b.ins().srem(all, by))
    } else {
        (l.b.ins().udiv(all, by), l.b.ins().urem(all, by))
    };
    let [q, r] = if bytes == 8 {
        [q, r]
    } else {
        if signed {
            let up = l.b.ins().ishl_imm(q, 32);
            let cut = l.b.ins().sshr_imm(up, 32);
            let over = l.b.ins().icmp(IntCC::NotEqual, cut, q);
            l.unless(over);
        }
        [q, r].map(|v| l.b.ins().ireduce(int(bytes), v))
    };
    write(l, RAX, q);
    write(l, RDX, r);
    true
}

/// Whether a divisor is 0 or -1.
fn small(l: &mut L<'_>, by: Value) -> Value {
    let up = l.b.ins().iadd_imm(by, 1);
    l.b.ins().icmp_imm(IntCC::UnsignedLessThan, up, 2)
}

fn join(l: &mut L<'_>, low: Value, high: Value) -> Value {
    let (low, high) = (l.b.ins().uextend(I64, low), l.b.ins().uextend(I64, high));
    let high = l.b.ins().ishl_imm(high, 32);
    l.b.ins().bor(low, high)
}
