//! Interrupt controllers: GICv2 with its MSI frame, and the I/O APIC.

pub mod gic;
pub mod ioapic;
