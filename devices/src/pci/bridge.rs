//! The host bridge, function 00.0: a name for `lspci`, and what the guest's
//! probe of the x86 configuration ports looks for.

use super::{FunctionState, Identity, PciFunction};
use bus::{Action, DmaTarget, IoError, IrqLine};

#[derive(Debug)]
struct HostBridge(FunctionState);

/// A host bridge with no registers of its own (the generic PCIe host of
/// vendor 1b36).
pub fn host_bridge(dma: DmaTarget) -> Box<dyn PciFunction> {
    let identity = Identity {
        vendor: 0x1b36,
        device: 0x0008,
        class: 0x06_00_00,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
        ..Identity::default()
    };
    Box::new(HostBridge(FunctionState::new(
        identity,
        dma,
        IrqLine::null(),
    )))
}

impl PciFunction for HostBridge {
    fn state(&mut self) -> &mut FunctionState {
        &mut self.0
    }
    fn bar_read(&mut self, _: u8, offset: u64, _: &mut [u8]) -> Result<(), IoError> {
        Err(IoError::Unmapped(offset))
    }
    fn bar_write(&mut self, _: u8, offset: u64, _: &[u8]) -> Result<Action, IoError> {
        Err(IoError::Unmapped(offset))
    }
    fn reset(&mut self) {}
}
