//! Lets frames of a busy sender come together, so that one service, one
//! doorbell and one interrupt do for many.

use bus::SimTime;

/// A notification this soon after the last transmission means a busy sender.
const BUSY: SimTime = SimTime::from_us(30);
/// A frame of a busy sender waits this long at most. It waits no longer than
/// the guest's processor works: an idle one sends nothing more.
const HOLD: SimTime = SimTime::from_us(30);

/// Whether the transmit queues are served now or a little later.
///
/// The guest does not notify the device again while it holds (VIRTIO_F_EVENT_IDX):
/// it has not been asked to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The driver has notified a transmit queue since the last service.
    pub kicked: bool,
    /// Frames wait already.
    held: bool,
    /// When frames were sent last.
    sent: Option<SimTime>,
}

impl Batch {
    /// At a service: until when the transmit queues are left alone. `sending`
    /// tells that there is something in them.
    pub fn hold(&mut self, now: SimTime, sending: bool) -> Option<SimTime> {
        let kicked = std::mem::take(&mut self.kicked);
        if !sending {
            self.held = false;
            return None;
        }
        let busy = self.sent.is_some_and(|sent| now < sent + BUSY);
        if kicked && busy && !self.held {
            self.held = true;
            return Some(now + HOLD);
        }
        self.held = false;
        self.sent = Some(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_and_the_next_service_are_not_held() {
        let at = SimTime::from_us;
        let mut batch = Batch {
            kicked: true,
            ..Batch::default()
        };
        assert_eq!(batch.hold(at(10), true), None, "an idle sender's frame");
        batch.kicked = true;
        assert_eq!(batch.hold(at(20), true), Some(at(50)));
        assert_eq!(batch.hold(at(50), true), None, "its time has come");
        batch.kicked = true;
        assert_eq!(batch.hold(at(55), true), Some(at(85)));
        batch.kicked = true;
        assert_eq!(batch.hold(at(56), true), None, "another notification");
        batch.kicked = true;
        assert_eq!(batch.hold(at(86), true), None, "30 us later it is idle");
        assert_eq!(batch.hold(at(87), true), None, "waits for the back end");
        batch.kicked = true;
        assert_eq!(batch.hold(at(88), false), None, "a queue that stopped");
    }
}
