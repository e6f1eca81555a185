//! Segment registers, LTR and LLDT, LAR, LSL, VERR, VERW, FS and GS bases.

use super::control::{cr4, store_word};
use super::privileged;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::Lowered;
use crate::x86_64::int::canonical;
use crate::x86_64::operand::{MEM, Width, by_width, ea, is_memory, pack};
use crate::x86_64::state::{Segment, seg};
use crate::x86_64::trap::{X86Trap, gp, ud, vector};
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// A segment descriptor (Intel SDM volume 3, section 3.4.5).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::x86_64) struct Descriptor {
    /// First eight bytes.
    pub low: u64,
    /// Linear address of the descriptor.
    pub at: u64,
}

impl Descriptor {
    fn base32(self) -> u64 {
        (self.low >> 16) & 0xff_ffff | (self.low >> 32) & 0xff00_0000
    }
    fn limit(self) -> u32 {
        let limit = (self.low & 0xffff | (self.low >> 32) & 0xf_0000) as u32;
        if self.low >> 55 & 1 != 0 {
            limit << 12 | 0xfff
        } else {
            limit
        }
    }
    /// Type, with the S bit as bit 4.
    pub fn kind(self) -> u8 {
        (self.low >> 40) as u8 & 0x1f
    }
    pub fn dpl(self) -> u8 {
        (self.low >> 45) as u8 & 3
    }
    pub fn present(self) -> bool {
        self.low >> 47 & 1 != 0
    }
    pub fn is_code(self) -> bool {
        self.kind() & 0x18 == 0x18
    }
    pub fn conforming(self) -> bool {
        self.kind() & 4 != 0
    }
    /// A 64-bit code segment.
    pub fn is_long_code(self) -> bool {
        self.is_code() && self.low >> 53 & 3 == 1
    }
    pub fn segment(self, selector: u16) -> Segment {
        Segment {
            selector,
            base: self.base32(),
            limit: self.limit(),
            rights: (self.low >> 40) as u32 & 0xf0ff,
        }
    }
}

/// Reads the descriptor that `selector` names, or `None` when it lies outside
/// its table.
pub(in crate::x86_64) fn read_descriptor(
    cpu: &mut Cpu,
    selector: u16,
) -> Result<Option<Descriptor>, Flow> {
    let index = u64::from(selector & !7);
    let (base, limit) = if selector & 4 != 0 {
        (cpu.s.ldtr.base, u64::from(cpu.s.ldtr.limit))
    } else {
        (cpu.s.gdtr.base, u64::from(cpu.s.gdtr.limit))
    };
    if index + 7 > limit || selector & 4 != 0 && cpu.s.ldtr.selector & !3 == 0 {
        return Ok(None);
    }
    let at = base.wrapping_add(index);
    let low = cpu.load_as::<u64>(at, 0)?;
    Ok(Some(Descriptor { low, at }))
}

fn not_present(cpu: &mut Cpu, v: u8, selector: u16) -> Flow {
    cpu.raise(X86Trap::with_code(v, u32::from(selector & !3)))
}

/// Loads ES, SS, DS, FS or GS.
fn load_segment(cpu: &mut Cpu, n: usize, selector: u16) -> Result<(), Flow> {
    let code = u32::from(selector & !3);
    let rpl = selector as u8 & 3;
    if selector & !3 == 0 {
        if n == seg::SS && (cpu.s.cpl == 3 || rpl != cpu.s.cpl) {
            return Err(gp(cpu, 0));
        }
        cpu.s.seg[n] = Segment {
            selector,
            ..Segment::default()
        };
        return Ok(());
    }
    let Some(d) = read_descriptor(cpu, selector)? else {
        return Err(gp(cpu, code));
    };
    let kind = d.kind();
    let data = kind & 0x18 == 0x10;
    let fits = if n == seg::SS {
        data && kind & 2 != 0 && rpl == cpu.s.cpl && d.dpl() == cpu.s.cpl
    } else {
        let readable = data || d.is_code() && kind & 2 != 0;
        let free = d.is_code() && d.conforming();
        readable && (free || d.dpl() >= rpl.max(cpu.s.cpl))
    };
    if !fits {
        return Err(gp(cpu, code));
    }
    if !d.present() {
        let v = if n == seg::SS { vector::SS } else { vector::NP };
        return Err(not_present(cpu, v, selector));
    }
    if kind & 1 == 0 {
        // The accessed bit.
        cpu.store_as(d.at, d.low | 1 << 40, 0)?;
    }
    cpu.s.seg[n] = Descriptor {
        low: d.low | 1 << 40,
        ..d
    }
    .segment(selector);
    Ok(())
}

fn word(cpu: &mut Cpu, op: &Op<X86>, r: u8) -> Result<u16, Flow> {
    if op.e & MEM != 0 {
        cpu.load::<u16>(ea(cpu, op))
    } else {
        Ok(u16::get(&cpu.s.gpr, r))
    }
}
fn to_segment(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let selector = access!(word(cpu, op, op.b));
    let n = (op.a as usize).min(5);
    if n == seg::CS {
        return ud(cpu);
    }
    access!(load_segment(cpu, n, selector));
    if n == seg::SS {
        cpu.s.shadow_at = cpu.icount() + u64::from(op.n);
    }
    Flow::Next
}
/// `a` is the segment register in the memory form; else `a` is the register of
/// `d` bytes and `b` the segment register.
fn from_segment(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if op.e & MEM != 0 {
        let v = cpu.s.seg[(op.a as usize).min(5)].selector;
        access!(cpu.store(ea(cpu, op), v));
    } else {
        let v = u64::from(cpu.s.seg[(op.b as usize).min(5)].selector);
        match op.d {
            2 => u16::set(&mut cpu.s.gpr, op.a, v as u16),
            _ => cpu.s.gpr[(op.a & 15) as usize] = v,
        }
    }
    Flow::Next
}
fn push_segment<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = cpu.s.seg[(op.a as usize).min(5)].selector;
    let sp = cpu.s.gpr[4].wrapping_sub(size_of::<W>() as u64);
    access!(cpu.store(sp, W::truncate(v.into())));
    cpu.s.gpr[4] = sp;
    Flow::Next
}
fn pop_segment<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let sp = cpu.s.gpr[4];
    let v = access!(cpu.load::<W>(sp)).zero_extend() as u16;
    access!(load_segment(cpu, (op.a as usize).min(5), v));
    cpu.s.gpr[4] = sp.wrapping_add(size_of::<W>() as u64);
    Flow::Next
}

fn ltr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let selector = access!(word(cpu, op, op.a));
    let code = u32::from(selector & !3);
    if selector & !3 == 0 || selector & 4 != 0 {
        return gp(cpu, code);
    }
    let Some(d) = access!(read_descriptor(cpu, selector)) else {
        return gp(cpu, code);
    };
    if d.kind() != 9 {
        return gp(cpu, code);
    }
    if !d.present() {
        return not_present(cpu, vector::NP, selector);
    }
    let high = access!(cpu.load_as::<u64>(d.at.wrapping_add(8), 0));
    // The TSS becomes busy.
    let low = d.low | 2 << 40;
    access!(cpu.store_as(d.at, low, 0));
    let mut tr = Descriptor { low, ..d }.segment(selector);
    tr.base |= high << 32;
    cpu.s.tr = tr;
    Flow::Next
}
fn lldt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let selector = access!(word(cpu, op, op.a));
    let code = u32::from(selector & !3);
    if selector & !3 == 0 {
        cpu.s.ldtr = Segment {
            selector,
            ..Segment::default()
        };
        return Flow::Next;
    }
    if selector & 4 != 0 {
        return gp(cpu, code);
    }
    let Some(d) = access!(read_descriptor(cpu, selector)) else {
        return gp(cpu, code);
    };
    if d.kind() != 2 {
        return gp(cpu, code);
    }
    if !d.present() {
        return not_present(cpu, vector::NP, selector);
    }
    let high = access!(cpu.load_as::<u64>(d.at.wrapping_add(8), 0));
    let mut ldtr = d.segment(selector);
    ldtr.base |= high << 32;
    cpu.s.ldtr = ldtr;
    Flow::Next
}
fn str(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = cpu.s.tr.selector.into();
    store_word(cpu, op, v)
}
fn sldt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = cpu.s.ldtr.selector.into();
    store_word(cpu, op, v)
}

/// The descriptor that LAR, LSL, VERR and VERW may look at.
fn visible(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Flow> {
    if selector & !3 == 0 {
        return Ok(None);
    }
    let Some(d) = read_descriptor(cpu, selector)? else {
        return Ok(None);
    };
    let free = d.is_code() && d.conforming();
    let seen = free || d.dpl() >= cpu.s.cpl.max(selector as u8 & 3);
    Ok(seen.then_some(d))
}
fn set_zf(cpu: &mut Cpu, zf: bool) {
    cpu.s.cc.zero = u64::from(!zf);
}
fn lar<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let selector = access!(word(cpu, op, op.b));
    // Segments, and of the system types LDT, TSS and call gate.
    let d = access!(visible(cpu, selector))
        .filter(|d| d.kind() >= 16 || matches!(d.kind(), 2 | 9 | 11 | 12));
    if let Some(d) = d {
        W::set(&mut cpu.s.gpr, op.a, W::truncate((d.low >> 32) & 0xf0_ff00));
    }
    set_zf(cpu, d.is_some());
    Flow::Next
}
fn lsl<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let selector = access!(word(cpu, op, op.b));
    let d = access!(visible(cpu, selector))
        .filter(|d| d.kind() >= 16 || matches!(d.kind(), 2 | 9 | 11));
    if let Some(d) = d {
        W::set(&mut cpu.s.gpr, op.a, W::truncate(d.limit().into()));
    }
    set_zf(cpu, d.is_some());
    Flow::Next
}
fn verify<const WRITE: bool>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let selector = access!(word(cpu, op, op.a));
    let ok = access!(visible(cpu, selector)).is_some_and(|d| {
        let data = d.kind() & 0x18 == 0x10;
        let bit = d.kind() & 2 != 0;
        if WRITE {
            data && bit
        } else {
            data || d.is_code() && bit
        }
    });
    set_zf(cpu, ok);
    Flow::Next
}

fn fs_gs<const GS: bool, const WRITE: bool, W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    if cpu.s.cr4 & cr4::FSGSBASE == 0 {
        return ud(cpu);
    }
    let n = if GS { seg::GS } else { seg::FS };
    if WRITE {
        let v = W::get(&cpu.s.gpr, op.a).zero_extend();
        if !canonical(v) {
            return gp(cpu, 0);
        }
        cpu.s.seg[n].base = v;
    } else {
        let v = cpu.s.seg[n].base;
        W::set(&mut cpu.s.gpr, op.a, W::truncate(v));
    }
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    use Mnemonic::*;
    let is_segment = |n: u32| {
        i.op_count() > n
            && i.op_kind(n) == OpKind::Register
            && i.op_register(n).is_segment_register()
    };
    let size = i.stack_pointer_increment().unsigned_abs() as usize;
    let destination = if i.op_count() > 0 && i.op_kind(0) == OpKind::Register {
        i.op_register(0).size()
    } else {
        0
    };
    let run: Handler<X86> = match i.mnemonic() {
        Mov if is_segment(0) => {
            let mut op = pack(i, to_segment);
            if !is_memory(i, 1) {
                op.e = 0;
            }
            return Some(op.into());
        }
        Mov if is_segment(1) => {
            let mut op = pack(i, from_segment);
            if !is_memory(i, 0) {
                op.d = destination as u8;
            }
            return Some(op.into());
        }
        Push if is_segment(0) => by_width!(size, W => push_segment::<W> as Handler<X86>),
        Pop if is_segment(0) => by_width!(size, W => pop_segment::<W> as Handler<X86>),
        Ltr => ltr,
        Lldt => lldt,
        Str | Sldt => {
            let mut op = pack(i, if i.mnemonic() == Str { str } else { sldt });
            op.b = destination as u8;
            return Some(op.into());
        }
        Lar => by_width!(destination, W => lar::<W> as Handler<X86>),
        Lsl => by_width!(destination, W => lsl::<W> as Handler<X86>),
        Verr => verify::<false>,
        Verw => verify::<true>,
        Rdfsbase => by_width!(destination, W => fs_gs::<false, false, W> as Handler<X86>),
        Rdgsbase => by_width!(destination, W => fs_gs::<true, false, W> as Handler<X86>),
        Wrfsbase => by_width!(destination, W => fs_gs::<false, true, W> as Handler<X86>),
        Wrgsbase => by_width!(destination, W => fs_gs::<true, true, W> as Handler<X86>),
        _ => return None,
    };
    Some(pack(i, run).into())
}
