//! A decoded instruction.

use super::{Cpu, Isa};
use std::cell::Cell;
use std::fmt;

/// How control goes on after an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flow {
    /// The next op of the block.
    Next,
    /// Jumped to a constant distance; the pc is set. First link of the block.
    Jump,
    /// Went on behind the block; the pc is set. Second link of the block.
    Fall,
    /// Jumped anywhere; the pc is set. Also after mode changes with a new pc
    /// (exception return, system call return).
    Indirect,
    /// Done, but something that block heads look at has changed (interrupt
    /// mask, timer, translation): the pc is set to the next instruction.
    Resync,
    /// Done, and waits for an interrupt.
    Halt,
    /// Not done: [`Cpu::trap`] is set, the instruction's own address is the pc.
    Trap,
    /// Not done: [`Cpu::exit`] is set; after the exit the instruction runs
    /// again with the answer in the [`super::IoLog`].
    Exit,
    /// Done, and [`Cpu::exit`] is set.
    ExitAfter,
    /// Not done: this op is stale (its code was overwritten). Engine only.
    Stale,
}

/// The function that carries an op out: the reference semantics.
pub type Handler<I> = fn(&mut Cpu<I>, &Op<I>) -> Flow;

/// A decoded instruction: plain data, 32 bytes, one for each guest instruction.
///
/// `code` names the operation for whoever reads ops (a compiler, a test);
/// `run` is the interpreter's function for it with operand kinds already
/// chosen. What the operand fields mean is up to the instruction set.
pub struct Op<I: Isa> {
    /// The interpreter's function.
    pub run: Cell<Handler<I>>,
    /// Immediate; a branch target is relative to the start of the block.
    pub imm: u64,
    /// Second immediate: displacement, shift, whatever the ISA needs.
    pub disp: i32,
    /// Operation number within the instruction set.
    pub code: u16,
    /// Byte offset of the instruction from the start of the block.
    pub off: u16,
    /// Instructions of the block done once this one is done.
    pub n: u16,
    /// Length of the instruction in bytes.
    pub len: u8,
    /// Operand fields.
    pub a: u8,
    /// Operand field.
    pub b: u8,
    /// Operand field.
    pub c: u8,
    /// Operand field.
    pub d: u8,
    /// Operand field.
    pub e: u8,
}

impl<I: Isa> Op<I> {
    /// An op with no operands; the block builder sets `off`, `n` and `len`.
    pub fn new(code: u16, run: Handler<I>) -> Self {
        Self {
            run: Cell::new(run),
            imm: 0,
            disp: 0,
            code,
            off: 0,
            n: 0,
            len: 0,
            a: 0,
            b: 0,
            c: 0,
            d: 0,
            e: 0,
        }
    }
}

impl<I: Isa> Clone for Op<I> {
    fn clone(&self) -> Self {
        Self {
            run: Cell::new(self.run.get()),
            ..*self
        }
    }
}

impl<I: Isa> fmt::Debug for Op<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "+{:#x} code {} a={} b={} c={} d={} e={} imm={:#x} disp={:#x}",
            self.off, self.code, self.a, self.b, self.c, self.d, self.e, self.imm, self.disp
        )
    }
}

/// Unwraps a guest access inside an op handler, or leaves the handler with the
/// flow that the access asks for.
#[macro_export]
macro_rules! access {
    ($e:expr) => {
        match $e {
            Ok(value) => value,
            Err(flow) => return flow,
        }
    };
}
