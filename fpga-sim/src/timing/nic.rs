//! What whole network cards make of a link: pcie-bench's three models.
//!
//! Bandwidths are Gb/s each way with traffic both ways. A `frame` counts its
//! 4-byte FCS, which does not cross the link. The read request for a receive
//! descriptor is not counted, as in the published curves.

use super::link::{COMPLETION_OVERHEAD, PcieLink, REQUEST_OVERHEAD};

/// A NIC and its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// One of everything for each packet.
    Simple,
    /// Descriptors in batches, moderated interrupts, an in-kernel driver.
    Kernel,
    /// As `Kernel`, with a polling driver in user space.
    Dpdk,
}

/// A descriptor.
const DESCRIPTOR: f64 = 16.0;
/// A queue pointer, or a message-signalled interrupt.
const POINTER: f64 = 4.0;
const FCS: u64 = 4;

/// How many packets share one of each step.
struct Batches {
    tx_tail: f64,
    tx_fetch: f64,
    tx_write_back: Option<f64>,
    rx_tail: f64,
    interrupt: Option<f64>,
    tx_head: Option<f64>,
    rx_head: Option<f64>,
}

impl Nic {
    fn batches(self) -> Batches {
        match self {
            Self::Simple => Batches {
                tx_tail: 1.0,
                tx_fetch: 1.0,
                tx_write_back: None,
                rx_tail: 1.0,
                interrupt: Some(1.0),
                tx_head: Some(1.0),
                rx_head: Some(1.0),
            },
            Self::Kernel => Batches {
                tx_tail: 1.0,
                tx_fetch: 40.0,
                tx_write_back: Some(8.0),
                rx_tail: 32.0,
                interrupt: Some(32.0),
                tx_head: Some(1.0),
                rx_head: Some(8.0),
            },
            Self::Dpdk => Batches {
                tx_tail: 32.0,
                tx_fetch: 40.0,
                tx_write_back: Some(8.0),
                rx_tail: 32.0,
                interrupt: None,
                tx_head: None,
                rx_head: None,
            },
        }
    }

    /// Gb/s each way of frames of `frame` bytes, both ways at once.
    pub fn bandwidth(self, link: &PcieLink, frame: u64) -> f64 {
        let b = self.batches();
        let (request, completion) = (REQUEST_OVERHEAD as f64, COMPLETION_OVERHEAD as f64);
        let size = frame.saturating_sub(FCS).max(1);
        let data = link.write_wire(size) + link.read_wire(size);
        let (mut up, mut down) = (data.up as f64, data.down as f64);
        // The driver moves its tails.
        down += (POINTER + request) * (1.0 / b.tx_tail + 1.0 / b.rx_tail);
        // The card fetches descriptors: for sending in batches, for receiving
        // one by one.
        let fetch = link.read_wire((DESCRIPTOR * b.tx_fetch) as u64);
        up += fetch.up as f64 / b.tx_fetch;
        down += fetch.down as f64 / b.tx_fetch;
        down += DESCRIPTOR + completion;
        // The card writes descriptors back.
        if let Some(n) = b.tx_write_back {
            up += (request + DESCRIPTOR * n) / n;
        }
        up += request + DESCRIPTOR;
        // Interrupts for both directions, and the driver reads the heads.
        if let Some(n) = b.interrupt {
            up += 2.0 * (POINTER + request) / n;
        }
        for n in [b.tx_head, b.rx_head].into_iter().flatten() {
            down += request / n;
            up += (POINTER + completion) / n;
        }
        link.tlp() * size as f64 / up.max(down)
    }
}
