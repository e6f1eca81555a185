//! The card: an adapter between a network device and one side of an FPGA card.

use super::{FrameRef, FrameSink, Header, NetBackend, Reserve, RxStatus, TxStatus};
use bus::{DmaTarget, SimTime, Wake};
use fpga_sim::card::{self, CardPort, FrameInfo, Side, TakeStatus};
use std::fmt;
use std::sync::Arc;

/// One side of a card as a back end. Frames cross guest memory and card memory
/// without a stop; the virtio header is the frame's metadata.
pub struct Card {
    card: Arc<dyn card::Card>,
    side: Side,
    port: Box<dyn CardPort>,
    faults: u64,
}

impl Card {
    /// The side `side` of `card`, whose port is `port`.
    pub fn new(card: Arc<dyn card::Card>, side: Side, port: Box<dyn CardPort>) -> Self {
        Self {
            card,
            side,
            port,
            faults: 0,
        }
    }
}

impl NetBackend for Card {
    fn transmit(&mut self, now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        match self
            .port
            .transmit(now, &frame.header.to_bytes(), frame.segments)
        {
            card::TxStatus::Sent => TxStatus::Sent,
            card::TxStatus::Full => TxStatus::Full,
        }
    }
    fn receive(&mut self, now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        while let Some(FrameInfo { len, meta }) = self.port.peek(now) {
            let buffers = match sink.reserve(len, &[]) {
                Reserve::Ready(buffers) => buffers,
                Reserve::Full => return RxStatus::Blocked,
                Reserve::Refused => {
                    let _ = self.port.take(now, &[]);
                    continue;
                }
            };
            match self.port.take(now, buffers.segments) {
                TakeStatus::Taken => sink.commit(&Header::from_bytes(&meta)),
                TakeStatus::Gone => {}
                TakeStatus::BadBuffer => return RxStatus::Blocked,
            }
        }
        RxStatus::Idle
    }
    fn next_event(&self) -> Option<SimTime> {
        self.port.next_event()
    }
    fn start(&mut self, dma: &DmaTarget) {
        // Without a ring the port says Full and the counter tells why.
        self.faults += u64::from(self.port.attach(dma.clone()).is_err());
    }
    fn flush(&mut self, now: SimTime) {
        self.port.flush(now);
    }
    fn set_wake(&mut self, wake: Wake) {
        self.card.set_wake(self.side, wake);
    }
    fn reset(&mut self) {
        self.port.detach();
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("ring_faults", self.faults)]
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}
