//! The ring alone, on memory that holds nothing but the ring: any access
//! outside of it panics.

use super::layout::{CREDITS_WORD, RECORD_HEADER, TAIL_WORD, record_units};
use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

const BASE: u64 = 0x300_0000;

#[derive(Clone, Debug)]
struct Plain(Rc<RefCell<Vec<u8>>>);

impl Plain {
    fn new(geometry: &Geometry, fill: u8) -> Self {
        Self(Rc::new(RefCell::new(vec![fill; geometry.size() as usize])))
    }
    fn poke(&self, offset: u64, xor: u64) {
        let word = self.load(BASE + offset).unwrap();
        self.store(BASE + offset, word ^ xor).unwrap();
    }
}

impl RingMemory for Plain {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        let at = (at - BASE) as usize;
        into.copy_from_slice(&self.0.borrow()[at..at + into.len()]);
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        let at = (at - BASE) as usize;
        self.0.borrow_mut()[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        assert!(at.is_multiple_of(8));
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        assert!(at.is_multiple_of(8));
        self.write(at, &word.to_le_bytes())
    }
}

struct Ring {
    memory: Plain,
    geometry: Geometry,
    producer: Producer<Plain>,
    consumer: Consumer<Plain>,
}

impl Ring {
    fn new(slots: u32, bytes: u64) -> Self {
        let geometry = Geometry::new(BASE, slots, bytes).unwrap();
        let memory = Plain::new(&geometry, 0);
        let mut ring = Self {
            producer: Producer::start(memory.clone(), geometry).unwrap(),
            consumer: Consumer::start(memory.clone(), geometry).unwrap(),
            memory,
            geometry,
        };
        assert_eq!(ring.consumer.poll(), Ok(Polled::Same));
        assert_eq!(ring.consumer.epoch(), Some(ring.producer.epoch()));
        ring
    }
    fn send(&mut self, frame: &[u8], meta: [u8; 12]) -> Result<(), Refusal> {
        let room = self.producer.reserve(frame.len() as u32)?;
        assert_eq!(room.payload.len() as usize, frame.len());
        let (first, second) = frame.split_at(room.payload.0[0].1 as usize);
        self.memory.write(room.payload.0[0].0, first).unwrap();
        if !second.is_empty() {
            self.memory.write(room.payload.0[1].0, second).unwrap();
        }
        self.producer.commit(room, &meta).unwrap();
        Ok(())
    }
    fn look(&mut self) -> Option<(Frame, Vec<u8>)> {
        if !self.consumer.available() {
            let _ = self.consumer.poll().unwrap();
        }
        let frame = self.consumer.peek().unwrap().ok()??;
        let mut bytes = vec![0; frame.len as usize];
        let (first, second) = bytes.split_at_mut(frame.payload.0[0].1 as usize);
        self.memory.read(frame.payload.0[0].0, first).unwrap();
        if !second.is_empty() {
            self.memory.read(frame.payload.0[1].0, second).unwrap();
        }
        Some((frame, bytes))
    }
    fn receive(&mut self) -> Option<(Vec<u8>, [u8; 12])> {
        let (frame, bytes) = self.look()?;
        match self.consumer.take(&frame).unwrap() {
            Taken::Yes => Some((bytes, frame.meta)),
            Taken::Gone => None,
        }
    }
}

fn frame(n: u64, len: usize) -> Vec<u8> {
    bus::fuzz::noise(n + 1, len)
}
fn meta(n: u64) -> [u8; 12] {
    frame(n ^ 0xffff, 12).try_into().unwrap()
}

#[test]
fn it_wraps_at_every_offset() {
    // A record of each length at each unit of a small ring.
    for len in 14..=80 {
        let mut ring = Ring::new(64, 512);
        let rounds = u64::from(ring.geometry.capacity()) * 3;
        for n in 0..rounds {
            ring.producer.poll().unwrap();
            ring.send(&frame(n, len), meta(n)).unwrap();
            // A shorter one moves the next to other units.
            ring.send(&frame(n, 14), meta(n)).unwrap();
            assert_eq!(ring.producer.publish(), Ok(true));
            assert_eq!(ring.receive(), Some((frame(n, len), meta(n))));
            assert_eq!(ring.receive(), Some((frame(n, 14), meta(n))));
            assert_eq!(ring.receive(), None);
            assert_eq!(ring.consumer.publish(), Ok(true));
        }
    }
}

#[test]
fn every_length_and_no_other() {
    let mut ring = Ring::new(4, 128 << 10);
    for len in (14..=200).chain([1514, 9000, 65_535, 65_549, 65_550]) {
        ring.send(&frame(1, len), meta(1)).unwrap();
        ring.producer.publish().unwrap();
        assert_eq!(ring.receive(), Some((frame(1, len), meta(1))));
        ring.consumer.publish().unwrap();
        ring.producer.poll().unwrap();
    }
    for len in [0, 13, 65_551, u32::MAX] {
        assert_eq!(ring.producer.reserve(len).unwrap_err(), Refusal::Size);
    }
    let ring = Ring::new(4, 1024);
    assert!(ring.producer.reserve(1000).is_ok());
    assert_eq!(ring.producer.reserve(1001).unwrap_err(), Refusal::Size);
}

#[test]
fn full_and_empty_by_slots_and_by_bytes() {
    // Slots: exactly so many.
    let mut ring = Ring::new(5, 64 << 10);
    for n in 0..5 {
        ring.send(&frame(n, 60), meta(n)).unwrap();
    }
    assert_eq!(ring.send(&frame(5, 60), meta(5)), Err(Refusal::Full));
    assert_eq!(ring.receive(), None, "nothing was published");
    ring.producer.publish().unwrap();
    assert!(ring.receive().is_some());
    ring.producer.poll().unwrap();
    assert_eq!(ring.send(&frame(5, 60), meta(5)), Err(Refusal::Full));
    ring.consumer.publish().unwrap();
    assert_eq!(ring.send(&frame(5, 60), meta(5)), Err(Refusal::Full));
    ring.producer.poll().unwrap();
    ring.send(&frame(5, 60), meta(5)).unwrap();
    assert_eq!(ring.send(&frame(6, 60), meta(6)), Err(Refusal::Full));
    // Bytes: to the last unit, also when the limit is no power of two.
    for bytes in [1024, 1000, 960] {
        let mut ring = Ring::new(100, bytes);
        let units = bytes as u32 / 8;
        let last = units - 5 * record_units(100);
        for n in 0..5 {
            ring.send(&frame(n, 100), meta(n)).unwrap();
        }
        let rest = last as usize * 8 - RECORD_HEADER;
        assert_eq!(ring.send(&frame(9, rest + 1), meta(9)), Err(Refusal::Full));
        ring.send(&frame(9, rest), meta(9)).unwrap();
        assert_eq!(ring.send(&frame(9, 14), meta(9)), Err(Refusal::Full));
    }
}

#[test]
fn garbage_before_the_first_start_is_no_frame() {
    let geometry = Geometry::new(BASE, 8, 4096).unwrap();
    for fill in [0, 1, 0x5a, 0xff] {
        let memory = Plain::new(&geometry, fill);
        let mut consumer = Consumer::start(memory.clone(), geometry).unwrap();
        for _ in 0..10 {
            consumer.poll().unwrap();
            assert_eq!(consumer.peek(), Ok(Ok(None)));
        }
        let producer = Producer::start(memory.clone(), geometry).unwrap();
        let mut ring = Ring {
            memory,
            geometry,
            producer,
            consumer,
        };
        ring.consumer.poll().unwrap();
        ring.producer.poll().unwrap();
        ring.consumer.poll().unwrap();
        ring.send(&frame(1, 100), meta(1)).unwrap();
        ring.producer.publish().unwrap();
        assert_eq!(ring.receive(), Some((frame(1, 100), meta(1))), "{fill:#x}");
    }
}

#[test]
fn a_frame_that_is_overwritten_while_it_is_copied_is_void() {
    let mut ring = Ring::new(8, 4096);
    ring.send(&frame(1, 100), meta(1)).unwrap();
    ring.producer.publish().unwrap();
    let (seen, _) = ring.look().unwrap();
    ring.producer.restart().unwrap();
    ring.send(&frame(2, 100), meta(2)).unwrap();
    assert_eq!(ring.consumer.take(&seen), Ok(Taken::Gone));
    ring.producer.publish().unwrap();
    assert_eq!(ring.receive(), Some((frame(2, 100), meta(2))));
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Publish,
    Poll,
    Receive,
    GiveBack,
    ProducerRestart,
    ConsumerRestart,
    Poke(u64, u64),
}

fn steps(restarts: bool, pokes: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (14usize..400).prop_map(Step::Send),
        1 => (400usize..66_000).prop_map(Step::Send),
        5 => Just(Step::Publish),
        4 => Just(Step::Poll),
        9 => Just(Step::Receive),
        5 => Just(Step::GiveBack),
        (if restarts { 1 } else { 0 }) => Just(Step::ProducerRestart),
        (if restarts { 1 } else { 0 }) => Just(Step::ConsumerRestart),
        (if pokes { 4 } else { 0 }) => (0u64..20, any::<u64>(), 0u8..64, any::<bool>())
            .prop_map(|(word, bits, one, wild)| {
                Step::Poke(word * 8, if wild { bits } else { 1 << one })
            }),
    ];
    prop::collection::vec(step, 0..300)
}

fn walk(ring: &mut Ring, steps: Vec<Step>, poked: bool) -> Result<(), TestCaseError> {
    // Frames published and not yet received, and those not yet published.
    let (mut there, mut staged) = (VecDeque::new(), Vec::new());
    let mut n = 0;
    // Which of tail and credits was poked since the producer looked. With both
    // gone nobody can tell that frames were taken: the ring waits for one side
    // to start anew.
    let mut gone = None;
    for step in steps {
        match step {
            Step::Send(len) => {
                n += 1;
                match ring.send(&frame(n, len), meta(n)) {
                    Ok(()) => staged.push((frame(n, len), meta(n))),
                    Err(Refusal::Size) => {
                        prop_assert!(record_units(len as u32) > ring.geometry.limit());
                    }
                    Err(Refusal::Full) => prop_assert!(poked || ring.producer.depth() > 0),
                }
            }
            Step::Publish => {
                ring.producer.publish().unwrap();
                there.extend(staged.drain(..));
            }
            Step::Poll => {
                let before = ring.producer.epoch();
                let polled = ring.producer.poll().unwrap();
                gone = None;
                prop_assert_eq!(polled != Polled::Same, ring.producer.epoch() != before);
                if polled != Polled::Same {
                    there.clear();
                    staged.clear();
                }
            }
            Step::Receive => {
                let got = ring.receive();
                if poked {
                    continue;
                }
                if ring.consumer.epoch() == Some(ring.producer.epoch()) {
                    prop_assert_eq!(got, there.pop_front());
                } else {
                    prop_assert_eq!(got, None);
                }
            }
            Step::GiveBack => {
                ring.consumer.publish().unwrap();
            }
            Step::ProducerRestart => {
                ring.producer = Producer::start(ring.memory.clone(), ring.geometry).unwrap();
                there.clear();
                staged.clear();
            }
            Step::ConsumerRestart => {
                ring.consumer = Consumer::start(ring.memory.clone(), ring.geometry).unwrap();
                if ring.consumer.waits_for_producer() {
                    there.clear();
                }
            }
            Step::Poke(offset @ (TAIL_WORD | CREDITS_WORD), bits) => {
                if *gone.get_or_insert(offset) == offset {
                    ring.memory.poke(offset, bits);
                }
            }
            Step::Poke(offset, bits) => ring.memory.poke(offset, bits),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_is_a_bounded_fifo_of_frames(
        steps in steps(false, false),
        slots in 1u32..20,
        bytes in 64u64..5000,
    ) {
        walk(&mut Ring::new(slots, bytes), steps, false)?;
    }

    #[test]
    fn restarts_lose_only_old_frames(
        steps in steps(true, false),
        slots in 1u32..20,
        bytes in 64u64..5000,
    ) {
        walk(&mut Ring::new(slots, bytes), steps, false)?;
    }

    /// Whatever the other side writes: no panic, no access outside, and the
    /// ring works again once it stops.
    #[test]
    fn nonsense_does_no_harm_and_passes(
        steps in steps(true, true),
        slots in 1u32..20,
        bytes in 200u64..5000,
    ) {
        let mut ring = Ring::new(slots, bytes);
        walk(&mut ring, steps, true)?;
        let mut good = 0;
        for n in 0..20 {
            ring.producer.poll().unwrap();
            let _ = ring.send(&frame(n, 100), meta(n));
            ring.producer.publish().unwrap();
            let mut last = None;
            while let Some(got) = ring.receive() {
                last = Some(got);
            }
            ring.consumer.publish().unwrap();
            if last == Some((frame(n, 100), meta(n))) {
                good += 1;
            }
        }
        prop_assert!(good >= 10, "{} of 20", good);
    }
}
