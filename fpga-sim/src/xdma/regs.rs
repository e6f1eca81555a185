//! The configuration BAR's layout (PG195, "Register Space").
//!
//! A byte address is `target[15:12] channel[11:8] offset[7:0]`.

/// Bytes of the configuration BAR.
pub const CONFIG_BAR: u64 = 0x1_0000;
/// Offset of the MSI-X table in the configuration BAR.
pub const MSIX_TABLE: u64 = 0x8000;
/// Offset of the MSI-X pending bits.
pub const MSIX_PBA: u64 = 0x8fe0;
/// MSI-X vectors: enough for 4 + 4 channels and 16 user interrupts.
pub const MSIX_VECTORS: u16 = 32;

/// Targets, address bits 15:12.
pub(super) mod target {
    pub const H2C: u16 = 0;
    pub const C2H: u16 = 1;
    pub const IRQ: u16 = 2;
    pub const CONFIG: u16 = 3;
    pub const H2C_SGDMA: u16 = 4;
    pub const C2H_SGDMA: u16 = 5;
    pub const SGDMA_COMMON: u16 = 6;
}

/// Identifier bits 31:20.
const SUBSYSTEM: u32 = 0x1fc;
/// Identifier bits 7:0: 2017.1 and later.
const VERSION: u32 = 0x06;

/// The identifier of a block: register 0x00 of each target.
pub(super) fn identifier(target: u16, channel: u16) -> u32 {
    SUBSYSTEM << 20 | u32::from(target) << 16 | u32::from(channel) << 8 | VERSION
}

/// Channel block (tables "H2C Channel ..." and "C2H Channel ...").
pub(super) mod channel {
    pub const CONTROL: u16 = 0x04;
    pub const CONTROL_W1S: u16 = 0x08;
    pub const CONTROL_W1C: u16 = 0x0c;
    pub const STATUS: u16 = 0x40;
    pub const STATUS_RC: u16 = 0x44;
    pub const COMPLETED: u16 = 0x48;
    pub const ALIGNMENTS: u16 = 0x4c;
    pub const WRITE_BACK_LOW: u16 = 0x88;
    pub const WRITE_BACK_HIGH: u16 = 0x8c;
    pub const MASK: u16 = 0x90;
    pub const MASK_W1S: u16 = 0x94;
    pub const MASK_W1C: u16 = 0x98;
    pub const PERF_CONTROL: u16 = 0xc0;
    pub const PERF_FIRST: u16 = 0xc4;
    pub const PERF_LAST: u16 = 0xd8;

    /// Control bits that exist: RUN, the enables, and 25 to 27.
    pub const CONTROL_BITS: u32 = 0x0eff_fe7f;
    /// Any address and any length, 64 address bits.
    pub const ALIGNED_TO_BYTES: u32 = 0x0001_0140;
    /// With a fixed address: multiples of the data path's beat of 8 bytes.
    pub const ALIGNED_TO_BEATS: u32 = 0x0008_0840;
}

/// SGDMA block (tables "H2C SGDMA ..." and "C2H SGDMA ...").
pub(super) mod sgdma {
    pub const FIRST_LOW: u16 = 0x80;
    pub const FIRST_HIGH: u16 = 0x84;
    pub const ADJACENT: u16 = 0x88;
    pub const CREDITS: u16 = 0x8c;
}

/// IRQ block (tables "IRQ Block ...").
pub(super) mod irq {
    pub const USER_ENABLE: u16 = 0x04;
    pub const USER_W1S: u16 = 0x08;
    pub const USER_W1C: u16 = 0x0c;
    pub const CHANNEL_ENABLE: u16 = 0x10;
    pub const CHANNEL_W1S: u16 = 0x14;
    pub const CHANNEL_W1C: u16 = 0x18;
    pub const USER_REQUEST: u16 = 0x40;
    pub const CHANNEL_REQUEST: u16 = 0x44;
    pub const USER_PENDING: u16 = 0x48;
    pub const CHANNEL_PENDING: u16 = 0x4c;
    pub const USER_VECTORS: u16 = 0x80;
    pub const USER_VECTORS_END: u16 = 0x8c;
    pub const CHANNEL_VECTORS: u16 = 0xa0;
    pub const CHANNEL_VECTORS_END: u16 = 0xa4;
}
