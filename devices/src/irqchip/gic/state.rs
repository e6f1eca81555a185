//! The controller proper: what is pending, enabled and active, which interrupt
//! is next, and what acknowledging and completing it does.

use super::CpuOutput;
use super::regs::{
    CTLR_ACK, CTLR_CBPR, CTLR_ENABLE, CTLR_EOI_MODE, CTLR_FIQ, GICC_CTLR_MASK, ID_OTHER_GROUP,
    ID_SPECIAL, ID_SPURIOUS, MAX_SPIS, MIN_ABPR, MIN_BPR, PRIORITY_MASK,
};
use bus::SnapshotError;
use serde::{Deserialize, Serialize};

/// Running priority when nothing is active.
const IDLE: u16 = 0x100;
const SGIS: u32 = 0x0000_ffff;

/// Thirty-two interrupts, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankState {
    /// May be forwarded.
    pub enabled: u32,
    /// Made pending by an edge, a message or a register write.
    pub latch: u32,
    /// Level of the input wire.
    pub level: u32,
    /// Acknowledged and not yet deactivated.
    pub active: u32,
    /// Edge-triggered; else level-sensitive.
    pub edge: u32,
    /// In group 1; else in group 0.
    pub group1: u32,
}

impl BankState {
    pub(super) fn pending(&self) -> u32 {
        self.latch | (self.level & !self.edge)
    }
    /// Pending, enabled and not active: what may be signalled.
    fn ready(&self) -> u32 {
        self.pending() & self.enabled & !self.active
    }
}

/// What each CPU has for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuBankState {
    /// Interrupts 0 to 31.
    pub bank: BankState,
    /// Priorities of interrupts 0 to 31.
    pub priority: [u8; 32],
    /// For each SGI, the CPUs that made it pending.
    pub sgi_sources: [u8; 16],
    /// `GICC_CTLR`.
    pub ctlr: u32,
    /// `GICC_PMR`.
    pub pmr: u8,
    /// `GICC_BPR`.
    pub bpr: u8,
    /// `GICC_ABPR`.
    pub abpr: u8,
    /// Active priorities of group 0, one bit for each of the 32 levels.
    pub apr: u32,
    /// Active priorities of group 1.
    pub nsapr: u32,
}

/// A whole controller, for snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GicState {
    /// `GICD_CTLR`.
    pub ctlr: u32,
    /// Each CPU's own part.
    pub cpus: Vec<CpuBankState>,
    /// Shared interrupts, 32 in each.
    pub shared: Vec<BankState>,
    /// Priorities of shared interrupts.
    pub priority: Vec<u8>,
    /// Target CPUs of shared interrupts.
    pub targets: Vec<u8>,
}

/// The interrupt that is next for a CPU.
#[derive(Clone, Copy)]
struct Best {
    id: usize,
    priority: u8,
    group1: bool,
}

pub(super) struct Core {
    pub(super) ctlr: u32,
    pub(super) cpus: Vec<CpuBankState>,
    pub(super) shared: Vec<BankState>,
    pub(super) priority: Vec<u8>,
    pub(super) targets: Vec<u8>,
    outputs: Vec<CpuOutput>,
}

impl CpuBankState {
    fn at_reset() -> Self {
        Self {
            // SGIs of a GIC-400 are always enabled and edge-triggered.
            bank: BankState {
                enabled: SGIS,
                edge: SGIS,
                ..BankState::default()
            },
            bpr: MIN_BPR,
            abpr: MIN_ABPR,
            ..Self::default()
        }
    }
    /// Running priority; [`IDLE`] when nothing is active.
    fn running(&self) -> u16 {
        match self.apr | self.nsapr {
            0 => IDLE,
            bits => (bits.trailing_zeros() * 8) as u16,
        }
    }
    /// `GICC_RPR`.
    pub(super) fn rpr(&self) -> u32 {
        u32::from(self.running().min(0xff))
    }
    /// The part of `priority` that decides on preemption (IHI 0048B 3.3.3).
    fn group_priority(&self, priority: u8, group1: bool) -> u8 {
        let point = if group1 && self.ctlr & CTLR_CBPR == 0 {
            self.abpr.saturating_sub(1)
        } else {
            self.bpr
        };
        // Binary point n leaves bits 7 to n + 1 for the group priority.
        priority & (0xffu32 << (point.min(7) + 1)) as u8
    }
    /// Whether `best` is to be signalled to this CPU.
    fn accepts(&self, best: Best) -> bool {
        best.priority < self.pmr
            && u16::from(self.group_priority(best.priority, best.group1)) < self.running()
    }
}

impl Core {
    pub(super) fn new(spis: u32, outputs: Vec<CpuOutput>) -> Self {
        let banks = spis.clamp(1, MAX_SPIS).div_ceil(32) as usize;
        Self {
            ctlr: 0,
            cpus: vec![CpuBankState::at_reset(); outputs.len()],
            shared: vec![BankState::default(); banks],
            priority: vec![0; banks * 32],
            targets: vec![0; banks * 32],
            outputs,
        }
    }
    /// Number of interrupts, private ones included.
    pub(super) fn interrupts(&self) -> usize {
        32 + self.shared.len() * 32
    }
    pub(super) fn reset(&mut self) {
        self.ctlr = 0;
        for cpu in &mut self.cpus {
            let level = cpu.bank.level;
            *cpu = CpuBankState::at_reset();
            cpu.bank.level = level;
        }
        for bank in &mut self.shared {
            let level = bank.level;
            *bank = BankState::default();
            bank.level = level;
        }
        self.priority.fill(0);
        self.targets.fill(0);
        self.update();
    }

    /// The bank that holds interrupts `32 * word` onwards for CPU `cpu`.
    pub(super) fn bank(&mut self, cpu: usize, word: usize) -> Option<&mut BankState> {
        match word.checked_sub(1) {
            None => self.cpus.get_mut(cpu).map(|c| &mut c.bank),
            Some(shared) => self.shared.get_mut(shared),
        }
    }
    pub(super) fn priority_of(&mut self, cpu: usize, id: usize) -> Option<&mut u8> {
        match id.checked_sub(32) {
            None => self.cpus.get_mut(cpu)?.priority.get_mut(id),
            Some(shared) => self.priority.get_mut(shared),
        }
    }

    /// An input wire changed.
    pub(super) fn set_line(&mut self, cpu: usize, id: usize, level: bool) {
        let bit = 1 << (id % 32);
        let Some(bank) = self.bank(cpu, id / 32) else {
            return;
        };
        if level {
            if bank.level & bit == 0 && bank.edge & bit != 0 {
                bank.latch |= bit;
            }
            bank.level |= bit;
        } else {
            bank.level &= !bit;
        }
        self.update();
    }
    /// A message made the shared interrupt `id` pending.
    pub(super) fn pulse(&mut self, id: usize) {
        if let Some(bank) = self.bank(0, id / 32) {
            bank.latch |= 1 << (id % 32);
            self.update();
        }
    }
    /// CPU `source` makes SGI `id` pending on the CPUs of `targets`.
    pub(super) fn send_sgi(&mut self, source: usize, id: usize, targets: u8) {
        for (n, cpu) in self.cpus.iter_mut().enumerate() {
            if targets & (1 << n) != 0 {
                if let Some(sources) = cpu.sgi_sources.get_mut(id) {
                    *sources |= 1 << source;
                }
                cpu.bank.latch |= 1 << (id & 15);
            }
        }
        self.update();
    }

    /// Tells every CPU whether it has an interrupt. Called after each change.
    pub(super) fn update(&mut self) {
        for (n, output) in self.outputs.iter().enumerate() {
            let (mut irq, mut fiq) = (false, false);
            if let (Some(cpu), Some(best)) = (self.cpus.get(n), self.best(n))
                && cpu.accepts(best)
            {
                fiq = !best.group1 && cpu.ctlr & CTLR_FIQ != 0;
                irq = !fiq;
            }
            output.irq.set_level(irq);
            output.fiq.set_level(fiq);
        }
    }
    /// The pending interrupt of the highest priority among the groups that both
    /// the distributor and the CPU interface forward; the lowest number wins a tie.
    fn best(&self, n: usize) -> Option<Best> {
        let cpu = self.cpus.get(n)?;
        let enabled = self.ctlr & cpu.ctlr & CTLR_ENABLE;
        if enabled == 0 {
            return None;
        }
        let group0 = if enabled & 1 != 0 { !0 } else { 0 };
        let group1 = if enabled & 2 != 0 { !0 } else { 0 };
        let one_cpu = self.cpus.len() == 1;
        let mut best: Option<Best> = None;
        for (word, bank) in std::iter::once(&cpu.bank).chain(&self.shared).enumerate() {
            let mut ready = bank.ready() & ((bank.group1 & group1) | (!bank.group1 & group0));
            while ready != 0 {
                let bit = ready.trailing_zeros() as usize;
                ready &= ready - 1;
                let id = word * 32 + bit;
                let priority = match id.checked_sub(32) {
                    None => cpu.priority.get(id).copied().unwrap_or(0),
                    Some(shared) => {
                        let targets = self.targets.get(shared).copied().unwrap_or(0);
                        if !one_cpu && targets & (1 << n) == 0 {
                            continue;
                        }
                        self.priority.get(shared).copied().unwrap_or(0)
                    }
                };
                if best.is_none_or(|b| priority < b.priority) {
                    best = Some(Best {
                        id,
                        priority,
                        group1: bank.group1 & (1 << bit) != 0,
                    });
                }
            }
        }
        best
    }
    /// Lowest-numbered CPU that made this SGI pending, as IAR bits 12:10.
    fn sgi_source(&self, cpu: usize, id: usize) -> u32 {
        self.cpus
            .get(cpu)
            .and_then(|c| c.sgi_sources.get(id))
            .filter(|sources| **sources != 0)
            .map_or(0, |sources| sources.trailing_zeros() << 10)
    }
    /// The answer when a read through the group 0 registers (`alias` false) or
    /// the aliased ones finds `best`; `Ok` when it may be taken.
    fn visible(&self, n: usize, best: Best, alias: bool) -> Result<(), u32> {
        let ack = self.cpus.get(n).is_some_and(|c| c.ctlr & CTLR_ACK != 0);
        match (best.group1, alias) {
            (true, false) if !ack => Err(ID_OTHER_GROUP),
            (false, true) => Err(ID_SPURIOUS),
            _ => Ok(()),
        }
    }
    /// `GICC_HPPIR`, `GICC_AHPPIR`.
    pub(super) fn highest_pending(&self, n: usize, alias: bool) -> u32 {
        let Some(best) = self.best(n) else {
            return ID_SPURIOUS;
        };
        match self.visible(n, best, alias) {
            Ok(()) => best.id as u32 | self.sgi_source(n, best.id),
            Err(id) => id,
        }
    }
    /// `GICC_IAR`, `GICC_AIAR`: takes the interrupt that is signalled.
    pub(super) fn acknowledge(&mut self, n: usize, alias: bool) -> u32 {
        let Some(best) = self.best(n) else {
            return ID_SPURIOUS;
        };
        if !self.cpus.get(n).is_some_and(|cpu| cpu.accepts(best)) {
            return ID_SPURIOUS;
        }
        if let Err(id) = self.visible(n, best, alias) {
            return id;
        }
        let source = self.sgi_source(n, best.id);
        let bit = 1 << (best.id % 32);
        let mut more = false;
        if let Some(cpu) = self.cpus.get_mut(n) {
            if let Some(sources) = cpu.sgi_sources.get_mut(best.id) {
                *sources &= !(1 << (source >> 10));
                more = *sources != 0;
            }
            let level = 1 << (cpu.group_priority(best.priority, best.group1) >> 3);
            if best.group1 {
                cpu.nsapr |= level;
            } else {
                cpu.apr |= level;
            }
        }
        if let Some(bank) = self.bank(n, best.id / 32) {
            bank.active |= bit;
            if !more {
                bank.latch &= !bit;
            }
        }
        self.update();
        best.id as u32 | source
    }
    /// `GICC_EOIR`, `GICC_AEOIR`: priority drop, and in `EOImode` 0 deactivation.
    pub(super) fn end(&mut self, n: usize, value: u32) {
        let id = value & 0x3ff;
        let Some(cpu) = self.cpus.get_mut(n) else {
            return;
        };
        if id >= ID_SPECIAL || cpu.running() == IDLE {
            return;
        }
        // The highest active priority is the one that was acknowledged last.
        let bits = cpu.apr | cpu.nsapr;
        let highest = bits & bits.wrapping_neg();
        if cpu.apr & highest != 0 {
            cpu.apr &= !highest;
        } else {
            cpu.nsapr &= !highest;
        }
        if cpu.ctlr & CTLR_EOI_MODE == 0 {
            self.clear_active(n, id as usize);
        }
        self.update();
    }
    /// `GICC_DIR`; has no meaning in `EOImode` 0.
    pub(super) fn deactivate(&mut self, n: usize, value: u32) {
        let id = value & 0x3ff;
        let split = self
            .cpus
            .get(n)
            .is_some_and(|c| c.ctlr & CTLR_EOI_MODE != 0);
        if split && id < ID_SPECIAL {
            self.clear_active(n, id as usize);
            self.update();
        }
    }
    fn clear_active(&mut self, n: usize, id: usize) {
        if let Some(bank) = self.bank(n, id / 32) {
            bank.active &= !(1 << (id % 32));
        }
    }

    pub(super) fn save(&self) -> GicState {
        GicState {
            ctlr: self.ctlr,
            cpus: self.cpus.clone(),
            shared: self.shared.clone(),
            priority: self.priority.clone(),
            targets: self.targets.clone(),
        }
    }
    pub(super) fn restore(&mut self, state: GicState) -> Result<(), SnapshotError> {
        let lengths = (
            state.cpus.len(),
            state.shared.len(),
            state.priority.len(),
            state.targets.len(),
        );
        let mine = (
            self.cpus.len(),
            self.shared.len(),
            self.priority.len(),
            self.targets.len(),
        );
        if lengths != mine {
            return Err(SnapshotError {
                what: "GIC",
                why: format!("it has (CPUs, banks, priorities, targets) {lengths:?}, not {mine:?}"),
            });
        }
        self.ctlr = state.ctlr & CTLR_ENABLE;
        self.cpus = state.cpus;
        self.shared = state.shared;
        self.priority = state.priority;
        self.targets = state.targets;
        for cpu in &mut self.cpus {
            cpu.bank.enabled |= SGIS;
            cpu.bank.edge = SGIS;
            cpu.ctlr &= GICC_CTLR_MASK;
            cpu.pmr &= PRIORITY_MASK;
            cpu.bpr = cpu.bpr.clamp(MIN_BPR, 7);
            cpu.abpr = cpu.abpr.clamp(MIN_ABPR, 7);
            cpu.priority.iter_mut().for_each(|p| *p &= PRIORITY_MASK);
        }
        self.priority.iter_mut().for_each(|p| *p &= PRIORITY_MASK);
        self.update();
        Ok(())
    }
}
