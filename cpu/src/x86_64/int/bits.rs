//! BT, BTS, BTR, BTC, BSF, BSR, POPCNT.

use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::operand::{MEM, Width, by_width, ea, is_memory, operand_size, pack};
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

const TEST: u8 = 0;
const SET: u8 = 1;
const RESET: u8 = 2;
const COMPLEMENT: u8 = 3;

#[inline(always)]
fn change<const K: u8>(v: u64, bit: u64) -> u64 {
    match K {
        SET => v | bit,
        RESET => v & !bit,
        COMPLEMENT => v ^ bit,
        _ => v,
    }
}
fn register<const K: u8, const IMM: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let n = if IMM {
        op.imm
    } else {
        W::get(&cpu.s.gpr, op.b).zero_extend()
    };
    let v = W::get(&cpu.s.gpr, op.a).zero_extend();
    let bit = 1u64 << (n & u64::from(W::BITS - 1));
    if K != TEST {
        W::set(&mut cpu.s.gpr, op.a, W::truncate(change::<K>(v, bit)));
    }
    cpu.s.cc.set_cf(v & bit != 0);
    Flow::Next
}
fn memory<const K: u8, const IMM: bool, const LOCK: bool, W: Width>(
    cpu: &mut Cpu,
    op: &Op<X86>,
) -> Flow {
    let mut at = ea(cpu, op);
    let n = if IMM {
        op.imm
    } else {
        // A register counts bits from the operand's address, in both directions.
        let n = W::get(&cpu.s.gpr, op.a).sign_extend() as i64;
        let words = n >> W::BITS.trailing_zeros();
        let step = i64::from(W::BITS / 8);
        let offset = words.wrapping_mul(step) as u64;
        at = if op.e & crate::x86_64::operand::ADDR32 != 0 {
            // Wraps within 32 bits, in front of the segment base.
            let base = crate::x86_64::operand::segment_base(cpu, op.e);
            (at.wrapping_sub(base).wrapping_add(offset) & 0xffff_ffff).wrapping_add(base)
        } else {
            at.wrapping_add(offset)
        };
        n as u64
    };
    let bit = 1u64 << (n & u64::from(W::BITS - 1));
    let apply = |v: W| W::truncate(change::<K>(v.zero_extend(), bit));
    let old = if LOCK {
        access!(cpu.update::<W>(at, apply))
    } else {
        let old = access!(if K == TEST {
            cpu.load::<W>(at)
        } else {
            cpu.load_to_update::<W>(at)
        });
        if K != TEST {
            access!(cpu.store(at, apply(old)));
        }
        old
    };
    cpu.s.cc.set_cf(old.zero_extend() & bit != 0);
    Flow::Next
}

#[inline(always)]
fn source<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Result<W, Flow> {
    if op.e & MEM != 0 {
        cpu.load::<W>(ea(cpu, op))
    } else {
        Ok(W::get(&cpu.s.gpr, op.b))
    }
}
fn scan<const REVERSE: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(source::<W>(cpu, op)).zero_extend();
    cpu.s.cc.set_logic(W::truncate(v));
    if v != 0 {
        let n = if REVERSE {
            63 - v.leading_zeros()
        } else {
            v.trailing_zeros()
        };
        W::set(&mut cpu.s.gpr, op.a, W::truncate(n.into()));
    }
    Flow::Next
}
fn popcnt<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(source::<W>(cpu, op)).zero_extend();
    W::set(&mut cpu.s.gpr, op.a, W::truncate(v.count_ones().into()));
    // All flags but ZF are cleared: PF too.
    cpu.s.cc.set_zpc(v == 0, false, false);
    Flow::Next
}

fn choose<const K: u8>(i: &Instruction) -> Handler<X86> {
    let imm = i.op_kind(1) != OpKind::Register;
    by_width!(operand_size(i, 0), W => match (is_memory(i, 0), imm, i.has_lock_prefix()) {
        (false, false, _) => register::<K, false, W> as Handler<X86>,
        (false, true, _) => register::<K, true, W>,
        (true, false, false) => memory::<K, false, false, W>,
        (true, false, true) => memory::<K, false, true, W>,
        (true, true, false) => memory::<K, true, false, W>,
        (true, true, true) => memory::<K, true, true, W>,
    })
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Op<X86>> {
    let run = match i.mnemonic() {
        Mnemonic::Bt => choose::<TEST>(i),
        Mnemonic::Bts => choose::<SET>(i),
        Mnemonic::Btr => choose::<RESET>(i),
        Mnemonic::Btc => choose::<COMPLEMENT>(i),
        Mnemonic::Bsf => by_width!(operand_size(i, 0), W => scan::<false, W> as Handler<X86>),
        Mnemonic::Bsr => by_width!(operand_size(i, 0), W => scan::<true, W> as Handler<X86>),
        Mnemonic::Popcnt => by_width!(operand_size(i, 0), W => popcnt::<W> as Handler<X86>),
        _ => return None,
    };
    Some(pack(i, run))
}
