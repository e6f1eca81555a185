//! Every register window of the machines by the generic driver of `bus`, with
//! input lines, serial input and time that moves.
//!
//! Input: which device, then commands of `bus::fuzz::drive`.

use super::Target;
use crate::Input;
use bus::fuzz::drive;
use bus::{BusDevice, IrqLine, MsiMessage, MsiSink, Service, SimTime, Snapshot, Wake};
use devices::irqchip::gic::{CpuOutput, GICC_SIZE, GICD_SIZE, GICV2M_SIZE, Gic, GicV2m};
use devices::irqchip::ioapic::{IOAPIC_SIZE, IoApic, PINS};
use devices::rtc::{Cmos, NowSource, Pl031};
use devices::serial::pl011::PL011_SIZE;
use devices::serial::uart16550::UART16550_SIZE;
use devices::serial::{Pl011, SerialInput, Uart16550};
use fpga_sim::events::UserEvents;
use fpga_sim::queue::{HardQueue, QueueWindow, Role, WINDOW};
use fpga_sim::user_bar::{USER_BAR, UserBar};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const TARGET: Target = Target {
    name: "devices",
    about: "interrupt controllers, serial ports, clocks, hard queues",
    run,
    max_len: 4096,
    rounds: 150_000,
    words: &[],
};

/// Number of devices.
const DEVICES: u8 = 12;

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = input.u8();
    let rest = input.rest();
    match which % DEVICES {
        n @ 0..=3 => gic(n, which / DEVICES, rest),
        4 => ioapic(rest),
        5 => cmos(rest),
        6 => pl031(rest),
        7 | 8 => pl011(rest, which % DEVICES == 8),
        9 => uart(rest),
        10 => user_bar(rest),
        _ => queue_windows(rest),
    }
}

/// What can be saved can be restored, and is the same then.
fn saves<D: Snapshot>(device: &mut D)
where
    D::State: Debug,
{
    let state = format!("{:?}", device.save());
    let saved = device.save();
    assert!(device.restore(saved).is_ok(), "cannot be restored: {state}");
    assert_eq!(format!("{:?}", device.save()), state);
}

/// Calls what it returns on every access; it counts them.
fn counted(mut each: impl FnMut(usize)) -> impl FnMut() {
    let mut n = 0;
    move || {
        n += 1;
        each(n);
    }
}

fn gic(part: u8, cpus: u8, commands: &[u8]) {
    let cpus = usize::from(cpus % 8) + 1;
    let outputs = (0..cpus).map(|_| CpuOutput::irq(IrqLine::null())).collect();
    let gic = Gic::new(160, outputs);
    let lines: Vec<_> = (0..160).map(|n| gic.spi(n)).collect();
    let mut toggle = counted(|n| lines[n * 7 % lines.len()].set_level(n % 3 != 0));
    let mut cpu = gic.cpu_interface(cpus - 1);
    let mut distributor = gic.distributor(cpus - 1);
    // So that something is delivered at all.
    for (offset, value) in [(0, 1u32), (4, 0xf0)] {
        let _ = cpu.write(offset, &value.to_le_bytes());
    }
    let _ = distributor.write(0, &1u32.to_le_bytes());
    for n in 0..5 {
        let _ = distributor.write(0x100 + 4 * n, &u32::MAX.to_le_bytes());
    }
    let mut frame = GicV2m::new(gic.clone(), 0, 0, 160);
    match part {
        0 => drive(&mut distributor, GICD_SIZE, commands, |_| toggle()),
        1 => drive(&mut cpu, GICC_SIZE, commands, |_| toggle()),
        2 => drive(&mut frame, GICV2M_SIZE, commands, |_| toggle()),
        // By turns, as a guest uses them.
        _ => {
            for (n, piece) in commands.chunks(9).enumerate() {
                let device: &mut dyn BusDevice = match n % 2 {
                    0 => &mut cpu,
                    _ => &mut distributor,
                };
                drive(device, GICC_SIZE.min(GICD_SIZE), piece, |_| toggle());
            }
        }
    }
    let mut gic = gic;
    saves(&mut gic);
}

struct NoSink;

impl MsiSink for NoSink {
    fn send(&self, message: MsiMessage) {
        assert_eq!(message.address >> 20, 0xfee, "{message:?}");
    }
}

fn ioapic(commands: &[u8]) {
    let mut apic = IoApic::new(Arc::new(NoSink));
    let pins: Vec<_> = (0..PINS).map(|n| apic.pin(n)).collect();
    let mut toggle = counted(|n| pins[n % PINS].set_level(n % 3 == 0));
    drive(&mut apic, IOAPIC_SIZE.min(0x44), commands, |_| toggle());
    for vector in 0..=255 {
        apic.eoi(vector);
    }
    saves(&mut apic);
}

/// A time that moves by `step` on each call of the second value.
fn time(step: SimTime) -> (NowSource, impl FnMut()) {
    let clock = Arc::new(AtomicU64::new(0));
    let seen = clock.clone();
    let now: NowSource = Arc::new(move || SimTime(seen.load(Ordering::Relaxed)));
    let tick = move || {
        clock.fetch_add(step.0, Ordering::Relaxed);
    };
    (now, tick)
}

fn cmos(commands: &[u8]) {
    let (now, mut tick) = time(SimTime::from_ms(143));
    let mut rtc = Cmos::new(now, 1_700_000_000);
    drive(&mut rtc, 2, commands, |_| tick());
    saves(&mut rtc);
}

fn pl031(commands: &[u8]) {
    let (now, mut tick) = time(SimTime::from_ms(333_333));
    let mut rtc = Pl031::new(IrqLine::null(), now.clone(), 5);
    drive(&mut rtc, 0x1000, commands, |rtc| {
        tick();
        rtc.service(now());
    });
    saves(&mut rtc);
}

/// A queue with input, which grows as the guest reads.
fn serial_input() -> SerialInput {
    let input = SerialInput::new(Wake::null());
    input.push(&bus::fuzz::noise(5, 1000));
    input
}

fn pl011(commands: &[u8], all: bool) {
    let irq = IrqLine::null();
    let mut uart = Pl011::new(irq.clone(), Vec::new(), serial_input());
    // The registers alone, or all of the window.
    let len = if all { PL011_SIZE } else { 0x50 };
    let mut n = 0;
    drive(&mut uart, len, commands, |uart| {
        n += 1;
        if n % 5 == 0 {
            uart.service(SimTime::ZERO);
        }
        // UARTMIS tells why the line is high (DDI 0183, section 3.3.12).
        let mut masked = [0; 4];
        let _ = uart.read(0x40, &mut masked);
        assert_eq!(irq.level(), masked != [0; 4]);
    });
    saves(&mut uart);
}

fn uart(commands: &[u8]) {
    let irq = IrqLine::null();
    let mut uart = Uart16550::new(irq.clone(), Vec::new(), serial_input());
    let mut n = 0;
    drive(&mut uart, UART16550_SIZE, commands, |uart| {
        n += 1;
        if n % 5 == 0 {
            uart.service(SimTime::ZERO);
        }
    });
    // Reading IIR may take back an interrupt, never raise one.
    let mut cause = [0];
    let before = irq.level();
    let _ = uart.read(2, &mut cause);
    assert_eq!(cause[0] & 1 == 0, before);
    saves(&mut uart);
}

fn user_bar(commands: &[u8]) {
    let queue = || Arc::new(HardQueue::new(Duration::ZERO));
    let (h2c, c2h) = (queue(), queue());
    let mut bar = UserBar::new(h2c.clone(), c2h.clone(), Arc::new(UserEvents::default()));
    let mut n = 0;
    drive(&mut bar, USER_BAR, commands, |_| {
        n += 1;
        if n % 3 == 0 {
            c2h.push(n);
            h2c.try_pop();
        }
    });
}

fn queue_windows(commands: &[u8]) {
    let queue = Arc::new(HardQueue::new(Duration::ZERO));
    let mut ends =
        [Role::Producer, Role::Consumer].map(|role| QueueWindow::new(queue.clone(), role));
    for (n, piece) in commands.chunks(9).enumerate() {
        drive(&mut ends[n % 2], WINDOW, piece, |_| {});
    }
}
