use crate::net::Loopback;
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::net::{Net, NetSpec, feature as net};
use crate::virtio::{VirtioPci, feature};
use bus::{Bdf, IrqLine};
use vm_memory::{Bytes, GuestAddress};

struct Rig {
    m: Machine,
    driver: Driver,
    line: IrqLine,
}

fn rig() -> Rig {
    let mut m = Machine::new(4 << 20);
    let line = IrqLine::null();
    let device = Box::new(Net::new(NetSpec::default(), Box::new(Loopback::new())));
    let function = VirtioPci::new(device, m.dma(3), line.clone()).unwrap();
    m.add(3, Box::new(function));
    let driver = Driver::probe(&mut m, 3);
    Rig { m, driver, line }
}

fn at(register: u64) -> u64 {
    Machine::config(3, register)
}

#[test]
fn identity_and_registers() {
    let Rig { mut m, driver, .. } = rig();
    assert_eq!(m.read32(at(0)), 0x1041_1af4);
    assert_eq!(m.read::<4>(at(8)), [1, 0, 0, 2], "revision 1, Ethernet");
    assert!(driver.common != 0 && driver.isr != 0 && driver.device != 0 && driver.notify != 0);
    assert_eq!(m.read16(driver.common + 0x12), 3, "two queues and control");
    assert_eq!(m.read16(driver.common + 0x10), 0xffff, "no vector");
    m.write(driver.common + 0x16, &9u16.to_le_bytes());
    assert_eq!(m.read16(driver.common + 0x18), 0, "there is no queue 9");
    assert_eq!(m.read::<6>(driver.device), NetSpec::default().mac);
    assert_eq!(m.read16(driver.device + 6), 1, "link up");
    assert_eq!(m.read16(driver.device + 10), 1500);
    assert_eq!(m.read::<4>(driver.device + 0x800), [0; 4]);
}
#[test]
fn features_are_checked() {
    let Rig {
        mut m, mut driver, ..
    } = rig();
    let offered = driver.offered(&mut m);
    for bit in [28, 29, 32, 40] {
        assert_eq!(offered >> bit & 1, 1, "feature {bit}");
    }
    assert!(
        !driver.negotiate(&mut m, !feature::VERSION_1),
        "no legacy driver"
    );
    assert!(
        !driver.negotiate(&mut m, feature::VERSION_1 | net::HOST_TSO4),
        "TSO needs CSUM"
    );
    assert!(driver.negotiate(&mut m, feature::VERSION_1));
    // A feature that is not on offer.
    driver.set_status(&mut m, 0);
    driver.set_status(&mut m, 3);
    m.write(driver.common + 8, &1u32.to_le_bytes());
    m.write(driver.common + 12, &(1u32 | 1 << 4).to_le_bytes());
    driver.set_status(&mut m, 11);
    assert_eq!(driver.status(&mut m), 3);
    // DRIVER_OK without FEATURES_OK.
    driver.set_status(&mut m, 7);
    assert_eq!(driver.status(&mut m), 0x47);
    driver.set_status(&mut m, 0);
    assert_eq!(driver.status(&mut m), 0);
}
#[test]
fn queue_sizes_are_checked() {
    let Rig {
        mut m, mut driver, ..
    } = rig();
    assert!(driver.negotiate(&mut m, u64::MAX));
    m.write(driver.common + 0x16, &0u16.to_le_bytes());
    for (size, want) in [
        (128u16, 128u16),
        (100, 128),
        (0, 128),
        (512, 128),
        (1, 1),
        (256, 256),
    ] {
        m.write(driver.common + 0x18, &size.to_le_bytes());
        assert_eq!(m.read16(driver.common + 0x18), want, "{size}");
    }
    let _ = driver.queue(&mut m, 0, 64, 0x10_0000);
    m.write(driver.common + 0x18, &32u16.to_le_bytes());
    assert_eq!(
        m.read16(driver.common + 0x18),
        64,
        "enabled queues do not change"
    );
}
#[test]
fn misplaced_rings_need_a_reset() {
    for address in [0x10_0001u64, 0x3f_fff0, 0x40_0000, !15] {
        let Rig {
            mut m, mut driver, ..
        } = rig();
        assert!(driver.negotiate(&mut m, u64::MAX));
        let _ = driver.queue(&mut m, 0, 64, 0x10_0000);
        driver
            .queue(&mut m, 1, 64, 0x12_0000)
            .set_available_index(1);
        // The used ring of the transmit queue goes elsewhere.
        m.write(driver.common + 0x16, &1u16.to_le_bytes());
        m.write(driver.common + 0x1c, &0u16.to_le_bytes());
        assert_eq!(
            m.read16(driver.common + 0x1c),
            1,
            "enable cannot be taken back"
        );
        driver.set_status(&mut m, 0);
        assert!(driver.negotiate(&mut m, u64::MAX));
        m.write(driver.common + 0x16, &1u16.to_le_bytes());
        for register in [0x20, 0x28, 0x30] {
            m.write(driver.common + register, &address.to_le_bytes());
        }
        m.write(driver.common + 0x1c, &1u16.to_le_bytes());
        driver.start(&mut m);
        m.service();
        assert_eq!(driver.status(&mut m), 0x4f, "{address:#x}");
    }
}
#[test]
fn intx_without_msix() {
    let Rig {
        mut m,
        mut driver,
        line,
    } = rig();
    assert!(driver.negotiate(&mut m, u64::MAX));
    let mut tx = driver.queue(&mut m, 1, 64, 0x12_0000);
    driver.start(&mut m);
    tx.add(&[Buffer::readable(0x20_0000, 76)]).unwrap();
    driver.kick(&mut m, &mut tx);
    assert!(line.level());
    assert_eq!(m.read::<1>(driver.isr), [1]);
    assert!(!line.level());
    assert_eq!(m.read::<1>(driver.isr), [0]);
}
#[test]
fn link_changes_are_told() {
    let Rig {
        mut m, mut driver, ..
    } = rig();
    driver.enable_msix(&mut m, 4);
    assert!(driver.negotiate(&mut m, u64::MAX));
    m.write(driver.common + 0x10, &0u16.to_le_bytes());
    m.write(driver.common + 0x10, &99u16.to_le_bytes());
    assert_eq!(m.read16(driver.common + 0x10), 0xffff, "no such vector");
    m.write(driver.common + 0x10, &3u16.to_le_bytes());
    driver.start(&mut m);
    let generation = m.read::<1>(driver.common + 0x15)[0];
    let set_link = |m: &Machine, up| {
        m.root.with(Bdf::new(0, 3, 0), |function| {
            VirtioPci::with_device(function, |net: &mut Net| net.set_link(up)).unwrap();
        });
    };
    set_link(&m, false);
    assert_eq!(m.read16(driver.device + 6), 0);
    assert_eq!(m.read::<1>(driver.common + 0x15)[0], generation + 1);
    let sent: Vec<_> = m.msi.take().iter().map(|m| m.data).collect();
    assert_eq!(sent, [0x43]);
    set_link(&m, false);
    assert_eq!(m.msi.take(), []);
    set_link(&m, true);
    assert_eq!(m.read16(driver.device + 6), 1);
}
#[test]
fn one_queue_is_reset_and_started_again() {
    let Rig {
        mut m, mut driver, ..
    } = rig();
    assert!(driver.negotiate(&mut m, u64::MAX));
    let mut tx = driver.queue(&mut m, 1, 64, 0x12_0000);
    driver.start(&mut m);
    let send = |m: &mut Machine, tx: &mut _| {
        let tx: &mut crate::virtio::driver::GuestQueue = tx;
        tx.add(&[Buffer::readable(0x20_0000, 76)]).unwrap();
        driver.kick(m, tx);
        tx.pop().is_some()
    };
    assert!(send(&mut m, &mut tx));
    m.write(driver.common + 0x16, &1u16.to_le_bytes());
    m.write(driver.common + 0x3a, &1u16.to_le_bytes());
    assert_eq!(m.read16(driver.common + 0x3a), 0, "done at once");
    assert_eq!(m.read16(driver.common + 0x1c), 0);
    assert!(!send(&mut m, &mut tx), "stopped");
    let mut tx = driver.queue(&mut m, 1, 32, 0x16_0000);
    assert!(send(&mut m, &mut tx));
}
#[test]
fn registers_by_way_of_configuration_space() {
    let Rig { mut m, driver, .. } = rig();
    let mut cap = u64::from(m.read::<1>(at(0x34))[0]);
    while m.read::<4>(at(cap))[3] != 5 || m.read::<1>(at(cap))[0] != 9 {
        cap = u64::from(m.read::<1>(at(cap + 1))[0]);
        assert_ne!(cap, 0, "no configuration access capability");
    }
    let access = |m: &mut Machine, offset: u64, len: u32| {
        m.write(at(cap + 4), &[4]);
        m.write(at(cap + 8), &(offset as u32).to_le_bytes());
        m.write(at(cap + 12), &len.to_le_bytes());
    };
    let base = driver.common;
    access(&mut m, driver.device - base, 4);
    assert_eq!(m.read::<4>(at(cap + 16)), NetSpec::default().mac[..4]);
    access(&mut m, 0x14, 1);
    m.write(at(cap + 16), &[3]);
    assert_eq!(driver.status(&mut m), 3);
    access(&mut m, 0xffff_fffc, 4);
    m.write(at(cap + 16), &[0; 4]);
    let _ = m.read::<4>(at(cap + 16));
    assert_eq!(driver.status(&mut m), 3);
}
#[test]
fn reset_in_the_middle_touches_no_ring() {
    let Rig {
        mut m, mut driver, ..
    } = rig();
    for _ in 0..20 {
        assert!(driver.negotiate(&mut m, u64::MAX));
        let mut rx = driver.queue(&mut m, 0, 64, 0x10_0000);
        let mut tx = driver.queue(&mut m, 1, 64, 0x12_0000);
        driver.start(&mut m);
        for _ in 0..40 {
            tx.add(&[Buffer::readable(0x20_0000, 1500)]).unwrap();
        }
        driver.kick(&mut m, &mut tx);
        rx.add(&[Buffer::writable(0x30_0000, 2048)]).unwrap();
        rx.publish();
        driver.set_status(&mut m, 0);
        m.service();
        assert!(rx.pop().is_none(), "frames from before the reset are gone");
        m.write(driver.notify, &[0, 0]);
        assert!(rx.pop().is_none());
    }
}

#[test]
fn a_legacy_driver() {
    for (msix, merge) in [(false, false), (true, false), (true, true)] {
        let mut m = Machine::new(4 << 20);
        let line = IrqLine::null();
        let device = Box::new(Net::new(NetSpec::default(), Box::new(Loopback::new())));
        let function = VirtioPci::transitional(device, m.dma(3), line.clone()).unwrap();
        m.add(3, Box::new(function));
        assert_eq!(m.read32(at(0)), 0x1000_1af4);
        assert_eq!(m.read::<1>(at(8)), [0], "revision 0");
        assert_eq!(m.read16(at(0x2e)), 1, "subsystem is the device type");
        let modern = Driver::probe(&mut m, 3);
        m.write(at(4), &7u16.to_le_bytes());
        if msix {
            modern.enable_msix(&mut m, 4);
        }
        let io = Machine::port(u64::from(m.read32(at(0x10)) & !3));
        assert_eq!(m.read32(at(0x10)) & 1, 1);
        m.write(io + 0x12, &[0]);
        m.write(io + 0x12, &[3]);
        assert_eq!(m.read::<1>(io + 0x12), [3]);
        let offered = m.read32(io);
        let wanted = if merge { 1u32 << 15 } else { 0 };
        assert_eq!(
            offered & (1 << 15 | 1 << 5 | 1 << 27),
            1 << 15 | 1 << 5 | 1 << 27
        );
        m.write(io + 4, &wanted.to_le_bytes());
        let config = io + if msix { 0x18 } else { 0x14 };
        assert_eq!(m.read::<6>(config), NetSpec::default().mac);
        m.write(config, &[2]);
        assert_eq!(m.read::<1>(config), [2]);
        let mut queues: Vec<_> = (0..2u16)
            .map(|i| {
                m.write(io + 0x0e, &i.to_le_bytes());
                assert_eq!(m.read16(io + 0x0c), 256);
                if msix {
                    m.write(io + 0x16, &(i + 1).to_le_bytes());
                    assert_eq!(m.read16(io + 0x16), i + 1);
                }
                let base = 0x10_0000 + u64::from(i) * 0x1_0000;
                let queue = GuestQueue::new(&m.ram, i, 256, base, 0);
                let [_, available, used] = queue.addresses();
                assert_eq!(
                    used,
                    (available + 6 + 512).next_multiple_of(4096),
                    "legacy layout"
                );
                m.write(io + 8, &((base >> 12) as u32).to_le_bytes());
                assert_eq!(u64::from(m.read32(io + 8)) << 12, base);
                queue
            })
            .collect();
        m.write(io + 0x12, &[7]);
        assert_eq!(m.read::<1>(io + 0x12), [7]);
        let header = if merge { 12u32 } else { 10 };
        queues[0]
            .add(&[
                Buffer::writable(0x30_0000, header),
                Buffer::writable(0x30_1000, 1514),
            ])
            .unwrap();
        queues[0].publish();
        m.write(io + 0x10, &0u16.to_le_bytes());
        m.ram
            .write_slice(&[7; 60], GuestAddress(0x20_1000))
            .unwrap();
        queues[1]
            .add(&[
                Buffer::readable(0x20_0000, header),
                Buffer::readable(0x20_1000, 60),
            ])
            .unwrap();
        queues[1].publish();
        m.write(io + 0x10, &1u16.to_le_bytes());
        assert!(queues[1].pop().is_some());
        assert_eq!(queues[0].pop().map(|used| used.1), Some(60 + header));
        let mut got = [0; 60];
        m.ram.read_slice(&mut got, GuestAddress(0x30_1000)).unwrap();
        assert_eq!(got, [7; 60]);
        if msix {
            let mut data: Vec<u32> = m.msi.take().iter().map(|m| m.data).collect();
            data.sort_unstable();
            assert_eq!(data, [0x41, 0x42]);
        } else {
            assert!(line.level());
            assert_eq!(m.read::<1>(io + 0x13), [1]);
            assert!(!line.level());
        }
        // A modern driver may take over.
        let mut modern = modern;
        assert!(modern.negotiate(&mut m, u64::MAX));
    }
}
