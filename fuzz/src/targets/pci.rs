//! Configuration space by ECAM and by ports, and BARs, of a virtio function.
//!
//! Input: pieces, each a window, a length and commands of `bus::fuzz::drive`.

use super::Target;
use super::nic::{self, SLOT};
use crate::Input;
use bus::fuzz::drive;
use bus::{Action, BusDevice, DeviceHandle, IoError};
use devices::pci::{PciError, Windows};
use devices::virtio::driver::{Driver, Machine};
use std::sync::PoisonError;

pub const TARGET: Target = Target {
    name: "pci",
    about: "PCI configuration, ports, BARs, capabilities, MSI-X",
    run,
    max_len: 4096,
    rounds: 150_000,
    words: &[
        // Write 16 bits: COMMAND. Write 32 bits: BARs 0 and 4.
        b"\x03\0\0\0\x04\x07\x00",
        b"\x05\0\0\0\x10\xff\xff\xff\xff",
        b"\x05\0\0\0\x20\x00\x00\x00\xd0",
    ],
};

/// A part of a window.
struct Part {
    inner: DeviceHandle,
    start: u64,
}

impl BusDevice for Part {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.read(self.start + offset, data)
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(self.start + offset, data)
    }
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut m = nic::machine(1 + u16::from(input.u8() & 3));
    let driver = Driver::probe(&mut m, SLOT);
    let windows = Windows::new(&m.root);
    let bar = windows.memory(driver.common);
    let config = u64::from(SLOT) << 15;
    while !input.is_empty() {
        let (which, len) = (input.u8(), input.u8());
        let commands = input.bytes(len.into());
        let (inner, start, len) = match which & 7 {
            0 => (windows.ecam(), config, 0x140),
            1 => (windows.ecam(), config, 0x1000),
            // Its neighbours: other functions, empty slots.
            2 => (windows.ecam(), 0, Windows::ECAM_SIZE),
            3 => (windows.config_ports(), 0, Windows::CONFIG_PORTS_LEN),
            4 => (bar.clone(), 0, 0x60),
            5 => (bar.clone(), 0, 0x4000),
            6 => (windows.io(0), 0, 0x1_0000),
            _ => {
                m.now += bus::SimTime::from_us(1);
                m.service();
                continue;
            }
        };
        drive(&mut Part { inner, start }, len, commands, |_| {
            let _ = m.root.service(m.now);
        });
    }
    // The slot is still taken, and by the same function.
    let taken = m.root.add(
        bus::Bdf::new(0, SLOT, 0),
        devices::pci::host_bridge(m.dma(SLOT)),
    );
    assert_eq!(taken, Err(PciError::Slot(bus::Bdf::new(0, SLOT, 0))));
    assert_eq!(m.read32(Machine::config(SLOT, 0)), 0x1041_1af4);
}
