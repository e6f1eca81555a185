//! The register file of Xilinx's DMA/Bridge Subsystem for PCI Express (PG195),
//! as its drivers program it.
//!
//! [`Xdma`] is what lies behind the configuration BAR: channel, SGDMA and IRQ
//! blocks over the [`Engine`]. It knows nothing of PCI. Its caller passes
//! register accesses on, lets it [work](Xdma::service), and after each of them
//! sends the interrupts of [`Xdma::interrupts`].
//!
//! Accesses are of 32-bit registers; registers that do not exist read as zero
//! and ignore writes.

mod irq;
mod perf;
mod regs;
#[cfg(test)]
mod tests;
mod work;

pub use regs::{CONFIG_BAR, MSIX_PBA, MSIX_TABLE, MSIX_VECTORS};
pub use work::{ChannelCounters, XdmaCounters};

use crate::dma::{Channel, Engine, control, status};
use crate::timing::Way;
use irq::IrqBlock;
use perf::Perf;
use regs::{channel as reg, identifier, sgdma, target};
use work::Pace;

/// Both directions, in the order of the IRQ block's dense index.
const WAYS: [Way; 2] = [Way::H2c, Way::C2h];

/// What a channel has besides the engine's part.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    /// Interrupt enable mask (register 0x90).
    mask: u32,
    credits: u32,
    perf: Perf,
    pace: Pace,
}

/// The registers and their engine.
#[derive(Debug)]
pub struct Xdma {
    engine: Engine,
    irq: IrqBlock,
    /// By dense index: H2C channels, then C2H channels.
    extra: Vec<Extra>,
    counters: XdmaCounters,
}

impl Xdma {
    /// A register file with `channels` (1 to 4) channels each way.
    pub fn new(channels: u8) -> Self {
        let engine = Engine::new(channels);
        Self {
            extra: vec![Extra::default(); 2 * engine.channels()],
            counters: XdmaCounters {
                channels: vec![ChannelCounters::default(); 2 * engine.channels()],
                user_interrupts: 0,
            },
            irq: IrqBlock::default(),
            engine,
        }
    }
    /// Back to power-on: function level reset. The levels of user interrupts
    /// stay, they belong to the card's logic.
    pub fn reset(&mut self, user_levels: u16) {
        self.engine.reset();
        self.irq = IrqBlock::default();
        self.irq.set_user(user_levels);
        self.extra.fill(Extra::default());
    }

    /// Reads `data.len()` bytes at `offset` of the configuration BAR. A read of
    /// a part of a register acts on all of it.
    pub fn load(&mut self, offset: u64, data: &mut [u8]) {
        let mut at = offset & !3;
        let mut skip = (offset & 3) as usize;
        let mut done = 0;
        while done < data.len() {
            let word = self.read(at).to_le_bytes();
            let n = (4 - skip).min(data.len() - done);
            data[done..done + n].copy_from_slice(&word[skip..skip + n]);
            (at, skip, done) = (at + 4, 0, done + n);
        }
    }
    /// Writes whole registers; parts of registers are not written. Whether
    /// there is work for [`Xdma::service`].
    pub fn store(&mut self, offset: u64, data: &[u8]) -> bool {
        if offset.is_multiple_of(4) {
            for (at, word) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
                self.write(at, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            }
        }
        self.update();
        self.engine.busy()
    }

    /// The channel and its dense index behind an address, if it exists.
    fn find(&self, address: u64, ways: [u16; 2]) -> Option<(Way, usize, usize)> {
        let (block, index) = (address >> 12 & 0xf, (address >> 8 & 0xf) as usize);
        let side = ways.iter().position(|way| u64::from(*way) == block)?;
        let channels = self.engine.channels();
        (index < channels).then(|| (WAYS[side], index, side * channels + index))
    }

    fn read(&mut self, address: u64) -> u32 {
        let (block, offset) = ((address >> 12) as u16, (address & 0xff) as u16);
        let index = (address >> 8 & 0xf) as u16;
        let exists = match block {
            target::H2C | target::C2H | target::H2C_SGDMA | target::C2H_SGDMA => {
                usize::from(index) < self.engine.channels()
            }
            target::IRQ | target::CONFIG | target::SGDMA_COMMON => index == 0,
            _ => false,
        };
        if !exists {
            return 0;
        }
        if offset == 0 {
            return identifier(block, index);
        }
        if block == target::IRQ {
            return self.irq.read(offset);
        }
        if let Some((way, n, dense)) = self.find(address, [target::H2C, target::C2H]) {
            return self.read_channel(way, n, dense, offset);
        }
        if let Some((way, n, dense)) = self.find(address, [target::H2C_SGDMA, target::C2H_SGDMA])
            && let Some(channel) = self.engine.channel(way, n)
        {
            return match offset {
                sgdma::FIRST_LOW => channel.first as u32,
                sgdma::FIRST_HIGH => (channel.first >> 32) as u32,
                sgdma::ADJACENT => channel.first_adjacent.into(),
                sgdma::CREDITS => self.extra[dense].credits,
                _ => 0,
            };
        }
        0
    }

    fn read_channel(&mut self, way: Way, n: usize, dense: usize, offset: u16) -> u32 {
        let extra = &self.extra[dense];
        let Some(channel) = self.engine.channel_mut(way, n) else {
            return 0;
        };
        match offset {
            reg::CONTROL => channel.control(),
            reg::STATUS => channel.status(),
            reg::STATUS_RC => {
                let status = channel.status();
                channel.clear_status(status::LOGGED);
                self.update();
                status
            }
            reg::COMPLETED => channel.completed(),
            reg::ALIGNMENTS => {
                if channel.control() & control::NON_INCREMENTING != 0 {
                    reg::ALIGNED_TO_BEATS
                } else {
                    reg::ALIGNED_TO_BYTES
                }
            }
            reg::WRITE_BACK_LOW => channel.write_back as u32,
            reg::WRITE_BACK_HIGH => (channel.write_back >> 32) as u32,
            reg::MASK => extra.mask,
            reg::PERF_CONTROL..=reg::PERF_LAST => extra.perf.read(offset, channel),
            _ => 0,
        }
    }

    fn write(&mut self, address: u64, value: u32) {
        let offset = (address & 0xff) as u16;
        if address >> 8 == u64::from(target::IRQ) << 4 {
            self.irq.write(offset, value);
        } else if let Some((way, n, dense)) = self.find(address, [target::H2C, target::C2H]) {
            if let Some(channel) = self.engine.channel_mut(way, n) {
                write_channel(channel, &mut self.extra[dense], offset, value);
            }
        } else if let Some((way, n, dense)) =
            self.find(address, [target::H2C_SGDMA, target::C2H_SGDMA])
            && let Some(channel) = self.engine.channel_mut(way, n)
        {
            match offset {
                sgdma::FIRST_LOW => set_low(&mut channel.first, value),
                sgdma::FIRST_HIGH => set_high(&mut channel.first, value),
                sgdma::ADJACENT => channel.first_adjacent = (value & 0x3f) as u8,
                sgdma::CREDITS => self.extra[dense].credits = value & 0x3ff,
                _ => {}
            }
        }
    }

    /// The levels of the 16 user interrupts.
    pub fn set_user(&mut self, levels: u16) {
        self.irq.set_user(levels);
    }
    /// Calls `raise` with the vector of every interrupt request that rose since
    /// the last call, and returns whether any request is up (the level of INTx).
    pub fn interrupts(&mut self, mut raise: impl FnMut(u8)) -> bool {
        let counters = &mut self.counters;
        self.irq.take_rises(|source, vector| {
            match source {
                0..16 => counters.user_interrupts += 1,
                dense => {
                    if let Some(channel) = counters.channels.get_mut(dense - 16) {
                        channel.interrupts += 1;
                    }
                }
            }
            raise(vector);
        });
        self.irq.level()
    }
    /// Takes the channels' levels over into the IRQ block.
    fn update(&mut self) {
        let mut levels = 0;
        for (dense, extra) in self.extra.iter().enumerate() {
            let (way, n) = split(dense, self.engine.channels());
            let channel = self.engine.channel(way, n);
            if channel.is_some_and(|c| c.status() & extra.mask != 0) {
                levels |= 1 << dense;
            }
        }
        self.irq.set_channels(levels);
    }
}

/// Direction and index of the channel with a dense index.
fn split(dense: usize, channels: usize) -> (Way, usize) {
    (WAYS[usize::from(dense >= channels)], dense % channels)
}

fn set_low(word: &mut u64, value: u32) {
    *word = *word & !0xffff_ffff | u64::from(value);
}
fn set_high(word: &mut u64, value: u32) {
    *word = *word & 0xffff_ffff | u64::from(value) << 32;
}

fn write_channel(channel: &mut Channel, extra: &mut Extra, offset: u16, value: u32) {
    let word = channel.control();
    match offset {
        reg::CONTROL => channel.set_control(value & reg::CONTROL_BITS),
        reg::CONTROL_W1S => channel.set_control((word | value) & reg::CONTROL_BITS),
        reg::CONTROL_W1C => channel.set_control(word & !value),
        reg::STATUS => channel.clear_status(value),
        reg::WRITE_BACK_LOW => set_low(&mut channel.write_back, value),
        reg::WRITE_BACK_HIGH => set_high(&mut channel.write_back, value),
        reg::MASK => extra.mask = value & status::LOGGED,
        reg::MASK_W1S => extra.mask |= value & status::LOGGED,
        reg::MASK_W1C => extra.mask &= !value,
        reg::PERF_CONTROL => extra.perf.write(value, channel),
        _ => {}
    }
}
