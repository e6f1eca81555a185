//! The user BAR: what the host sees of the card's logic.

use crate::events::{BAR_EVENTS, EventWindow, UserEvents};
use crate::queue::{BAR_CONSUMER, BAR_PRODUCER, HardQueue, QueueWindow, Role, WINDOW};
use bus::{Action, BusDevice, IoError};
use std::sync::Arc;

/// Bytes of the user BAR: the IP's default.
pub const USER_BAR: u64 = 1 << 20;

/// The card's user BAR: [`USER_BAR`] bytes with the host's windows.
/// The rest reads as zero, also where drivers look for an XDMA identifier.
#[derive(Clone, Debug)]
pub struct UserBar {
    producer: QueueWindow,
    consumer: QueueWindow,
    events: EventWindow,
}

impl UserBar {
    /// With the host's ends of the two queues, and the user interrupts.
    pub fn new(h2c: Arc<HardQueue>, c2h: Arc<HardQueue>, events: Arc<UserEvents>) -> Self {
        Self {
            producer: QueueWindow::new(h2c, Role::Producer),
            consumer: QueueWindow::new(c2h, Role::Consumer),
            events: EventWindow(events),
        }
    }
    fn window(&mut self, offset: u64, len: usize) -> Option<(&mut dyn BusDevice, u64)> {
        let windows: [(u64, &mut dyn BusDevice); 3] = [
            (BAR_PRODUCER, &mut self.producer),
            (BAR_CONSUMER, &mut self.consumer),
            (BAR_EVENTS, &mut self.events),
        ];
        windows
            .into_iter()
            .find(|(start, _)| offset >= *start && offset + len as u64 <= start + WINDOW)
            .map(|(start, window)| (window, offset - start))
    }
}

impl BusDevice for UserBar {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        match self.window(offset, data.len()) {
            Some((window, offset)) => window.read(offset, data),
            None => {
                data.fill(0);
                Ok(())
            }
        }
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        match self.window(offset, data.len()) {
            Some((window, offset)) => window.write(offset, data),
            None => Ok(Action::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::DATA;
    use std::time::Duration;

    #[test]
    fn the_user_bar_has_the_hosts_windows_and_zeroes() {
        let h2c = Arc::new(HardQueue::new(Duration::ZERO));
        let c2h = Arc::new(HardQueue::new(Duration::ZERO));
        let events = Arc::new(UserEvents::default());
        let mut bar = UserBar::new(h2c.clone(), c2h.clone(), events.clone());
        let _ = bar.write(BAR_PRODUCER + DATA, &5u32.to_le_bytes()).unwrap();
        assert_eq!(h2c.try_pop(), Some(5));
        c2h.push(6);
        let mut data = [0xff; 4];
        bar.read(BAR_CONSUMER + DATA, &mut data).unwrap();
        assert_eq!(data, [6, 0, 0, 0]);
        let _ = bar.write(BAR_EVENTS + 4, &[4, 0, 0, 0]).unwrap();
        assert_eq!(events.levels(), 4);
        for id in [0x2000, 0x3000, BAR_PRODUCER + WINDOW, USER_BAR - 4] {
            bar.read(id, &mut data).unwrap();
            assert_eq!(data, [0; 4], "{id:#x}");
        }
    }
}
