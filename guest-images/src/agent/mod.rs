//! The monitor's end of the command channel to a guest.
//!
//! The channel is a serial line of its own, in raw mode, so the guest's
//! kernel messages never mix in. Requests are lines, and may carry bytes:
//!
//! | to the guest | meaning |
//! |---|---|
//! | `@vmm X ID TOKEN BLOCKS`, newline, escaped command, newline | run a short command |
//! | `@vmm B ID TOKEN BLOCKS LENGTH`, newline, LENGTH bytes | run a long command |
//! | `@vmm K` | kill the running command and all of its session |
//! | `@vmm H` | say `R` again |
//! | `@vmm P` | power off |
//!
//! | to the monitor | meaning |
//! |---|---|
//! | `@vmm R VERSION UPTIME` | ready; uptime in seconds |
//! | `@vmm S ID` | the command has started |
//! | `@vmm O ID TOKEN`, newline, raw output, newline, `@vmm E ID TOKEN EXIT` | it has ended |
//! | `@vmm P` | powering off |
//!
//! Output is gathered in a file of the guest and sent when the command has
//! ended, stdout and stderr together, at most BLOCKS * 64 KiB of it. The end
//! is told by the token, which the command cannot know. Every line begins
//! after a newline of its own; whatever else comes is skipped and reported.
//!
//! The guest sets no time limit: whoever drives the [`Client`] has the clock
//! and sends the kill request, after which the command ends with exit 137.
//!
//! [`Client`] is a state machine: no input or output, no clock.

mod client;
mod encode;
#[cfg(test)]
mod tests;

pub use client::{AgentEvent, Client, Done, MAX_COMMAND, MAX_OUTPUT, RequestError};

/// Version of the protocol, in the `R` line.
pub const PROTOCOL_VERSION: u32 = 1;
