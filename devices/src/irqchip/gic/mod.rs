//! GIC-400: an ARM Generic Interrupt Controller, architecture version 2
//! (ARM IHI 0048B), without the Security and Virtualization Extensions.
//!
//! [`Gic`] is a handle that devices, CPUs and the bus share. Inputs are
//! [`IrqLine`]s and [`Interrupt`]s which any thread may drive; outputs are one
//! [`CpuOutput`] per CPU, told on every change while the controller is locked,
//! so a callback must not call back into it. Registers are banked by CPU, so
//! each CPU maps its own [`GicDistributor`] and [`GicCpuInterface`].

mod cpu_interface;
mod distributor;
mod regs;
mod state;
#[cfg(test)]
mod tests;
mod v2m;

pub use cpu_interface::GicCpuInterface;
pub use distributor::GicDistributor;
pub use regs::{GICC_SIZE, GICD_SIZE, GICV2M_SIZE};
pub use state::{BankState, CpuBankState, GicState};
pub use v2m::GicV2m;

use bus::{Interrupt, IrqLine, Snapshot, SnapshotError};
use state::Core;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The two request inputs of one CPU.
#[derive(Clone, Debug)]
pub struct CpuOutput {
    /// nIRQ: group 1 interrupts, and group 0 while `GICC_CTLR.FIQEn` is 0.
    pub irq: IrqLine,
    /// nFIQ: group 0 interrupts while `GICC_CTLR.FIQEn` is 1.
    pub fiq: IrqLine,
}

impl CpuOutput {
    /// Only IRQ is connected.
    pub fn irq(irq: IrqLine) -> Self {
        Self {
            irq,
            fiq: IrqLine::null(),
        }
    }
}

/// A GIC-400. Cloning gives another handle of the same controller.
#[derive(Clone)]
pub struct Gic {
    core: Arc<Mutex<Core>>,
}

impl Gic {
    /// A controller in its reset state with `spis` shared interrupts (rounded
    /// up to a multiple of 32, at most 480) and one CPU for each output.
    ///
    /// # Panics
    /// When there is no output or more than eight: a GICv2 has 1 to 8 CPUs.
    pub fn new(spis: u32, outputs: Vec<CpuOutput>) -> Self {
        assert!(
            (1..=regs::MAX_CPUS).contains(&outputs.len()),
            "a GICv2 has 1 to 8 CPUs"
        );
        Self {
            core: Arc::new(Mutex::new(Core::new(spis, outputs))),
        }
    }
    /// Distributor registers as CPU `cpu` sees them; [`GICD_SIZE`] bytes.
    pub fn distributor(&self, cpu: usize) -> GicDistributor {
        self.check_cpu(cpu);
        GicDistributor {
            gic: self.clone(),
            cpu,
        }
    }
    /// CPU interface registers of CPU `cpu`; [`GICC_SIZE`] bytes.
    pub fn cpu_interface(&self, cpu: usize) -> GicCpuInterface {
        self.check_cpu(cpu);
        GicCpuInterface {
            gic: self.clone(),
            cpu,
        }
    }
    /// The input of shared interrupt `n` (a device tree's `GIC_SPI n`, INTID
    /// `32 + n`) as a line. With edge configuration its rising edge counts. Each call makes
    /// a new driver of the wire, so make one and clone it; devices that share
    /// an input must combine their levels before it.
    ///
    /// # Panics
    /// When the controller has no such interrupt.
    pub fn spi(&self, n: u32) -> IrqLine {
        let id = self.check_spi(n);
        let gic = self.clone();
        IrqLine::from_fn(move |level| gic.lock().set_line(0, id, level))
    }
    /// The input of shared interrupt `n` (INTID `32 + n`) as a message: each
    /// delivery makes the interrupt pending once.
    ///
    /// # Panics
    /// When the controller has no such interrupt.
    pub fn spi_edge(&self, n: u32) -> Interrupt {
        let id = self.check_spi(n);
        let gic = self.clone();
        Interrupt::from_fn(move || gic.lock().pulse(id))
    }
    /// The input of private interrupt `intid` (16 to 31) of CPU `cpu`. Private
    /// interrupts are level-sensitive.
    ///
    /// # Panics
    /// When `intid` is no private peripheral interrupt or there is no such CPU.
    pub fn ppi(&self, cpu: usize, intid: u32) -> IrqLine {
        self.check_cpu(cpu);
        assert!((16..32).contains(&intid), "PPIs have INTIDs 16 to 31");
        let gic = self.clone();
        IrqLine::from_fn(move |level| gic.lock().set_line(cpu, intid as usize, level))
    }
    /// Number of shared interrupts.
    pub fn spis(&self) -> u32 {
        (self.lock().interrupts() - 32) as u32
    }
    /// Back to the state after power-on. Input levels stay, as the wires do.
    pub fn reset(&self) {
        self.lock().reset();
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn check_cpu(&self, cpu: usize) {
        assert!(cpu < self.lock().cpus.len(), "no CPU {cpu} at this GIC");
    }
    fn check_spi(&self, n: u32) -> usize {
        let id = n as usize + 32;
        assert!(id < self.lock().interrupts(), "no SPI {n} at this GIC");
        id
    }
}

impl Snapshot for Gic {
    type State = GicState;
    fn save(&self) -> GicState {
        self.lock().save()
    }
    fn restore(&mut self, state: GicState) -> Result<(), SnapshotError> {
        self.lock().restore(state)
    }
}

impl fmt::Debug for Gic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.lock();
        f.debug_struct("Gic")
            .field("cpus", &core.cpus.len())
            .field("interrupts", &core.interrupts())
            .finish()
    }
}
