//! Every interleaving, by a model checker, of the ring's two sides on memory
//! with the ordering rules of real hardware, and of the gate that wakes a
//! producer which waits for room.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[path = "../src/card/gate.rs"]
mod gate;

use fpga_sim::ring::{Consumer, Geometry, Producer, RingFault, RingMemory, Taken, layout};
use gate::SpaceGate;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering as Order};
use loom::thread;

const LINE: usize = layout::RECORDS as usize / 8;

/// Header words are atomics; a record's words are plain memory, on which two
/// accesses at once, one of them a write, fail the test.
struct Memory {
    words: Vec<AtomicU64>,
    records: Vec<UnsafeCell<u64>>,
}

#[derive(Clone)]
struct View(Arc<Memory>);

impl View {
    fn new(geometry: &Geometry) -> Self {
        let records = geometry.size() as usize / 8 - LINE;
        Self(Arc::new(Memory {
            words: (0..LINE).map(|_| AtomicU64::new(0)).collect(),
            records: (0..records).map(|_| UnsafeCell::new(0)).collect(),
        }))
    }
    fn record(&self, at: u64) -> &UnsafeCell<u64> {
        &self.0.records[at as usize / 8 - LINE]
    }
}

#[allow(unsafe_code, reason = "the model checker's cells hand out pointers")]
impl RingMemory for View {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        for (at, bytes) in (at..).step_by(8).zip(into.chunks_mut(8)) {
            // SAFETY: the checker has found that nobody writes the cell now.
            let word = self.record(at).with(|cell| unsafe { *cell });
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        for (at, bytes) in (at..).step_by(8).zip(from.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let word = u64::from_le_bytes(word);
            // SAFETY: the checker has found that nobody uses the cell now.
            self.record(at).with_mut(|cell| unsafe { *cell = word });
        }
        Ok(())
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        Ok(self.0.words[at as usize / 8].load(Order::Acquire))
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        self.0.words[at as usize / 8].store(word, Order::Release);
        Ok(())
    }
}

fn put(memory: &View, producer: &mut Producer<View>, byte: u8) -> bool {
    let Ok(room) = producer.reserve(16) else {
        return false;
    };
    let at = room.payload.0[0].0;
    memory.write(at, &[byte; 16]).unwrap();
    producer.commit(room, &[byte; 12]).unwrap();
    producer.publish().unwrap()
}

fn get(memory: &View, consumer: &mut Consumer<View>) -> Option<u8> {
    consumer.poll().unwrap();
    let frame = consumer.peek().unwrap().unwrap()?;
    let mut bytes = [0; 16];
    memory.read(frame.payload.0[0].0, &mut bytes).unwrap();
    assert_eq!(bytes, [frame.meta[0]; 16]);
    assert_eq!(consumer.take(&frame), Ok(Taken::Yes));
    consumer.publish().unwrap();
    Some(bytes[0])
}

#[test]
fn frames_are_whole_and_room_is_free_before_it_is_used_again() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        // Room for one frame: the second lies where the first was.
        let geometry = Geometry::new(0, 1, 64).unwrap();
        let memory = View::new(&geometry);
        let mut producer = Producer::start(memory.clone(), geometry).unwrap();
        let mut consumer = Consumer::start(memory.clone(), geometry).unwrap();
        let theirs = memory.clone();
        let other = thread::spawn(move || {
            let mut got = Vec::new();
            for _ in 0..2 {
                got.extend(get(&theirs, &mut consumer));
            }
            (consumer, got)
        });
        assert!(put(&memory, &mut producer, 1));
        producer.poll().unwrap();
        let second = put(&memory, &mut producer, 2);
        let (mut consumer, mut got) = other.join().unwrap();
        while let Some(byte) = get(&memory, &mut consumer) {
            got.push(byte);
        }
        assert_eq!(got, if second { vec![1, 2] } else { vec![1] });
    });
}

#[test]
fn a_producer_that_waits_for_room_is_always_woken() {
    loom::model(|| {
        let credits = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(SpaceGate::default());
        let woken = Arc::new(AtomicU64::new(0));
        let consumer = {
            let (credits, gate, woken) = (credits.clone(), gate.clone(), woken.clone());
            thread::spawn(move || {
                credits.store(1, Order::Release);
                if gate.fire() {
                    woken.store(1, Order::Release);
                }
            })
        };
        let mut room = credits.load(Order::Acquire) == 1;
        if !room {
            gate.arm();
            room = credits.load(Order::Acquire) == 1;
            if room {
                gate.disarm();
            }
        }
        consumer.join().unwrap();
        assert!(room || woken.load(Order::Acquire) == 1, "a lost wake-up");
    });
}
