//! The XDMA endpoint: the card's DMA engine as a PCI function, for Xilinx's
//! driver and the programs on its device nodes.
//!
//! BAR 0 is the card's user logic with the hard queues, BAR 1 the register file
//! of [`Xdma`] with the MSI-X table.

#[cfg(test)]
mod tests;

use crate::pci::{BarKind, FunctionState, Identity, PciError, PciFunction};
use bus::{Action, BusDevice, DmaTarget, IoError, IrqLine, Next, SimTime, Wake};
use fpga_sim::card::{SimCard, USER_IRQS};
use fpga_sim::user_bar::{USER_BAR, UserBar};
use fpga_sim::xdma::{CONFIG_BAR, MSIX_PBA, MSIX_TABLE, MSIX_VECTORS, Xdma};
use std::fmt;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// BAR of the user logic. The driver takes the first BAR with XDMA identifiers
/// for the configuration, and the one before it for this.
const USER: u8 = 0;
const CONFIG: u8 = 1;

/// A device ID that the driver binds to, and its load script looks for.
const VENDOR: u16 = 0x10ee;
const DEVICE: u16 = 0x903f;
/// "Memory controller, other". Not the IP's old default, a serial port, which
/// other drivers try first.
const CLASS: u32 = 0x05_80_00;

/// The levels of the user interrupts, driven by the card's logic on any thread.
#[derive(Debug)]
struct UserIrqs {
    levels: AtomicU16,
    wake: Mutex<Wake>,
}

impl UserIrqs {
    fn set(&self, n: usize, level: bool) {
        let bit = 1 << n;
        if level {
            self.levels.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.levels.fetch_and(!bit, Ordering::AcqRel);
        }
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake.wake();
    }
    fn levels(&self) -> u16 {
        self.levels.load(Ordering::Acquire)
    }
}

/// The XDMA function of a simulated card.
pub struct XdmaPci {
    state: FunctionState,
    card: Arc<SimCard>,
    xdma: Xdma,
    user: UserBar,
    irqs: Arc<UserIrqs>,
}

impl XdmaPci {
    /// The function of `card`. `line` is its INTA line.
    pub fn new(card: Arc<SimCard>, dma: DmaTarget, line: IrqLine) -> Result<Self, PciError> {
        let identity = Identity {
            vendor: VENDOR,
            device: DEVICE,
            revision: 0,
            class: CLASS,
            subsystem_vendor: VENDOR,
            subsystem: 0x0007,
        };
        let mut state = FunctionState::new(identity, dma, line);
        state.add_intx();
        state.add_bar(USER, BarKind::Memory32, USER_BAR)?;
        state.add_bar(CONFIG, BarKind::Memory32, CONFIG_BAR)?;
        state.add_msix_at(CONFIG, MSIX_TABLE, MSIX_PBA, MSIX_VECTORS)?;
        state.add_msi(0)?;
        state.add_express()?;
        let irqs = Arc::new(UserIrqs {
            levels: AtomicU16::new(0),
            wake: Mutex::new(Wake::null()),
        });
        for n in 0..USER_IRQS {
            let irqs = irqs.clone();
            card.connect_user_irq(n, IrqLine::from_fn(move |level| irqs.set(n, level)));
        }
        Ok(Self {
            state,
            xdma: Xdma::new(card.spec().dma.channels),
            user: card.user_bar(),
            card,
            irqs,
        })
    }

    /// Sends what the requests ask for, by the best of MSI-X, MSI and INTx that
    /// is on. The driver leaves INTx enabled in the command register, so the
    /// function itself keeps the pin quiet while it sends messages.
    fn interrupt(&mut self) {
        let msix = self.state.msix.as_deref().filter(|msix| msix.enabled());
        let msi = self.state.msi.as_deref().filter(|msi| msi.enabled());
        let level = self.xdma.interrupts(|vector| match (msix, msi) {
            (Some(msix), _) => msix.trigger(vector.into()),
            (None, Some(msi)) => msi.trigger(vector),
            (None, None) => {}
        });
        let pin = level && msix.is_none() && msi.is_none();
        self.state.intx.set(pin);
    }
}

impl PciFunction for XdmaPci {
    fn state(&mut self) -> &mut FunctionState {
        &mut self.state
    }
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        match bar {
            USER => return self.user.read(offset, data),
            CONFIG => {
                self.xdma.load(offset, data);
                // Status that is cleared by reading may end a request.
                self.interrupt();
            }
            _ => data.fill(0),
        }
        Ok(())
    }
    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        match bar {
            USER => self.user.write(offset, data),
            CONFIG => {
                let work = self.xdma.store(offset, data);
                self.interrupt();
                Ok(if work { Action::Service } else { Action::None })
            }
            _ => Ok(Action::None),
        }
    }
    fn reset(&mut self) {
        self.xdma.reset(self.irqs.levels());
        // Requests are down now; nothing is sent for those that were up.
        self.interrupt();
    }
    fn service(&mut self, now: SimTime) -> Next {
        self.xdma.set_user(self.irqs.levels());
        let next = self.xdma.service(now, &self.state.dma, &self.card);
        self.interrupt();
        next
    }
    fn set_wake(&mut self, wake: Wake) {
        let slot = self.irqs.wake.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = wake;
    }
    fn counters(&self) -> Vec<(String, u64)> {
        self.xdma.counters().named()
    }
    fn config_written(&mut self, _offset: usize, _len: usize) -> Action {
        // Interrupts may have been switched from one kind to another.
        self.interrupt();
        Action::None
    }
}

impl fmt::Debug for XdmaPci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdmaPci")
            .field("state", &self.state)
            .field("xdma", &self.xdma)
            .finish_non_exhaustive()
    }
}
