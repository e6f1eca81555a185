//! The string compares of SSE4.2 (Intel SDM volume 2, section 4.1).

use super::source::Source;
use crate::engine::{Flow, Op};
use crate::x86_64::X86;
use crate::x86_64::flags::{CF, LazyFlags, OF, SF, ZF};
use crate::{Cpu, access};

/// In `op.b` of a memory form too: lengths are 64-bit registers.
pub const WIDE: u64 = 1 << 8;
/// In `op.imm`: lengths are in RAX and RDX.
pub const EXPLICIT: u64 = 1 << 9;
/// In `op.imm`: the result is a mask in XMM0.
pub const MASK: u64 = 1 << 10;

struct Operand {
    elements: [i32; 16],
    len: usize,
}

fn operand(x: u128, imm: u64, explicit: Option<i64>) -> Operand {
    let (words, signed) = (imm & 1 != 0, imm & 2 != 0);
    let n = if words { 8 } else { 16 };
    let mut elements = [0; 16];
    for (i, e) in elements.iter_mut().enumerate().take(n) {
        *e = match (words, signed) {
            (false, false) => (x >> (8 * i)) as u8 as i32,
            (false, true) => (x >> (8 * i)) as i8 as i32,
            (true, false) => (x >> (16 * i)) as u16 as i32,
            (true, true) => (x >> (16 * i)) as i16 as i32,
        };
    }
    let len = match explicit {
        Some(len) => len.unsigned_abs().min(n as u64) as usize,
        None => elements[..n].iter().position(|e| *e == 0).unwrap_or(n),
    };
    Operand { elements, len }
}

fn aggregate(a: &Operand, b: &Operand, imm: u64, n: usize) -> u32 {
    let (x, y) = (&a.elements, &b.elements);
    let holds = |j: usize| match imm >> 2 & 3 {
        0 => j < b.len && x[..a.len].contains(&y[j]),
        1 => {
            j < b.len
                && x[..a.len]
                    .chunks_exact(2)
                    .any(|range| range[0] <= y[j] && y[j] <= range[1])
        }
        2 => match (j < a.len, j < b.len) {
            (true, true) => x[j] == y[j],
            (false, false) => true,
            _ => false,
        },
        _ => (0..n - j)
            .take(a.len)
            .all(|i| i + j < b.len && x[i] == y[i + j]),
    };
    (0..n).fold(0, |bits, j| bits | u32::from(holds(j)) << j)
}

/// `pcmpestri`, `pcmpestrm`, `pcmpistri`, `pcmpistrm`
pub fn compare<S: Source>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let y = access!(S::get(cpu, op));
    let x = cpu.s.xmm[(op.a & 15) as usize];
    let imm = op.imm;
    let length = |r: usize| {
        let value = cpu.s.gpr[r];
        (imm & EXPLICIT != 0).then_some(if imm & WIDE != 0 {
            value as i64
        } else {
            value as i32 as i64
        })
    };
    let n = if imm & 1 != 0 { 8 } else { 16 };
    let (a, b) = (operand(x, imm, length(0)), operand(y, imm, length(2)));
    let all = u32::MAX >> (32 - n);
    let mut bits = aggregate(&a, &b, imm, n);
    match imm >> 4 & 3 {
        1 => bits ^= all,
        3 => bits ^= (1u32 << b.len) - 1,
        _ => {}
    }
    if imm & MASK != 0 {
        cpu.s.xmm[0] = if imm & 0x40 == 0 {
            bits.into()
        } else {
            let width = 128 / n;
            let lane = u128::MAX >> (128 - width);
            (0..n)
                .filter(|i| bits >> i & 1 != 0)
                .fold(0, |mask, i| mask | lane << (width * i))
        };
    } else {
        let index = match (bits, imm & 0x40 != 0) {
            (0, _) => n as u32,
            (_, false) => bits.trailing_zeros(),
            (_, true) => 31 - bits.leading_zeros(),
        };
        cpu.s.gpr[1] = index.into();
    }
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    cpu.s.cc = LazyFlags::from_bits(
        flag(bits != 0, CF) | flag(b.len < n, ZF) | flag(a.len < n, SF) | flag(bits & 1 != 0, OF),
    );
    Flow::Next
}
