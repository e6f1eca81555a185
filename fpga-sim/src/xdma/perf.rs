//! A channel's performance counters (PG195, "Performance Monitor").

use super::regs::channel::{PERF_CONTROL, PERF_FIRST, PERF_LAST};
use crate::dma::Channel;

/// PG195 calls bit 2 run and bit 0 auto; the driver sets both.
const RUN: u32 = 1 << 0 | 1 << 2;
const CLEAR: u32 = 1 << 1;
const CONTROL_BITS: u32 = 7;
/// A high register: 10 bits of count, and bit 16 once the count overflowed.
const HIGH: u64 = 0x3ff;
const MAXED: u32 = 1 << 16;

/// Cycles and data beats of a channel while the monitor runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Perf {
    control: u32,
    /// Cycles and beats of the stretches that are over.
    counted: [u64; 2],
    /// The channel's totals when this stretch began.
    since: [u64; 2],
}

fn totals(channel: &Channel) -> [u64; 2] {
    [channel.cycles(), channel.beats()]
}

impl Perf {
    pub fn read(&self, offset: u16, channel: &Channel) -> u32 {
        if offset == PERF_CONTROL {
            return self.control & !CLEAR;
        }
        if !(PERF_FIRST..=PERF_LAST).contains(&offset) {
            return 0;
        }
        let index = usize::from((offset - PERF_FIRST) / 4);
        let Some(count) = self.counts(channel).get(index / 2).copied() else {
            // Nothing is ever pending between two slices.
            return 0;
        };
        match index % 2 {
            0 => count as u32,
            _ => {
                let high = (count >> 32 & HIGH) as u32;
                high | if count >> 42 != 0 { MAXED } else { 0 }
            }
        }
    }
    pub fn write(&mut self, value: u32, channel: &Channel) {
        self.counted = self.counts(channel);
        self.since = totals(channel);
        if value & CLEAR != 0 {
            self.counted = [0; 2];
        }
        self.control = value & CONTROL_BITS;
    }
    fn counts(&self, channel: &Channel) -> [u64; 2] {
        let mut counts = self.counted;
        if self.control & RUN != 0 {
            for (count, (now, since)) in counts
                .iter_mut()
                .zip(totals(channel).iter().zip(self.since))
            {
                *count += now.saturating_sub(since);
            }
        }
        counts
    }
}
