//! 16550A UART as a PC's COM port has it (PC16550D data sheet, National
//! Semiconductor, June 1995), eight byte-wide registers.
//!
//! Time does not pass between bytes: the transmitter is always empty and the
//! character timeout has always expired. The interrupt output is a level and is
//! not gated by `OUT2`.

use super::{SerialInput, SerialSink};
use bus::{Action, BusDevice, IoError, IrqLine, Next, Service, SimTime, Snapshot, SnapshotError};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// Bytes of the register window.
pub const UART16550_SIZE: u64 = 8;
const FIFO: usize = 16;

const IER_RX: u8 = 1 << 0;
const IER_TX: u8 = 1 << 1;
const IER_LINE: u8 = 1 << 2;
const IER_MODEM: u8 = 1 << 3;

const IIR_NONE: u8 = 0x01;
const IIR_MODEM: u8 = 0x00;
const IIR_TX: u8 = 0x02;
const IIR_RX: u8 = 0x04;
const IIR_LINE: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_FIFO: u8 = 0xc0;

const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RX: u8 = 1 << 1;

const LCR_DLAB: u8 = 1 << 7;

const MCR_RTS: u8 = 1 << 1;
const MCR_LOOP: u8 = 1 << 4;

const LSR_READY: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
/// Holding register and shift register empty.
const LSR_TX_EMPTY: u8 = 0x60;

/// Clear to send, data set ready and carrier: the other end is always there.
const MSR_CONNECTED: u8 = 0xb0;

/// Everything a guest can see of a 16550A.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uart16550State {
    /// Receive FIFO, oldest byte first.
    pub rx: VecDeque<u8>,
    /// Interrupt enable register.
    pub ier: u8,
    /// FIFO control register.
    pub fcr: u8,
    /// Line control register.
    pub lcr: u8,
    /// Modem control register.
    pub mcr: u8,
    /// Scratch register.
    pub scr: u8,
    /// Divisor latch.
    pub divisor: u16,
    /// A looped-back byte found the FIFO full; until LSR is read.
    pub overrun: bool,
    /// The transmitter became empty and IIR has not told so yet.
    pub tx_empty: bool,
    /// Modem lines as last read (upper half) and what changed since (lower).
    pub msr: u8,
    /// The guest has set RTS at least once, so its clearing means "stop".
    pub rts_used: bool,
}

impl Default for Uart16550State {
    fn default() -> Self {
        Self {
            rx: VecDeque::new(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: 12,
            overrun: false,
            tx_empty: false,
            msr: MSR_CONNECTED,
            rts_used: false,
        }
    }
}

/// A 16550A.
pub struct Uart16550 {
    state: Uart16550State,
    irq: IrqLine,
    output: Box<dyn SerialSink>,
    input: SerialInput,
}

impl Uart16550 {
    /// A port in its reset state. Input waits while a guest that uses RTS holds
    /// it off.
    pub fn new(irq: IrqLine, output: impl SerialSink + 'static, input: SerialInput) -> Self {
        Self {
            state: Uart16550State::default(),
            irq,
            output: Box::new(output),
            input,
        }
    }
    fn fifo_on(&self) -> bool {
        self.state.fcr & FCR_ENABLE != 0
    }
    fn capacity(&self) -> usize {
        if self.fifo_on() { FIFO } else { 1 }
    }
    fn trigger(&self) -> usize {
        match (self.fifo_on(), self.state.fcr >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        }
    }
    fn fill(&mut self) {
        let s = &self.state;
        if s.mcr & MCR_LOOP == 0 && (!s.rts_used || s.mcr & MCR_RTS != 0) {
            let room = self.capacity().saturating_sub(s.rx.len());
            self.input.take(&mut self.state.rx, room);
        }
    }
    /// Modem lines: the other end's, or in loopback this end's outputs.
    fn modem_lines(&self) -> u8 {
        let mcr = self.state.mcr;
        if mcr & MCR_LOOP == 0 {
            return MSR_CONNECTED;
        }
        // RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
        (mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4
    }
    /// The source of the highest priority, as IIR bits 3:0.
    fn cause(&self) -> u8 {
        let s = &self.state;
        if s.ier & IER_LINE != 0 && s.overrun {
            IIR_LINE
        } else if s.ier & IER_RX != 0 && s.rx.len() >= self.trigger() {
            IIR_RX
        } else if s.ier & IER_RX != 0 && !s.rx.is_empty() {
            IIR_TIMEOUT
        } else if s.ier & IER_TX != 0 && s.tx_empty {
            IIR_TX
        } else if s.ier & IER_MODEM != 0 && s.msr & 0x0f != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }
    fn update(&mut self) {
        self.fill();
        self.irq.set_level(self.cause() != IIR_NONE);
    }
    fn read_register(&mut self, offset: u64) -> u8 {
        let dlab = self.state.lcr & LCR_DLAB != 0;
        let value = match (offset, dlab) {
            (0, true) => self.state.divisor as u8,
            (1, true) => (self.state.divisor >> 8) as u8,
            (0, false) => self.state.rx.pop_front().unwrap_or(0),
            (1, false) => self.state.ier,
            (2, _) => {
                let cause = self.cause();
                if cause == IIR_TX {
                    self.state.tx_empty = false;
                }
                cause | if self.fifo_on() { IIR_FIFO } else { 0 }
            }
            (3, _) => self.state.lcr,
            (4, _) => self.state.mcr,
            (5, _) => {
                let mut lsr = LSR_TX_EMPTY;
                if !self.state.rx.is_empty() {
                    lsr |= LSR_READY;
                }
                if std::mem::take(&mut self.state.overrun) {
                    lsr |= LSR_OVERRUN;
                }
                lsr
            }
            (6, _) => {
                let msr = self.state.msr;
                self.state.msr &= 0xf0;
                msr
            }
            (7, _) => self.state.scr,
            _ => 0xff,
        };
        self.update();
        value
    }
    fn write_register(&mut self, offset: u64, value: u8) {
        let capacity = self.capacity();
        let s = &mut self.state;
        match (offset, s.lcr & LCR_DLAB != 0) {
            (0, true) => s.divisor = s.divisor & 0xff00 | u16::from(value),
            (1, true) => s.divisor = s.divisor & 0x00ff | u16::from(value) << 8,
            (0, false) => {
                if s.mcr & MCR_LOOP == 0 {
                    self.output.write(&[value]);
                } else if s.rx.len() < capacity {
                    s.rx.push_back(value);
                } else {
                    s.overrun = true;
                }
                s.tx_empty = true;
            }
            (1, false) => {
                // Enabling the interrupt while the transmitter is empty raises it.
                s.tx_empty |= value & !s.ier & IER_TX != 0;
                s.ier = value & 0x0f;
            }
            (2, _) => {
                let switched = (s.fcr ^ value) & FCR_ENABLE != 0;
                s.fcr = value & 0xc9;
                if switched && !(value & FCR_CLEAR_RX != 0 && s.mcr & MCR_LOOP != 0) {
                    // Hardware would drop these bytes; here they wait again.
                    self.input.put_back(s.rx.drain(..));
                } else if value & FCR_CLEAR_RX != 0 {
                    s.rx.clear();
                }
            }
            (3, _) => s.lcr = value,
            (4, _) => {
                s.mcr = value & 0x1f;
                s.rts_used |= value & MCR_RTS != 0 && value & MCR_LOOP == 0;
                let lines = self.modem_lines();
                let s = &mut self.state;
                let changed = (s.msr ^ lines) & 0xf0;
                // The ring indicator counts its trailing edge only.
                let ring_ended = changed & 0x40 & !lines;
                s.msr = lines | s.msr & 0x0f | ((changed & 0xb0) | ring_ended) >> 4;
            }
            (7, _) => s.scr = value,
            _ => {}
        }
        self.update();
    }
}

impl BusDevice for Uart16550 {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            *byte = self.read_register(at);
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        for (at, byte) in (offset..).zip(data) {
            self.write_register(at, *byte);
        }
        Ok(Action::None)
    }
}

impl Service for Uart16550 {
    fn service(&mut self, _now: SimTime) -> Next {
        self.update();
        Next::OnKick
    }
}

impl Snapshot for Uart16550 {
    type State = Uart16550State;
    fn save(&self) -> Uart16550State {
        self.state.clone()
    }
    fn restore(&mut self, state: Uart16550State) -> Result<(), SnapshotError> {
        if state.rx.len() > FIFO {
            return Err(SnapshotError {
                what: "16550A",
                why: format!("{} bytes in a {FIFO}-byte FIFO", state.rx.len()),
            });
        }
        self.state = state;
        self.update();
        Ok(())
    }
}

impl fmt::Debug for Uart16550 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uart16550")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Rig {
        uart: Uart16550,
        irq: IrqLine,
        output: Arc<Mutex<Vec<u8>>>,
        input: SerialInput,
    }

    impl Rig {
        fn new() -> Self {
            let irq = IrqLine::null();
            let output = Arc::new(Mutex::new(Vec::new()));
            let input = SerialInput::default();
            Self {
                uart: Uart16550::new(irq.clone(), output.clone(), input.clone()),
                irq,
                output,
                input,
            }
        }
        fn r(&mut self, offset: u64) -> u8 {
            let mut data = [0];
            self.uart.read(offset, &mut data).unwrap();
            data[0]
        }
        fn w(&mut self, offset: u64, value: u8) {
            let _ = self.uart.write(offset, &[value]).unwrap();
        }
        fn service(&mut self) {
            assert_eq!(self.uart.service(SimTime::ZERO), Next::OnKick);
        }
    }

    /// Data sheet table III: register states after master reset.
    #[test]
    fn reset_values() {
        let mut rig = Rig::new();
        let values: Vec<_> = (1..8).map(|offset| rig.r(offset)).collect();
        assert_eq!(values, [0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00]);
    }

    /// The probe of Linux's 8250 driver finds a 16550A and nothing newer.
    #[test]
    fn probing() {
        let mut rig = Rig::new();
        rig.w(1, 0xff);
        assert_eq!(rig.r(1), 0x0f);
        rig.w(1, 0);
        rig.w(4, 0x10 | 0x0a);
        assert_eq!(rig.r(6) & 0xf0, 0x90, "loopback: RTS to CTS, OUT2 to DCD");
        rig.w(4, 0);
        rig.w(2, 0x01);
        assert_eq!(rig.r(2) >> 6, 3);
        rig.w(3, 0xe0);
        rig.w(2, 0x21);
        assert_eq!(rig.r(2) & 0x20, 0, "no 64-byte FIFO");
        rig.w(3, 0x80);
        rig.w(0, 0x01);
        rig.w(1, 0x02);
        assert_eq!((rig.r(0), rig.r(1)), (1, 2), "divisor latch");
        rig.w(3, 0x03);
        assert_eq!((rig.r(0), rig.r(1)), (0, 0));
        rig.w(7, 0x5a);
        assert_eq!(rig.r(7), 0x5a);
    }

    #[test]
    fn transmitter_interrupt() {
        let mut rig = Rig::new();
        rig.w(1, 2);
        assert!(rig.irq.level(), "enabling it while empty raises it");
        assert_eq!(rig.r(2), 0x02);
        assert!(!rig.irq.level(), "reading IIR clears it");
        assert_eq!(rig.r(2), 0x01);
        for byte in b"hi" {
            assert_eq!(rig.r(5) & 0x60, 0x60);
            rig.w(0, *byte);
            assert!(rig.irq.level());
        }
        rig.w(1, 0);
        assert!(!rig.irq.level());
        assert_eq!(*rig.output.lock().unwrap(), b"hi");
    }

    #[test]
    fn receive_interrupts_and_priorities() {
        let mut rig = Rig::new();
        rig.w(2, 0x81); // FIFO, trigger 8
        rig.w(1, 3);
        rig.r(2);
        rig.input.push(b"12345678");
        rig.service();
        assert_eq!(rig.r(2), 0xc4);
        assert_eq!(rig.r(0), b'1');
        assert_eq!(rig.r(2), 0xcc, "below the trigger: character timeout");
        rig.w(0, b'x');
        assert_eq!(rig.r(2), 0xcc, "receive comes before transmit");
        for _ in 0..7 {
            assert_eq!(rig.r(5) & 1, 1);
            rig.r(0);
        }
        assert_eq!((rig.r(5) & 1, rig.r(2)), (0, 0xc2));
        assert!(!rig.irq.level());
    }

    #[test]
    fn no_byte_of_a_long_input_is_lost() {
        let data = bus::fuzz::noise(3, 65536);
        for fcr in [0x00, 0x01, 0xc1] {
            let mut rig = Rig::new();
            rig.w(2, fcr);
            rig.w(1, 1);
            rig.input.push(&data);
            rig.service();
            let mut got = Vec::new();
            let mut interrupts = 0;
            while rig.irq.level() {
                interrupts += 1;
                for _ in 0..256 {
                    if rig.r(5) & 1 == 0 {
                        break;
                    }
                    got.push(rig.r(0));
                }
            }
            assert!(got == data, "FCR {fcr:#x}");
            assert_eq!(interrupts, 256, "FCR {fcr:#x}: 256 bytes for each");
        }
    }

    #[test]
    fn rts_holds_input_back_and_fifo_changes_keep_it() {
        let mut rig = Rig::new();
        rig.w(4, 0x0b);
        rig.w(2, 0x01);
        rig.w(4, 0x09);
        rig.input.push(b"abc");
        rig.service();
        assert_eq!(rig.r(5) & 1, 0);
        rig.w(4, 0x0b);
        assert_eq!(rig.r(0), b'a');
        rig.w(2, 0x00);
        assert_eq!(rig.r(0), b'b');
        rig.w(2, 0x01);
        assert_eq!(rig.r(0), b'c');
        assert_eq!(rig.r(5) & 1, 0);
    }

    #[test]
    fn loopback_modem_status_and_overrun() {
        let mut rig = Rig::new();
        rig.w(1, 0x0c);
        rig.w(4, 0x10);
        assert!(rig.irq.level());
        assert_eq!(rig.r(2), 0x00, "modem status");
        assert_eq!(rig.r(6), 0x0b, "CTS, DSR and DCD went away");
        assert!(!rig.irq.level());
        rig.w(4, 0x14);
        assert_eq!(rig.r(6), 0x40, "a leading edge of RI does not count");
        rig.w(4, 0x10);
        assert_eq!(rig.r(6), 0x04, "its trailing edge does");
        rig.w(0, b'q');
        rig.w(0, b'r');
        assert_eq!(rig.r(2), 0x06, "line status");
        assert_eq!(rig.r(5), 0x63);
        assert_eq!(rig.r(0), b'q');
        assert_eq!(rig.r(5), 0x60);
        assert!(rig.output.lock().unwrap().is_empty());
    }

    #[test]
    fn snapshot_round_trip() {
        let mut rig = Rig::new();
        rig.w(1, 1);
        rig.input.push(b"z");
        rig.service();
        let mut other = Rig::new();
        other.uart.restore(rig.uart.save()).unwrap();
        assert!(other.irq.level());
        assert_eq!(other.r(0), b'z');
        let mut bad = rig.uart.save();
        bad.rx.extend([0; 17]);
        assert!(other.uart.restore(bad).is_err());
    }
}
