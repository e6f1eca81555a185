//! Interrupt moderation (virtio 1.3, section 5.1.6.5.10).

use bus::SimTime;

/// When a queue's used buffers are told to the driver. Zero in either limit
/// means at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub packets: u32,
    pub usecs: u32,
}

/// The moderation of one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moderation {
    pub limits: Limits,
    packets: u32,
    /// When what waits is due.
    pub deadline: Option<SimTime>,
}

impl Moderation {
    /// Nothing waits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
    /// `packets` more were used. Whether to tell the driver now.
    pub fn add(&mut self, now: SimTime, packets: u32) -> bool {
        let Limits {
            packets: most,
            usecs,
        } = self.limits;
        self.packets = self.packets.saturating_add(packets);
        if usecs == 0 || self.packets >= most {
            self.clear();
            return true;
        }
        let due = now + SimTime::from_us(usecs.into());
        self.deadline.get_or_insert(due);
        self.expired(now)
    }
    /// Whether what waits is due.
    pub fn expired(&mut self, now: SimTime) -> bool {
        let due = self.deadline.is_some_and(|at| at <= now);
        if due {
            self.clear();
        }
        due
    }
    fn clear(&mut self) {
        self.packets = 0;
        self.deadline = None;
    }
}
