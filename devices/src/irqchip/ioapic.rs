//! I/O APIC (Intel 82093AA data sheet, May 1996) with the EOI register of
//! version 0x20.
//!
//! [`IoApic`] is a handle that devices, the local APICs and the bus share. An
//! interrupt leaves as a message to the local APICs through a [`MsiSink`], sent
//! while the controller is locked: the sink must not call back into it.

use bus::{Action, BusDevice, IoError, IrqLine, MsiMessage, MsiSink, Snapshot, SnapshotError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Guest physical address of the first I/O APIC of a PC.
pub const IOAPIC_ADDRESS: u64 = 0xfec0_0000;
/// Bytes of the register window.
pub const IOAPIC_SIZE: u64 = 0x1000;
/// Interrupt inputs.
pub const PINS: usize = 24;

const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOIR: u64 = 0x40;
const REG_ID: u8 = 0;
const REG_VERSION: u8 = 1;
const REG_ARBITRATION: u8 = 2;
const REG_TABLE: u8 = 0x10;
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Delivery status and remote IRR.
const READ_ONLY: u64 = 1 << 12 | REMOTE_IRR;
const WRITABLE: u64 = 0xff00_0000_0001_ffff & !READ_ONLY;

/// A whole I/O APIC, for snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApicState {
    /// Index register.
    pub select: u8,
    /// APIC ID, bits 27:24 of its register.
    pub id: u8,
    /// Redirection table.
    pub table: [u64; PINS],
    /// Input levels, one bit each.
    pub levels: u32,
}

struct Core {
    state: IoApicState,
    sink: Arc<dyn MsiSink>,
}

/// An I/O APIC. Cloning gives another handle of the same controller.
#[derive(Clone)]
pub struct IoApic {
    core: Arc<Mutex<Core>>,
}

impl IoApic {
    /// A controller with all pins masked, which sends its messages to `sink`.
    pub fn new(sink: Arc<dyn MsiSink>) -> Self {
        Self {
            core: Arc::new(Mutex::new(Core {
                state: IoApicState {
                    select: 0,
                    id: 0,
                    table: [MASKED; PINS],
                    levels: 0,
                },
                sink,
            })),
        }
    }
    /// Input `n`. A true level asserts the input whatever polarity the guest
    /// programs. Each call makes a new driver of the wire, so make one and
    /// clone it; devices that share an input drive it by a
    /// [`crate::pci::SharedLine`].
    ///
    /// # Panics
    /// When `n` is 24 or more.
    pub fn pin(&self, n: usize) -> IrqLine {
        assert!(n < PINS, "an I/O APIC has {PINS} pins");
        let this = self.clone();
        IrqLine::from_fn(move |level| this.lock().set_pin(n, level))
    }
    /// A local APIC finished a level-triggered interrupt with this vector.
    pub fn eoi(&self, vector: u8) {
        self.lock().eoi(vector);
    }
    /// Whether a level-triggered pin uses `vector`, so that its end must be
    /// told by [`IoApic::eoi`].
    pub fn wants_eoi(&self, vector: u8) -> bool {
        let level = |entry: &u64| entry & LEVEL != 0 && *entry as u8 == vector;
        self.lock().state.table.iter().any(level)
    }
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of a redirection entry (Intel SDM volume 3, 11.11).
fn message(entry: u64) -> MsiMessage {
    let destination = entry >> 56;
    let logical = if entry & LOGICAL != 0 { 1 << 2 } else { 0 };
    // Lowest-priority delivery goes with the redirection hint.
    let hint = if (entry >> 8) & 7 == 1 { 1 << 3 } else { 0 };
    let level = if entry & LEVEL != 0 { 0b11 << 14 } else { 0 };
    MsiMessage {
        address: 0xfee0_0000 | destination << 12 | hint | logical,
        data: (entry & 0x7ff) as u32 | level,
    }
}

impl Core {
    fn set_pin(&mut self, pin: usize, level: bool) {
        let bit = 1 << pin;
        let rose = level && self.state.levels & bit == 0;
        if level {
            self.state.levels |= bit;
        } else {
            self.state.levels &= !bit;
        }
        match self.state.table.get(pin) {
            Some(entry) if entry & LEVEL != 0 => self.send_level(pin),
            // An edge on a masked pin is lost (data sheet 3.2.4, bit 16).
            Some(entry) if rose && entry & MASKED == 0 => self.sink.send(message(*entry)),
            _ => {}
        }
    }
    /// Sends a level-triggered interrupt if its pin is high and the last one
    /// has been finished.
    fn send_level(&mut self, pin: usize) {
        let high = self.state.levels & (1 << pin) != 0;
        if let Some(entry) = self.state.table.get_mut(pin)
            && high
            && *entry & LEVEL != 0
            && *entry & (MASKED | REMOTE_IRR) == 0
        {
            let message = message(*entry);
            *entry |= REMOTE_IRR;
            self.sink.send(message);
        }
    }
    fn eoi(&mut self, vector: u8) {
        for pin in 0..PINS {
            if let Some(entry) = self.state.table.get_mut(pin)
                && *entry & LEVEL != 0
                && *entry as u8 == vector
            {
                *entry &= !REMOTE_IRR;
                self.send_level(pin);
            }
        }
    }
    fn read(&self, offset: u64) -> u32 {
        match offset {
            IOREGSEL => self.state.select.into(),
            IOWIN => match self.state.select {
                REG_ID | REG_ARBITRATION => u32::from(self.state.id) << 24,
                REG_VERSION => VERSION,
                index => {
                    let at = index.wrapping_sub(REG_TABLE);
                    let entry = self.state.table.get(usize::from(at / 2));
                    entry.map_or(0, |e| (e >> (32 * (at % 2))) as u32)
                }
            },
            _ => 0,
        }
    }
    fn write(&mut self, offset: u64, value: u32) {
        match (offset, self.state.select) {
            (IOREGSEL, _) => self.state.select = value as u8,
            (EOIR, _) => self.eoi(value as u8),
            (IOWIN, REG_ID) => self.state.id = (value >> 24) as u8 & 0xf,
            (IOWIN, index) => {
                let at = index.wrapping_sub(REG_TABLE);
                let (pin, shift) = (usize::from(at / 2), 32 * (at % 2));
                let Some(entry) = self.state.table.get_mut(pin) else {
                    return;
                };
                let kept = *entry & !(0xffff_ffff << shift);
                let new = (u64::from(value) << shift | kept) & WRITABLE;
                *entry = new | *entry & READ_ONLY;
                // An edge-triggered entry has no remote IRR; drivers rely on
                // this to clear a stuck one.
                if new & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                self.send_level(pin);
            }
            _ => {}
        }
    }
}

impl BusDevice for IoApic {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        if !offset.is_multiple_of(4) {
            return Err(IoError::Size(offset, data.len()));
        }
        let value = u64::from(self.lock().read(offset)).to_le_bytes();
        for (to, from) in data.iter_mut().zip(value) {
            *to = from;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        if !offset.is_multiple_of(4) {
            return Err(IoError::Size(offset, data.len()));
        }
        let mut value = [0; 4];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        self.lock().write(offset, u32::from_le_bytes(value));
        Ok(Action::None)
    }
}

impl Snapshot for IoApic {
    type State = IoApicState;
    fn save(&self) -> IoApicState {
        self.lock().state.clone()
    }
    fn restore(&mut self, mut state: IoApicState) -> Result<(), SnapshotError> {
        state.id &= 0xf;
        state.levels &= (1 << PINS) - 1;
        for entry in &mut state.table {
            *entry &= WRITABLE | REMOTE_IRR;
        }
        self.lock().state = state;
        Ok(())
    }
}

impl fmt::Debug for IoApic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoApic")
            .field("state", &self.lock().state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<MsiMessage>>);
    impl MsiSink for Log {
        fn send(&self, message: MsiMessage) {
            self.0.lock().unwrap().push(message);
        }
    }

    struct Rig {
        apic: IoApic,
        log: Arc<Log>,
        pins: Vec<IrqLine>,
    }

    impl Rig {
        fn new() -> Self {
            let log = Arc::new(Log::default());
            let apic = IoApic::new(log.clone());
            let pins = (0..PINS).map(|n| apic.pin(n)).collect();
            Self { apic, log, pins }
        }
        fn direct(&mut self, offset: u64, value: u32) {
            let _ = self.apic.write(offset, &value.to_le_bytes()).unwrap();
        }
        fn w(&mut self, index: u32, value: u32) {
            self.direct(0, index);
            self.direct(0x10, value);
        }
        fn r(&mut self, index: u32) -> u32 {
            self.direct(0, index);
            let mut data = [0; 4];
            self.apic.read(0x10, &mut data).unwrap();
            u32::from_le_bytes(data)
        }
        fn sent(&self) -> Vec<(u64, u32)> {
            let mut log = self.log.0.lock().unwrap();
            log.drain(..).map(|m| (m.address, m.data)).collect()
        }
    }

    #[test]
    fn registers() {
        let mut rig = Rig::new();
        assert_eq!(rig.r(1), 0x0017_0020, "24 entries");
        rig.w(0, 0xffff_ffff);
        assert_eq!((rig.r(0), rig.r(2)), (0x0f00_0000, 0x0f00_0000));
        for index in (0x10..0x40).step_by(2) {
            assert_eq!((rig.r(index), rig.r(index + 1)), (0x0001_0000, 0));
        }
        rig.w(0x3f, 0xffff_ffff);
        rig.w(0x3e, 0xffff_ffff);
        assert_eq!((rig.r(0x3f), rig.r(0x3e)), (0xff00_0000, 0x0001_afff));
        assert_eq!(rig.r(0x40), 0);
    }

    #[test]
    fn edges_go_out_once_and_are_lost_while_masked() {
        let mut rig = Rig::new();
        rig.pins[4].set_level(true);
        rig.pins[4].set_level(false);
        rig.w(0x19, 0x0300_0000);
        rig.w(0x18, 0x0000_0034);
        assert_eq!(rig.sent(), []);
        rig.pins[4].set_level(true);
        assert_eq!(rig.sent(), [(0xfee0_3000, 0x34)]);
        rig.apic.eoi(0x34);
        assert_eq!(rig.sent(), []);
        rig.pins[4].set_level(false);
        rig.pins[4].set_level(true);
        assert_eq!(rig.sent().len(), 1);
        assert!(!rig.apic.wants_eoi(0x34));
    }

    #[test]
    fn levels_repeat_after_eoi() {
        let mut rig = Rig::new();
        rig.w(0x31, 0x0100_0000);
        // Pin 16: level, active low, logical, lowest priority.
        rig.w(0x30, 0x41 | 1 << 8 | 1 << 11 | 1 << 13 | 1 << 15);
        assert!(rig.apic.wants_eoi(0x41));
        rig.pins[16].set_level(true);
        let message = (0xfee0_100c, 0x41 | 1 << 8 | 0b11 << 14);
        assert_eq!(rig.sent(), [message]);
        assert_eq!(rig.r(0x30) & 1 << 14, 1 << 14, "remote IRR");
        rig.apic.eoi(0x42);
        assert_eq!(rig.sent(), []);
        rig.apic.eoi(0x41);
        assert_eq!(rig.sent(), [message], "still high");
        rig.pins[16].set_level(false);
        rig.direct(0x40, 0x41);
        assert_eq!(rig.sent(), []);
        assert_eq!(rig.r(0x30) & 1 << 14, 0);
        rig.w(0x30, 0x41 | 1 << 15 | 1 << 16);
        rig.pins[16].set_level(true);
        assert_eq!(rig.sent(), []);
        rig.w(0x30, 0x41 | 1 << 15);
        assert_eq!(rig.sent(), [(0xfee0_1000, 0x41 | 0b11 << 14)], "on unmask");
        rig.w(0x30, 0x41 | 1 << 16);
        assert_eq!(rig.r(0x30) & 1 << 14, 0, "edge mode clears remote IRR");
    }

    #[test]
    fn snapshot_round_trip() {
        let mut rig = Rig::new();
        rig.w(0x30, 0x41 | 1 << 15);
        rig.pins[16].set_level(true);
        let mut other = Rig::new();
        other.apic.restore(rig.apic.save()).unwrap();
        other.apic.eoi(0x41);
        assert_eq!(other.sent().len(), 1);
    }
}
