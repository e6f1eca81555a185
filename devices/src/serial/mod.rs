//! Serial ports: the PL011 of ARM boards and the 16550A of PCs.
//!
//! Both speak to the machine through the same two ends. Output goes to a
//! [`SerialSink`], one call for each byte the guest writes, so a transmitter is
//! always ready and costs no extra exit. Input comes from a [`SerialInput`],
//! a queue without a limit that any thread may push into; a port takes bytes
//! from it as the guest empties its FIFO, so no byte is lost however much is
//! pushed at once.

mod input;
pub mod pl011;
mod sink;
pub mod uart16550;

pub use input::SerialInput;
pub use pl011::Pl011;
pub use sink::{LineSink, SerialSink};
pub use uart16550::Uart16550;
