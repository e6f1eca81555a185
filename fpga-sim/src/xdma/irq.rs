//! The IRQ block: which sources ask for an interrupt, and on which vector.

use super::regs::irq as reg;

/// Channel sources: up to 4 H2C, then up to 4 C2H, without gaps.
const CHANNELS: u32 = 0xff;
const USERS: u32 = 0xffff;
/// A vector field: 5 bits.
const FIELD: u32 = 0x1f;

/// The IRQ block. A *pending* bit is the level of a source, a *request* is
/// pending and enabled; a message leaves on each rise of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct IrqBlock {
    user_enable: u32,
    channel_enable: u32,
    user_pending: u32,
    channel_pending: u32,
    user_vectors: [u32; 4],
    channel_vectors: [u32; 2],
    /// Requests as of the last look: user in bits 15:0, channels from bit 16.
    seen: u32,
}

impl IrqBlock {
    pub fn read(&self, offset: u16) -> u32 {
        match offset {
            reg::USER_ENABLE => self.user_enable,
            reg::CHANNEL_ENABLE => self.channel_enable,
            reg::USER_REQUEST => self.user_pending & self.user_enable,
            reg::CHANNEL_REQUEST => self.channel_pending & self.channel_enable,
            reg::USER_PENDING => self.user_pending,
            reg::CHANNEL_PENDING => self.channel_pending,
            reg::USER_VECTORS..=reg::USER_VECTORS_END => {
                self.user_vectors[usize::from((offset - reg::USER_VECTORS) / 4)]
            }
            reg::CHANNEL_VECTORS..=reg::CHANNEL_VECTORS_END => {
                self.channel_vectors[usize::from((offset - reg::CHANNEL_VECTORS) / 4)]
            }
            _ => 0,
        }
    }
    pub fn write(&mut self, offset: u16, value: u32) {
        let fields = value & (FIELD | FIELD << 8 | FIELD << 16 | FIELD << 24);
        match offset {
            reg::USER_ENABLE => self.user_enable = value & USERS,
            reg::USER_W1S => self.user_enable |= value & USERS,
            reg::USER_W1C => self.user_enable &= !value,
            reg::CHANNEL_ENABLE => self.channel_enable = value & CHANNELS,
            reg::CHANNEL_W1S => self.channel_enable |= value & CHANNELS,
            reg::CHANNEL_W1C => self.channel_enable &= !value,
            reg::USER_VECTORS..=reg::USER_VECTORS_END => {
                self.user_vectors[usize::from((offset - reg::USER_VECTORS) / 4)] = fields;
            }
            reg::CHANNEL_VECTORS..=reg::CHANNEL_VECTORS_END => {
                self.channel_vectors[usize::from((offset - reg::CHANNEL_VECTORS) / 4)] = fields;
            }
            _ => {}
        }
    }
    /// The levels of the user interrupts.
    pub fn set_user(&mut self, levels: u16) {
        self.user_pending = levels.into();
    }
    /// The levels of the channels, by their dense index.
    pub fn set_channels(&mut self, levels: u8) {
        self.channel_pending = levels.into();
    }
    fn requests(&self) -> u32 {
        self.user_pending & self.user_enable | (self.channel_pending & self.channel_enable) << 16
    }
    /// Whether any request is up: the level of INTx.
    pub fn level(&self) -> bool {
        self.requests() != 0
    }
    /// Calls `raise` with the source and the vector of each request that rose
    /// since the last call. Sources: user interrupts 0 to 15, channels from 16.
    pub fn take_rises(&mut self, mut raise: impl FnMut(usize, u8)) {
        let now = self.requests();
        let mut rises = now & !self.seen;
        self.seen = now;
        while rises != 0 {
            let source = rises.trailing_zeros() as usize;
            rises &= rises - 1;
            let (words, field) = match source {
                0..16 => (&self.user_vectors[..], source),
                _ => (&self.channel_vectors[..], source - 16),
            };
            let vector = words[field / 4] >> (field % 4 * 8) & FIELD;
            raise(source, vector as u8);
        }
    }
}
