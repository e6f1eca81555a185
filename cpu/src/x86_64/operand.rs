//! How operands lie in the fields of an op, and how they are read.
//!
//! | field | meaning |
//! |---|---|
//! | `code` | `iced_x86::Code`: form of the instruction with its operand sizes |
//! | `a` | the first register operand, in the order of Intel's syntax (memory and immediates skipped) |
//! | `b` | the second register operand |
//! | `c` | memory base register: 0 to 15, [`RIP`] or [`NONE`] |
//! | `d` | memory index register: 0 to 15 or [`NONE`] |
//! | `e` | scale in bits 0 and 1, segment base in bits 2 and 3, and [`ADDR32`], [`MEM`], [`LOCKED`] |
//! | `disp` | memory displacement; relative to the next instruction for RIP |
//! | `imm` | immediate, sign-extended; branch target relative to the block |
//!
//! Byte registers are 0 to 15, plus [`HIGH`] for AH, CH, DH and BH.

use super::X86;
use crate::Cpu;
use crate::engine::{AtomicScalar, Handler, Op};
use iced_x86::{Instruction, OpKind, Register};

/// In `c`: the base is the address of the next instruction.
pub const RIP: u8 = 16;
/// In `c` and `d`: there is no such register.
pub const NONE: u8 = 17;
/// In a byte register number: bits 8 to 15 of the register.
pub const HIGH: u8 = 0x80;
/// In `e`: FS base is added.
pub const SEG_FS: u8 = 4;
/// In `e`: GS base is added.
pub const SEG_GS: u8 = 8;
/// In `e`: the address is cut to 32 bits before the segment base is added.
pub const ADDR32: u8 = 0x10;
/// In `e`: the op has a memory operand.
pub const MEM: u8 = 0x20;
/// In `e`: LOCK prefix.
pub const LOCKED: u8 = 0x40;

/// An integer operand size.
pub trait Width: AtomicScalar + Eq {
    /// Bits.
    const BITS: u32;
    /// Reads a register.
    fn get(gpr: &[u64; 16], r: u8) -> Self;
    /// Writes a register: 32 bits clear the upper half, fewer leave the rest.
    fn set(gpr: &mut [u64; 16], r: u8, value: Self);
    /// Zero-extends.
    fn zero_extend(self) -> u64;
    /// Sign-extends.
    fn sign_extend(self) -> u64;
    /// Truncates.
    fn truncate(value: u64) -> Self;
    /// Shifts a vector of carries so that its top bit is bit 63; bit 3 stays.
    #[inline(always)]
    fn carries(c: u64) -> u64 {
        if Self::BITS == 64 {
            c
        } else {
            (c << (64 - Self::BITS)) | (c & 8)
        }
    }
}

macro_rules! width {
    ($t:ty, $s:ty, $r:ident, $gpr:ident, $v:ident, $get:expr, $set:expr) => {
        impl Width for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn get($gpr: &[u64; 16], $r: u8) -> Self {
                $get
            }
            #[inline(always)]
            fn set($gpr: &mut [u64; 16], $r: u8, $v: Self) {
                $set
            }
            #[inline(always)]
            fn zero_extend(self) -> u64 {
                self.into()
            }
            #[inline(always)]
            fn sign_extend(self) -> u64 {
                self as $s as i64 as u64
            }
            #[inline(always)]
            fn truncate(value: u64) -> Self {
                value as $t
            }
        }
    };
}
width!(
    u8,
    i8,
    r,
    gpr,
    v,
    (gpr[(r & 15) as usize] >> ((r >> 4) & 8)) as u8,
    {
        let shift = (r >> 4) & 8;
        let reg = &mut gpr[(r & 15) as usize];
        *reg = (*reg & !(0xff << shift)) | (u64::from(v) << shift);
    }
);
width!(u16, i16, r, gpr, v, gpr[(r & 15) as usize] as u16, {
    let reg = &mut gpr[(r & 15) as usize];
    *reg = (*reg & !0xffff) | u64::from(v);
});
width!(
    u32,
    i32,
    r,
    gpr,
    v,
    gpr[(r & 15) as usize] as u32,
    gpr[(r & 15) as usize] = v.into()
);
width!(
    u64,
    i64,
    r,
    gpr,
    v,
    gpr[(r & 15) as usize],
    gpr[(r & 15) as usize] = v
);

/// A way to form an effective address, chosen when the op is decoded.
pub trait Ea {
    /// The linear address.
    fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64;
}
/// `[base + disp]`.
#[derive(Clone, Copy, Debug)]
pub struct Base;
/// `[base + index * scale + disp]`.
#[derive(Clone, Copy, Debug)]
pub struct BaseIndex;
/// `[rip + disp]`.
#[derive(Clone, Copy, Debug)]
pub struct Rip;
/// Anything.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl Ea for Base {
    #[inline(always)]
    fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
        cpu.s.gpr[(op.c & 15) as usize].wrapping_add(op.disp as i64 as u64)
    }
}
impl Ea for BaseIndex {
    #[inline(always)]
    fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
        cpu.s.gpr[(op.c & 15) as usize]
            .wrapping_add(cpu.s.gpr[(op.d & 15) as usize] << (op.e & 3))
            .wrapping_add(op.disp as i64 as u64)
    }
}
impl Ea for Rip {
    #[inline(always)]
    fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
        cpu.next_pc(op).wrapping_add(op.disp as i64 as u64)
    }
}
impl Ea for Any {
    #[inline(always)]
    fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
        ea(cpu, op)
    }
}

/// The linear address of the memory operand of `op`.
#[inline]
pub fn ea(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
    offset(cpu, op).wrapping_add(segment_base(cpu, op.e))
}

/// The effective address without its segment base, as LEA gives it.
#[inline]
pub fn offset(cpu: &Cpu<X86>, op: &Op<X86>) -> u64 {
    let mut at = op.disp as i64 as u64;
    if op.c < RIP {
        at = at.wrapping_add(cpu.s.gpr[(op.c & 15) as usize]);
    } else if op.c == RIP {
        at = at.wrapping_add(cpu.next_pc(op));
    }
    if op.d < RIP {
        at = at.wrapping_add(cpu.s.gpr[(op.d & 15) as usize] << (op.e & 3));
    }
    if op.e & ADDR32 != 0 {
        at &= 0xffff_ffff;
    }
    at
}

/// The base that the segment bits of `e` stand for.
#[inline(always)]
pub fn segment_base(cpu: &Cpu<X86>, e: u8) -> u64 {
    match e & (SEG_FS | SEG_GS) {
        0 => 0,
        SEG_FS => cpu.s.seg[4].base,
        _ => cpu.s.seg[5].base,
    }
}

/// Number of a general register of any size, as [`Width`] takes it.
pub fn gpr_number(r: Register) -> u8 {
    let n = r.number() as u8;
    if r.is_gpr8() {
        match n {
            0..4 => n,
            4..8 => (n - 4) | HIGH,
            _ => (n - 4) & 15,
        }
    } else {
        n & 15
    }
}

/// Packs an instruction with at most two explicit register operands, one memory
/// operand and one immediate.
pub fn pack(i: &Instruction, run: Handler<X86>) -> Op<X86> {
    let mut op = Op::new(i.code() as u16, run);
    let mut registers = 0;
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::Register => {
                let r = gpr_number(i.op_register(n));
                match registers {
                    0 => op.a = r,
                    1 => op.b = r,
                    _ => {}
                }
                registers += 1;
            }
            OpKind::Memory => pack_memory(&mut op, i),
            _ => {
                if let Ok(value) = i.try_immediate(n) {
                    op.imm = value;
                }
            }
        }
    }
    op
}

/// Bytes of operand `n`, a register or memory.
pub fn operand_size(i: &Instruction, n: u32) -> usize {
    match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        _ => i.memory_size().size(),
    }
}

/// Fills `c`, `d`, `e` and `disp` from the memory operand of `i`.
pub fn pack_memory(op: &mut Op<X86>, i: &Instruction) {
    let (base, index) = (i.memory_base(), i.memory_index());
    let mut e = MEM;
    match base {
        Register::RIP | Register::EIP => {
            op.c = RIP;
            op.disp = i.memory_displacement64().wrapping_sub(i.next_ip()) as i32;
        }
        Register::None => {
            op.c = NONE;
            op.disp = i.memory_displacement64() as i32;
        }
        base => {
            op.c = gpr_number(base);
            op.disp = i.memory_displacement64() as i32;
        }
    }
    op.d = match index {
        Register::None => NONE,
        index => {
            e |= i.memory_index_scale().trailing_zeros() as u8 & 3;
            gpr_number(index)
        }
    };
    if base == Register::EIP
        || base.is_gpr32()
        || index.is_gpr32()
        || i.memory_displ_size() == 4 && base == Register::None && index == Register::None
    {
        e |= ADDR32;
    }
    e |= segment_bits(i.memory_segment());
    if i.has_lock_prefix() {
        e |= LOCKED;
    }
    op.e = e;
}

/// The segment bits of `e` for a segment register.
pub fn segment_bits(segment: Register) -> u8 {
    match segment {
        Register::FS => SEG_FS,
        Register::GS => SEG_GS,
        _ => 0,
    }
}

/// Which of the specialised address forms fits an op after [`pack_memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EaKind {
    /// [`Base`]
    Base,
    /// [`BaseIndex`]
    BaseIndex,
    /// [`Rip`]
    Rip,
    /// [`Any`]
    Any,
}

/// Chooses the address form of a packed op.
pub fn ea_kind(op: &Op<X86>) -> EaKind {
    if op.e & (SEG_FS | SEG_GS | ADDR32) != 0 {
        return EaKind::Any;
    }
    match (op.c, op.d) {
        (0..=15, NONE) => EaKind::Base,
        (0..=15, 0..=15) => EaKind::BaseIndex,
        (RIP, NONE) => EaKind::Rip,
        _ => EaKind::Any,
    }
}

/// Chooses the instance of a handler that is generic over [`Ea`] last:
/// `ea_handler!(op, f, T, U)` is `f::<T, U, Base>` and so on.
macro_rules! ea_handler {
    ($op:expr, $f:ident $(, $t:ty)*) => {
        match $crate::x86_64::operand::ea_kind($op) {
            $crate::x86_64::operand::EaKind::Base => $f::<$($t,)* $crate::x86_64::operand::Base> as $crate::engine::Handler<$crate::x86_64::X86>,
            $crate::x86_64::operand::EaKind::BaseIndex => $f::<$($t,)* $crate::x86_64::operand::BaseIndex>,
            $crate::x86_64::operand::EaKind::Rip => $f::<$($t,)* $crate::x86_64::operand::Rip>,
            $crate::x86_64::operand::EaKind::Any => $f::<$($t,)* $crate::x86_64::operand::Any>,
        }
    };
}
/// Chooses the integer type of a size in bytes.
macro_rules! by_width {
    ($size:expr, $w:ident => $e:expr) => {
        match $size {
            1 => {
                type $w = u8;
                $e
            }
            2 => {
                type $w = u16;
                $e
            }
            4 => {
                type $w = u32;
                $e
            }
            _ => {
                type $w = u64;
                $e
            }
        }
    };
}
/// Chooses the constant for a condition code 0 to 15.
macro_rules! by_condition {
    ($cc:expr, $c:ident => $e:expr) => {
        by_condition!(@ $cc, $c, $e, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $cc:expr, $c:ident, $e:expr, $($n:literal)*) => {
        match $cc {
            $($n => { const $c: u8 = $n; $e })*
            _ => { const $c: u8 = 15; $e }
        }
    };
}
pub(crate) use {by_condition, by_width, ea_handler};

/// Whether operand `n` of `i` is memory.
pub fn is_memory(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) == OpKind::Memory
}
