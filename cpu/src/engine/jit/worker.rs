//! A thread that compiles while the vCPU goes on interpreting.
//!
//! It works on copies of ops and follows no pointer into the engine: what it
//! builds in of addresses it was told. The vCPU's thread copies finished code
//! into place, between two blocks, if all of them are still there.

use super::Compiler;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Blocks that may wait; more are asked for again later.
const MOST: usize = 2048;

/// A block, by its place and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Name {
    pub index: u32,
    pub serial: u64,
}

pub(super) type Work = Box<dyn FnOnce(&mut Compiler) -> Option<Vec<u8>> + Send>;

/// The thread, and the ways to and from it.
pub(super) struct Worker {
    jobs: Option<Sender<(Vec<Name>, Work)>>,
    done: Receiver<(Vec<Name>, Option<Vec<u8>>)>,
    finished: Arc<AtomicUsize>,
    asked: usize,
    taken: usize,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread; `None` where there can be none.
    pub fn start(mut compiler: Compiler) -> Option<Self> {
        let (jobs, todo) = channel::<(Vec<Name>, Work)>();
        let (out, done) = channel();
        let finished = Arc::new(AtomicUsize::new(0));
        let count = finished.clone();
        let body = move || {
            for (names, work) in todo {
                if out.send((names, work(&mut compiler))).is_err() {
                    return;
                }
                count.fetch_add(1, Ordering::Release);
            }
        };
        let name = String::from("compile");
        let thread = std::thread::Builder::new().name(name).spawn(body).ok()?;
        Some(Self {
            jobs: Some(jobs),
            done,
            finished,
            asked: 0,
            taken: 0,
            thread: Some(thread),
        })
    }
    /// Asks for a region of these blocks. Says `false` when too many wait.
    pub fn ask(&mut self, names: Vec<Name>, work: Work) -> bool {
        if self.asked - self.taken >= MOST {
            return false;
        }
        let Some(jobs) = &self.jobs else {
            return false;
        };
        let sent = jobs.send((names, work)).is_ok();
        self.asked += usize::from(sent);
        sent
    }
    /// A region that was finished, and its code.
    #[inline]
    pub fn take(&mut self) -> Option<(Vec<Name>, Option<Vec<u8>>)> {
        if self.finished.load(Ordering::Acquire) == self.taken {
            return None;
        }
        let found = self.done.try_recv().ok()?;
        self.taken += 1;
        Some(found)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What waits is not compiled: nobody takes it.
        self.jobs = None;
        (_, self.done) = channel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("asked", &self.asked)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
