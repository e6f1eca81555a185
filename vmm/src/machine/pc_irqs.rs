//! Interrupt inputs of a PC: emulated controllers, or those of the kernel.

use super::pc::PcError;
use crate::accel::kvm::{KvmIrqs, KvmVm};
use bus::{GuestRam, IrqLine, MsiMessage, MsiSink};
use cpu::Signal;
use cpu::x86_64::LapicInbox;
use devices::irqchip::ioapic::IoApic;
use std::sync::Arc;

/// Where interrupts go.
pub(super) enum PcIrqs {
    /// To the emulated CPU's local APIC.
    Emulated {
        inbox: Arc<LapicInbox>,
        ioapic: IoApic,
    },
    /// Into a VM, which has local APICs and an I/O APIC of its own.
    Kvm { vm: Arc<KvmVm>, irqs: Arc<KvmIrqs> },
}

impl PcIrqs {
    /// Controllers of an emulated PC.
    pub fn emulated(signal: Arc<Signal>) -> Self {
        let inbox = Arc::new(LapicInbox::new(signal));
        let ioapic = IoApic::new(Arc::new(ToLapic(inbox.clone())));
        Self::Emulated { inbox, ioapic }
    }
    /// A VM with memory and interrupt controllers.
    pub fn kvm(ram: Arc<GuestRam>) -> Result<Self, PcError> {
        let vm = KvmVm::new(ram, true)?;
        let irqs = KvmIrqs::new(vm.clone())?;
        Ok(Self::Kvm { vm, irqs })
    }
    /// Pin `n` of the I/O APIC, below 24.
    pub fn pin(&self, n: u32) -> IrqLine {
        match self {
            Self::Emulated { ioapic, .. } => ioapic.pin(n as usize),
            Self::Kvm { irqs, .. } => irqs.pin(n),
        }
    }
    /// Where message-signalled interrupts go.
    pub fn msi(&self) -> Arc<dyn MsiSink> {
        match self {
            Self::Emulated { inbox, .. } => Arc::new(ToLapic(inbox.clone())),
            Self::Kvm { irqs, .. } => irqs.clone(),
        }
    }
}

/// MSIs of an emulated PC go to its local APIC.
struct ToLapic(Arc<LapicInbox>);

impl MsiSink for ToLapic {
    fn send(&self, message: MsiMessage) {
        self.0.deliver_msi(message.address, message.data);
    }
}
