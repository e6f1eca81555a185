//! Expected values are those of ARM DDI 0183G chapter 3, and the access
//! sequences of Linux's amba-pl011.c.

use super::*;
use std::sync::{Arc, Mutex};

struct Rig {
    uart: Pl011,
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
            uart: Pl011::new(irq.clone(), output.clone(), input.clone()),
            irq,
            output,
            input,
        }
    }
    /// Enabled with FIFOs, as a driver leaves it.
    fn on() -> Self {
        let mut rig = Self::new();
        rig.w(0x2c, 0x70);
        rig.w(0x30, 0x301);
        rig
    }
    fn r(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.uart.read(offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }
    fn w(&mut self, offset: u64, value: u32) {
        let _ = self.uart.write(offset, &value.to_le_bytes()).unwrap();
    }
    fn service(&mut self) {
        assert_eq!(self.uart.service(SimTime::ZERO), Next::OnKick);
    }
}

#[test]
fn reset_values() {
    let mut rig = Rig::new();
    for (offset, value, name) in [
        (0x04, 0, "RSR"),
        (0x18, 0x97, "FR: both FIFOs empty, modem lines on"),
        (0x30, 0x300, "CR"),
        (0x34, 0x12, "IFLS"),
        (0x38, 0, "IMSC"),
        (0x3c, 0, "RIS"),
        (0xfe0, 0x11, "PeriphID0"),
        (0xfe4, 0x10, "PeriphID1"),
        (0xfe8, 0x34, "PeriphID2"),
        (0xfec, 0x00, "PeriphID3"),
        (0xff0, 0x0d, "PCellID0"),
        (0xff4, 0xf0, "PCellID1"),
        (0xff8, 0x05, "PCellID2"),
        (0xffc, 0xb1, "PCellID3"),
    ] {
        assert_eq!(rig.r(offset), value, "{name}");
    }
}

#[test]
fn output_is_instantaneous_and_raises_the_transmit_interrupt() {
    let mut rig = Rig::on();
    rig.w(0x38, 1 << 5);
    assert!(!rig.irq.level(), "no transition yet");
    for byte in b"hello\n" {
        assert_eq!(rig.r(0x18) & 0x20, 0, "never full");
        rig.w(0x00, (*byte).into());
    }
    assert_eq!(*rig.output.lock().unwrap(), b"hello\n");
    assert!(rig.irq.level());
    assert_eq!(rig.r(0x40), 1 << 5);
    rig.w(0x44, 1 << 5);
    assert!(!rig.irq.level());
    assert_eq!(rig.r(0x18) & 0x88, 0x80, "transmit FIFO empty, not busy");
}

#[test]
fn input_waits_for_the_receiver_and_the_fifo_trigger() {
    let mut rig = Rig::new();
    rig.input.push(&[b'a'; 40]);
    rig.service();
    assert_eq!(rig.r(0x18) & 0x10, 0x10, "not enabled, so nothing arrives");
    rig.w(0x2c, 0x70);
    rig.w(0x30, 0x301);
    assert_eq!(rig.r(0x18) & 0x50, 0x40, "FIFO full");
    assert_eq!(rig.input.len(), 8, "the rest waits outside");
    rig.w(0x38, 1 << 4);
    assert!(rig.irq.level());
    for _ in 0..40 - 16 {
        assert!(rig.irq.level());
        assert_eq!(rig.r(0x00), u32::from(b'a'));
    }
    assert!(rig.irq.level(), "sixteen left: half full");
    rig.r(0x00);
    assert!(!rig.irq.level());
    rig.w(0x38, 1 << 6);
    assert!(rig.irq.level(), "receive timeout for the rest");
    rig.w(0x34, 0x02);
    assert_eq!(rig.r(0x3c) & 0x10, 0x10, "trigger at 1/8");
    for _ in 0..15 {
        rig.r(0x00);
    }
    assert!(!rig.irq.level());
    assert_eq!(rig.r(0x18) & 0x50, 0x10);
}

/// A driver that reads as Linux does: at most 256 bytes for each interrupt.
fn drain(rig: &mut Rig) -> Vec<u8> {
    let mut got = Vec::new();
    while rig.irq.level() {
        for _ in 0..256 {
            if rig.r(0x18) & 0x10 != 0 {
                break;
            }
            got.push(rig.r(0x00) as u8);
        }
    }
    got
}

#[test]
fn no_byte_of_a_long_input_is_lost() {
    let data = bus::fuzz::noise(7, 65536);
    for lcr in [0x70, 0x60] {
        let mut rig = Rig::on();
        rig.w(0x2c, lcr);
        rig.w(0x38, 0x50);
        rig.input.push(&data);
        rig.service();
        assert!(drain(&mut rig) == data, "LCR_H {lcr:#x}");
    }
}

#[test]
fn turning_the_fifo_off_and_holding_rts_lose_nothing() {
    let mut rig = Rig::on();
    rig.w(0x38, 0x50);
    let data: Vec<u8> = (0..100).collect();
    rig.input.push(&data);
    rig.service();
    let mut got: Vec<u8> = (0..5).map(|_| rig.r(0) as u8).collect();
    rig.w(0x2c, 0x60);
    got.extend((0..5).map(|_| rig.r(0) as u8));
    rig.w(0x2c, 0x70);
    rig.w(0x30, 0xb01); // RTS on
    got.extend((0..5).map(|_| rig.r(0) as u8));
    rig.w(0x30, 0x301); // RTS off: only what is in the FIFO
    got.extend(drain(&mut rig));
    assert!(got.len() < 100 && rig.input.len() == 100 - got.len());
    rig.w(0x30, 0xb01);
    got.extend(drain(&mut rig));
    assert_eq!(got, data);
}

#[test]
fn loopback_and_overrun() {
    let mut rig = Rig::on();
    rig.w(0x2c, 0x60);
    rig.w(0x30, 0x381);
    rig.w(0, 1);
    rig.w(0, 2);
    assert_eq!(rig.r(0x3c) & 1 << 10, 1 << 10);
    assert_eq!(rig.r(0), 1 | 1 << 11, "overrun flag");
    assert_eq!(rig.r(4), 8);
    rig.w(4, 0);
    assert_eq!(rig.r(4), 0);
    assert!(rig.output.lock().unwrap().is_empty());
}

#[test]
fn snapshot_round_trip() {
    let mut rig = Rig::on();
    rig.input.push(b"abc");
    rig.service();
    rig.w(0x38, 0x50);
    let mut other = Rig::new();
    other.uart.restore(rig.uart.save()).unwrap();
    assert!(other.irq.level());
    assert_eq!(drain(&mut other), b"abc");
    let mut bad = rig.uart.save();
    bad.rx.extend([0; 40]);
    assert!(other.uart.restore(bad).is_err());
}
