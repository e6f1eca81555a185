//! Fewer and larger accesses to ring memory, for memory where each one is a DMA
//! with a system call, an interrupt and a round trip over PCIe.

use super::{RingFault, RingMemory, Spans};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes that wait to be written.
const STAGE: usize = 256 << 10;
/// Bytes between two records that are padding or a header still to come.
const GAP: u64 = 64;

#[derive(Debug, Default)]
struct State {
    /// Bytes to be written from this address on.
    staged_at: u64,
    staged: Vec<u8>,
    /// Bytes that were read ahead, by address.
    ahead: [(u64, Vec<u8>); 2],
    /// A word that was loaded after them, and its address.
    witness: Option<(u64, u64)>,
}

/// Ring memory that gathers writes until the next [`RingMemory::store`], which
/// is what publishes them, and answers reads from what was read ahead. Clones
/// share what waits.
///
/// It may write zeroes between two writes that lie less than 64 bytes apart, so
/// it is for the record area of one producer.
#[derive(Clone, Debug)]
pub struct Batched<M> {
    memory: M,
    state: Arc<Mutex<State>>,
}

impl<M: RingMemory> Batched<M> {
    /// Over `memory`.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            state: Arc::default(),
        }
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn flush(&self, state: &mut State) -> Result<(), RingFault> {
        if state.staged.is_empty() {
            return Ok(());
        }
        let written = self.memory.write(state.staged_at, &state.staged);
        state.staged.clear();
        written
    }
}

/// Whether `len` bytes at `at` lie in `bytes`, which start at `start`: where.
fn within(start: u64, bytes: &[u8], at: u64, len: usize) -> Option<&[u8]> {
    let offset = usize::try_from(at.checked_sub(start)?).ok()?;
    bytes.get(offset..offset.checked_add(len)?)
}

impl<M: RingMemory> RingMemory for Batched<M> {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        let mut state = self.state();
        for (start, bytes) in &state.ahead {
            if let Some(bytes) = within(*start, bytes, at, into.len()) {
                into.copy_from_slice(bytes);
                return Ok(());
            }
        }
        // What is read now is newer than the witness.
        state.witness = None;
        self.memory.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        let mut state = self.state();
        let state = &mut *state;
        let end = state.staged_at + state.staged.len() as u64;
        let behind = at >= state.staged_at && at <= end + GAP;
        let before = at < state.staged_at && at + from.len() as u64 + GAP > state.staged_at;
        if state.staged.is_empty() {
            state.staged_at = at;
        } else if !(behind || before) || state.staged.len() + from.len() > STAGE {
            self.flush(state)?;
            state.staged_at = at;
        } else if before {
            // A record's header comes after its bytes: move these up.
            let more = (state.staged_at - at) as usize;
            state.staged.splice(0..0, std::iter::repeat_n(0, more));
            state.staged_at = at;
        }
        let offset = (at - state.staged_at) as usize;
        let needed = offset + from.len();
        if state.staged.len() < needed {
            state.staged.resize(needed, 0);
        }
        state.staged[offset..needed].copy_from_slice(from);
        Ok(())
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        match self.state().witness {
            Some((address, word)) if address == at => Ok(word),
            _ => self.memory.load(at),
        }
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        self.flush(&mut self.state())?;
        self.memory.store(at, word)
    }
    fn load_line(&self, at: u64, words: &mut [u64]) -> Result<(), RingFault> {
        let mut state = self.state();
        state.witness = None;
        state.ahead = Default::default();
        self.memory.load_line(at, words)
    }
    fn read_ahead(&self, spans: &Spans, witness: u64) -> Result<(), RingFault> {
        let mut state = self.state();
        for (ahead, (at, len)) in state.ahead.iter_mut().zip(spans.0) {
            let mut bytes = vec![0; len as usize];
            if len > 0 {
                self.memory.read(at, &mut bytes)?;
            }
            *ahead = (at, bytes);
        }
        state.witness = Some((witness, self.memory.load(witness)?));
        Ok(())
    }
}
