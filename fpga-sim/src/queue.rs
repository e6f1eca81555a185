//! The hard queues: two one-way FIFOs of words in the card's logic.
//!
//! Each has a producer's and a consumer's register window, one on the host's
//! user BAR and one on the board's bus. The register contract is that of the
//! VNet-Card programs, which run unmodified on it.

use bus::{Action, BusDevice, IoError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of a register window.
pub const WINDOW: u64 = 0x2000;
/// User BAR offset of the host's producer window (host to board).
pub const BAR_PRODUCER: u64 = 0x2_0000;
/// User BAR offset of the host's consumer window (board to host).
pub const BAR_CONSUMER: u64 = 0x1_0000;
/// Board address of its producer window (board to host).
pub const BOARD_PRODUCER: u64 = 0xa030_0000;
/// Board address of its consumer window (host to board).
pub const BOARD_CONSUMER: u64 = 0xa032_0000;

/// Most words in a queue. Programs mask the counts with 0x1fff, so 8192 would
/// look like an empty queue.
pub const CAPACITY: usize = 8191;
/// The longest that a read of an empty queue is held.
pub const LONGEST_HOLD: Duration = Duration::from_millis(1);

/// Flags: bit 0 empty, bit 1 full.
const FLAG: u64 = 0x00;
const FLAGS_CLR: u64 = 0x04;
const RD_CNT: u64 = 0x08;
const WR_CNT: u64 = 0x0c;
const WR_LOCK: u64 = 0x10;
const RD_LOCK: u64 = 0x14;
const SCR_PAD: u64 = 0x1c;
pub(crate) const DATA: u64 = 0x40;

/// One queue. Pushes, pops and counts are atomic and in order, on any threads;
/// memory written before a push is visible after the pop of its word.
#[derive(Debug)]
pub struct HardQueue {
    words: Mutex<VecDeque<u64>>,
    arrived: Condvar,
    hold: Duration,
    scratch: [AtomicU32; 3],
    overflows: AtomicU64,
    underflows: AtomicU64,
}

impl HardQueue {
    /// An empty queue. A pop that finds it empty is held for up to `hold` (at
    /// most [`LONGEST_HOLD`]) for a word to arrive. A lockstep machine needs a
    /// `hold` of zero: it must not wait for another thread.
    pub fn new(hold: Duration) -> Self {
        Self {
            words: Mutex::new(VecDeque::new()),
            arrived: Condvar::new(),
            hold: hold.min(LONGEST_HOLD),
            scratch: Default::default(),
            overflows: AtomicU64::new(0),
            underflows: AtomicU64::new(0),
        }
    }
    fn words(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Adds a word. `false` when it was full: the word is dropped.
    pub fn push(&self, word: u64) -> bool {
        let mut words = self.words();
        if words.len() >= CAPACITY {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        words.push_back(word);
        drop(words);
        if !self.hold.is_zero() {
            self.arrived.notify_one();
        }
        true
    }
    /// Takes the oldest word, if there is one now.
    pub fn try_pop(&self) -> Option<u64> {
        self.words().pop_front()
    }
    /// Takes the oldest word; zero when there is none and none arrives in time.
    /// Never a word that was popped before.
    pub fn pop(&self) -> u64 {
        let mut words = self.words();
        if words.is_empty() && !self.hold.is_zero() {
            let empty = |words: &mut VecDeque<u64>| words.is_empty();
            let waited = self.arrived.wait_timeout_while(words, self.hold, empty);
            words = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        words.pop_front().unwrap_or_else(|| {
            self.underflows.fetch_add(1, Ordering::Relaxed);
            0
        })
    }
    /// Words in the queue.
    pub fn count(&self) -> usize {
        self.words().len()
    }
    /// Empties the queue.
    pub fn clear(&self) {
        self.words().clear();
    }
    /// Pushes that found it full.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }
    /// Pops that found it empty to the end.
    pub fn underflows(&self) -> u64 {
        self.underflows.load(Ordering::Relaxed)
    }

    fn register(&self, offset: u64) -> u32 {
        let count = self.count();
        match offset {
            FLAG => u32::from(count == 0) | u32::from(count >= CAPACITY) << 1,
            RD_CNT | WR_CNT => count as u32,
            WR_LOCK => self.scratch[0].load(Ordering::Acquire),
            RD_LOCK => self.scratch[1].load(Ordering::Acquire),
            SCR_PAD => self.scratch[2].load(Ordering::Acquire),
            _ => 0,
        }
    }
    fn set_register(&self, offset: u64, value: u32) {
        let scratch = match offset {
            WR_LOCK => &self.scratch[0],
            RD_LOCK => &self.scratch[1],
            SCR_PAD => &self.scratch[2],
            _ => return,
        };
        scratch.store(value, Ordering::Release);
    }
}

/// Which end of a queue a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Writes of DATA push; FLAGS_CLR empties.
    Producer,
    /// Reads of DATA pop.
    Consumer,
}

/// A register window of a queue: [`WINDOW`] bytes.
///
/// DATA takes accesses of 4 or 8 bytes, each one word of the queue. The other
/// registers are 32 bits wide; an access of 8 bytes is one of two registers.
/// Everything else reads as zero and ignores writes.
#[derive(Clone, Debug)]
pub struct QueueWindow {
    queue: Arc<HardQueue>,
    role: Role,
}

impl QueueWindow {
    /// The window of one end of `queue`.
    pub fn new(queue: Arc<HardQueue>, role: Role) -> Self {
        Self { queue, role }
    }
    /// Reads registers; a read of DATA pops.
    pub fn load(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset == DATA {
            if self.role == Role::Consumer && matches!(data.len(), 4 | 8) {
                let word = self.queue.pop().to_le_bytes();
                data.copy_from_slice(&word[..data.len()]);
            }
        } else if offset.is_multiple_of(4) {
            for (at, bytes) in (offset..).step_by(4).zip(data.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&self.queue.register(at).to_le_bytes());
            }
        }
    }
    /// Writes registers; a write of DATA pushes.
    pub fn store(&self, offset: u64, data: &[u8]) {
        let mut word = [0; 8];
        if offset == DATA {
            if self.role == Role::Producer && matches!(data.len(), 4 | 8) {
                word[..data.len()].copy_from_slice(data);
                self.queue.push(u64::from_le_bytes(word));
            }
        } else if offset.is_multiple_of(4) {
            for (at, bytes) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
                let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                if at == FLAGS_CLR && self.role == Role::Producer && value & 1 != 0 {
                    self.queue.clear();
                }
                self.queue.set_register(at, value);
            }
        }
    }
}

impl BusDevice for QueueWindow {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        self.load(offset, data);
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        self.store(offset, data);
        Ok(Action::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends() -> (Arc<HardQueue>, QueueWindow, QueueWindow) {
        let queue = Arc::new(HardQueue::new(Duration::ZERO));
        let producer = QueueWindow::new(queue.clone(), Role::Producer);
        let consumer = QueueWindow::new(queue.clone(), Role::Consumer);
        (queue, producer, consumer)
    }
    fn read32(window: &QueueWindow, offset: u64) -> u32 {
        let mut data = [0; 4];
        window.load(offset, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn registers_as_the_programs_use_them() {
        let (_, producer, consumer) = ends();
        assert_eq!(read32(&consumer, FLAG) & 1, 1, "empty");
        assert_eq!(read32(&consumer, DATA), 0, "a pop of nothing is zero");
        for n in 1..=5u32 {
            producer.store(DATA, &(0xfedc_ab00 + n).to_le_bytes());
        }
        assert_eq!(read32(&producer, WR_CNT) & 0x1fff, 5);
        assert_eq!(read32(&consumer, RD_CNT) & 0x1fff, 5);
        assert_eq!(read32(&consumer, FLAG) & 3, 0);
        assert_eq!(read32(&consumer, DATA), 0xfedc_ab01);
        // Neither end can do the other's job.
        assert_eq!(read32(&producer, DATA), 0);
        consumer.store(DATA, &[1; 4]);
        consumer.store(FLAGS_CLR, &[1, 0, 0, 0]);
        assert_eq!(read32(&consumer, RD_CNT), 4);
        producer.store(FLAGS_CLR, &[0; 4]);
        assert_eq!(read32(&consumer, RD_CNT), 4);
        producer.store(FLAGS_CLR, &[1, 0, 0, 0]);
        assert_eq!(read32(&consumer, FLAG) & 1, 1);
        assert_eq!(read32(&consumer, DATA), 0, "never the previous word");
        for scratch in [WR_LOCK, RD_LOCK, SCR_PAD] {
            producer.store(scratch, &0x1234_5678u32.to_le_bytes());
            assert_eq!(read32(&consumer, scratch), 0x1234_5678);
        }
    }

    #[test]
    fn one_access_is_one_word_whatever_its_width() {
        let (queue, producer, consumer) = ends();
        producer.store(DATA, &0x1122_3344_5566_7788u64.to_le_bytes());
        producer.store(DATA, &0x99aa_bbccu32.to_le_bytes());
        for odd in [1, 2] {
            producer.store(DATA, &[7; 2][..odd]);
            consumer.load(DATA, &mut [0; 2][..odd]);
        }
        assert_eq!(queue.count(), 2);
        let mut wide = [0; 8];
        consumer.load(DATA, &mut wide);
        assert_eq!(u64::from_le_bytes(wide), 0x1122_3344_5566_7788);
        consumer.load(DATA, &mut wide);
        assert_eq!(u64::from_le_bytes(wide), 0x99aa_bbcc);
    }

    #[test]
    fn it_never_says_8192() {
        let (queue, producer, consumer) = ends();
        for n in 0..9000u32 {
            producer.store(DATA, &n.to_le_bytes());
        }
        assert_eq!(read32(&producer, WR_CNT), 8191);
        assert_eq!(read32(&consumer, FLAG), 2);
        assert_eq!(queue.overflows(), 9000 - 8191);
        for n in 0..8191 {
            assert_eq!(read32(&consumer, DATA), n);
        }
        assert_eq!(read32(&consumer, FLAG), 1);
    }

    #[test]
    fn a_held_pop_gets_the_word_that_arrives() {
        let queue = HardQueue::new(Duration::from_secs(1));
        assert_eq!(queue.hold, LONGEST_HOLD);
        std::thread::scope(|scope| {
            let popper = scope.spawn(|| {
                let mut got = Vec::new();
                while got.len() < 1000 {
                    match queue.pop() {
                        0 => {}
                        word => got.push(word),
                    }
                }
                got
            });
            for n in 1..=1000 {
                assert!(queue.push(n));
                if n % 100 == 0 {
                    std::thread::yield_now();
                }
            }
            assert_eq!(popper.join().unwrap(), (1..=1000).collect::<Vec<_>>());
        });
        assert_eq!(queue.pop(), 0);
    }

    proptest! {
        #[test]
        fn it_is_a_bounded_fifo(steps in prop::collection::vec((0u8..8, any::<u32>()), 0..400)) {
            let (queue, producer, consumer) = ends();
            let mut model = VecDeque::new();
            for (step, word) in steps {
                match step {
                    0..=3 => {
                        producer.store(DATA, &word.to_le_bytes());
                        model.push_back(word);
                    }
                    4..=6 => prop_assert_eq!(
                        read32(&consumer, DATA),
                        model.pop_front().unwrap_or(0)
                    ),
                    _ => prop_assert_eq!(read32(&consumer, RD_CNT) as usize, model.len()),
                }
            }
            prop_assert_eq!(queue.count(), model.len());
        }
    }
}
