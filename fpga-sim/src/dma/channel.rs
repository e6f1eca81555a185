//! One channel: runs a chain of descriptors.
//!
//! The rules are PG195's, as its drivers rely on them:
//! * A rising RUN clears the status and the count. RUN stays set after a STOP;
//!   `BUSY` says whether the channel is idle.
//! * Data moves first, then the count rises, then status and poll write-back
//!   tell it. Interrupts are the caller's, from [`Channel::status`].
//! * The enable bits in the control word gate what is logged into the status
//!   and, for the error groups, whether the channel stops.
//! * Descriptors are fetched in blocks of `adjacent + 1`; only the last one's
//!   `next` and `nxt_adj` count.

use super::axi::{Axi, Decoded, beat};
use super::descriptor::{Descriptor, SIZE};
use crate::dma;
use crate::timing::Way;
use bus::{DmaTarget, GuestRam};
use vm_memory::{Bytes, GuestAddress};

/// Bits of the control word (register 0x04).
pub mod control {
    /// Runs.
    pub const RUN: u32 = 1 << 0;
    /// Enables: the same positions as in [`super::status`].
    pub const ENABLES: u32 = 0x00ff_fe7e;
    /// The AXI address does not move.
    pub const NON_INCREMENTING: u32 = 1 << 25;
    /// Writes the count to host memory.
    pub const POLL_WRITE_BACK: u32 = 1 << 26;
}

/// Bits of the status word (register 0x40).
pub mod status {
    /// Not idle.
    pub const BUSY: u32 = 1 << 0;
    /// A descriptor with STOP is done.
    pub const DESC_STOPPED: u32 = 1 << 1;
    /// A descriptor with COMPLETED is done.
    pub const DESC_COMPLETED: u32 = 1 << 2;
    /// Addresses that the data path cannot join.
    pub const ALIGN_MISMATCH: u32 = 1 << 3;
    /// A descriptor's magic was wrong.
    pub const MAGIC_STOPPED: u32 = 1 << 4;
    /// A descriptor of no bytes.
    pub const INVALID_LENGTH: u32 = 1 << 5;
    /// RUN was cleared and the channel is idle.
    pub const IDLE_STOPPED: u32 = 1 << 6;
    /// Read error group. Bit 9: H2C unsupported request, C2H DECERR.
    pub const READ_ERROR: u32 = 1 << 9;
    /// Write error group. Bit 14: H2C DECERR.
    pub const WRITE_ERROR: u32 = 1 << 14;
    /// Descriptor fetch error group. Bit 19: unsupported request.
    pub const DESC_ERROR: u32 = 1 << 19;
    /// Everything that a rising RUN clears.
    pub const LOGGED: u32 = 0x00ff_fffe;
    /// Bits that are errors.
    pub const ERRORS: u32 = ALIGN_MISMATCH | MAGIC_STOPPED | INVALID_LENGTH | 0x00ff_fe00;
}

/// Bytes that a data-path beat moves: 256 bits.
const BEAT: u32 = 32;
/// A non-incrementing transfer's beat.
const FIXED_BEAT: u32 = 8;

/// What one slice did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serviced {
    /// Bytes moved.
    pub bytes: u64,
    /// Descriptors done.
    pub descriptors: u32,
    /// Descriptors and fetches that met an error, whether or not its enable
    /// lets it show.
    pub errors: u32,
    /// There is more to do at once.
    pub more: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    descriptor: Descriptor,
    done: u32,
    /// RUN was cleared and has risen again since: the rest of its bytes still
    /// move, but it is not part of the new run.
    stale: bool,
    /// It met an error that does not show.
    failed: bool,
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    way: Way,
    control: u32,
    status: u32,
    count: u32,
    /// First descriptor, and how many more lie behind it.
    pub first: u64,
    /// Extra descriptors contiguous with the first, 0 to 63.
    pub first_adjacent: u8,
    /// Host address of the poll write-back word.
    pub write_back: u64,
    /// Where the next block lies.
    next: (u64, u8),
    block: Vec<u8>,
    in_block: usize,
    current: Option<Current>,
    held: Option<Outcome>,
    bytes: u64,
    beats: u64,
    cycles: u64,
}

/// What a channel has to tell.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A descriptor is done.
    Done(Descriptor),
    /// The chain stops for this status bit.
    Stop(u32),
}

impl Outcome {
    /// Whether software can see it besides in the count.
    fn shows(&self) -> bool {
        match self {
            Self::Done(descriptor) => descriptor.stop || descriptor.completed,
            Self::Stop(_) => true,
        }
    }
}

/// Why a channel stops.
enum Stop {
    /// Something to log; an error when it is one.
    Log(u32),
    /// Bus Master Enable is 0: nothing moves until it is 1 again.
    Stall,
}

impl Channel {
    /// An idle channel.
    pub fn new(way: Way) -> Self {
        Self {
            way,
            control: 0,
            status: 0,
            count: 0,
            first: 0,
            first_adjacent: 0,
            write_back: 0,
            next: (0, 0),
            block: Vec::new(),
            in_block: 0,
            current: None,
            held: None,
            bytes: 0,
            beats: 0,
            cycles: 0,
        }
    }
    /// Its direction.
    pub fn way(&self) -> Way {
        self.way
    }
    /// The control word.
    pub fn control(&self) -> u32 {
        self.control
    }
    /// Writes the control word; a changed RUN starts the chain, or ends it
    /// behind the current descriptor. A RUN that rises while that descriptor
    /// still moves starts the new chain behind it (PG195, channel control: an
    /// engine that is stopped completes the descriptor it works on).
    pub fn set_control(&mut self, control: u32) {
        let rises = control & !self.control & control::RUN != 0;
        self.control = control;
        if rises {
            self.status = status::BUSY;
            self.count = 0;
            self.next = (self.first, self.first_adjacent & 0x3f);
            self.block.clear();
            self.in_block = 0;
            self.held = None;
            if let Some(current) = &mut self.current {
                current.stale = true;
            }
        }
    }
    /// Whether something is done that was not told yet.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }
    /// The status word.
    pub fn status(&self) -> u32 {
        self.status
    }
    /// Clears status bits other than BUSY.
    pub fn clear_status(&mut self, bits: u32) {
        self.status &= !(bits & status::LOGGED);
    }
    /// Whether the chain runs.
    pub fn busy(&self) -> bool {
        self.status & status::BUSY != 0
    }
    /// Descriptors done since RUN rose.
    pub fn completed(&self) -> u32 {
        self.count
    }
    /// Bytes moved in all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Data beats in all.
    pub fn beats(&self) -> u64 {
        self.beats
    }
    /// Clock cycles that the beats took.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }
    /// Back to power-on.
    pub fn reset(&mut self) {
        *self = Self::new(self.way);
    }

    /// Works for up to `budget` bytes and as many descriptors as that pays for
    /// (each costs at least 64). With `hold`, it ends behind a descriptor whose
    /// end software can see, and the next call tells it: the caller decides when.
    pub fn service(&mut self, host: &DmaTarget, axi: &Axi, budget: u64, hold: bool) -> Serviced {
        let mut did = Serviced::default();
        let mut left = budget;
        if host.bus_master()
            && let Some(outcome) = self.held.take()
        {
            self.show(outcome, host);
        }
        while self.busy() && self.held.is_none() {
            if left == 0 {
                did.more = true;
                break;
            }
            let (moved, outcome) = match self.step(host, axi, left, &mut did) {
                Ok(done) => done,
                Err(Stop::Stall) => break,
                Err(Stop::Log(bit)) => {
                    did.errors += u32::from(bit & status::ERRORS != 0);
                    (0, Some(Outcome::Stop(bit)))
                }
            };
            left = left.saturating_sub(moved);
            match outcome {
                Some(outcome) if hold && outcome.shows() => {
                    self.held = Some(outcome);
                    did.more = true;
                }
                Some(outcome) => self.show(outcome, host),
                None => {}
            }
        }
        self.bytes += did.bytes;
        did
    }

    /// Fetches, moves a piece, or ends a descriptor. Returns what it cost, and
    /// what there is to tell.
    fn step(
        &mut self,
        host: &DmaTarget,
        axi: &Axi,
        budget: u64,
        did: &mut Serviced,
    ) -> Result<(u64, Option<Outcome>), Stop> {
        let Some(memory) = host.memory() else {
            return Err(Stop::Stall);
        };
        let mut current = match self.current {
            Some(current) => current,
            None if self.control & control::RUN == 0 => {
                return Err(Stop::Log(status::IDLE_STOPPED));
            }
            None => Current {
                descriptor: self.fetch(memory)?,
                done: 0,
                stale: false,
                failed: false,
            },
        };
        let left = current.descriptor.length - current.done;
        let piece = left.min(u32::try_from(budget).unwrap_or(u32::MAX).max(1));
        let result = self.move_piece(memory, axi, &current, piece);
        let moved = match result {
            Ok(moved) => {
                did.bytes += u64::from(moved);
                self.count_beats(moved);
                moved
            }
            Err((bit, skipped)) => {
                if self.control & bit != 0 && !current.stale {
                    self.current = None;
                    return Err(Stop::Log(bit));
                }
                did.errors += u32::from(!current.failed);
                current.failed = true;
                if current.stale {
                    // Its run is over: nobody is told.
                    self.current = None;
                    return Ok((u64::from(skipped.max(64)), None));
                }
                // Not enabled: not logged, and the channel goes on.
                skipped
            }
        };
        current.done += moved;
        if current.done < current.descriptor.length {
            self.current = Some(current);
            return Ok((u64::from(moved.max(1)), None));
        }
        self.current = None;
        did.descriptors += 1;
        let outcome = (!current.stale).then_some(Outcome::Done(current.descriptor));
        Ok((u64::from(moved.max(64)), outcome))
    }

    fn show(&mut self, outcome: Outcome, host: &DmaTarget) {
        match outcome {
            Outcome::Done(descriptor) => self.end(&descriptor, host),
            Outcome::Stop(bit) => self.stop(bit, host),
        }
    }

    /// A descriptor is done: count, status, write-back.
    fn end(&mut self, descriptor: &Descriptor, host: &DmaTarget) {
        self.count = self.count.wrapping_add(1);
        if descriptor.completed {
            self.log(status::DESC_COMPLETED);
        }
        if descriptor.stop {
            self.log(status::DESC_STOPPED);
            self.status &= !status::BUSY;
        }
        if descriptor.completed {
            self.tell(host, false);
        }
    }

    fn stop(&mut self, bit: u32, host: &DmaTarget) {
        self.log(bit);
        self.status &= !status::BUSY;
        self.current = None;
        if bit & status::ERRORS != 0 {
            self.tell(host, true);
        }
    }

    fn log(&mut self, bit: u32) {
        self.status |= bit & self.control & control::ENABLES;
    }

    /// The poll-mode word: bit 31 error, bits 23:0 count.
    fn tell(&self, host: &DmaTarget, error: bool) {
        if self.control & control::POLL_WRITE_BACK != 0 {
            let word = self.count & 0x00ff_ffff | u32::from(error) << 31;
            // A write that no memory takes is lost, as on the bus.
            let _ = host.write(self.write_back, &word.to_le_bytes());
        }
    }

    fn fetch(&mut self, memory: &GuestRam) -> Result<Descriptor, Stop> {
        if self.in_block >= self.block.len() {
            let (at, adjacent) = self.next;
            self.block.resize((usize::from(adjacent) + 1) * SIZE, 0);
            self.in_block = 0;
            if memory
                .read_slice(&mut self.block, GuestAddress(at))
                .is_err()
            {
                self.block.clear();
                return Err(Stop::Log(status::DESC_ERROR));
            }
        }
        let descriptor = self
            .block
            .get(self.in_block..)
            .and_then(|rest| rest.first_chunk::<SIZE>())
            .map(Descriptor::parse);
        let Some(Ok(descriptor)) = descriptor else {
            return Err(Stop::Log(status::MAGIC_STOPPED));
        };
        self.in_block += SIZE;
        if self.in_block == self.block.len() {
            self.next = (descriptor.next, descriptor.next_adjacent);
        }
        if descriptor.length == 0 {
            return Err(Stop::Log(status::INVALID_LENGTH));
        }
        Ok(descriptor)
    }

    /// Moves up to `len` bytes of the current descriptor. On an error: the bit
    /// to log, and the bytes to pass over when it does not stop the channel.
    fn move_piece(
        &self,
        memory: &GuestRam,
        axi: &Axi,
        current: &Current,
        len: u32,
    ) -> Result<u32, (u32, u32)> {
        let d = &current.descriptor;
        let skip = u64::from(current.done);
        let (host, card) = match self.way {
            Way::H2c => (d.source, d.destination),
            Way::C2h => (d.destination, d.source),
        };
        let host = host.wrapping_add(skip);
        let fixed = self.control & control::NON_INCREMENTING != 0;
        let (at, len) = if fixed {
            (card, len.min(FIXED_BEAT))
        } else {
            (card.wrapping_add(skip), len)
        };
        let card_error = match self.way {
            Way::H2c => status::WRITE_ERROR,
            Way::C2h => status::READ_ERROR,
        };
        match axi.decode(at, len) {
            Decoded::Nothing(n) => Err((card_error, n)),
            Decoded::Ddr(n) => match self.way {
                Way::H2c => dma::copy(memory, [(host, n)], axi.ddr(), [(at, n)])
                    .map(|_| n)
                    .map_err(|_| (status::READ_ERROR, n)),
                Way::C2h => {
                    // A posted write to nowhere is lost: no bit tells of it.
                    dma::copy(axi.ddr(), [(at, n)], memory, [(host, n)])
                        .map(|_| n)
                        .map_err(|_| (0, n))
                }
            },
            Decoded::Device(n) => {
                let n = beat(at, n);
                let mut data = [0; 8];
                let data = &mut data[..n as usize];
                match self.way {
                    Way::H2c => {
                        let read = memory.read_slice(data, GuestAddress(host));
                        read.map_err(|_| (status::READ_ERROR, n))?;
                        if !axi.write_beat(at, data) {
                            return Err((card_error, n));
                        }
                    }
                    Way::C2h => {
                        if !axi.read_beat(at, data) {
                            return Err((card_error, n));
                        }
                        let written = memory.write_slice(data, GuestAddress(host));
                        written.map_err(|_| (0, n))?;
                    }
                }
                Ok(n)
            }
        }
    }

    fn count_beats(&mut self, moved: u32) {
        let beats = u64::from(moved.div_ceil(BEAT));
        self.beats += beats;
        // A TLP of 256 bytes is eight beats and one for its header.
        self.cycles += beats + beats.div_ceil(8);
    }
}
