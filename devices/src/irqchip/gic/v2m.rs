//! GICv2m: a frame that turns memory writes into shared interrupts (ARM Server
//! Base System Architecture, appendix on GICv2m).

use super::Gic;
use bus::{Action, BusDevice, Interrupt, IoError, MsiMessage, MsiSink};

const MSI_TYPER: u64 = 0x008;
const MSI_SETSPI_NS: u64 = 0x040;
const MSI_IIDR: u64 = 0xfcc;
/// Implementer ARM; no product and revision, so no driver quirk matches.
const MSI_IIDR_VALUE: u32 = 0x0000_043b;

/// An MSI frame. Cloning gives another handle: one goes on the CPU's bus, one
/// is the PCI functions' [`MsiSink`].
#[derive(Clone, Debug)]
pub struct GicV2m {
    gic: Gic,
    address: u64,
    first: u32,
    count: u32,
}

impl GicV2m {
    /// A frame at guest physical `address` that owns `count` shared interrupts
    /// from SPI `first` on (INTID `32 + first`). The guest makes them
    /// edge-triggered.
    ///
    /// # Panics
    /// When the controller does not have these interrupts.
    pub fn new(gic: Gic, address: u64, first: u32, count: u32) -> Self {
        let last = first.checked_add(count);
        assert!(
            count > 0 && last.is_some_and(|end| end <= gic.spis()),
            "the GIC lacks some of the MSI frame's SPIs {first}+{count}"
        );
        Self {
            gic,
            address,
            first: first + 32,
            count,
        }
    }
    /// Where a function writes its messages.
    pub fn doorbell(&self) -> u64 {
        self.address + MSI_SETSPI_NS
    }
    fn spi(&self, intid: u32) -> Option<usize> {
        let at = intid.checked_sub(self.first)?;
        (at < self.count).then_some(intid as usize)
    }
    fn set(&self, intid: u32) {
        if let Some(id) = self.spi(intid) {
            self.gic.lock().pulse(id);
        }
    }
}

impl BusDevice for GicV2m {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            let word = match at & !3 {
                MSI_TYPER => self.first << 16 | self.count,
                MSI_IIDR => MSI_IIDR_VALUE,
                _ => 0,
            };
            *byte = (word >> (8 * (at & 3))) as u8;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        if offset == MSI_SETSPI_NS {
            // Sixteen bits are enough for any interrupt number.
            match *data {
                [a, b] => self.set(u16::from_le_bytes([a, b]).into()),
                [a, b, c, d] => self.set(u32::from_le_bytes([a, b, c, d])),
                _ => return Err(IoError::Size(offset, data.len())),
            }
        }
        Ok(Action::None)
    }
}

impl MsiSink for GicV2m {
    fn send(&self, message: MsiMessage) {
        if message.address == self.doorbell() {
            self.set(message.data);
        }
    }
    fn bind(&self, message: MsiMessage) -> Option<Interrupt> {
        let id = self.spi(message.data)?;
        if message.address != self.doorbell() {
            return None;
        }
        let gic = self.gic.clone();
        Some(Interrupt::from_fn(move || gic.lock().pulse(id)))
    }
}
