//! The legacy register window of a transitional device (virtio 1.2, section
//! 4.1.4.10): I/O ports in BAR 0.

use super::common::{Common, QueueRegs, status};
use super::layout;

/// Offsets in the window.
mod at {
    pub const DEVICE_FEATURES: u64 = 0x00;
    pub const DRIVER_FEATURES: u64 = 0x04;
    pub const QUEUE_PFN: u64 = 0x08;
    pub const QUEUE_SIZE: u64 = 0x0c;
    pub const QUEUE_SELECT: u64 = 0x0e;
    pub const QUEUE_NOTIFY: u64 = 0x10;
    pub const STATUS: u64 = 0x12;
    pub const ISR: u64 = 0x13;
    pub const CONFIG_VECTOR: u64 = 0x14;
    pub const QUEUE_VECTOR: u64 = 0x16;
}

/// Rings of a legacy queue lie on pages of this size.
const PAGE: u64 = 4096;

/// What a write asks of the function.
pub(super) enum Legacy {
    Nothing,
    Notify(u16),
    Started,
}

/// Where device configuration starts: MSI-X adds two registers before it.
fn config_start(msix: bool) -> u64 {
    if msix { 0x18 } else { 0x14 }
}

/// Reads the window.
pub(super) fn read(common: &mut Common, msix: bool, offset: u64, data: &mut [u8]) {
    data.fill(0);
    let start = config_start(msix);
    if offset >= start {
        common.device.config_read(offset - start, data);
        return;
    }
    if offset == at::ISR {
        data[0] = common.interrupts.take_isr();
        return;
    }
    let mut raw = [0u8; layout::LEGACY_HEADER];
    let mut put = |at: u64, bytes: &[u8]| {
        raw[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(at::DEVICE_FEATURES, &(common.offered as u32).to_le_bytes());
    put(
        at::DRIVER_FEATURES,
        &(common.driver_features as u32).to_le_bytes(),
    );
    put(at::QUEUE_SELECT, &common.queue_select.to_le_bytes());
    put(at::STATUS, &[common.status]);
    put(
        at::CONFIG_VECTOR,
        &common.interrupts.config_vector().to_le_bytes(),
    );
    let vector = common.interrupts.queue_vector(common.queue_select);
    put(at::QUEUE_VECTOR, &vector.to_le_bytes());
    if let Some(queue) = common.queues.get(usize::from(common.queue_select)) {
        let page = if queue.enabled {
            queue.addresses[0] / PAGE
        } else {
            0
        };
        put(at::QUEUE_PFN, &(page as u32).to_le_bytes());
        put(at::QUEUE_SIZE, &queue.max.to_le_bytes());
    }
    for (to, from) in data.iter_mut().zip(&raw[offset as usize..]) {
        *to = *from;
    }
}

/// Writes the window.
pub(super) fn write(common: &mut Common, msix: bool, offset: u64, data: &[u8]) -> Legacy {
    let start = config_start(msix);
    if offset >= start {
        common.device.config_write(offset - start, data);
        common.poll_events();
        return Legacy::Nothing;
    }
    let mut raw = [0u8; 8];
    raw[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
    let value = u64::from_le_bytes(raw);
    match (offset, data.len()) {
        (at::DRIVER_FEATURES, 4) if !common.started() => {
            common.driver_features = value & common.offered & 0xffff_ffff;
        }
        (at::QUEUE_PFN, 4) => set_page(common, value),
        (at::QUEUE_SELECT, 2) => common.queue_select = value as u16,
        (at::QUEUE_NOTIFY, 2) => return Legacy::Notify(value as u16),
        (at::STATUS, 1) => {
            let was = common.started();
            set_status(common, value as u8);
            if common.started() && !was {
                return Legacy::Started;
            }
        }
        (at::CONFIG_VECTOR, 2) => common.interrupts.set_config_vector(value as u16),
        (at::QUEUE_VECTOR, 2) => {
            let queue = common.queue_select;
            common.interrupts.set_queue_vector(queue, value as u16);
        }
        _ => {}
    }
    Legacy::Nothing
}

/// The three parts of the ring follow each other from one page on
/// (virtio 1.2, section 2.7.2).
fn set_page(common: &mut Common, page: u64) {
    let index = common.queue_select;
    let started = common.started();
    let Some(queue) = common.queues.get_mut(usize::from(index)) else {
        return;
    };
    if page == 0 {
        *queue = QueueRegs {
            max: queue.max,
            size: queue.max,
            ..QueueRegs::default()
        };
        if started {
            let _ = common.device.stop_queue(index);
        }
        return;
    }
    if queue.enabled {
        return;
    }
    let size = u64::from(queue.max);
    let descriptors = page * PAGE;
    let available = descriptors + 16 * size;
    let used = (available + 6 + 2 * size).next_multiple_of(PAGE);
    queue.size = queue.max;
    queue.addresses = [descriptors, available, used];
    queue.enabled = true;
    if started {
        common.start_queue(index);
    }
}

/// A legacy driver has no FEATURES_OK: its features hold from DRIVER_OK on.
fn set_status(common: &mut Common, value: u8) {
    let rising = value & !common.status & status::DRIVER_OK != 0;
    if value == 0 || !rising || common.started() {
        common.set_legacy_status(value);
        return;
    }
    if common.device.negotiate(common.driver_features) {
        common.set_legacy_status(value);
        common.start_now();
    } else {
        common.set_legacy_status(value);
        common.fail();
    }
}
