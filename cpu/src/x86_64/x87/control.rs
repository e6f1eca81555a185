//! Control and status words, environments, saving and restoring.

use super::fpu::*;
use super::memory::{read80, write80};
use crate::engine::{Flow, Op};
use crate::softfloat::{Class, Env, Ext, X80, unpack};
use crate::x86_64::operand::{Width, ea};
use crate::x86_64::{X86, X86State};
use crate::{Cpu, access};

/// Bits of the control word that there are; bit 6 reads as one.
const CONTROL: u16 = 0x1f3f;

fn set_control(s: &mut X86State, fcw: u16) {
    s.fcw = fcw & CONTROL | 0x40;
    update_summary(s);
}

/// `fninit`
pub fn init(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    reset(&mut cpu.s);
    Flow::Next
}
fn reset(s: &mut X86State) {
    s.fcw = 0x37f;
    s.fsw = 0;
    s.ftw_empty = 0xff;
    s.fop = 0;
    s.fip = 0;
    s.fdp = 0;
}
/// `fnclex`
pub fn clear_exceptions(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    cpu.s.fsw &= !(FLAGS | SF | SUMMARY);
    Flow::Next
}
/// `fnstsw ax`
pub fn status_to_ax(cpu: &mut Cpu<X86>, _: &Op<X86>) -> Flow {
    let fsw = cpu.s.fsw;
    u16::set(&mut cpu.s.gpr, 0, fsw);
    Flow::Next
}
/// `fnstsw m16`
pub fn status_to_memory(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    access!(cpu.store(at, cpu.s.fsw));
    Flow::Next
}
/// `fnstcw m16`
pub fn store_control(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    access!(cpu.store(at, cpu.s.fcw));
    Flow::Next
}
/// `fldcw m16`
pub fn load_control(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let at = ea(cpu, op);
    let fcw = access!(cpu.load::<u16>(at));
    set_control(&mut cpu.s, fcw);
    Flow::Next
}

/// The tag word: two bits for each register.
fn tags(s: &X86State) -> u16 {
    (0..8).fold(0, |word, i| {
        let tag = if s.ftw_empty >> i & 1 != 0 {
            3
        } else {
            let a = Ext::from_u128(s.st[i]);
            match unpack::<X80>(a, &mut Env::x87()).class {
                Class::Zero => 1,
                Class::Finite if a.sign_exp & 0x7fff != 0 => 0,
                _ => 2,
            }
        };
        word | tag << (2 * i)
    })
}

/// Words of the environment, in 32-bit protected-mode order.
fn environment(s: &X86State) -> [u32; 7] {
    let high = 0xffff_0000;
    [
        high | u32::from(s.fcw),
        high | u32::from(s.fsw),
        high | u32::from(tags(s)),
        s.fip as u32,
        u32::from(s.fop & 0x7ff) << 16,
        s.fdp as u32,
        high,
    ]
}

fn write_environment<const SHORT: bool>(cpu: &mut Cpu<X86>, at: u64) -> Result<u64, Flow> {
    let words = environment(&cpu.s);
    if SHORT {
        for (i, word) in words.iter().enumerate() {
            cpu.store(at.wrapping_add(2 * i as u64), *word as u16)?;
        }
        Ok(14)
    } else {
        for (i, word) in words.iter().enumerate() {
            cpu.store(at.wrapping_add(4 * i as u64), *word)?;
        }
        Ok(28)
    }
}

fn read_environment<const SHORT: bool>(
    cpu: &mut Cpu<X86>,
    at: u64,
) -> Result<([u32; 7], u64), Flow> {
    let mut words = [0; 7];
    for (i, word) in words.iter_mut().enumerate() {
        *word = if SHORT {
            cpu.load::<u16>(at.wrapping_add(2 * i as u64))?.into()
        } else {
            cpu.load::<u32>(at.wrapping_add(4 * i as u64))?
        };
    }
    Ok((words, if SHORT { 14 } else { 28 }))
}

fn set_environment(s: &mut X86State, words: [u32; 7]) {
    s.fsw = words[1] as u16;
    s.ftw_empty = (0..8).fold(0, |empty, i| {
        empty | u8::from(words[2] >> (2 * i) & 3 == 3) << i
    });
    s.fip = words[3].into();
    s.fop = (words[4] >> 16) as u16 & 0x7ff;
    s.fdp = words[5].into();
    set_control(s, words[0] as u16);
}

/// `fnstenv`
pub fn store_environment<const SHORT: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    let mode = cpu.mode();
    access!(cpu.probe_write(at, if SHORT { 14 } else { 28 }, mode));
    access!(write_environment::<SHORT>(cpu, at));
    cpu.s.fcw |= FLAGS;
    update_summary(&mut cpu.s);
    Flow::Next
}
/// `fldenv`
pub fn load_environment<const SHORT: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let at = ea(cpu, op);
    let (words, _) = access!(read_environment::<SHORT>(cpu, at));
    set_environment(&mut cpu.s, words);
    Flow::Next
}
/// `fnsave`
pub fn save<const SHORT: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    let at = ea(cpu, op);
    let mode = cpu.mode();
    access!(cpu.probe_write(at, if SHORT { 94 } else { 108 }, mode));
    let size = access!(write_environment::<SHORT>(cpu, at));
    for i in 0..8 {
        let value = cpu.s.raw(i);
        let to = at.wrapping_add(size + 10 * u64::from(i));
        access!(write80(cpu, to, value));
    }
    reset(&mut cpu.s);
    Flow::Next
}
/// `frstor`
pub fn restore<const SHORT: bool>(cpu: &mut Cpu<X86>, op: &Op<X86>) -> Flow {
    access!(wait(cpu));
    let at = ea(cpu, op);
    let (words, size) = access!(read_environment::<SHORT>(cpu, at));
    let mut values = [Ext::default(); 8];
    for (i, value) in values.iter_mut().enumerate() {
        *value = access!(read80(cpu, at.wrapping_add(size + 10 * i as u64)));
    }
    let s = &mut cpu.s;
    set_environment(s, words);
    for (i, value) in values.iter().enumerate() {
        let at = s.physical(i as u8) & 7;
        s.st[at] = value.to_u128();
    }
    Flow::Next
}
