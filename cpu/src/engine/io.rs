//! Device accesses that leave the CPU.
//!
//! An instruction that touches a device stops before it is done and comes back
//! to the machine as an exit. With the answer it runs again from its start, and
//! accesses that were answered already take their answers from this log. So an
//! instruction may make several device accesses, each of which is made once,
//! and no instruction is ever half done.

use crate::VmEntry;

/// Answers for the instruction that waits.
#[derive(Clone, Debug, Default)]
pub struct IoLog {
    answers: Vec<u64>,
    cursor: usize,
    waiting: bool,
}

impl IoLog {
    /// Takes the next answer, if this access was made already.
    #[inline]
    pub fn take(&mut self) -> Option<u64> {
        let answer = self.answers.get(self.cursor).copied();
        self.cursor += answer.is_some() as usize;
        answer
    }
    /// The instruction has to leave for an answer.
    pub(super) fn wait(&mut self) {
        self.waiting = true;
    }
    /// Whether an instruction is half done.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }
    pub(super) fn answer(&mut self, entry: VmEntry) {
        if self.waiting {
            self.answers.push(match entry {
                VmEntry::Value(value) => value,
                VmEntry::Run | VmEntry::Done => 0,
            });
        }
        self.cursor = 0;
    }
    /// The instruction is done, or was given up for an exception.
    pub(super) fn finish(&mut self) {
        self.answers.clear();
        self.cursor = 0;
        self.waiting = false;
    }
}
