//! The common configuration structure (virtio 1.2, section 4.1.4.3) and the
//! device's life cycle, whatever register window drives it.

use super::interrupts::Interrupts;
use crate::virtio::VirtioDevice;
use crate::virtio::feature;
use crate::virtio::ring::{Queue, QueueConfig, QueueState};
use bus::DmaTarget;
use std::sync::Arc;

/// Device status bits (virtio 1.2, section 2.1).
pub(super) mod status {
    pub const FEATURES_OK: u8 = 8;
    pub const DRIVER_OK: u8 = 4;
    pub const NEEDS_RESET: u8 = 64;
}

/// Offsets in the structure.
mod at {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_VECTOR: u64 = 0x10;
    pub const STATUS: u64 = 0x14;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_USED_END: u64 = 0x38;
    pub const QUEUE_RESET: u64 = 0x3a;
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueRegs {
    pub max: u16,
    pub size: u16,
    pub enabled: bool,
    /// Descriptor table, available ring, used ring.
    pub addresses: [u64; 3],
}

/// Registers and life cycle of one virtio device.
pub(super) struct Common {
    pub device: Box<dyn VirtioDevice>,
    pub queues: Vec<QueueRegs>,
    pub interrupts: Arc<Interrupts>,
    pub offered: u64,
    pub driver_features: u64,
    pub status: u8,
    pub queue_select: u16,
    dma: DmaTarget,
    generation: u8,
    device_select: u32,
    driver_select: u32,
    started: bool,
}

impl Common {
    pub fn new(
        device: Box<dyn VirtioDevice>,
        offered: u64,
        dma: DmaTarget,
        interrupts: Arc<Interrupts>,
    ) -> Self {
        let queue = |max| QueueRegs {
            max,
            size: max,
            ..QueueRegs::default()
        };
        Self {
            queues: device.queue_sizes().into_iter().map(queue).collect(),
            device,
            interrupts,
            offered,
            driver_features: 0,
            status: 0,
            queue_select: 0,
            dma,
            generation: 0,
            device_select: 0,
            driver_select: 0,
            started: false,
        }
    }

    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let image = self.image();
        data.fill(0);
        let offset = offset as usize;
        for (to, from) in data.iter_mut().zip(image.get(offset..).unwrap_or_default()) {
            *to = *from;
        }
    }
    fn image(&self) -> [u8; 0x40] {
        let mut raw = [0u8; 0x40];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &self.device_select.to_le_bytes());
        put(0x04, &word(self.offered, self.device_select).to_le_bytes());
        put(0x08, &self.driver_select.to_le_bytes());
        put(
            0x0c,
            &word(self.driver_features, self.driver_select).to_le_bytes(),
        );
        put(0x10, &self.interrupts.config_vector().to_le_bytes());
        put(0x12, &(self.queues.len() as u16).to_le_bytes());
        put(0x14, &[self.status, self.generation]);
        put(0x16, &self.queue_select.to_le_bytes());
        // A queue that does not exist has size 0.
        let Some(queue) = self.queues.get(usize::from(self.queue_select)) else {
            return raw;
        };
        put(0x18, &queue.size.to_le_bytes());
        let vector = self.interrupts.queue_vector(self.queue_select);
        put(0x1a, &vector.to_le_bytes());
        put(0x1c, &u16::from(queue.enabled).to_le_bytes());
        put(0x1e, &self.queue_select.to_le_bytes());
        for (i, address) in queue.addresses.iter().enumerate() {
            put(0x20 + 8 * i, &address.to_le_bytes());
        }
        raw
    }
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut raw = [0u8; 8];
        let Some(to) = raw.get_mut(..data.len()) else {
            return;
        };
        to.copy_from_slice(data);
        let value = u64::from_le_bytes(raw);
        match (offset, data.len()) {
            (at::DEVICE_FEATURE_SELECT, 4) => self.device_select = value as u32,
            (at::DRIVER_FEATURE_SELECT, 4) => self.driver_select = value as u32,
            (at::DRIVER_FEATURE, 4) => self.set_feature_word(value as u32),
            (at::CONFIG_VECTOR, 2) => self.interrupts.set_config_vector(value as u16),
            (at::STATUS, 1) => self.set_status(value as u8),
            (at::QUEUE_SELECT, 2) => self.queue_select = value as u16,
            (at::QUEUE_SIZE, 2) => self.set_queue_size(value as u16),
            (at::QUEUE_VECTOR, 2) => {
                self.interrupts
                    .set_queue_vector(self.queue_select, value as u16);
            }
            (at::QUEUE_ENABLE, 2) if value == 1 => self.enable_queue(),
            (at::QUEUE_DESC..at::QUEUE_USED_END, 4 | 8) if offset.is_multiple_of(4) => {
                self.set_queue_address(offset - at::QUEUE_DESC, value, data.len());
            }
            (at::QUEUE_RESET, 2) if value == 1 => self.reset_queue(),
            _ => {}
        }
    }

    fn set_feature_word(&mut self, value: u32) {
        if self.status & status::FEATURES_OK == 0 && self.driver_select < 2 {
            let shift = 32 * self.driver_select;
            self.driver_features =
                self.driver_features & !(0xffff_ffff << shift) | u64::from(value) << shift;
        }
    }
    /// The queue that the driver selected, if it may change it now.
    fn stopped_queue(&mut self) -> Option<&mut QueueRegs> {
        let queue = self.queues.get_mut(usize::from(self.queue_select))?;
        (!queue.enabled).then_some(queue)
    }
    fn set_queue_size(&mut self, size: u16) {
        if let Some(queue) = self.stopped_queue()
            && size.is_power_of_two()
            && size <= queue.max
        {
            queue.size = size;
        }
    }
    fn set_queue_address(&mut self, offset: u64, value: u64, len: usize) {
        let Some(queue) = self.stopped_queue() else {
            return;
        };
        let address = &mut queue.addresses[(offset / 8) as usize % 3];
        *address = match (offset % 8, len) {
            (0, 8) => value,
            (0, _) => *address & !0xffff_ffff | value,
            (_, 4) => *address & 0xffff_ffff | value << 32,
            _ => *address,
        };
    }
    fn enable_queue(&mut self) {
        let index = self.queue_select;
        if let Some(queue) = self.stopped_queue() {
            queue.enabled = true;
            if self.started {
                self.start_queue(index);
            }
        }
    }
    fn reset_queue(&mut self) {
        if self.driver_features & feature::RING_RESET == 0 {
            return;
        }
        let index = self.queue_select;
        let Some(queue) = self.queues.get_mut(usize::from(index)) else {
            return;
        };
        *queue = QueueRegs {
            max: queue.max,
            size: queue.max,
            ..QueueRegs::default()
        };
        if self.started {
            let _ = self.device.stop_queue(index);
        }
    }
    /// A write of the device status register.
    pub fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        let mut new = value | self.status & status::NEEDS_RESET;
        let rising = new & !self.status;
        if rising & status::FEATURES_OK != 0 && !self.negotiate() {
            new &= !status::FEATURES_OK;
        }
        self.status = new;
        if rising & status::DRIVER_OK != 0 && !self.started {
            self.start();
        }
    }
    fn negotiate(&mut self) -> bool {
        let modern = self.driver_features & feature::VERSION_1 != 0;
        modern
            && self.driver_features & !self.offered == 0
            && self.device.negotiate(self.driver_features)
    }
    /// As [`Common::set_status`] of a driver without negotiation.
    pub fn set_legacy_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
        } else {
            self.status = value | self.status & status::NEEDS_RESET;
        }
    }
    fn start(&mut self) {
        if self.status & status::FEATURES_OK == 0 {
            self.fail();
            return;
        }
        self.start_now();
    }
    /// Gives the queues that the driver set up to the device.
    pub fn start_now(&mut self) {
        self.started = true;
        for index in 0..self.queues.len() as u16 {
            if self.queues[usize::from(index)].enabled {
                self.start_queue(index);
            }
        }
        self.poll_events();
    }
    pub fn start_queue(&mut self, index: u16) {
        let Some(regs) = self.queues.get(usize::from(index)) else {
            return;
        };
        let [descriptors, available, used] = regs.addresses;
        let config = QueueConfig {
            size: regs.size,
            descriptors,
            available,
            used,
            event_idx: self.driver_features & feature::EVENT_IDX != 0,
            indirect: self.driver_features & feature::INDIRECT_DESC != 0,
        };
        match Queue::new(config, QueueState::default()) {
            Ok(queue) => {
                let irq = self.interrupts.queue(index);
                self.device.start_queue(index, queue, &self.dma, irq);
            }
            Err(_) => self.fail(),
        }
    }
    /// Tells the driver that only a reset helps.
    pub fn fail(&mut self) {
        self.status |= status::NEEDS_RESET;
        if self.status & status::DRIVER_OK != 0 {
            self.interrupts.config_changed();
        }
    }
    /// Passes on what the device has to say.
    pub fn poll_events(&mut self) {
        let events = self.device.take_events();
        if events.needs_reset && self.status & status::NEEDS_RESET == 0 {
            self.fail();
        }
        if events.config_changed {
            self.generation = self.generation.wrapping_add(1);
            if self.status & status::DRIVER_OK != 0 {
                self.interrupts.config_changed();
            }
        }
    }
    /// Whether the device has its queues.
    pub fn started(&self) -> bool {
        self.started
    }
    /// A device reset; the offer stays.
    pub fn reset(&mut self) {
        self.device.reset();
        let _ = self.device.take_events();
        self.interrupts.reset();
        for queue in &mut self.queues {
            *queue = QueueRegs {
                max: queue.max,
                size: queue.max,
                ..QueueRegs::default()
            };
        }
        self.driver_features = 0;
        self.status = 0;
        self.queue_select = 0;
        self.device_select = 0;
        self.driver_select = 0;
        self.started = false;
    }
}

fn word(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}
