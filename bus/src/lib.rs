//! What a device may see of a machine.
//!
//! Devices never see a CPU, a thread or a clock. They see guest memory
//! ([`GuestRam`], [`DmaTarget`]), a register window ([`BusDevice`]), interrupt
//! outputs ([`Interrupt`], [`IrqLine`]), virtual time ([`SimTime`]) and the
//! event order ([`EventHeap`]). Everything else belongs to the machine.

mod address_space;
mod device;
mod dma;
mod event;
pub mod fuzz;
mod interrupt;
mod memory;
mod snapshot;
mod time;
mod view;
mod watch;

pub use address_space::{AddressSpace, BusError, DeviceHandle};
pub use device::{Action, BusDevice, IoError, Next, Service};
pub use dma::{Bdf, DmaTarget, MsiMessage, MsiSink, NoMsi, Segment};
pub use event::EventHeap;
pub use interrupt::{Interrupt, IrqLine, Wake};
pub use memory::{GuestRam, MemoryError, RamRegion, create_ram, create_shared_ram, ram_regions};
pub use snapshot::{Snapshot, SnapshotError};
pub use time::{SimTime, SimTimeParseError};
pub use view::{RamSlice, RamView};
pub use watch::WriteWatch;

pub use vm_memory;
