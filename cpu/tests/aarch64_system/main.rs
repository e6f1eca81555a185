//! The system side of AArch64 on bare metal: exceptions, translation, timers,
//! code that changes, exact budgets. Expected values are those of the Arm
//! Architecture Reference Manual (DDI 0487).

// Helpers of tests fail the test.
#![allow(clippy::unwrap_used)]

mod budget;
mod exceptions;
mod machine;
mod mmu;
mod timers;
