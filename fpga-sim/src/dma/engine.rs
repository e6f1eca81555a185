//! All channels of a card.

use super::{Axi, Channel, Serviced};
use crate::timing::Way;
use bus::DmaTarget;

/// 1 to 4 channels each way.
#[derive(Debug)]
pub struct Engine {
    h2c: Vec<Channel>,
    c2h: Vec<Channel>,
}

impl Engine {
    /// An engine of `channels` (1 to 4) channels each way, all idle.
    pub fn new(channels: u8) -> Self {
        let row = |way| {
            (0..channels.clamp(1, 4))
                .map(|_| Channel::new(way))
                .collect()
        };
        Self {
            h2c: row(Way::H2c),
            c2h: row(Way::C2h),
        }
    }
    /// Channels each way.
    pub fn channels(&self) -> usize {
        self.h2c.len()
    }
    /// Channel `index` of a direction.
    pub fn channel(&self, way: Way, index: usize) -> Option<&Channel> {
        match way {
            Way::H2c => self.h2c.get(index),
            Way::C2h => self.c2h.get(index),
        }
    }
    /// Channel `index` of a direction, to program it.
    pub fn channel_mut(&mut self, way: Way, index: usize) -> Option<&mut Channel> {
        match way {
            Way::H2c => self.h2c.get_mut(index),
            Way::C2h => self.c2h.get_mut(index),
        }
    }
    /// Whether any chain runs.
    pub fn busy(&self) -> bool {
        self.h2c.iter().chain(&self.c2h).any(Channel::busy)
    }
    /// Works on every channel that runs, for up to `budget` bytes each. Call it
    /// again while `more` is set; a channel without Bus Master Enable makes no
    /// progress and asks for none.
    pub fn service(&mut self, host: &DmaTarget, axi: &Axi, budget: u64) -> Serviced {
        let mut all = Serviced::default();
        for channel in self.h2c.iter_mut().chain(&mut self.c2h) {
            let did = channel.service(host, axi, budget, false);
            all.bytes += did.bytes;
            all.descriptors += did.descriptors;
            all.errors += did.errors;
            all.more |= did.more;
        }
        all
    }
    /// Back to power-on (function-level reset).
    pub fn reset(&mut self) {
        for channel in self.h2c.iter_mut().chain(&mut self.c2h) {
            channel.reset();
        }
    }
}
