//! Finds inputs on which a target hangs.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

struct State {
    /// The input that runs now.
    input: Option<Vec<u8>>,
    /// Counts inputs.
    number: u64,
    done: bool,
}

/// Ends the process when one input takes longer than a limit, after it has
/// saved that input.
pub(crate) struct Watchdog {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Saves the input that hangs as `file`.
    pub fn new(limit: Duration, name: &'static str, file: PathBuf) -> Self {
        let state = State {
            input: None,
            number: 0,
            done: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let watched = shared.clone();
        let thread = std::thread::spawn(move || watch(&watched, limit, name, &file));
        Self {
            shared,
            thread: Some(thread),
        }
    }
    /// `input` starts to run.
    pub fn begin(&self, input: &[u8]) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.number += 1;
        let place = state.input.get_or_insert_default();
        place.clear();
        place.extend_from_slice(input);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (state, wake) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(shared: &(Mutex<State>, Condvar), limit: Duration, name: &str, file: &PathBuf) {
    let mut seen = 0;
    let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if state.done {
            return;
        }
        let waited = shared.1.wait_timeout(state, limit);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if !state.done
            && state.number == seen
            && let Some(input) = &state.input
        {
            let saved = std::fs::write(file, input);
            eprintln!(
                "{name}: one input takes more than {} s; it is {} ({saved:?})",
                limit.as_secs(),
                file.display()
            );
            std::process::abort();
        }
        seen = state.number;
    }
}
