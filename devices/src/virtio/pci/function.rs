//! The PCI function round a virtio device.

use super::common::Common;
use super::interrupts::Interrupts;
use super::layout;
use super::legacy::{self, Legacy};
use crate::pci::{BarKind, FunctionState, Identity, PciError, PciFunction};
use crate::virtio::{VirtioDevice, feature};
use bus::{Action, DmaTarget, IoError, IrqLine, Next, SimTime, Wake};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Vendor-specific capability.
const VENDOR_CAPABILITY: u8 = 0x09;
const VIRTIO_VENDOR: u16 = 0x1af4;
/// The command register of a PCI function.
const COMMAND: usize = 4;
/// `cfg_type` values (virtio 1.2, section 4.1.4).
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_ISR: u8 = 3;
const TYPE_DEVICE: u8 = 4;
const TYPE_PCI_ACCESS: u8 = 5;

/// A virtio device as a PCI function: registers in BAR 4, MSI-X in BAR 1, INTA
/// without MSI-X, and for legacy drivers I/O ports in BAR 0.
pub struct VirtioPci {
    state: FunctionState,
    common: Common,
    /// Offset of the configuration access capability.
    access: usize,
}

impl VirtioPci {
    /// Puts `device` on PCI as a modern function. `line` is its INTA line.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        dma: DmaTarget,
        line: IrqLine,
    ) -> Result<Self, PciError> {
        Self::build(device, dma, line, false)
    }
    /// As [`VirtioPci::new`], as a transitional function that legacy drivers
    /// can use too.
    pub fn transitional(
        device: Box<dyn VirtioDevice>,
        dma: DmaTarget,
        line: IrqLine,
    ) -> Result<Self, PciError> {
        Self::build(device, dma, line, true)
    }
    fn build(
        device: Box<dyn VirtioDevice>,
        dma: DmaTarget,
        line: IrqLine,
        transitional: bool,
    ) -> Result<Self, PciError> {
        let id = device.device_id();
        let queues = device.queue_sizes().len();
        // Transitional IDs and revision: virtio 1.2, section 4.1.2.
        let identity = Identity {
            vendor: VIRTIO_VENDOR,
            device: if transitional {
                transitional_id(id)
            } else {
                0x1040 + id
            },
            revision: u8::from(!transitional),
            class: device.class(),
            subsystem_vendor: VIRTIO_VENDOR,
            subsystem: if transitional { id } else { 0x1100 },
        };
        let mut state = FunctionState::new(identity, dma.clone(), line);
        state.add_intx();
        if transitional {
            state.add_bar(layout::LEGACY_BAR, BarKind::Io, layout::LEGACY_SIZE)?;
        }
        // One vector per queue and one for configuration changes.
        let msix = state.add_msix(layout::MSIX_BAR, queues as u16 + 1)?;
        state.add_bar(layout::BAR, BarKind::Memory64, layout::BAR_SIZE)?;
        for (kind, offset, len, extra) in [
            (TYPE_COMMON, layout::COMMON, layout::COMMON_LEN, None),
            (TYPE_ISR, layout::ISR, layout::ISR_LEN, None),
            (TYPE_DEVICE, layout::DEVICE, layout::DEVICE_LEN, None),
            (
                TYPE_NOTIFY,
                layout::NOTIFY,
                layout::NOTIFY_LEN,
                Some(layout::NOTIFY_STEP as u32),
            ),
        ] {
            capability(&mut state, kind, offset as u32, len as u32, extra)?;
        }
        let access = capability(&mut state, TYPE_PCI_ACCESS, 0, 0, Some(0))?;
        // BAR, offset, length and the data window belong to the driver.
        state.config.set_writable(access + 4, &[0xff]);
        state.config.set_writable(access + 8, &[0xff; 12]);
        state.add_express()?;
        let interrupts = Interrupts::new(msix, Arc::clone(&state.intx), queues);
        let legacy = if transitional { feature::ANY_LAYOUT } else { 0 };
        let offered = device.features() | device.transport_features() | legacy;
        Ok(Self {
            common: Common::new(device, offered, dma, Arc::new(interrupts)),
            state,
            access,
        })
    }
    /// Runs `f` on the device of `function`, and tells the driver of what it
    /// changed. `None` when there is no `D` in it.
    pub fn with_device<D: VirtioDevice, R>(
        function: &mut dyn PciFunction,
        f: impl FnOnce(&mut D) -> R,
    ) -> Option<R> {
        let function: &mut dyn Any = function;
        let this: &mut Self = function.downcast_mut()?;
        let device: &mut dyn Any = &mut *this.common.device;
        let result = f(device.downcast_mut()?);
        this.common.poll_events();
        Some(result)
    }
    fn kick(&mut self, queue: u16) -> Action {
        if self.common.started() {
            self.common.device.kick(queue);
            return Action::Service;
        }
        Action::None
    }
    fn msix_enabled(&self) -> bool {
        self.state.msix.as_ref().is_some_and(|msix| msix.enabled())
    }
    fn legacy_write(&mut self, offset: u64, data: &[u8]) -> Action {
        let msix = self.msix_enabled();
        match legacy::write(&mut self.common, msix, offset, data) {
            Legacy::Nothing => Action::None,
            Legacy::Notify(queue) => self.kick(queue),
            Legacy::Started => Action::Service,
        }
    }
    fn modern_read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match offset {
            layout::COMMON..layout::ISR => self.common.read(offset, data),
            layout::ISR => data[0] = self.common.interrupts.take_isr(),
            layout::DEVICE..layout::NOTIFY => {
                self.common
                    .device
                    .config_read(offset - layout::DEVICE, data);
            }
            _ => {}
        }
    }
    fn modern_write(&mut self, offset: u64, data: &[u8]) -> Action {
        match offset {
            layout::NOTIFY.. => {
                let queue = (offset - layout::NOTIFY) / layout::NOTIFY_STEP;
                return self.kick(queue as u16);
            }
            layout::COMMON..layout::ISR => {
                let was = self.common.started();
                self.common.write(offset, data);
                // Buffers may have been there before the start.
                if self.common.started() && !was {
                    return Action::Service;
                }
            }
            layout::DEVICE..layout::NOTIFY => {
                self.common
                    .device
                    .config_write(offset - layout::DEVICE, data);
                self.common.poll_events();
            }
            _ => {}
        }
        Action::None
    }
    /// Where the configuration access capability points: offset and width.
    fn access_target(&self) -> Option<(u64, usize)> {
        let config = &self.state.config;
        let bar = config.u32(self.access + 4) as u8;
        let offset = u64::from(config.u32(self.access + 8));
        let len = config.u32(self.access + 12) as usize;
        let fits = matches!(len, 1 | 2 | 4)
            && offset.is_multiple_of(len as u64)
            && offset + len as u64 <= layout::BAR_SIZE;
        (bar == layout::BAR && fits).then_some((offset, len))
    }
    fn touches_access_data(&self, offset: usize, len: usize) -> bool {
        let data = self.access + 16;
        offset < data + 4 && data < offset + len
    }
}

/// Device ID of a transitional function.
fn transitional_id(device: u16) -> u16 {
    match device {
        1 => 0x1000,
        2 => 0x1001,
        3 => 0x1003,
        4 => 0x1005,
        5 => 0x1002,
        8 => 0x1004,
        9 => 0x1009,
        other => 0x1040 + other,
    }
}

fn capability(
    state: &mut FunctionState,
    kind: u8,
    offset: u32,
    len: u32,
    extra: Option<u32>,
) -> Result<usize, PciError> {
    let size = if extra.is_some() { 20 } else { 16 };
    let mut body = vec![size, kind, layout::BAR, 0, 0, 0];
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&len.to_le_bytes());
    if let Some(extra) = extra {
        body.extend_from_slice(&extra.to_le_bytes());
    }
    state
        .config
        .add_capability(VENDOR_CAPABILITY, &body, &[])
        .ok_or(PciError::NoRoom)
}

impl PciFunction for VirtioPci {
    fn state(&mut self) -> &mut FunctionState {
        &mut self.state
    }
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        match bar {
            layout::BAR => self.modern_read(offset, data),
            layout::LEGACY_BAR => {
                let msix = self.msix_enabled();
                legacy::read(&mut self.common, msix, offset, data);
            }
            _ => data.fill(0),
        }
        Ok(())
    }
    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        Ok(match bar {
            layout::BAR => self.modern_write(offset, data),
            layout::LEGACY_BAR => self.legacy_write(offset, data),
            _ => Action::None,
        })
    }
    fn reset(&mut self) {
        self.common.reset();
    }
    fn service(&mut self, now: SimTime) -> Next {
        if !self.common.started() {
            return Next::OnKick;
        }
        let next = self.common.device.service(now);
        self.common.poll_events();
        next
    }
    fn set_wake(&mut self, wake: Wake) {
        self.common.device.set_wake(wake);
    }
    fn doorbells(&self) -> Vec<(u8, u64)> {
        let at = |queue| layout::NOTIFY + layout::NOTIFY_STEP * queue as u64;
        (0..self.common.queues.len())
            .map(|queue| (layout::BAR, at(queue)))
            .collect()
    }
    fn ring(&mut self, index: u16) -> Action {
        self.kick(index)
    }
    fn counters(&self) -> Vec<(String, u64)> {
        let mut all = self.common.device.counters();
        let sent = self.common.interrupts.config_sent();
        all.push(("config_interrupts".to_owned(), sent));
        all
    }
    fn config_reading(&mut self, offset: usize, len: usize) {
        if self.touches_access_data(offset, len)
            && let Some((at, width)) = self.access_target()
        {
            let mut data = [0u8; 4];
            self.modern_read(at, &mut data[..width]);
            self.state.config.set(self.access + 16, &data);
        }
    }
    fn config_written(&mut self, offset: usize, len: usize) -> Action {
        if self.touches_access_data(offset, len)
            && let Some((at, width)) = self.access_target()
        {
            let data = self.state.config.u32(self.access + 16).to_le_bytes();
            return self.modern_write(at, &data[..width]);
        }
        // The device may have to stop, or can start, when DMA is switched.
        let command = offset < COMMAND + 2 && COMMAND < offset + len;
        if command && self.common.started() {
            return Action::Service;
        }
        Action::None
    }
}

impl fmt::Debug for VirtioPci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioPci")
            .field("state", &self.state)
            .field("status", &self.common.status)
            .finish_non_exhaustive()
    }
}
