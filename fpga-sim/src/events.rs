//! User interrupts: 16 levels that the card's logic drives, and the registers
//! by which programs on both sides drive and see them.
//!
//! The DMA engine never acknowledges a user interrupt (PG195, "User
//! Interrupts"): who takes one clears its level here, and the next rise is the
//! next interrupt.

use crate::card::USER_IRQS;
use bus::{Action, BusDevice, IoError, IrqLine};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// User BAR offset of the host's window.
pub const BAR_EVENTS: u64 = 0x3_0000;
/// Board address of its window.
pub const BOARD_EVENTS: u64 = 0xa034_0000;

/// The levels, bit n of user interrupt n. Writes change nothing.
const LEVEL: u64 = 0x00;
/// Raises those whose bit is written as 1.
const SET: u64 = 0x04;
/// Drops those whose bit is written as 1.
const CLEAR: u64 = 0x08;

/// The 16 user interrupts of a card, driven on any thread.
#[derive(Debug)]
pub struct UserEvents {
    lines: Mutex<[IrqLine; USER_IRQS]>,
}

impl Default for UserEvents {
    fn default() -> Self {
        Self {
            lines: Mutex::new(std::array::from_fn(|_| IrqLine::null())),
        }
    }
}

impl UserEvents {
    fn lines(&self) -> MutexGuard<'_, [IrqLine; USER_IRQS]> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Connects interrupt `n` (below [`USER_IRQS`]) to `line`, at its level.
    pub fn connect(&self, n: usize, line: IrqLine) {
        if let Some(slot) = self.lines().get_mut(n) {
            line.set_level(slot.level());
            *slot = line;
        }
    }
    /// Drives those of `bits`.
    pub fn set(&self, bits: u32, level: bool) {
        // Held while they are driven: the last word is the newest.
        let lines = self.lines();
        for (n, line) in lines.iter().enumerate() {
            if bits >> n & 1 != 0 {
                line.set_level(level);
            }
        }
    }
    /// The levels, bit n of interrupt n.
    pub fn levels(&self) -> u32 {
        let lines = self.lines();
        let bits = lines.iter().enumerate();
        bits.fold(0, |all, (n, line)| all | u32::from(line.level()) << n)
    }
}

/// A window on the registers, the same for both sides. Registers are 32 bits
/// wide; everything else reads as zero and ignores writes.
#[derive(Clone, Debug)]
pub struct EventWindow(pub Arc<UserEvents>);

impl BusDevice for EventWindow {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(0);
        if offset == LEVEL {
            let word = self.0.levels().to_le_bytes();
            let n = data.len().min(4);
            data[..n].copy_from_slice(&word[..n]);
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        if let (SET | CLEAR, [a, b, _, _]) = (offset, data) {
            let bits = u16::from_le_bytes([*a, *b]);
            self.0.set(bits.into(), offset == SET);
        }
        Ok(Action::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_set_and_clear() {
        let events = Arc::new(UserEvents::default());
        let mut window = EventWindow(events.clone());
        let lines: Vec<_> = (0..USER_IRQS).map(|_| IrqLine::null()).collect();
        for (n, line) in lines.iter().enumerate() {
            events.connect(n, line.clone());
        }
        events.connect(USER_IRQS, IrqLine::null());
        let mut write = |at, value: u32| {
            let _ = window.write(at, &value.to_le_bytes()).unwrap();
            let mut data = [0xff; 4];
            window.read(LEVEL, &mut data).unwrap();
            u32::from_le_bytes(data)
        };
        assert_eq!(write(SET, 0xffff_8001), 0x8001);
        assert!(lines[0].level() && lines[15].level() && !lines[1].level());
        assert_eq!(write(LEVEL, 0), 0x8001);
        assert_eq!(write(SET, 2), 0x8003);
        assert_eq!(write(CLEAR, 1), 0x8002);
        assert!(!lines[0].level());
        // A line that comes later has the level at once.
        let late = IrqLine::null();
        events.connect(1, late.clone());
        assert!(late.level());
        // Neither other widths nor other registers.
        for (at, bytes) in [
            (SET, &[1u8][..]),
            (SET, &[1; 8]),
            (SET + 1, &[1; 4]),
            (0x0c, &[1; 4]),
        ] {
            let _ = window.write(at, bytes).unwrap();
        }
        assert_eq!(events.levels(), 0x8002);
    }
}
