//! Distributor registers (ARM IHI 0048B 4.3).

use super::Gic;
use super::regs::*;
use super::state::{BankState, Core};
use bus::{Action, BusDevice, IoError};

/// The distributor as one CPU sees it.
#[derive(Clone, Debug)]
pub struct GicDistributor {
    pub(super) gic: Gic,
    pub(super) cpu: usize,
}

impl BusDevice for GicDistributor {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        let mut core = self.gic.lock();
        // No read has a side effect, so every width is served byte by byte.
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            let word = read_word(&mut core, self.cpu, at & !3);
            *byte = (word >> (8 * (at & 3))) as u8;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        let mut core = self.gic.lock();
        if is_byte_register(offset) {
            for (at, byte) in (offset..).zip(data) {
                write_byte(&mut core, self.cpu, at, *byte);
            }
        } else if offset.is_multiple_of(4) && (data.len() == 4 || data.len() == 8) {
            for (at, chunk) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
                let value = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
                write_word(&mut core, self.cpu, at, value);
            }
        } else {
            return Err(IoError::Size(offset, data.len()));
        }
        core.update();
        Ok(Action::None)
    }
}

fn is_byte_register(offset: u64) -> bool {
    (GICD_IPRIORITYR..GICD_ICFGR).contains(&offset) || (GICD_CPENDSGIR..0xf30).contains(&offset)
}

/// The word index in the register group at `base`.
fn index(offset: u64, base: u64) -> usize {
    ((offset - base) / 4) as usize
}

fn read_word(core: &mut Core, cpu: usize, offset: u64) -> u32 {
    let mut bits = |base, get: fn(&BankState) -> u32| {
        core.bank(cpu, index(offset, base)).map_or(0, |b| get(b))
    };
    match offset {
        GICD_CTLR => core.ctlr,
        GICD_TYPER => (core.shared.len() as u32) | ((core.cpus.len() as u32 - 1) << 5),
        GICD_IIDR => GICD_IIDR_VALUE,
        GICD_IGROUPR..GICD_ISENABLER => bits(GICD_IGROUPR, |b| b.group1),
        GICD_ISENABLER..GICD_ICENABLER => bits(GICD_ISENABLER, |b| b.enabled),
        GICD_ICENABLER..GICD_ISPENDR => bits(GICD_ICENABLER, |b| b.enabled),
        GICD_ISPENDR..GICD_ICPENDR => bits(GICD_ISPENDR, BankState::pending),
        GICD_ICPENDR..GICD_ISACTIVER => bits(GICD_ICPENDR, BankState::pending),
        GICD_ISACTIVER..GICD_ICACTIVER => bits(GICD_ISACTIVER, |b| b.active),
        GICD_ICACTIVER..GICD_IPRIORITYR => bits(GICD_ICACTIVER, |b| b.active),
        GICD_IPRIORITYR..GICD_ITARGETSR => {
            let first = (offset - GICD_IPRIORITYR) as usize;
            bytes(|i| core.priority_of(cpu, first + i).map_or(0, |p| *p))
        }
        GICD_ITARGETSR..GICD_ICFGR => {
            let first = (offset - GICD_ITARGETSR) as usize;
            bytes(|i| targets(core, cpu, first + i))
        }
        GICD_ICFGR..GICD_PPISR => {
            // Two bits each, of which the upper one says edge-triggered.
            let at = index(offset, GICD_ICFGR);
            let edge = core.bank(cpu, at / 2).map_or(0, |b| b.edge) >> (16 * (at % 2));
            (0..16).fold(0, |word, i| word | ((edge >> i) & 1) << (2 * i + 1))
        }
        GICD_PPISR => core.bank(cpu, 0).map_or(0, |b| b.level >> 16),
        GICD_SPISR..0xd44 => core
            .bank(cpu, index(offset, GICD_SPISR) + 1)
            .map_or(0, |b| b.level),
        GICD_CPENDSGIR..0xf30 => {
            let first = (offset & 0xf) as usize;
            let sources = core.cpus.get(cpu).map(|c| c.sgi_sources);
            bytes(|i| sources.and_then(|s| s.get(first + i).copied()).unwrap_or(0))
        }
        GICD_ID.. => GICD_ID_VALUES
            .get(index(offset, GICD_ID))
            .copied()
            .unwrap_or(0),
        _ => 0,
    }
}

fn bytes(mut get: impl FnMut(usize) -> u8) -> u32 {
    u32::from_le_bytes([get(0), get(1), get(2), get(3)])
}

/// `GICD_ITARGETSRn` byte; reads as zero with a single CPU (4.3.12).
fn targets(core: &Core, cpu: usize, id: usize) -> u8 {
    if core.cpus.len() == 1 {
        return 0;
    }
    match id.checked_sub(32) {
        None => 1 << cpu,
        Some(shared) => core.targets.get(shared).copied().unwrap_or(0),
    }
}

fn write_word(core: &mut Core, cpu: usize, offset: u64, value: u32) {
    let mut change = |base, set: fn(&mut BankState, u32)| {
        let word = index(offset, base);
        // SGIs are always enabled, and their pending state has its own registers.
        let fixed = base != GICD_IGROUPR && base < GICD_ISACTIVER && word == 0;
        let value = if fixed { value & 0xffff_0000 } else { value };
        if let Some(bank) = core.bank(cpu, word) {
            set(bank, value);
        }
    };
    match offset {
        GICD_CTLR => core.ctlr = value & CTLR_ENABLE,
        GICD_IGROUPR..GICD_ISENABLER => change(GICD_IGROUPR, |b, v| b.group1 = v),
        GICD_ISENABLER..GICD_ICENABLER => change(GICD_ISENABLER, |b, v| b.enabled |= v),
        GICD_ICENABLER..GICD_ISPENDR => change(GICD_ICENABLER, |b, v| b.enabled &= !v),
        GICD_ISPENDR..GICD_ICPENDR => change(GICD_ISPENDR, |b, v| b.latch |= v),
        GICD_ICPENDR..GICD_ISACTIVER => change(GICD_ICPENDR, |b, v| b.latch &= !v),
        GICD_ISACTIVER..GICD_ICACTIVER => change(GICD_ISACTIVER, |b, v| b.active |= v),
        GICD_ICACTIVER..GICD_IPRIORITYR => change(GICD_ICACTIVER, |b, v| b.active &= !v),
        GICD_ICFGR..GICD_PPISR => {
            let at = index(offset, GICD_ICFGR);
            let shift = 16 * (at % 2);
            let edge = (0..16).fold(0, |bits, i| bits | ((value >> (2 * i + 1)) & 1) << i);
            // SGIs and PPIs have a fixed configuration.
            if at >= 2
                && let Some(bank) = core.bank(cpu, at / 2)
            {
                bank.edge = bank.edge & !(0xffff << shift) | edge << shift;
            }
        }
        GICD_SGIR => {
            let everyone = ((1u32 << core.cpus.len()) - 1) as u8;
            let targets = match (value >> 24) & 3 {
                0 => (value >> 16) as u8,
                1 => everyone & !(1 << cpu),
                2 => 1 << cpu,
                _ => 0,
            };
            core.send_sgi(cpu, (value & 0xf) as usize, targets & everyone);
        }
        _ => {}
    }
}

fn write_byte(core: &mut Core, cpu: usize, offset: u64, value: u8) {
    let single = core.cpus.len() == 1;
    match offset {
        GICD_IPRIORITYR..GICD_ITARGETSR => {
            if let Some(p) = core.priority_of(cpu, (offset - GICD_IPRIORITYR) as usize) {
                *p = value & PRIORITY_MASK;
            }
        }
        GICD_ITARGETSR..GICD_ICFGR => {
            let everyone = ((1u32 << core.cpus.len()) - 1) as u8;
            let shared = ((offset - GICD_ITARGETSR) as usize).checked_sub(32);
            if let Some(targets) = shared.and_then(|i| core.targets.get_mut(i))
                && !single
            {
                *targets = value & everyone;
            }
        }
        GICD_CPENDSGIR..0xf30 => {
            let everyone = ((1u32 << core.cpus.len()) - 1) as u8;
            let id = (offset & 0xf) as usize;
            if let Some(c) = core.cpus.get_mut(cpu)
                && let Some(sources) = c.sgi_sources.get_mut(id)
            {
                if offset < GICD_SPENDSGIR {
                    *sources &= !value;
                } else {
                    *sources |= value & everyone;
                }
                let bit = 1 << id;
                c.bank.latch = c.bank.latch & !bit | if *sources != 0 { bit } else { 0 };
            }
        }
        _ => {}
    }
}
