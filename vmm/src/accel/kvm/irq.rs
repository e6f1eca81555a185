//! Interrupts into a VM: pins of the in-kernel I/O APIC and messages to the
//! local APICs.

use super::{KvmError, KvmVm};
use bus::{Interrupt, IrqLine, MsiMessage, MsiSink};
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_irq_routing_irqchip, kvm_irq_routing_msi, kvm_msi,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Inputs of the in-kernel I/O APIC; GSIs behind them are messages.
const PINS: u32 = 24;
/// Messages that can have an eventfd; unused ones are given back before more are
/// refused. KVM takes 4096 routes in all.
const ROUTES: u32 = 1024;

/// A message that has an eventfd.
struct Route {
    gsi: u32,
    event: Arc<EventFd>,
}

#[derive(Default)]
struct State {
    /// Devices that hold each pin up.
    pins: [u32; PINS as usize],
    routes: BTreeMap<(u64, u32), Route>,
}

/// The interrupt inputs of a VM that has in-kernel interrupt controllers.
pub struct KvmIrqs {
    vm: Arc<KvmVm>,
    /// Most messages with an eventfd.
    routes: u32,
    state: Mutex<State>,
}

impl KvmIrqs {
    /// Inputs of `vm`, with the I/O APIC's pins as GSIs 0 to 23.
    pub fn new(vm: Arc<KvmVm>) -> Result<Arc<Self>, KvmError> {
        Self::with_routes(vm, ROUTES)
    }
    pub(super) fn with_routes(vm: Arc<KvmVm>, routes: u32) -> Result<Arc<Self>, KvmError> {
        let irqs = Self {
            vm,
            routes,
            state: Mutex::default(),
        };
        irqs.set_routes(&irqs.lock())?;
        Ok(Arc::new(irqs))
    }
    /// A driver of pin `n` of the I/O APIC; drivers of one pin are wired-or.
    pub fn pin(self: &Arc<Self>, n: u32) -> IrqLine {
        let this = self.clone();
        IrqLine::from_fn(move |level| this.drive(n, level))
    }
    fn drive(&self, n: u32, level: bool) {
        let mut state = self.lock();
        let Some(holders) = state.pins.get_mut(n as usize) else {
            return;
        };
        *holders = if level {
            *holders + 1
        } else {
            holders.saturating_sub(1)
        };
        // The wire changes with its first and its last holder.
        if *holders == u32::from(level)
            && let Err(error) = self.vm.fd.set_irq_line(n, level)
        {
            tracing::warn!(pin = n, %error, "KVM does not take an interrupt");
        }
    }
    /// Gives `message` an eventfd that KVM watches.
    fn route(&self, message: MsiMessage) -> Result<Arc<EventFd>, KvmError> {
        let mut state = self.lock();
        let key = (message.address, message.data);
        if let Some(route) = state.routes.get(&key) {
            return Ok(route.event.clone());
        }
        if state.routes.len() as u32 >= self.routes {
            self.give_back(&mut state);
        }
        let used = |gsi: &u32| state.routes.values().any(|route| route.gsi == *gsi);
        let gsi = (PINS..PINS + self.routes)
            .find(|gsi| !used(gsi))
            .ok_or(KvmError::Capability("interrupt routes left"))?;
        let event = EventFd::new(EFD_NONBLOCK).map_err(|error| KvmError::Call {
            what: "make an eventfd",
            why: kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(0)),
        })?;
        let event = Arc::new(event);
        state.routes.insert(
            key,
            Route {
                gsi,
                event: event.clone(),
            },
        );
        let result = self.set_routes(&state).and_then(|()| {
            self.vm
                .fd
                .register_irqfd(&event, gsi)
                .map_err(KvmError::call("register an irqfd"))
        });
        if let Err(error) = result {
            state.routes.remove(&key);
            return Err(error);
        }
        Ok(event)
    }
    /// Drops routes whose interrupts nobody holds any more: guests change
    /// their messages whenever they move an interrupt to another CPU.
    fn give_back(&self, state: &mut State) {
        state.routes.retain(|_, route| {
            let used = Arc::strong_count(&route.event) > 1;
            if !used && let Err(error) = self.vm.fd.unregister_irqfd(&route.event, route.gsi) {
                tracing::warn!(gsi = route.gsi, %error, "KVM does not release an irqfd");
            }
            used
        });
    }
    fn set_routes(&self, state: &State) -> Result<(), KvmError> {
        let mut entries = Vec::new();
        for pin in 0..PINS {
            let mut entry = kvm_irq_routing_entry {
                gsi: pin,
                type_: KVM_IRQ_ROUTING_IRQCHIP,
                ..Default::default()
            };
            entry.u.irqchip = kvm_irq_routing_irqchip {
                irqchip: KVM_IRQCHIP_IOAPIC,
                pin,
            };
            entries.push(entry);
        }
        for ((address, data), route) in &state.routes {
            let mut entry = kvm_irq_routing_entry {
                gsi: route.gsi,
                type_: KVM_IRQ_ROUTING_MSI,
                ..Default::default()
            };
            entry.u.msi = kvm_irq_routing_msi {
                address_lo: *address as u32,
                address_hi: (*address >> 32) as u32,
                data: *data,
                ..Default::default()
            };
            entries.push(entry);
        }
        let table = KvmIrqRouting::from_entries(&entries)
            .map_err(|_| KvmError::Capability("interrupt routes left"))?;
        self.vm
            .fd
            .set_gsi_routing(&table)
            .map_err(KvmError::call("set the interrupt routes"))
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a local APIC decodes the address (Intel SDM volume 3, 11.11.1).
fn is_msi(address: u64) -> bool {
    address >> 20 == 0xfee
}

impl MsiSink for KvmIrqs {
    fn send(&self, message: MsiMessage) {
        if !is_msi(message.address) {
            return;
        }
        let msi = kvm_msi {
            address_lo: message.address as u32,
            data: message.data,
            ..Default::default()
        };
        // The guest may name an APIC that is not there: then nothing happens.
        let _ = self.vm.fd.signal_msi(msi);
    }
    fn bind(&self, message: MsiMessage) -> Option<Interrupt> {
        if !is_msi(message.address) {
            return None;
        }
        match self.route(message) {
            Ok(event) => Some(Interrupt::from_eventfd(event)),
            Err(error) => {
                tracing::debug!(%error, "an interrupt goes without an irqfd");
                None
            }
        }
    }
}

impl fmt::Debug for KvmIrqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmIrqs")
            .field("routes", &self.lock().routes.len())
            .finish_non_exhaustive()
    }
}
