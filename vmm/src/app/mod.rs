//! The `vmm` command: what it does with a topology.

mod console;
mod crash;
mod execute;
mod images;
mod interrupt;
mod jobs;
mod model;
mod prepare;
mod progress;
mod report;
mod resident;
mod terminal;

pub use crate::doctor::doctor;
pub use execute::{RunOptions, run};
pub use images::{build, clean, list};
pub use model::model;
pub use report::say;

/// Exit codes of the command.
pub mod exit {
    /// All checks passed.
    pub const PASSED: u8 = 0;
    /// A check failed.
    pub const FAILED: u8 = 1;
    /// Bad input.
    pub const INPUT: u8 = 2;
    /// A guest crashed, an image is missing, a boot timed out.
    pub const INFRASTRUCTURE: u8 = 3;
}
