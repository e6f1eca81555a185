//! CPU interface registers (ARM IHI 0048B 4.4).

use super::Gic;
use super::regs::*;
use super::state::Core;
use bus::{Action, BusDevice, IoError};

/// The CPU interface of one CPU.
#[derive(Clone, Debug)]
pub struct GicCpuInterface {
    pub(super) gic: Gic,
    pub(super) cpu: usize,
}

impl BusDevice for GicCpuInterface {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        // Reading IAR takes an interrupt, so only whole registers are read.
        if !offset.is_multiple_of(4) || data.len() != 4 {
            return Err(IoError::Size(offset, data.len()));
        }
        let value = read(&mut self.gic.lock(), self.cpu, offset);
        data.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        match <[u8; 4]>::try_from(data) {
            Ok(bytes) if offset.is_multiple_of(4) => {
                write(
                    &mut self.gic.lock(),
                    self.cpu,
                    offset,
                    u32::from_le_bytes(bytes),
                );
                Ok(Action::None)
            }
            _ => Err(IoError::Size(offset, data.len())),
        }
    }
}

fn read(core: &mut Core, n: usize, offset: u64) -> u32 {
    match offset {
        GICC_IAR => return core.acknowledge(n, false),
        GICC_AIAR => return core.acknowledge(n, true),
        GICC_HPPIR => return core.highest_pending(n, false),
        GICC_AHPPIR => return core.highest_pending(n, true),
        _ => {}
    }
    let Some(cpu) = core.cpus.get(n) else {
        return 0;
    };
    match offset {
        GICC_CTLR => cpu.ctlr,
        GICC_PMR => cpu.pmr.into(),
        GICC_BPR => cpu.bpr.into(),
        GICC_RPR => cpu.rpr(),
        GICC_ABPR => cpu.abpr.into(),
        GICC_APR0 => cpu.apr,
        GICC_NSAPR0 => cpu.nsapr,
        GICC_IIDR => GICC_IIDR_VALUE,
        _ => 0,
    }
}

fn write(core: &mut Core, n: usize, offset: u64, value: u32) {
    match offset {
        GICC_EOIR | GICC_AEOIR => return core.end(n, value),
        GICC_DIR => return core.deactivate(n, value),
        _ => {}
    }
    let Some(cpu) = core.cpus.get_mut(n) else {
        return;
    };
    let point = (value & 7) as u8;
    match offset {
        GICC_CTLR => cpu.ctlr = value & GICC_CTLR_MASK,
        GICC_PMR => cpu.pmr = value as u8 & PRIORITY_MASK,
        GICC_BPR => cpu.bpr = point.max(MIN_BPR),
        GICC_ABPR => cpu.abpr = point.max(MIN_ABPR),
        GICC_APR0 => cpu.apr = value,
        GICC_NSAPR0 => cpu.nsapr = value,
        _ => return,
    }
    core.update();
}
