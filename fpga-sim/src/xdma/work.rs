//! The engine's work in slices, at the pace of the card's link.

use super::{Xdma, split};
use crate::card::SimCard;
use crate::timing::Transfer;
use bus::{DmaTarget, Next, SimTime};

/// Bytes that one channel moves in one slice. A descriptor costs at least 64.
const SLICE: u64 = 512 << 10;
/// Slices of a run that may follow each other at once. A longer run, such as a
/// cyclic one that ends only when software says so, leaves the machine's
/// processor time to say it.
const HURRIED: u32 = 32;
/// Time from slice to slice in a longer run.
const STEP: SimTime = SimTime::from_us(500);

/// What one channel did since the start of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Descriptors done.
    pub descriptors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Descriptors and fetches that met an error, also one that no enabled bit
    /// tells the driver of.
    pub errors: u64,
    /// Rises of its interrupt request.
    pub interrupts: u64,
}

/// What was done since the start of the machine. A reset of the function does
/// not clear it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdmaCounters {
    /// By dense index: H2C channels, then C2H channels.
    pub channels: Vec<ChannelCounters>,
    /// Rises of the requests of user interrupts.
    pub user_interrupts: u64,
}

impl XdmaCounters {
    /// Each by its name, such as `h2c0.descriptors`.
    pub fn named(&self) -> Vec<(String, u64)> {
        let each = self.channels.len() / 2;
        let mut all = Vec::with_capacity(4 * self.channels.len() + 1);
        for (dense, c) in self.channels.iter().enumerate() {
            let (way, n) = if dense < each {
                ("h2c", dense)
            } else {
                ("c2h", dense - each)
            };
            all.extend(
                [
                    ("descriptors", c.descriptors),
                    ("bytes", c.bytes),
                    ("errors", c.errors),
                    ("interrupts", c.interrupts),
                ]
                .map(|(what, count)| (format!("{way}{n}.{what}"), count)),
            );
        }
        all.push(("user_interrupts".into(), self.user_interrupts));
        all
    }
}

/// When a channel may go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    transfer: Option<Transfer>,
    /// Slices since the channel was idle.
    slices: u32,
    /// Not before this time.
    due: SimTime,
}

impl Xdma {
    /// Does a slice of every running channel's work at `now`, between `host`
    /// memory and the AXI space of `card`. On a timed card, a completion shows
    /// when the link has carried the data.
    ///
    /// While Bus Master Enable is 0 nothing moves, and nothing is asked for:
    /// call it again when the bit is set.
    pub fn service(&mut self, now: SimTime, host: &DmaTarget, card: &SimCard) -> Next {
        let mut next = Next::OnKick;
        let channels = self.engine.channels();
        for (dense, extra) in self.extra.iter_mut().enumerate() {
            let (way, n) = split(dense, channels);
            let Some(channel) = self.engine.channel_mut(way, n) else {
                continue;
            };
            if !channel.busy() {
                extra.pace = Pace::default();
                continue;
            }
            if !host.bus_master() {
                continue;
            }
            let pace = &mut extra.pace;
            if pace.due > now {
                next = next.min(Next::At(pace.due));
                continue;
            }
            let timed = card.spec().timed;
            if channel.holds() {
                pace.transfer = None;
            }
            let did = channel.service(host, card.axi(), SLICE, timed);
            if let Some(counters) = self.counters.channels.get_mut(dense) {
                counters.descriptors += u64::from(did.descriptors);
                counters.bytes += did.bytes;
                counters.errors += u64::from(did.errors);
            }
            if timed && did.more {
                card.carry(way, now, &mut pace.transfer, did.descriptors, did.bytes);
            }
            if did.more {
                pace.slices += 1;
                pace.due = pace.transfer.map_or(now, |t| t.ready.max(now));
                if pace.slices > HURRIED {
                    pace.slices = HURRIED;
                    pace.due = pace.due.max(now + STEP);
                }
                next = next.min(Next::At(pace.due));
            } else {
                *pace = Pace::default();
            }
        }
        self.update();
        next
    }
    /// What was counted so far.
    pub fn counters(&self) -> &XdmaCounters {
        &self.counters
    }
}
