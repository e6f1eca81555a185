//! PL011 register offsets and bits (ARM DDI 0183G chapter 3).

pub(super) const DR: u64 = 0x00;
pub(super) const RSR: u64 = 0x04;
pub(super) const FR: u64 = 0x18;
pub(super) const ILPR: u64 = 0x20;
pub(super) const IBRD: u64 = 0x24;
pub(super) const FBRD: u64 = 0x28;
pub(super) const LCR_H: u64 = 0x2c;
pub(super) const CR: u64 = 0x30;
pub(super) const IFLS: u64 = 0x34;
pub(super) const IMSC: u64 = 0x38;
pub(super) const RIS: u64 = 0x3c;
pub(super) const MIS: u64 = 0x40;
pub(super) const ICR: u64 = 0x44;
pub(super) const DMACR: u64 = 0x48;
pub(super) const ID: u64 = 0xfe0;

/// PeriphID0-3 of revision r1p5 (32-byte FIFOs) and PCellID0-3.
pub(super) const ID_VALUES: [u32; 8] = [0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// Clear to send, data set ready and carrier: the other end is always there.
pub(super) const FR_MODEM: u32 = 0b111;
pub(super) const FR_RXFE: u32 = 1 << 4;
pub(super) const FR_RXFF: u32 = 1 << 6;
pub(super) const FR_TXFE: u32 = 1 << 7;

pub(super) const DR_OE: u32 = 1 << 11;
pub(super) const RSR_OE: u32 = 1 << 3;

pub(super) const LCR_FEN: u32 = 1 << 4;

pub(super) const CR_UARTEN: u32 = 1 << 0;
pub(super) const CR_LBE: u32 = 1 << 7;
pub(super) const CR_TXE: u32 = 1 << 8;
pub(super) const CR_RXE: u32 = 1 << 9;
pub(super) const CR_RTS: u32 = 1 << 11;

pub(super) const INT_RX: u32 = 1 << 4;
pub(super) const INT_TX: u32 = 1 << 5;
pub(super) const INT_RT: u32 = 1 << 6;
pub(super) const INT_OE: u32 = 1 << 10;
pub(super) const INT_ALL: u32 = 0x7ff;
