//! Turns transfers into delays.

use super::link::{PcieLink, Wire};
use super::{LinkError, Profile};
use crate::card::LinkSpec;
use bus::SimTime;

/// The direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Host to card.
    H2c,
    /// Card to host.
    C2h,
}

/// A transfer on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// When it starts to move.
    pub start: SimTime,
    /// When its data is there.
    pub ready: SimTime,
}

/// The time of one card: when its link and its channels are free.
///
/// Both directions share the link: reads put their requests on the wire that
/// writes use. It is asked in the order of time; the answers depend on nothing
/// but the questions and the seed.
#[derive(Debug)]
pub struct LinkClock {
    link: PcieLink,
    profile: Profile,
    latency: SimTime,
    up_free: SimTime,
    down_free: SimTime,
    channel_free: [SimTime; 2],
    noise: u64,
}

fn span(ns: f64) -> SimTime {
    SimTime((ns.max(0.0) * 1000.0 + 0.5) as u64)
}

impl LinkClock {
    /// The clock of a link with a device profile.
    pub fn new(spec: &LinkSpec, profile: Profile, seed: u64) -> Result<Self, LinkError> {
        Ok(Self {
            link: PcieLink::new(spec)?,
            profile,
            latency: spec.latency,
            up_free: SimTime::ZERO,
            down_free: SimTime::ZERO,
            channel_free: [SimTime::ZERO; 2],
            noise: seed,
        })
    }

    /// Starts a transfer of `frames` frames with `bytes` bytes at `at`, or when
    /// the channel is free. For [`Way::C2h`], `at` is when the engine learns of
    /// the data; the link's latency lies before it. For [`Way::H2c`] the
    /// latency is in the answer.
    pub fn begin(&mut self, way: Way, at: SimTime, frames: u32, bytes: u64) -> Transfer {
        let latency = match way {
            Way::H2c => self.latency,
            Way::C2h => SimTime::ZERO,
        };
        if self.profile == Profile::Ideal {
            return Transfer {
                start: at,
                ready: at + latency,
            };
        }
        if let Some(fixed) = self.profile.fixed_ns() {
            let start = at.max(self.channel_free[way as usize]);
            let moved = self.occupy(way, start, frames, bytes);
            let done = moved + span(fixed);
            self.channel_free[way as usize] = done;
            return Transfer {
                start,
                ready: done + latency,
            };
        }
        let start = at.max(match way {
            Way::H2c => self.down_free,
            Way::C2h => self.up_free,
        });
        let moved = self.occupy(way, start, frames, bytes);
        let moved = moved.max(start + self.engine_time(way, frames, bytes));
        match way {
            Way::H2c => self.down_free = moved,
            Way::C2h => self.up_free = moved,
        }
        let size = bytes as f64 / f64::from(frames.max(1));
        let (a, b) = self.latency_ns(way);
        let jitter = self.jitter();
        // A read crosses the link twice.
        let done = (start + span(a + b * size + jitter)).max(moved) + latency + latency;
        Transfer { start, ready: done }
    }

    /// Adds frames to a transfer that has not started yet.
    pub fn extend(&mut self, way: Way, transfer: &mut Transfer, frames: u32, bytes: u64) {
        let before = match way {
            Way::H2c => self.down_free,
            Way::C2h => self.up_free,
        }
        .max(transfer.start);
        let moved = self.occupy(way, before, frames, bytes);
        let longer = (moved - before).max(self.engine_time(way, frames, bytes));
        transfer.ready += longer;
        if self.profile.fixed_ns().is_some() {
            self.channel_free[way as usize] += longer;
        }
    }

    /// Puts a transfer on the wire from `start`; returns when it is off.
    fn occupy(&mut self, way: Way, start: SimTime, frames: u32, bytes: u64) -> SimTime {
        let frames = u64::from(frames.max(1));
        let size = bytes.div_ceil(frames);
        let one = match way {
            Way::H2c => self.link.read_wire(size),
            Way::C2h => self.link.write_wire(size),
        };
        let wire = Wire {
            up: one.up * frames,
            down: one.down * frames,
        };
        let time = |bytes: u64| span(bytes as f64 * 8.0 / self.link.tlp());
        let (up, down) = (time(wire.up), time(wire.down));
        let mut end = start;
        if wire.up > 0 {
            self.up_free = self.up_free.max(start) + up;
            end = end.max(self.up_free);
        }
        if wire.down > 0 {
            self.down_free = self.down_free.max(start) + down;
            end = end.max(self.down_free);
        }
        end
    }

    /// Least time between this transfer and the next by what the engine can
    /// start and, for reads, by its tags.
    fn engine_time(&self, way: Way, frames: u32, bytes: u64) -> SimTime {
        let mut ns: f64 = 0.0;
        if let (Way::C2h, Some(rate)) = (way, self.profile.write_rate()) {
            ns = f64::from(frames) * 1e9 / rate;
        }
        if let (Way::H2c, Some(tags)) = (way, self.profile.tags()) {
            let size = bytes.div_ceil(u64::from(frames.max(1)));
            let request = size.clamp(1, self.link.max_read_request());
            let (a, b) = self.latency_ns(way);
            let round_trip = a + b * request as f64 + 2e-3 * self.latency.0 as f64;
            let requests = f64::from(frames) * (size as f64 / request as f64);
            ns = ns.max(requests * round_trip / f64::from(tags));
        }
        span(ns)
    }

    fn latency_ns(&self, way: Way) -> (f64, f64) {
        match way {
            Way::H2c => self.profile.read_ns(),
            Way::C2h => self.profile.write_ns(),
        }
        .unwrap_or((0.0, 0.0))
    }

    /// The next of a seeded row of jitters, in ns (splitmix64).
    fn jitter(&mut self) -> f64 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.noise;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (z ^ z >> 31) >> 11;
        self.profile.jitter_ns(share as f64 / (1u64 << 53) as f64)
    }
}
