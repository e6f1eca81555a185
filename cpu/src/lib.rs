//! Emulated CPUs: AArch64 and x86-64 on one engine.
//!
//! [`engine`] knows nothing of any instruction set: it keeps decoded blocks,
//! chains them, counts instructions exactly, looks up guest memory through a
//! soft TLB, finds self-modifying code and turns device accesses into exits.
//! [`aarch64`] and [`x86_64`] decode guest code into ops and say what each op
//! does; [`softfloat`] is the arithmetic that both share.

pub mod aarch64;
pub mod clock;
pub mod engine;
mod exit;
mod signal;
pub mod softfloat;
pub mod x86_64;

pub use clock::{Clock, TimeSource};
pub use engine::{Cpu, Isa};
pub use exit::{CrashReport, VmEntry, VmExit};
pub use signal::Signal;
