//! IN, OUT, INS, OUTS.

use crate::VmExit;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::Lowered;
use crate::x86_64::flags::{DF, IOPL};
use crate::x86_64::int::pack_string;
use crate::x86_64::operand::{ADDR32, Width, by_width, segment_base};
use crate::x86_64::trap::gp;
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// Offset of the I/O map base in a 64-bit TSS.
const TSS_IO_MAP: u64 = 0x66;

/// Checks IOPL and the I/O permission bitmap.
fn allowed(cpu: &mut Cpu, port: u16, size: u16) -> Result<(), Flow> {
    if u64::from(cpu.s.cpl) <= (cpu.s.rflags & IOPL) >> 12 {
        return Ok(());
    }
    let limit = u64::from(cpu.s.tr.limit);
    if limit < TSS_IO_MAP + 1 {
        return Err(gp(cpu, 0));
    }
    let map = u64::from(cpu.load_as::<u16>(cpu.s.tr.base.wrapping_add(TSS_IO_MAP), 0)?);
    let at = map + u64::from(port >> 3);
    if at + 1 > limit {
        return Err(gp(cpu, 0));
    }
    let bits = cpu.load_as::<u16>(cpu.s.tr.base.wrapping_add(at), 0)?;
    let wanted = ((1u16 << size) - 1) << (port & 7);
    if bits & wanted != 0 {
        return Err(gp(cpu, 0));
    }
    Ok(())
}
fn read<W: Width>(cpu: &mut Cpu, port: u16) -> Result<W, Flow> {
    let size = size_of::<W>() as u8;
    allowed(cpu, port, size.into())?;
    cpu.ask(|| VmExit::IoRead { port, size }).map(W::truncate)
}
fn write<W: Width>(cpu: &mut Cpu, port: u16, v: W) -> Result<(), Flow> {
    let size = size_of::<W>() as u8;
    allowed(cpu, port, size.into())?;
    let data = v.zero_extend() as u32;
    cpu.ask(|| VmExit::IoWrite { port, size, data }).map(|_| ())
}
fn port(cpu: &Cpu, op: &Op<X86>) -> u16 {
    if op.b != 0 {
        cpu.s.gpr[2] as u16
    } else {
        op.imm as u16 & 0xff
    }
}
fn input<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = access!(read::<W>(cpu, port(cpu, op)));
    W::set(&mut cpu.s.gpr, 0, v);
    Flow::Next
}
fn output<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = W::get(&cpu.s.gpr, 0);
    access!(write::<W>(cpu, port(cpu, op), v));
    Flow::Next
}

fn mask(op: &Op<X86>) -> u64 {
    if op.e & ADDR32 != 0 {
        0xffff_ffff
    } else {
        u64::MAX
    }
}
/// One element for each start; a repeated instruction starts again for the next.
fn advance<W: Width>(cpu: &mut Cpu, op: &Op<X86>, r: usize) -> Flow {
    let size = size_of::<W>() as u64;
    let at = cpu.s.gpr[r];
    let to = if cpu.s.rflags & DF != 0 {
        at.wrapping_sub(size)
    } else {
        at.wrapping_add(size)
    };
    cpu.s.gpr[r] = to & mask(op);
    if op.a != 0 {
        let left = cpu.s.gpr[1].wrapping_sub(1) & mask(op);
        cpu.s.gpr[1] = left;
        if left != 0 {
            let pc = cpu.pc_of(op);
            cpu.set_pc(pc);
            return Flow::Indirect;
        }
    }
    Flow::Next
}
fn done(cpu: &Cpu, op: &Op<X86>) -> bool {
    op.a != 0 && cpu.s.gpr[1] & mask(op) == 0
}
fn ins<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if done(cpu, op) {
        return Flow::Next;
    }
    let to = cpu.s.gpr[7] & mask(op);
    let port = cpu.s.gpr[2] as u16;
    access!(allowed(cpu, port, size_of::<W>() as u16));
    // A fault has to come before the device is read.
    access!(cpu.probe_write(to, size_of::<W>() as u64, cpu.mode()));
    let v = access!(read::<W>(cpu, port));
    access!(cpu.store(to, v));
    advance::<W>(cpu, op, 7)
}
fn outs<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if done(cpu, op) {
        return Flow::Next;
    }
    let from = (cpu.s.gpr[6] & mask(op)).wrapping_add(segment_base(cpu, op.e));
    let port = cpu.s.gpr[2] as u16;
    access!(allowed(cpu, port, size_of::<W>() as u16));
    let v = access!(cpu.load::<W>(from));
    access!(write::<W>(cpu, port, v));
    advance::<W>(cpu, op, 6)
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    use Mnemonic::*;
    let size = match i.mnemonic() {
        In => i.op_register(0).size(),
        Out => i.op_register(1).size(),
        Insb | Outsb => 1,
        Insw | Outsw => 2,
        Insd | Outsd => 4,
        _ => return None,
    };
    let run = by_width!(size, W => match i.mnemonic() {
        In => input::<W> as Handler<X86>,
        Out => output::<W>,
        Insb | Insw | Insd => ins::<W>,
        _ => outs::<W>,
    });
    let mut op = pack_string(i, run);
    if matches!(i.mnemonic(), In | Out) {
        let n = u32::from(i.mnemonic() == In);
        if i.op_kind(n) == OpKind::Register {
            op.b = 1;
        } else {
            op.imm = i.immediate(n);
        }
    }
    Some(op.into())
}
