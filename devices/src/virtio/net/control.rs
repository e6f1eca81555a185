//! The control queue (virtio 1.2, section 5.1.6.5).

use super::moderation::Limits;
use super::rss::Rss;
use super::{Filter, Net, Pair, feature};
use crate::net::Offloads;
use crate::virtio::ring::RingError;
use bus::{GuestRam, Segment};
use vm_memory::{Bytes, GuestAddress};

/// Commands per call of `service`.
const BUDGET: u32 = 64;
/// Longest command: the two address tables are the longest ones.
const MAX_COMMAND: u64 = 64 << 10;

const OK: u8 = 0;
const ERROR: u8 = 1;

/// Command classes.
mod class {
    pub const RX: u8 = 0;
    pub const MAC: u8 = 1;
    pub const VLAN: u8 = 2;
    pub const ANNOUNCE: u8 = 3;
    pub const MQ: u8 = 4;
    pub const GUEST_OFFLOADS: u8 = 5;
    pub const NOTF_COAL: u8 = 6;
}

impl Net {
    /// Carries out commands. `true` when more wait.
    pub(super) fn control(&mut self, ram: &GuestRam) -> Result<bool, RingError> {
        let Some(mut active) = self.control.take() else {
            return Ok(false);
        };
        if !active.kicked {
            self.control = Some(active);
            return Ok(false);
        }
        active.kicked = false;
        let mut budget = BUDGET;
        let mut ring = active.queue.ring(ram)?;
        let mut done = false;
        while budget > 0 {
            if ring.available()? == 0 {
                if ring.listen(0)? {
                    continue;
                }
                break;
            }
            budget -= 1;
            let head = ring.head(0)?;
            let written = self.command(ram, |segments| {
                let walk = ring.walk(head, segments).ok()?;
                let fits = (2..=MAX_COMMAND).contains(&walk.readable_len);
                (fits && walk.writable_len > 0).then_some(walk.readable)
            });
            if written.is_none() {
                self.counters.bad_commands += 1;
            }
            ring.consume(1);
            ring.push_used(head, written.unwrap_or(0));
            done = true;
        }
        if done {
            ring.publish();
            if ring.wants_interrupt() {
                active.irq.deliver();
            }
        }
        active.kicked = budget == 0;
        let more = active.kicked;
        self.control = Some(active);
        Ok(more)
    }

    /// Reads one command, carries it out and writes its answer. `None` for a
    /// malformed chain.
    fn command(
        &mut self,
        ram: &GuestRam,
        walk: impl FnOnce(&mut Vec<Segment>) -> Option<usize>,
    ) -> Option<u32> {
        let mut segments = std::mem::take(&mut self.segments);
        segments.clear();
        let readable = walk(&mut segments);
        let result = readable.and_then(|readable| {
            let (from, to) = segments.split_at_checked(readable)?;
            let mut command = Vec::new();
            for segment in from {
                let start = command.len();
                command.resize(start + segment.len as usize, 0);
                let into = command.get_mut(start..)?;
                ram.read_slice(into, GuestAddress(segment.address)).ok()?;
            }
            // The answer, then what was asked for.
            let mut answer = vec![OK];
            match self.queue_limits(&command) {
                Some(limits) => answer.extend(limits),
                None if self.execute(&command) => {}
                None => answer[0] = ERROR,
            }
            let mut rest = &answer[..];
            for segment in to {
                let n = rest.len().min(segment.len as usize);
                ram.write_slice(&rest[..n], GuestAddress(segment.address))
                    .ok()?;
                rest = &rest[n..];
            }
            Some((answer.len() - rest.len()) as u32)
        });
        self.segments = segments;
        result
    }

    /// Whether the command was carried out.
    fn execute(&mut self, command: &[u8]) -> bool {
        let Some(([class, which], data)) = command.split_first_chunk::<2>() else {
            return false;
        };
        let has = |bit: u64| self.features & bit != 0;
        match (*class, *which) {
            (class::RX, which) if has(feature::CTRL_RX) => {
                let extra = has(feature::CTRL_RX_EXTRA);
                set_receive_mode(&mut self.filter, which, data, extra)
            }
            (class::MAC, 0) if has(feature::CTRL_RX) => self.set_tables(data).is_some(),
            (class::MAC, 1) if has(feature::CTRL_MAC_ADDR) => match data.first_chunk::<6>() {
                Some(mac) => {
                    self.filter.mac = *mac;
                    true
                }
                None => false,
            },
            (class::VLAN, which @ (0 | 1)) if has(feature::CTRL_VLAN) => {
                let id = data.first_chunk::<2>().map(|id| u16::from_le_bytes(*id));
                id.is_some_and(|id| self.filter.set_vlan(id, which == 0))
            }
            (class::ANNOUNCE, 0) if has(feature::GUEST_ANNOUNCE) => {
                self.announce = false;
                true
            }
            (class::MQ, 0) if has(feature::MQ) => {
                let pairs = data.first_chunk::<2>().map(|n| u16::from_le_bytes(*n));
                let set = pairs.is_some_and(|pairs| self.set_active_pairs(pairs));
                if set {
                    self.rss.stop_steering();
                }
                set
            }
            (class::MQ, 1) if has(feature::RSS) => {
                let config = Rss::config(data, self.pairs.len() as u16);
                config.is_some_and(|config| {
                    self.rss = config;
                    self.set_active_pairs(self.rss.pairs())
                })
            }
            (class::MQ, 2) if has(feature::HASH_REPORT) => match Rss::hash_config(data) {
                Some(config) => {
                    self.rss = config;
                    true
                }
                None => false,
            },
            (class::GUEST_OFFLOADS, 0) if has(feature::CTRL_GUEST_OFFLOADS) => {
                let bits = data
                    .first_chunk::<8>()
                    .map(|bits| u64::from_le_bytes(*bits));
                bits.is_some_and(|bits| self.set_guest_offloads(bits))
            }
            (class::NOTF_COAL, which @ (0 | 1)) if has(feature::NOTF_COAL) => limits(data)
                .is_some_and(|limits| {
                    for pair in &mut self.pairs {
                        set_limits(pair, which == 0, limits);
                    }
                    true
                }),
            (class::NOTF_COAL, 2) if has(feature::VQ_NOTF_COAL) => {
                let queue = data.first_chunk::<2>().map(|n| u16::from_le_bytes(*n));
                let limits = data.get(4..).and_then(limits);
                let (Some(queue), Some(limits)) = (queue, limits) else {
                    return false;
                };
                match self.pairs.get_mut(usize::from(queue / 2)) {
                    Some(pair) => {
                        set_limits(pair, !queue.is_multiple_of(2), limits);
                        true
                    }
                    None => false,
                }
            }
            _ => false,
        }
    }
    /// `VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET`: the limits of a queue.
    fn queue_limits(&self, command: &[u8]) -> Option<[u8; 8]> {
        let wanted = command.first_chunk::<2>() == Some(&[class::NOTF_COAL, 3]);
        if !wanted || self.features & feature::VQ_NOTF_COAL == 0 {
            return None;
        }
        let queue = u16::from_le_bytes([*command.get(2)?, *command.get(3)?]);
        let pair = self.pairs.get(usize::from(queue / 2))?;
        let limits = if queue.is_multiple_of(2) {
            pair.rx_limits
        } else {
            pair.tx_limits
        };
        let mut answer = [0; 8];
        answer[..4].copy_from_slice(&limits.packets.to_le_bytes());
        answer[4..].copy_from_slice(&limits.usecs.to_le_bytes());
        Some(answer)
    }
    fn set_tables(&mut self, data: &[u8]) -> Option<()> {
        let (unicast, rest) = table(data)?;
        let (multicast, _) = table(rest)?;
        self.filter.set_tables(unicast, multicast);
        Some(())
    }
    fn set_active_pairs(&mut self, pairs: u16) -> bool {
        let valid = pairs >= 1 && usize::from(pairs) <= self.pairs.len();
        if valid {
            self.active_pairs = usize::from(pairs);
            self.backend.set_pairs(pairs);
            // What waits in queues that were off, or can now go elsewhere.
            for pair in &mut self.pairs {
                for queue in [&mut pair.rx, &mut pair.tx].into_iter().flatten() {
                    queue.kicked = true;
                }
            }
        }
        valid
    }
    fn set_guest_offloads(&mut self, bits: u64) -> bool {
        let offered = self.features & feature::GUEST_OFFLOADS;
        let valid = bits & !offered == 0 && feature::consistent(bits);
        if valid {
            let offloads: Offloads = feature::guest_offloads(bits);
            self.offloads = offloads;
            self.backend.set_offloads(offloads);
        }
        valid
    }
}

/// `struct virtio_net_ctrl_coal`.
fn limits(data: &[u8]) -> Option<Limits> {
    let (packets, rest) = data.split_first_chunk::<4>()?;
    let usecs = rest.first_chunk::<4>()?;
    Some(Limits {
        packets: u32::from_le_bytes(*packets),
        usecs: u32::from_le_bytes(*usecs),
    })
}

fn set_limits(pair: &mut Pair, tx: bool, limits: Limits) {
    let (kept, queue) = match tx {
        true => (&mut pair.tx_limits, &mut pair.tx),
        false => (&mut pair.rx_limits, &mut pair.rx),
    };
    *kept = limits;
    if let Some(active) = queue {
        active.moderation.limits = limits;
    }
}

fn set_receive_mode(filter: &mut Filter, which: u8, data: &[u8], extra: bool) -> bool {
    let Some(on) = data.first().map(|on| *on != 0) else {
        return false;
    };
    let flag = match which {
        0 => &mut filter.promiscuous,
        1 => &mut filter.all_multicast,
        2 if extra => &mut filter.all_unicast,
        3 if extra => &mut filter.no_multicast,
        4 if extra => &mut filter.no_unicast,
        5 if extra => &mut filter.no_broadcast,
        _ => return false,
    };
    *flag = on;
    true
}

/// A table of addresses with its count before it.
fn table(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = data.split_first_chunk::<4>()?;
    let bytes = (u32::from_le_bytes(*count) as usize).checked_mul(6)?;
    rest.split_at_checked(bytes)
}
