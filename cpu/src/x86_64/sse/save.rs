//! MXCSR, and saving and restoring everything: `fxsave`, `fxrstor`.

use super::source::misaligned;
use crate::engine::{Flow, Op};
use crate::x86_64::operand::ea;
use crate::x86_64::{X86, trap};
use crate::{Cpu, access};

/// The bits of MXCSR that there are.
pub const MXCSR_MASK: u32 = 0xffff;
/// Bytes that `fxsave` needs: it writes 416, what follows is the program's.
const AREA: u64 = 512;

/// `ldmxcsr`
pub fn load_mxcsr(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    let value = access!(cpu.load::<u32>(at));
    if value & !MXCSR_MASK != 0 {
        return trap::gp(cpu, 0);
    }
    cpu.s.mxcsr = value;
    Flow::Next
}

/// `stmxcsr`
pub fn store_mxcsr(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    access!(cpu.store(at, cpu.s.mxcsr));
    Flow::Next
}

/// `fxsave`; `WIDE` keeps 64-bit pointers (`fxsave64`).
pub fn save<const WIDE: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    if at & 15 != 0 {
        return misaligned(cpu);
    }
    let s = &cpu.s;
    let pointer = |p: u64| if WIDE { p } else { p & 0xffff_ffff };
    let head = u128::from(s.fcw)
        | u128::from(s.fsw) << 16
        | u128::from(!s.ftw_empty) << 32
        | u128::from(s.fop) << 48
        | u128::from(pointer(s.fip)) << 64;
    let second =
        u128::from(pointer(s.fdp)) | u128::from(s.mxcsr) << 64 | u128::from(MXCSR_MASK) << 96;
    let mode = cpu.mode();
    access!(cpu.probe_write(at, AREA, mode));
    access!(cpu.store(at, head));
    access!(cpu.store(at.wrapping_add(16), second));
    let top = usize::from(cpu.s.fsw >> 11 & 7);
    for i in 0..8 {
        let value = cpu.s.st[(top + i) & 7];
        access!(cpu.store(at.wrapping_add(32 + 16 * i as u64), value));
    }
    for i in 0..16 {
        let value = cpu.s.xmm[i];
        access!(cpu.store(at.wrapping_add(160 + 16 * i as u64), value));
    }
    Flow::Next
}

/// `fxrstor`; `WIDE` has 64-bit pointers (`fxrstor64`).
pub fn restore<const WIDE: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    if at & 15 != 0 {
        return misaligned(cpu);
    }
    let head = access!(cpu.load::<u128>(at));
    let second = access!(cpu.load::<u128>(at.wrapping_add(16)));
    let mut registers = [0u128; 24];
    for (i, register) in registers.iter_mut().enumerate() {
        *register = access!(cpu.load::<u128>(at.wrapping_add(32 + 16 * i as u64)));
    }
    // All of the area must be there.
    access!(cpu.load::<u64>(at.wrapping_add(AREA - 8)));
    let mxcsr = (second >> 64) as u32;
    if mxcsr & !MXCSR_MASK != 0 {
        return trap::gp(cpu, 0);
    }
    let pointer = |p: u64| if WIDE { p } else { p & 0xffff_ffff };
    let s = &mut cpu.s;
    s.mxcsr = mxcsr;
    s.fcw = head as u16 & 0x1f7f | 0x40;
    s.fsw = (head >> 16) as u16;
    s.ftw_empty = !((head >> 32) as u8);
    s.fop = (head >> 48) as u16 & 0x7ff;
    s.fip = pointer((head >> 64) as u64);
    s.fdp = pointer(second as u64);
    crate::x86_64::x87::update_summary(s);
    let top = usize::from(s.fsw >> 11 & 7);
    for (i, value) in registers[..8].iter().enumerate() {
        s.st[(top + i) & 7] = value & ((1 << 80) - 1);
    }
    s.xmm.copy_from_slice(&registers[8..]);
    Flow::Next
}
