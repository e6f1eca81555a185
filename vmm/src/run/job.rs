//! What a run does, one thing after the other.

use bus::SimTime;

/// A shell command for one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Index of the guest.
    pub guest: usize,
    /// For `sh -c`.
    pub command: String,
    /// Killed after this many seconds.
    pub timeout_s: u32,
}

/// Commands that belong together; the result of the last one counts, the ones
/// before it must exit with 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// For the progress display.
    pub title: String,
    /// Sets the link of this interface (`GUEST.NIC`) first; `true` is up.
    pub link: Option<(String, bool)>,
    /// In this order.
    pub commands: Vec<Command>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; 137 after a timeout.
    pub exit: i32,
    /// Stdout and stderr.
    pub output: Vec<u8>,
    /// The output was cut at its limit.
    pub truncated: bool,
    /// Virtual time that it took.
    pub took: SimTime,
}

/// How a job ended: the outcome of the last command that ran, and whether all
/// commands ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// Outcome of the last command that ran.
    pub outcome: Outcome,
    /// All commands of the job ran.
    pub complete: bool,
    /// The last command was killed at the end of its time.
    pub timed_out: bool,
}
