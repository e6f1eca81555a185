//! The card's frame rings while somebody writes into the shared memory.
//!
//! Input: how the card is made, then steps: frames both ways, time, restarts,
//! and hostile words in the rings. Afterwards both directions must work again,
//! and every frame must be accounted for.

use super::Target;
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{Bdf, DmaTarget, GuestRam, NoMsi, Segment, SimTime, create_ram};
use fpga_sim::card::{
    Card, CardPort, FifoSpec, OnFull, Side, SimCard, SimCardSpec, SimPort, TakeStatus, TxStatus,
};
use std::sync::Arc;

pub const TARGET: Target = Target {
    name: "frame_ring",
    about: "frame rings of the card with hostile words in shared memory",
    run,
    max_len: 2048,
    rounds: 40_000,
    words: &[],
};

const WINDOW: u64 = 0x10_0000;
const WINDOW_SIZE: u64 = 0x10_0000;
const TX: u64 = 0x1_0000;
const RX: u64 = 0x4_0000;
const META: [u8; 12] = *b"meta-of-12-b";

struct End {
    port: SimPort,
    memory: DmaTarget,
    attached: bool,
}

impl End {
    fn new(card: &Arc<SimCard>, side: Side, ram: &Arc<GuestRam>) -> Self {
        let memory = DmaTarget::new(Bdf::new(0, 1, 0), ram.clone(), Arc::new(NoMsi));
        memory.set_bus_master(true);
        Self {
            port: card.port(side),
            memory,
            attached: false,
        }
    }
    fn attach(&mut self) {
        self.port.attach(self.memory.clone()).expect("rings in RAM");
        self.attached = true;
    }
    fn send(&mut self, now: SimTime, len: u32, first: u8) -> TxStatus {
        let ram = self.memory.raw_memory();
        ram.write_slice(&[first; 64], GuestAddress(TX))
            .expect("in RAM");
        let third = len / 3;
        let pieces = [(0, third), (third, len - third)].map(|(at, len)| Segment {
            address: TX + u64::from(at),
            len,
        });
        self.port.transmit(now, &META, &pieces)
    }
    /// Length and first byte of a frame that has come.
    fn receive(&mut self, now: SimTime) -> Option<(u32, u8)> {
        let len = self.port.peek(now)?.len;
        let into = [Segment {
            address: RX,
            len: 70_000,
        }];
        match self.port.take(now, &into) {
            TakeStatus::Taken => {
                let mut first = [0];
                let ram = self.memory.raw_memory();
                ram.read_slice(&mut first, GuestAddress(RX))
                    .expect("in RAM");
                Some((len, first[0]))
            }
            TakeStatus::Gone => None,
            TakeStatus::BadBuffer => panic!("70,000 bytes are enough for {len}"),
        }
    }
}

fn card(input: &mut Input<'_>) -> (Arc<SimCard>, [End; 2], Arc<GuestRam>) {
    let (how, slots, size) = (input.u8(), input.u8(), input.u8());
    let spec = SimCardSpec {
        window_base: WINDOW,
        window_size: WINDOW_SIZE,
        ring_base: WINDOW,
        timed: how & 4 != 0,
        fifo: FifoSpec {
            slots: u32::from(slots & 31) + 1,
            bytes: (u64::from(size) + 1) << 10,
            on_full: match how & 3 {
                0 | 1 => OnFull::Backpressure,
                2 => OnFull::DropNew,
                _ => OnFull::DropOldest,
            },
        },
        ..SimCardSpec::default()
    };
    let host = Arc::new(create_ram(&[(0, 0x8_0000)]).expect("512 KiB"));
    let board = Arc::new(create_ram(&[(0, WINDOW + WINDOW_SIZE)]).expect("2 MiB"));
    let card = SimCard::new(spec, board.clone()).expect("a card that can be");
    let ends = [
        End::new(&card, Side::Host, &host),
        End::new(&card, Side::Board, &board),
    ];
    (card, ends, board)
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (card, mut ends, ddr) = card(&mut input);
    let mut now = SimTime::ZERO;
    ends.iter_mut().for_each(End::attach);
    while !input.is_empty() {
        let step = input.u8();
        let end = &mut ends[usize::from(step >> 4 & 1)];
        match step & 15 {
            0..=3 if end.attached => {
                let len = u32::from(input.u16());
                // A length that no frame has is refused and counted.
                let _ = end.send(now, len + u32::from(step >> 7) * 30, step);
            }
            4..=6 if end.attached => {
                let _ = end.receive(now);
            }
            7..=9 => end.port.flush(now),
            10 => now += SimTime::from_ns(u64::from(input.u16()) * 10),
            11 => {
                end.port.detach();
                end.attached = false;
            }
            12 => end.attach(),
            // A word of a ring's header, changed a little or wholly.
            13 | 14 => {
                let (word, bits) = (u64::from(input.u8()), input.u64());
                let at = GuestAddress(WINDOW + (word & 0x1f) * 8 + ring(&card, word & 0x80 != 0));
                let old: u64 = ddr.read_obj(at).expect("in RAM");
                let new = match step & 15 {
                    13 => old ^ 1 << (bits & 63),
                    _ => bits,
                };
                ddr.write_obj(new, at).expect("in RAM");
            }
            15 => {
                let (at, len) = (u64::from(input.u32()) % (WINDOW_SIZE - 64), input.u8() & 63);
                let bytes = input.bytes(len.into());
                ddr.write_slice(bytes, GuestAddress(WINDOW + at))
                    .expect("in RAM");
            }
            _ => {}
        }
    }
    recovers(&mut ends, now);
    let counters = card.counters();
    assert_eq!(counters.check(), Ok(()), "{counters:?}");
}

/// Where the second ring starts, from the first.
fn ring(card: &SimCard, second: bool) -> u64 {
    if !second {
        return 0;
    }
    let fifo = &card.spec().fifo;
    let geometry = fpga_sim::ring::Geometry::new(WINDOW, fifo.slots, fifo.bytes);
    let size = geometry.map_or(0, |geometry| geometry.size());
    size.next_multiple_of(4096)
}

/// Once nobody writes into the rings any more, a frame crosses each way.
fn recovers(ends: &mut [End; 2], mut now: SimTime) {
    ends.iter_mut().for_each(End::attach);
    for way in 0..2 {
        let mut crossed = false;
        for round in 0..40u8 {
            let _ = ends[way].send(now, 64, 0x40 | round);
            for end in ends.iter_mut() {
                end.port.flush(now);
            }
            now += SimTime::from_us(50);
            while let Some((len, first)) = ends[1 - way].receive(now) {
                crossed |= (len, first) == (64, 0x40 | round);
            }
            for end in ends.iter_mut() {
                end.port.flush(now);
            }
        }
        assert!(crossed, "direction {way} does not recover");
    }
}
