//! Register offsets and values. Architecture: ARM IHI 0048B chapter 4; the
//! identification values are those of the GIC-400 (ARM DDI 0471B chapter 3).

/// Bytes of the distributor window.
pub const GICD_SIZE: u64 = 0x1000;
/// Bytes of the CPU interface window. `GICC_DIR` is in its second 4 KiB.
pub const GICC_SIZE: u64 = 0x2000;
/// Bytes of the MSI frame window.
pub const GICV2M_SIZE: u64 = 0x1000;

/// A GICv2 has at most 8 CPUs.
pub(super) const MAX_CPUS: usize = 8;
/// A GIC-400 has at most 480 shared interrupts.
pub(super) const MAX_SPIS: u32 = 480;
/// A GIC-400 implements five priority bits.
pub(super) const PRIORITY_MASK: u8 = 0xf8;
/// Smallest binary point with five priority bits.
pub(super) const MIN_BPR: u8 = 2;
/// Smallest aliased binary point with five priority bits.
pub(super) const MIN_ABPR: u8 = 3;

/// Returned when a group 1 interrupt waits and the read is for group 0.
pub(super) const ID_OTHER_GROUP: u32 = 1022;
/// Returned when nothing waits.
pub(super) const ID_SPURIOUS: u32 = 1023;
/// First of the special interrupt numbers.
pub(super) const ID_SPECIAL: u32 = 1020;

pub(super) const GICD_CTLR: u64 = 0x000;
pub(super) const GICD_TYPER: u64 = 0x004;
pub(super) const GICD_IIDR: u64 = 0x008;
pub(super) const GICD_IGROUPR: u64 = 0x080;
pub(super) const GICD_ISENABLER: u64 = 0x100;
pub(super) const GICD_ICENABLER: u64 = 0x180;
pub(super) const GICD_ISPENDR: u64 = 0x200;
pub(super) const GICD_ICPENDR: u64 = 0x280;
pub(super) const GICD_ISACTIVER: u64 = 0x300;
pub(super) const GICD_ICACTIVER: u64 = 0x380;
pub(super) const GICD_IPRIORITYR: u64 = 0x400;
pub(super) const GICD_ITARGETSR: u64 = 0x800;
pub(super) const GICD_ICFGR: u64 = 0xc00;
pub(super) const GICD_PPISR: u64 = 0xd00;
pub(super) const GICD_SPISR: u64 = 0xd04;
pub(super) const GICD_SGIR: u64 = 0xf00;
pub(super) const GICD_CPENDSGIR: u64 = 0xf10;
pub(super) const GICD_SPENDSGIR: u64 = 0xf20;
pub(super) const GICD_ID: u64 = 0xfd0;

pub(super) const GICD_IIDR_VALUE: u32 = 0x0200_143b;
/// PIDR4-7, PIDR0-3, CIDR0-3 from offset 0xfd0.
pub(super) const GICD_ID_VALUES: [u32; 12] = [
    0x04, 0x00, 0x00, 0x00, 0x90, 0xb4, 0x2b, 0x00, 0x0d, 0xf0, 0x05, 0xb1,
];

pub(super) const GICC_CTLR: u64 = 0x00;
pub(super) const GICC_PMR: u64 = 0x04;
pub(super) const GICC_BPR: u64 = 0x08;
pub(super) const GICC_IAR: u64 = 0x0c;
pub(super) const GICC_EOIR: u64 = 0x10;
pub(super) const GICC_RPR: u64 = 0x14;
pub(super) const GICC_HPPIR: u64 = 0x18;
pub(super) const GICC_ABPR: u64 = 0x1c;
pub(super) const GICC_AIAR: u64 = 0x20;
pub(super) const GICC_AEOIR: u64 = 0x24;
pub(super) const GICC_AHPPIR: u64 = 0x28;
pub(super) const GICC_APR0: u64 = 0xd0;
pub(super) const GICC_NSAPR0: u64 = 0xe0;
pub(super) const GICC_IIDR: u64 = 0xfc;
pub(super) const GICC_DIR: u64 = 0x1000;

pub(super) const GICC_IIDR_VALUE: u32 = 0x0202_143b;

/// `GICC_CTLR.EnableGrp0`; bit 1 is `EnableGrp1`, as in `GICD_CTLR`.
pub(super) const CTLR_ENABLE: u32 = 0b11;
pub(super) const CTLR_ACK: u32 = 1 << 2;
pub(super) const CTLR_FIQ: u32 = 1 << 3;
pub(super) const CTLR_CBPR: u32 = 1 << 4;
pub(super) const CTLR_EOI_MODE: u32 = 1 << 9;
/// Bits of `GICC_CTLR` that exist, with the four bypass-disable bits.
pub(super) const GICC_CTLR_MASK: u32 = 0x3ff;
