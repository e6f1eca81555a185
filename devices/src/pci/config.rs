//! Configuration space as bytes with a write mask.

use std::fmt;

/// Bytes of extended configuration space.
pub(crate) const CONFIG_SIZE: usize = 4096;
/// First byte that a capability may take.
const FIRST_CAPABILITY: usize = 0x40;
/// Bytes of conventional configuration space, where capabilities live.
const CONVENTIONAL: usize = 256;

/// Registers of the type 0 header (PCI 3.0, section 6.1).
pub(crate) mod reg {
    pub const COMMAND: usize = 0x04;
    pub const STATUS: usize = 0x06;
    pub const BAR0: usize = 0x10;
    pub const BAR_END: usize = 0x28;
    pub const CAPABILITIES: usize = 0x34;
    pub const INTERRUPT_LINE: usize = 0x3c;
    pub const INTERRUPT_PIN: usize = 0x3d;

    pub const COMMAND_IO: u16 = 1 << 0;
    pub const COMMAND_MEMORY: u16 = 1 << 1;
    pub const COMMAND_MASTER: u16 = 1 << 2;
    pub const COMMAND_INTX_OFF: u16 = 1 << 10;
    pub const STATUS_INTX: u16 = 1 << 3;
    pub const STATUS_CAPABILITIES: u16 = 1 << 4;
}

/// Who a function says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code: base class, subclass and programming interface (24 bits).
    pub class: u32,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
}

/// The 4096 bytes of configuration space of one function. Each bit is read-only
/// unless its write mask says otherwise.
#[derive(Clone)]
pub struct ConfigSpace {
    bytes: Box<[u8; CONFIG_SIZE]>,
    writable: Box<[u8; CONFIG_SIZE]>,
    /// Where the pointer to the next capability goes.
    link: usize,
    free: usize,
}

impl ConfigSpace {
    /// A type 0 header with `identity`, without BARs and capabilities.
    pub fn new(identity: Identity) -> Self {
        let mut space = Self {
            bytes: Box::new([0; CONFIG_SIZE]),
            writable: Box::new([0; CONFIG_SIZE]),
            link: reg::CAPABILITIES,
            free: FIRST_CAPABILITY,
        };
        space.set_u16(0x00, identity.vendor);
        space.set_u16(0x02, identity.device);
        space.set_u32(0x08, identity.class << 8 | u32::from(identity.revision));
        space.set_u16(0x2c, identity.subsystem_vendor);
        space.set_u16(0x2e, identity.subsystem);
        space.set_writable(reg::INTERRUPT_LINE, &[0xff]);
        space.set_writable(0x0c, &[0xff]);
        let command = reg::COMMAND_IO
            | reg::COMMAND_MEMORY
            | reg::COMMAND_MASTER
            | reg::COMMAND_INTX_OFF
            | 1 << 6
            | 1 << 8;
        space.set_writable(reg::COMMAND, &command.to_le_bytes());
        space
    }

    /// Reads; bytes behind the end are all ones.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(from) = self.bytes.get(offset..) {
            let n = from.len().min(data.len());
            data[..n].copy_from_slice(&from[..n]);
        }
    }
    /// A write by the guest: only writable bits change.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        for (i, &new) in data.iter().enumerate() {
            let Some(byte) = self.bytes.get_mut(offset.saturating_add(i)) else {
                return;
            };
            let mask = self.writable[offset + i];
            *byte = *byte & !mask | new & mask;
        }
    }
    /// Makes the bits of `mask` writable from `offset` on. Out of range bytes
    /// are left out.
    pub fn set_writable(&mut self, offset: usize, mask: &[u8]) {
        for (to, from) in self.writable.iter_mut().skip(offset).zip(mask) {
            *to = *from;
        }
    }
    /// The two bytes at `offset`; all ones out of range.
    pub fn u16(&self, offset: usize) -> u16 {
        let mut data = [0; 2];
        self.read(offset, &mut data);
        u16::from_le_bytes(data)
    }
    /// The four bytes at `offset`; all ones out of range.
    pub fn u32(&self, offset: usize) -> u32 {
        let mut data = [0; 4];
        self.read(offset, &mut data);
        u32::from_le_bytes(data)
    }
    /// Sets bytes, writable or not. Out of range bytes are left out.
    pub fn set(&mut self, offset: usize, data: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(offset).zip(data) {
            *to = *from;
        }
    }
    /// Sets two bytes, writable or not.
    pub fn set_u16(&mut self, offset: usize, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }
    /// Sets four bytes, writable or not.
    pub fn set_u32(&mut self, offset: usize, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }
    /// Appends a capability: `body` is what follows the ID and the next
    /// pointer, `writable` its mask (missing bytes are read-only). Returns the
    /// offset of the ID. `None` when conventional space has no room.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<usize> {
        let at = self.free;
        let end = at + 2 + body.len();
        if end > CONVENTIONAL {
            return None;
        }
        self.set(at, &[id, 0]);
        self.set(at + 2, body);
        self.set_writable(at + 2, &writable[..writable.len().min(body.len())]);
        self.set(self.link, &[at as u8]);
        let status = self.u16(reg::STATUS) | reg::STATUS_CAPABILITIES;
        self.set_u16(reg::STATUS, status);
        self.link = at + 1;
        self.free = end.next_multiple_of(4);
        Some(at)
    }
    /// The command register.
    pub fn command(&self) -> u16 {
        self.u16(reg::COMMAND)
    }
    /// All bytes, for a snapshot.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..]
    }
    /// Clears what the guest wrote: command, BARs and the interrupt line.
    /// Capabilities are reset by their owners.
    pub(crate) fn reset_header(&mut self) {
        self.write(reg::COMMAND, &[0, 0]);
        self.write(reg::BAR0, &[0; reg::BAR_END - reg::BAR0]);
        self.write(reg::INTERRUPT_LINE, &[0]);
        self.write(0x0c, &[0]);
    }
}

impl fmt::Debug for ConfigSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigSpace({:04x}:{:04x})", self.u16(0), self.u16(2))
    }
}
