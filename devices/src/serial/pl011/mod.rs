//! ARM PrimeCell UART PL011 (ARM DDI 0183G), without DMA and IrDA.
//!
//! Time does not pass between bytes: a written byte has left at once, and the
//! receive timeout has always expired, so `RTRIS` stands while the receive FIFO
//! holds anything.

mod regs;
#[cfg(test)]
mod tests;

use super::{SerialInput, SerialSink};
use bus::{Action, BusDevice, IoError, IrqLine, Next, Service, SimTime, Snapshot, SnapshotError};
use regs::*;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// Bytes of the register window.
pub const PL011_SIZE: u64 = 0x1000;
const FIFO: usize = 32;

/// Everything a guest can see of a PL011.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pl011State {
    /// Receive FIFO. Byte values, oldest first.
    pub rx: VecDeque<u8>,
    /// A looped-back byte was lost before the next one that arrives.
    pub overrun: bool,
    /// `UARTRSR`.
    pub rsr: u32,
    /// `UARTILPR`.
    pub ilpr: u32,
    /// `UARTIBRD`.
    pub ibrd: u32,
    /// `UARTFBRD`.
    pub fbrd: u32,
    /// `UARTLCR_H`.
    pub lcr_h: u32,
    /// `UARTCR`.
    pub cr: u32,
    /// `UARTIFLS`.
    pub ifls: u32,
    /// `UARTIMSC`.
    pub imsc: u32,
    /// Latched bits of `UARTRIS` (transmit and overrun).
    pub ris: u32,
    /// `UARTDMACR`.
    pub dmacr: u32,
    /// The guest has set RTS at least once, so its clearing means "stop".
    pub rts_used: bool,
}

impl Default for Pl011State {
    fn default() -> Self {
        Self {
            rx: VecDeque::new(),
            overrun: false,
            rsr: 0,
            ilpr: 0,
            ibrd: 0,
            fbrd: 0,
            lcr_h: 0,
            cr: CR_RXE | CR_TXE,
            ifls: 0x12,
            imsc: 0,
            ris: 0,
            dmacr: 0,
            rts_used: false,
        }
    }
}

/// A PL011.
pub struct Pl011 {
    state: Pl011State,
    irq: IrqLine,
    output: Box<dyn SerialSink>,
    input: SerialInput,
}

impl Pl011 {
    /// A port in its reset state. Input waits until the guest enables the
    /// receiver, and again while a guest that uses RTS holds it low.
    pub fn new(irq: IrqLine, output: impl SerialSink + 'static, input: SerialInput) -> Self {
        Self {
            state: Pl011State::default(),
            irq,
            output: Box::new(output),
            input,
        }
    }

    fn capacity(&self) -> usize {
        if self.state.lcr_h & LCR_FEN != 0 {
            FIFO
        } else {
            1
        }
    }
    fn trigger(&self) -> usize {
        if self.state.lcr_h & LCR_FEN == 0 {
            return 1;
        }
        // UARTIFLS[5:3]: 1/8, 1/4, 1/2, 3/4, 7/8 full.
        match (self.state.ifls >> 3) & 7 {
            0 => FIFO / 8,
            1 => FIFO / 4,
            2 => FIFO / 2,
            3 => FIFO * 3 / 4,
            _ => FIFO * 7 / 8,
        }
    }
    /// Takes waiting input as far as the FIFO has room.
    fn fill(&mut self) {
        let s = &self.state;
        let on = s.cr & (CR_UARTEN | CR_RXE | CR_LBE) == CR_UARTEN | CR_RXE;
        if on && (!s.rts_used || s.cr & CR_RTS != 0) {
            let room = self.capacity().saturating_sub(s.rx.len());
            self.input.take(&mut self.state.rx, room);
        }
    }
    fn ris(&self) -> u32 {
        let mut ris = self.state.ris;
        if !self.state.rx.is_empty() {
            ris |= INT_RT;
        }
        if self.state.rx.len() >= self.trigger() {
            ris |= INT_RX;
        }
        ris
    }
    fn update(&mut self) {
        self.fill();
        self.irq.set_level(self.ris() & self.state.imsc != 0);
    }
    fn receive(&mut self) -> u32 {
        let Some(byte) = self.state.rx.pop_front() else {
            return 0;
        };
        let mut value = u32::from(byte);
        if std::mem::take(&mut self.state.overrun) {
            value |= DR_OE;
        }
        self.state.rsr = if value & DR_OE != 0 { RSR_OE } else { 0 };
        value
    }
    fn transmit(&mut self, byte: u8) {
        let s = &mut self.state;
        if s.cr & CR_LBE != 0 {
            if s.rx.len() < if s.lcr_h & LCR_FEN != 0 { FIFO } else { 1 } {
                s.rx.push_back(byte);
            } else {
                s.overrun = true;
                s.ris |= INT_OE;
            }
        } else {
            self.output.write(&[byte]);
        }
        // The FIFO passed its trigger level on its way back to empty.
        self.state.ris |= INT_TX;
    }
    fn read_register(&mut self, offset: u64) -> u32 {
        let s = &self.state;
        match offset {
            DR => {
                let value = self.receive();
                self.update();
                value
            }
            RSR => s.rsr,
            FR => {
                let mut fr = FR_MODEM | FR_TXFE;
                if s.rx.is_empty() {
                    fr |= FR_RXFE;
                }
                if s.rx.len() >= self.capacity() {
                    fr |= FR_RXFF;
                }
                fr
            }
            ILPR => s.ilpr,
            IBRD => s.ibrd,
            FBRD => s.fbrd,
            LCR_H => s.lcr_h,
            CR => s.cr,
            IFLS => s.ifls,
            IMSC => s.imsc,
            RIS => self.ris(),
            MIS => self.ris() & s.imsc,
            DMACR => s.dmacr,
            ID.. => ID_VALUES
                .get(((offset - ID) / 4) as usize)
                .copied()
                .unwrap_or(0),
            _ => 0,
        }
    }
    fn write_register(&mut self, offset: u64, value: u32) {
        let s = &mut self.state;
        match offset {
            DR => self.transmit(value as u8),
            RSR => s.rsr = 0,
            ILPR => s.ilpr = value & 0xff,
            IBRD => s.ibrd = value & 0xffff,
            FBRD => s.fbrd = value & 0x3f,
            LCR_H => {
                let old = std::mem::replace(&mut s.lcr_h, value & 0xff);
                if (old ^ value) & LCR_FEN != 0 {
                    // Hardware would drop these bytes; here they wait again.
                    self.input.put_back(s.rx.drain(..));
                }
            }
            CR => {
                s.cr = value & 0xff87;
                s.rts_used |= value & CR_RTS != 0;
            }
            IFLS => s.ifls = value & 0x3f,
            IMSC => s.imsc = value & INT_ALL,
            ICR => s.ris &= !value,
            DMACR => s.dmacr = value & 7,
            _ => return,
        }
        self.update();
    }
}

impl BusDevice for Pl011 {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        // Registers are 32 bits apart; drivers read them with 8, 16 or 32 bits.
        if !offset.is_multiple_of(4) || data.len() > 4 {
            return Err(IoError::Size(offset, data.len()));
        }
        let value = self.read_register(offset).to_le_bytes();
        for (to, from) in data.iter_mut().zip(value) {
            *to = from;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        if !offset.is_multiple_of(4) || data.len() > 4 {
            return Err(IoError::Size(offset, data.len()));
        }
        let mut value = [0; 4];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        self.write_register(offset, u32::from_le_bytes(value));
        Ok(Action::None)
    }
}

impl Service for Pl011 {
    fn service(&mut self, _now: SimTime) -> Next {
        self.update();
        Next::OnKick
    }
}

impl Snapshot for Pl011 {
    type State = Pl011State;
    fn save(&self) -> Pl011State {
        self.state.clone()
    }
    fn restore(&mut self, state: Pl011State) -> Result<(), SnapshotError> {
        if state.rx.len() > FIFO {
            return Err(SnapshotError {
                what: "PL011",
                why: format!("{} bytes in a {FIFO}-byte FIFO", state.rx.len()),
            });
        }
        self.state = state;
        self.update();
        Ok(())
    }
}

impl fmt::Debug for Pl011 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pl011")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
