//! The PCI Express capability (PCIe 4.0, section 7.5.3).

use super::ConfigSpace;

const ID: u8 = 0x10;
/// Offset of Device Control in the capability.
const DEVICE_CONTROL: usize = 8;
/// Initiate Function Level Reset, high byte of Device Control.
const FLR: u8 = 0x80;
const BODY: usize = 0x3c - 2;

/// Adds the capability of a root complex integrated endpoint with function
/// level reset. Returns its offset, `None` when there is no room.
pub(crate) fn add(config: &mut ConfigSpace) -> Option<usize> {
    let mut body = [0u8; BODY];
    let mut writable = [0u8; BODY];
    let put16 = |body: &mut [u8; BODY], at: usize, value: u16| {
        body[at - 2..at].copy_from_slice(&value.to_le_bytes());
    };
    // PCI Express Capabilities: version 2, type 9.
    put16(&mut body, 2, 2 | 9 << 4);
    // Device Capabilities: 256-byte payloads, extended tags, role-based error
    // reporting, function level reset.
    let capabilities: u32 = 1 | 1 << 5 | 1 << 15 | 1 << 28;
    body[2..6].copy_from_slice(&capabilities.to_le_bytes());
    // Device Control: 512-byte read requests, relaxed ordering, no snoop.
    put16(&mut body, DEVICE_CONTROL, 2 << 12 | 1 << 11 | 1 << 4);
    put16(&mut writable, DEVICE_CONTROL, 0xffff);
    // Device Control 2: completion timeout is programmable, with no effect.
    put16(&mut writable, 0x28, 0x001f);
    config.add_capability(ID, &body, &writable)
}

/// Whether the guest asked for a function level reset, and clears the request
/// (the bit always reads 0).
pub(crate) fn take_reset(config: &mut ConfigSpace, cap: usize) -> bool {
    let at = cap + DEVICE_CONTROL + 1;
    let mut high = [0];
    config.read(at, &mut high);
    config.set(at, &[high[0] & !FLR]);
    high[0] & FLR != 0
}

/// Device Control after a reset.
pub(crate) fn reset(config: &mut ConfigSpace, cap: usize) {
    config.set_u16(cap + DEVICE_CONTROL, 2 << 12 | 1 << 11 | 1 << 4);
    config.set_u16(cap + 0x28, 0);
}
