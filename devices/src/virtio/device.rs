//! What a transport asks of a virtio device.

use super::feature;
use super::ring::{Queue, QueueState};
use bus::{DmaTarget, Interrupt, Service, Wake};

/// The used-buffer interrupt of one queue.
pub type QueueIrq = Interrupt;

/// What a device tells its transport after a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEvents {
    /// A ring is broken: the transport sets DEVICE_NEEDS_RESET.
    pub needs_reset: bool,
    /// Device configuration changed: the transport raises the configuration
    /// generation and interrupt.
    pub config_changed: bool,
}

/// A virtio device, whatever its transport.
///
/// Life: `negotiate` when the driver sets FEATURES_OK; `start_queue` for each
/// enabled queue on DRIVER_OK (or later, after a queue reset); `kick` and
/// [`Service::service`] while it runs; `stop_queue` gives a queue back; `reset`
/// at any time stops everything.
pub trait VirtioDevice: Service + std::any::Any {
    /// Device ID (virtio 1.2, section 5).
    fn device_id(&self) -> u16;
    /// PCI class code (24 bits).
    fn class(&self) -> u32;
    /// Device-type features on offer.
    fn features(&self) -> u64;
    /// Features of the transport and the rings that the device can bear, of
    /// [`feature::TRANSPORT`].
    fn transport_features(&self) -> u64 {
        feature::TRANSPORT
    }
    /// Largest size of each queue; the length is the number of queues.
    fn queue_sizes(&self) -> Vec<u16>;
    /// Reads device configuration; what is behind its end reads 0.
    fn config_read(&mut self, offset: u64, data: &mut [u8]);
    /// Writes device configuration.
    fn config_write(&mut self, _offset: u64, _data: &[u8]) {}
    /// Checks the features that the driver accepted (a subset of those on
    /// offer, transport features included). `false` refuses them.
    fn negotiate(&mut self, accepted: u64) -> bool;
    /// Gives queue `index` to the device. `dma` is off while the function is
    /// no bus master.
    fn start_queue(&mut self, index: u16, queue: Queue, dma: &DmaTarget, irq: QueueIrq);
    /// Takes queue `index` back.
    fn stop_queue(&mut self, index: u16) -> Option<QueueState>;
    /// The driver notified queue `index`. Cheap: the work is done in `service`.
    fn kick(&mut self, index: u16);
    /// Stops everything and forgets the negotiation.
    fn reset(&mut self);
    /// What happened since the last call.
    fn take_events(&mut self) -> DeviceEvents {
        DeviceEvents::default()
    }
    /// What to wake when the device has work from outside its guest.
    fn set_wake(&mut self, _wake: Wake) {}
    /// Counters by name, for results.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}
