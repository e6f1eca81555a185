//! Counters by cause.

use serde::{Deserialize, Serialize};

/// Counters of one queue. Frames that were not moved are counted by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounters {
    /// Frames moved.
    pub frames: u64,
    /// Their bytes, without headers.
    pub bytes: u64,
    /// Chains that went back with length 0 because they were malformed.
    pub malformed: u64,
    /// Frames that are too long for the device or for the guest's buffers.
    pub oversize: u64,
    /// Frames with a header that was not negotiated or makes no sense.
    pub bad_header: u64,
    /// Times the guest had no receive buffers while frames waited.
    pub no_buffer: u64,
    /// Times the back end was full.
    pub backpressure: u64,
    /// Frames that the receive filter kept out.
    pub filtered: u64,
    /// Frames refused because the link was down.
    pub link_down: u64,
    /// Received unsegmented frames that the driver did not ask for, and that
    /// could not be cut.
    pub unwanted_offload: u64,
    /// Frames that were cut for a driver without that offload.
    pub segmented: u64,
    /// Notifications by the driver.
    pub notifications: u64,
    /// Interrupts sent for used buffers.
    pub interrupts: u64,
}

/// Counters of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetCounters {
    /// Receive queues.
    pub rx: Vec<QueueCounters>,
    /// Transmit queues.
    pub tx: Vec<QueueCounters>,
    /// Notifications of the control queue, and of queues that do not run.
    pub notifications: u64,
    /// Commands in malformed chains.
    pub bad_commands: u64,
    /// Rings that were found broken.
    pub broken_rings: u64,
}

impl NetCounters {
    /// By name, such as `rx0.frames`.
    pub fn list(&self) -> Vec<(String, u64)> {
        let mut all = vec![
            ("notifications".to_owned(), self.notifications),
            ("bad_commands".to_owned(), self.bad_commands),
            ("broken_rings".to_owned(), self.broken_rings),
        ];
        for (side, queues) in [("rx", &self.rx), ("tx", &self.tx)] {
            for (i, q) in queues.iter().enumerate() {
                for (name, n) in [
                    ("frames", q.frames),
                    ("bytes", q.bytes),
                    ("malformed", q.malformed),
                    ("oversize", q.oversize),
                    ("bad_header", q.bad_header),
                    ("no_buffer", q.no_buffer),
                    ("backpressure", q.backpressure),
                    ("filtered", q.filtered),
                    ("link_down", q.link_down),
                    ("unwanted_offload", q.unwanted_offload),
                    ("segmented", q.segmented),
                    ("notifications", q.notifications),
                    ("interrupts", q.interrupts),
                ] {
                    all.push((format!("{side}{i}.{name}"), n));
                }
            }
        }
        all
    }
}
