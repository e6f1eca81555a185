//! The windows through which a CPU reaches the functions of a [`Root`].

use super::Root;
use bus::{Action, Bdf, BusDevice, DeviceHandle, IoError};
use std::sync::{Arc, Mutex};

/// Makes the bus devices of a root.
#[derive(Clone, Debug)]
pub struct Windows(Root);

impl Windows {
    /// Bytes of ECAM space for one bus.
    pub const ECAM_SIZE: u64 = 1 << 20;
    /// First I/O port of the x86 configuration mechanism.
    pub const CONFIG_PORTS: u64 = 0xcf8;
    /// Number of these ports.
    pub const CONFIG_PORTS_LEN: u64 = 8;

    /// For `root`.
    pub fn new(root: &Root) -> Self {
        Self(root.clone())
    }
    /// Configuration space of bus 0 ([`Windows::ECAM_SIZE`] bytes), 4 KiB per
    /// function (PCIe 4.0, section 7.2.2).
    pub fn ecam(&self) -> DeviceHandle {
        Arc::new(Mutex::new(Ecam(self.0.clone())))
    }
    /// A memory window whose first byte is PCI address `start`.
    pub fn memory(&self, start: u64) -> DeviceHandle {
        self.window(start, false)
    }
    /// An I/O window whose first byte is PCI port `start`.
    pub fn io(&self, start: u64) -> DeviceHandle {
        self.window(start, true)
    }
    /// The x86 ports 0xCF8 (address) and 0xCFC (data), PCI 3.0 section 3.2.2.3.
    pub fn config_ports(&self) -> DeviceHandle {
        Arc::new(Mutex::new(ConfigPorts {
            root: self.0.clone(),
            address: 0,
        }))
    }
    fn window(&self, start: u64, io: bool) -> DeviceHandle {
        let root = self.0.clone();
        Arc::new(Mutex::new(BarWindow { root, start, io }))
    }
}

struct Ecam(Root);

/// A configuration access must not leave its function.
fn ecam_place(offset: u64, len: usize) -> Result<(Bdf, usize), IoError> {
    let function = u16::try_from(offset >> 12).map_err(|_| IoError::Unmapped(offset))?;
    let register = (offset & 0xfff) as usize;
    if register + len > 4096 {
        return Err(IoError::Size(offset, len));
    }
    Ok((Bdf(function), register))
}

impl BusDevice for Ecam {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        let (bdf, register) = ecam_place(offset, data.len())?;
        self.0.config_read(bdf, register, data);
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        let (bdf, register) = ecam_place(offset, data.len())?;
        Ok(self.0.config_write(bdf, register, data))
    }
}

struct BarWindow {
    root: Root,
    start: u64,
    io: bool,
}

impl BusDevice for BarWindow {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        let at = self.start.wrapping_add(offset);
        self.root.read(self.io, at, data)
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        let at = self.start.wrapping_add(offset);
        self.root.write(self.io, at, data)
    }
}

struct ConfigPorts {
    root: Root,
    address: u32,
}

impl ConfigPorts {
    fn target(&self, offset: u64) -> Option<(Bdf, usize)> {
        let enabled = self.address >> 31 != 0;
        let bdf = Bdf((self.address >> 8) as u16);
        let register = (self.address & 0xfc) as usize + (offset as usize - 4);
        enabled.then_some((bdf, register))
    }
}

impl BusDevice for ConfigPorts {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(0xff);
        match offset {
            0..4 => {
                let bytes = self.address.to_le_bytes();
                for (to, from) in data.iter_mut().zip(&bytes[offset as usize..]) {
                    *to = *from;
                }
            }
            4..8 => {
                let inside = data.len().min(8 - offset as usize);
                if let Some((bdf, register)) = self.target(offset) {
                    self.root.config_read(bdf, register, &mut data[..inside]);
                }
            }
            _ => return Err(IoError::Unmapped(offset)),
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        match offset {
            // Only a whole dword sets the address; narrower writes are not it.
            0 if data.len() == 4 => {
                self.address = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
                Ok(Action::None)
            }
            0..4 => Ok(Action::None),
            4..8 => {
                let inside = data.len().min(8 - offset as usize);
                Ok(match self.target(offset) {
                    Some((bdf, register)) => self.root.config_write(bdf, register, &data[..inside]),
                    None => Action::None,
                })
            }
            _ => Err(IoError::Unmapped(offset)),
        }
    }
}
