use super::*;
use crate::irqchip::ioapic::IoApic;
use crate::net::Loopback;
use crate::virtio::driver::{Buffer, Driver, Machine};
use crate::virtio::net::{Net, NetSpec};
use crate::virtio::{VirtioPci, feature};
use bus::{Action, Bdf, IoError, IrqLine, MsiMessage, MsiSink, Snapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A function with all kinds of BARs; they remember one byte per BAR.
struct Plain {
    state: FunctionState,
    last: [u8; 6],
    resets: Arc<AtomicUsize>,
}

impl PciFunction for Plain {
    fn state(&mut self) -> &mut FunctionState {
        &mut self.state
    }
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(self.last[usize::from(bar)].wrapping_add(offset as u8));
        Ok(())
    }
    fn bar_write(&mut self, bar: u8, _: u64, data: &[u8]) -> Result<Action, IoError> {
        self.last[usize::from(bar)] = data[0];
        Ok(Action::None)
    }
    fn reset(&mut self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

struct Rig {
    m: Machine,
    msix: Arc<Msix>,
    msi: Arc<Msi>,
    intx: Arc<Intx>,
    line: IrqLine,
    resets: Arc<AtomicUsize>,
}

fn rig() -> Rig {
    let mut m = Machine::new(1 << 20);
    let identity = Identity {
        vendor: 0x1234,
        device: 0x5678,
        revision: 3,
        class: 0x02_00_00,
        subsystem_vendor: 0x10,
        subsystem: 0x20,
    };
    let line = IrqLine::null();
    let mut state = FunctionState::new(identity, m.dma(5), line.clone());
    state.add_intx();
    state.add_bar(0, BarKind::Memory32, 0x1000).unwrap();
    state.add_bar(1, BarKind::Io, 0x20).unwrap();
    state.add_bar(2, BarKind::Memory64, 0x10_0000).unwrap();
    assert_eq!(
        state.add_bar(3, BarKind::Io, 4),
        Err(PciError::Bar(3)),
        "upper half of BAR 2"
    );
    let msix = state.add_msix(4, 70).unwrap();
    let msi = state.add_msi(2).unwrap();
    state.add_express().unwrap();
    let intx = Arc::clone(&state.intx);
    let resets = Arc::new(AtomicUsize::new(0));
    let plain = Plain {
        state,
        last: [0; 6],
        resets: Arc::clone(&resets),
    };
    m.add(5, Box::new(plain));
    Rig {
        m,
        msix,
        msi,
        intx,
        line,
        resets,
    }
}

fn at(register: u64) -> u64 {
    Machine::config(5, register)
}

fn capability(m: &mut Machine, id: u8) -> u64 {
    let mut next = m.read::<1>(at(0x34))[0];
    for _ in 0..48 {
        let [this, after] = m.read::<2>(at(next.into()));
        if this == id {
            return next.into();
        }
        next = after;
        if next == 0 {
            break;
        }
    }
    panic!("no capability {id:#x}");
}

fn bar64(m: &mut Machine, register: u64) -> u64 {
    u64::from_le_bytes(m.read(at(register))) & !15
}

#[test]
fn header_and_empty_slots() {
    let Rig { mut m, .. } = rig();
    assert_eq!(m.read32(at(0)), 0x5678_1234);
    assert_eq!(m.read32(at(8)), 0x0200_0003);
    assert_eq!(m.read32(at(0x2c)), 0x0020_0010);
    assert_eq!(m.read16(at(6)) & 0x10, 0x10, "capability list");
    m.write(at(0), &[0, 0, 0, 0, 0, 0]);
    assert_eq!(m.read32(at(0)), 0x5678_1234, "read-only");
    assert_eq!(m.read32(Machine::config(6, 0)), u32::MAX);
    assert_eq!(
        m.read32(Machine::config(5, 0) + 0x1000),
        u32::MAX,
        "function 1"
    );
}
#[test]
fn bars_are_sized_and_moved() {
    let Rig { mut m, .. } = rig();
    // Sizes by the usual probe, decode off.
    for (register, bits, mask) in [
        (0x10, 0, 0xffff_f000u32),
        (0x14, 1, 0xffff_ffe1),
        (0x18, 0xc, 0xfff0_000c),
        (0x1c, 0, 0xffff_ffff),
    ] {
        let old = m.read32(at(register));
        m.write(at(register), &u32::MAX.to_le_bytes());
        assert_eq!(m.read32(at(register)), mask, "{register:#x}");
        m.write(at(register), &old.to_le_bytes());
        assert_eq!(m.read32(at(register)), old);
        assert_eq!(old & 15 & !mask, 0);
        assert_eq!(old & bits, bits);
    }
    let here = u64::from(m.read32(at(0x10)));
    let mut byte = [0];
    assert!(m.bus.read(here, &mut byte).is_err(), "decode is off");
    m.write(at(4), &[3, 0]);
    m.write(here + 0x10, &[7]);
    assert_eq!(m.read::<1>(here)[0], 7);
    m.write(at(0x10), &(here as u32 + 0x10_0000).to_le_bytes());
    assert!(m.bus.read(here, &mut byte).is_err(), "it has left");
    assert_eq!(m.read::<1>(here + 0x10_0001)[0], 8);
    assert!(
        m.bus.read(here + 0x10_0ffe, &mut [0; 4]).is_err(),
        "crosses the end"
    );
    let wide = bar64(&mut m, 0x18);
    m.write(wide, &[9]);
    assert_eq!(m.read::<1>(wide + 0xf_ffff)[0], 9u8.wrapping_add(0xff));
    let port = u64::from(m.read32(at(0x14)) & !3);
    m.write(Machine::port(port), &[5]);
    assert_eq!(m.read::<1>(Machine::port(port + 0x1f))[0], 5 + 0x1f);
    m.write(at(4), &[2, 0]);
    assert!(
        m.bus.read(Machine::port(port), &mut byte).is_err(),
        "I/O decode off"
    );
}
#[test]
fn the_x86_ports_see_the_same() {
    let Rig { m, .. } = rig();
    let ports = Windows::new(&m.root).config_ports();
    let mut ports = ports.lock().unwrap();
    let mut data = [0; 4];
    let _ = ports
        .write(0, &(0x8000_0000u32 | 5 << 11 | 8).to_le_bytes())
        .unwrap();
    ports.read(4, &mut data).unwrap();
    assert_eq!(u32::from_le_bytes(data), 0x0200_0003);
    ports.read(6, &mut data[..2]).unwrap();
    assert_eq!(data[..2], [0, 2]);
    ports.read(0, &mut data).unwrap();
    assert_eq!(u32::from_le_bytes(data), 0x8000_0000 | 5 << 11 | 8);
    let _ = ports.write(0, &(5u32 << 11).to_le_bytes()).unwrap();
    ports.read(4, &mut data).unwrap();
    assert_eq!(data, [0xff; 4], "the enable bit is 0");
}
#[test]
fn msix_masks_and_pending_bits() {
    let Rig { mut m, msix, .. } = rig();
    let cap = capability(&mut m, 0x11);
    assert_eq!(m.read16(at(cap + 2)) & 0x7ff, 69);
    let place = m.read32(at(cap + 4));
    assert_eq!(place & 7, 4);
    let table = u64::from(m.read32(at(0x20)) & !15) + u64::from(place & !7);
    let pba = u64::from(m.read32(at(0x20)) & !15) + u64::from(m.read32(at(cap + 8)) & !7);
    m.write(at(4), &[6, 0]);
    let entry = table + 16 * 66;
    m.write(entry, &0xfee0_1000u64.to_le_bytes());
    m.write(entry + 8, &0x77u32.to_le_bytes());
    msix.trigger(66);
    assert_eq!(m.msi.take(), [], "MSI-X is off");
    m.write(at(cap + 2), &0xc000u16.to_le_bytes());
    msix.trigger(66);
    assert_eq!(m.read::<8>(pba + 8), [4, 0, 0, 0, 0, 0, 0, 0]);
    m.write(at(cap + 2), &0x8000u16.to_le_bytes());
    assert_eq!(m.msi.take(), [], "the vector itself is still masked");
    m.write(entry + 12, &0u32.to_le_bytes());
    let sent = m.msi.take();
    assert_eq!(
        (sent.len(), sent[0].address, sent[0].data),
        (1, 0xfee0_1000, 0x77)
    );
    assert_eq!(m.read::<8>(pba + 8), [0; 8]);
    // Without Bus Master Enable it waits.
    m.write(at(4), &[2, 0]);
    msix.trigger(66);
    assert!(m.msi.take().is_empty() && msix.pending(66));
    m.write(at(4), &[6, 0]);
    assert_eq!(m.msi.take().len(), 1);
    msix.trigger(70);
    msix.trigger(u16::MAX);
    assert_eq!(m.msi.take(), []);
}
#[test]
fn msi_with_masks() {
    let Rig { mut m, msi, .. } = rig();
    let cap = capability(&mut m, 0x05);
    m.write(at(4), &[6, 0]);
    m.write(at(cap + 4), &0xfee0_2000u32.to_le_bytes());
    m.write(at(cap + 8), &1u32.to_le_bytes());
    m.write(at(cap + 12), &0x4000u16.to_le_bytes());
    m.write(at(cap + 2), &(1u16 | 1 << 4).to_le_bytes());
    msi.trigger(1);
    msi.trigger(3);
    let data: Vec<_> = m.msi.take().iter().map(|m| (m.address, m.data)).collect();
    let one = (0x1_fee0_2000, 0x4001);
    assert_eq!(data, [one, one], "two of four vectors were given");
    m.write(at(cap + 16), &2u32.to_le_bytes());
    msi.trigger(1);
    assert_eq!(m.msi.take(), []);
    m.write(at(cap + 16), &0u32.to_le_bytes());
    assert_eq!(m.msi.take().len(), 1);
}
#[test]
fn intx_status_and_disable() {
    let Rig {
        mut m, intx, line, ..
    } = rig();
    assert_eq!(m.read::<1>(at(0x3d)), [1]);
    intx.set(true);
    assert!(line.level());
    assert_eq!(m.read16(at(6)) & 8, 8);
    m.write(at(4), &[0, 4]);
    assert!(!line.level());
    assert_eq!(m.read16(at(6)) & 8, 8);
    m.write(at(4), &[0, 0]);
    assert!(line.level());
    let wired = IrqLine::null();
    let shared = SharedLine::new(wired.clone());
    let lines = [shared.driver(), shared.driver()];
    lines[0].set_level(true);
    lines[1].set_level(true);
    lines[0].set_level(false);
    assert!(wired.level());
    lines[1].set_level(false);
    assert!(!wired.level());
}
#[test]
fn function_level_reset() {
    let Rig {
        mut m,
        msix,
        resets,
        ..
    } = rig();
    let cap = capability(&mut m, 0x10);
    let msix_cap = capability(&mut m, 0x11);
    assert_eq!(m.read32(at(cap + 4)) >> 28 & 1, 1, "FLR is offered");
    m.write(at(4), &[7, 0]);
    m.write(at(msix_cap + 2), &0x8000u16.to_le_bytes());
    let control = m.read16(at(cap + 8));
    m.write(at(cap + 8), &(control | 0x8000).to_le_bytes());
    assert_eq!(resets.load(Ordering::Relaxed), 1);
    assert_eq!(m.read16(at(4)), 0);
    assert_eq!(m.read32(at(0x10)), 0);
    assert_eq!(m.read32(at(0x18)), 0xc);
    assert!(!msix.enabled());
    assert_eq!(m.read16(at(cap + 8)), control);
}
#[test]
fn slots_are_checked() {
    let m = Machine::new(1 << 20);
    let bridge = || host_bridge(m.dma(0));
    assert_eq!(m.root.add(Bdf::new(0, 0, 0), bridge()), Ok(()));
    assert_eq!(
        m.root.add(Bdf::new(0, 0, 0), bridge()),
        Err(PciError::Slot(Bdf::new(0, 0, 0)))
    );
    assert!(m.root.add(Bdf::new(1, 0, 0), bridge()).is_err());
    assert_eq!(m.root.add(Bdf::new(0, 0, 1), bridge()), Ok(()));
    let mut header = [0];
    m.root.config_read(Bdf::new(0, 0, 0), 0x0e, &mut header);
    assert_eq!(header, [0x80], "multi-function");
}

struct NoMessages;

impl MsiSink for NoMessages {
    fn send(&self, _: MsiMessage) {}
}

#[test]
fn six_nics_share_four_pins() {
    // Without MSI-X, slots 1 and 5, and 2 and 6, drive one input each.
    let apic = IoApic::new(Arc::new(NoMessages));
    let pins: Vec<_> = (16..20).map(|n| SharedLine::new(apic.pin(n))).collect();
    let mut m = Machine::new(4 << 20);
    let mut nics = Vec::new();
    for slot in 1..=6u8 {
        let net = Box::new(Net::new(NetSpec::default(), Box::new(Loopback::new())));
        let line = pins[usize::from(slot % 4)].driver();
        let function = VirtioPci::new(net, m.dma(slot), line).unwrap();
        m.add(slot, Box::new(function));
        let mut driver = Driver::probe(&mut m, slot);
        assert!(driver.negotiate(&mut m, feature::VERSION_1));
        let queue = driver.queue(&mut m, 1, 16, 0x10_0000 + u64::from(slot) * 0x1_0000);
        driver.start(&mut m);
        nics.push((driver, queue));
    }
    let levels = |apic: &IoApic| apic.save().levels >> 16;
    assert_eq!(levels(&apic), 0);
    let mut asserted = Vec::new();
    for slot in [1usize, 5, 2, 6, 3, 4] {
        let (driver, queue) = &mut nics[slot - 1];
        queue.add(&[Buffer::readable(0x20_0000, 100)]).unwrap();
        driver.kick(&mut m, queue);
        asserted.push(slot);
        let expected = asserted.iter().fold(0, |all, slot| all | 1 << (slot % 4));
        assert_eq!(levels(&apic), expected, "NIC {slot}");
    }
    // Reading the ISR register takes a NIC's interrupt back, not its
    // neighbour's.
    for slot in [5usize, 2, 4, 1, 3, 6] {
        assert_eq!(m.read::<1>(nics[slot - 1].0.isr), [1], "NIC {slot}");
        asserted.retain(|other| *other != slot);
        let expected = asserted.iter().fold(0, |all, slot| all | 1 << (slot % 4));
        assert_eq!(levels(&apic), expected, "NIC {slot}");
    }
}
