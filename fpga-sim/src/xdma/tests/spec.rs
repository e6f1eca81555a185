//! The registers by PG195 and by the accesses of the drivers.

use super::*;

/// Spec section 3: identifiers of all blocks; what does not exist is zero.
#[test]
fn identifiers_and_holes() {
    let mut bench = Bench::new();
    for (at, id) in [
        (0x0000, 0x1fc0_0006),
        (0x0300, 0x1fc0_0306),
        (0x1200, 0x1fc1_0206),
        (0x2000, 0x1fc2_0006),
        (0x3000, 0x1fc3_0006),
        (0x4100, 0x1fc4_0106),
        (0x5300, 0x1fc5_0306),
        (0x6000, 0x1fc6_0006),
    ] {
        assert_eq!(bench.read(at), id, "{at:#x}");
        bench.write(at, 0);
        assert_eq!(bench.read(at), id, "read only");
    }
    for hole in [
        0x0400, 0x1f00, 0x2100, 0x5400, 0x7000, 0x9000, 0xffc0, 0x0010, 0x3004,
    ] {
        bench.write(hole, !0);
        assert_eq!(bench.read(hole), 0, "{hole:#x}");
    }
    let mut two = Bench::of(SimCardSpec {
        dma: crate::card::DmaSpec {
            channels: 2,
            ..Default::default()
        },
        ..Default::default()
    });
    assert_eq!(two.read(0x0100), 0x1fc0_0106);
    assert_eq!((two.read(0x0200), two.read(0x1200)), (0, 0));
}

/// Spec section 5: probe, start, MSI-X completion; 8 MiB is one run of 2048
/// descriptors.
#[test]
fn a_transfer_by_the_drivers_accesses() {
    let mut bench = Bench::new();
    bench.probe(false);
    let data = bus::fuzz::noise(11, 8 << 20);
    bench.put(0x100_0000, &data);
    for (way, vector) in [(Way::H2c, 1), (Way::C2h, 5)] {
        let host = if way == Way::H2c {
            0x100_0000
        } else {
            0x200_0000
        };
        bench.start(way, 1, &pages(host, DDR, 2048), START);
        let slices = bench.run();
        assert!(slices > 8, "in bounded slices, not at once: {slices}");
        assert_eq!(
            bench.raised,
            [vector],
            "one message for stopped and completed"
        );
        let (status, count) = bench.complete(way, 1);
        assert_eq!((status, count), (0x6, 2048));
        assert_eq!(
            bench.read(Bench::at(way, 1).0 + 0x44),
            0,
            "cleared by reading"
        );
        bench.raised.clear();
    }
    assert!(bench.ddr(DDR, data.len()) == data && bench.get(0x200_0000, data.len()) == data);
}

/// Spec section 6.4: a transfer that ends while its source is masked raises its
/// message when the mask opens, and a status that was cleared raises none.
#[test]
fn requests_are_evaluated_again() {
    let mut bench = Bench::new();
    bench.probe(false);
    bench.write(0x98, MASK);
    bench.start(Way::H2c, 0, &pages(0, DDR, 1), START);
    bench.run();
    assert!(bench.raised.is_empty());
    assert_eq!(
        bench.read(0x204c),
        0,
        "masked in the channel: not even pending"
    );
    bench.write(0x94, MASK);
    assert_eq!(bench.raised, [0]);
    bench.write(0x94, MASK);
    assert_eq!(bench.raised, [0], "no second rise");
    // The same by the IRQ block's enable.
    bench.write(0x2018, 1);
    assert_eq!((bench.read(0x204c), bench.read(0x2044)), (1, 0));
    assert!(!bench.intx);
    bench.write(0x2014, 1);
    assert_eq!(bench.raised, [0, 0]);
    assert_eq!((bench.read(0x2044), bench.intx), (1, true));
    assert_eq!(bench.read(0x44), 0x6);
    assert_eq!((bench.read(0x2044), bench.intx), (0, false));
    // Write-one-to-clear leaves the other bits.
    bench.write(0x04, STOP);
    bench.start(Way::H2c, 0, &pages(0, DDR, 1), START);
    bench.run();
    bench.write(0x40, 0x2);
    assert_eq!(bench.read(0x40), 0x4);
    bench.write(0x40, !0);
    assert!(!bench.intx);
}

/// Spec section 5, MSI and INTx: one handler for all sources.
#[test]
fn the_shared_handlers_accesses() {
    let mut bench = Bench::new();
    bench.probe(false);
    for round in 0..1000u32 {
        let way = if round % 2 == 0 { Way::H2c } else { Way::C2h };
        let bit = if way == Way::H2c { 2 } else { 6 };
        bench.start(way, 2, &pages(0, DDR, 3), START);
        bench.run();
        assert!(bench.intx, "{round}");
        assert_eq!(bench.read(0x2044), 1 << bit);
        bench.write(0x2018, 1 << bit);
        assert!(!bench.intx, "masked by the handler");
        assert_eq!(bench.read(0x2040), 0);
        let (block, _) = Bench::at(way, 2);
        assert_eq!(bench.read(block + 0x44), 0x6);
        bench.write(block + 0x04, STOP);
        assert_eq!(bench.read(block + 0x48), 3);
        bench.write(0x2014, 1 << bit);
        assert!(!bench.intx);
    }
    let channels = &bench.xdma.counters().channels;
    assert_eq!((channels[2].interrupts, channels[6].interrupts), (500, 500));
}

/// Spec section 5, poll mode: the count and the error bit in host memory, no
/// interrupt.
#[test]
fn polling() {
    let mut bench = Bench::new();
    bench.probe(true);
    let word = |bench: &Bench, at: u64| u32::from_le_bytes(bench.get(at, 4).try_into().unwrap());
    for round in 0..1000 {
        bench.put(0x8000, &[0; 4]);
        bench.start(Way::H2c, 0, &pages(0, DDR, round % 70 + 1), START_POLL);
        bench.run();
        assert_eq!(u64::from(word(&bench, 0x8000)), round % 70 + 1);
        bench.write(0x04, START_POLL & !1);
    }
    // C2H from nowhere: an error, and the next run starts with a clean status.
    bench.start(Way::C2h, 0, &pages(0, HOLE, 1), START_POLL);
    bench.run();
    assert_eq!(word(&bench, 0x9000), 1 << 31);
    assert_eq!(bench.read(0x1040) & !1, 1 << 9);
    bench.write(0x1004, START_POLL & !1);
    bench.start(Way::C2h, 0, &pages(0, DDR, 1), START_POLL);
    bench.run();
    assert_eq!(word(&bench, 0x9000), 1);
    assert!(bench.raised.is_empty());
}

/// Spec section 5, errors: what stops, what is logged, what is silent.
#[test]
fn errors_as_the_ip_makes_them() {
    let mut bench = Bench::new();
    bench.probe(false);
    // A write to nowhere: not enabled by the driver, so it seems to succeed.
    bench.start(Way::H2c, 0, &pages(0, HOLE, 2), START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (0x6, 2));
    // As mainline enables it, it stops.
    bench.start(Way::H2c, 0, &pages(0, HOLE, 2), 0x00ff_fe1f);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 14, 0));
    // A read from nowhere behind one good descriptor.
    bench.start(
        Way::C2h,
        0,
        &[(0, DDR, 64), (64, HOLE, 64), (128, DDR, 64)],
        START,
    );
    bench.run();
    assert_eq!(bench.complete(Way::C2h, 0), (1 << 9, 1));
    // Bad magic.
    let adjacent = bench.chain(Way::H2c, RING, &pages(0, DDR, 2));
    bench.put(RING + 34, &[0]);
    bench.write(0x4080, RING as u32);
    bench.write(0x4084, 0);
    bench.write(0x4088, adjacent);
    bench.write(0x04, START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 4, 1));
    // Descriptors that are not in memory.
    bench.write(0x4084, 0x7fff);
    bench.write(0x04, START);
    bench.run();
    assert_eq!(bench.complete(Way::H2c, 0), (1 << 19, 0));
    // All of them are counted, the silent ones too; a reset keeps the counts.
    bench.xdma.reset(0);
    let named = bench.xdma.counters().named();
    let count = |name: &str| named.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!((count("h2c0.errors"), count("c2h0.errors")), (5, 1));
    assert_eq!(
        (count("h2c0.descriptors"), count("c2h0.descriptors")),
        (3, 1)
    );
    assert_eq!((count("c2h0.bytes"), count("c2h0.interrupts")), (64, 1));
}

/// Spec section 6.8: a user interrupt is a level that the driver never
/// acknowledges: one message for each rise.
#[test]
fn user_interrupts() {
    let mut bench = Bench::new();
    bench.probe(false);
    bench.xdma.set_user(1 << 3);
    bench.look();
    bench.look();
    assert_eq!((bench.read(0x2048), bench.read(0x2040)), (1 << 3, 1 << 3));
    assert_eq!(bench.raised, [11]);
    assert!(bench.intx, "stays up");
    bench.xdma.set_user(0);
    bench.look();
    assert!(!bench.intx);
    bench.xdma.set_user(1 << 3 | 1);
    bench.look();
    assert_eq!(bench.raised, [11, 8, 11]);
    bench.write(0x200c, 1);
    assert_eq!((bench.read(0x2048), bench.read(0x2040)), (9, 8));
}

/// A timed card shows a completion when the link has carried the data.
#[test]
fn completions_take_the_profiles_time() {
    let mut bench = Bench::of(SimCardSpec {
        dma: crate::card::DmaSpec {
            profile: Profile::XdmaGen3x8Poll,
            ..Default::default()
        },
        timed: true,
        ..Default::default()
    });
    bench.probe(true);
    let mut took = Vec::new();
    for n in [1, 64, 1024] {
        let before = bench.now;
        bench.put(0x8000, &[0; 4]);
        bench.start(Way::H2c, 0, &pages(0x100_0000, DDR, n), START_POLL);
        let Next::At(ready) = bench.slice() else {
            panic!("it takes time")
        };
        assert!(ready > before);
        bench.now = SimTime(ready.0 - 1);
        bench.slice();
        assert_eq!(bench.get(0x8000, 4), [0; 4], "not before its time");
        bench.now = ready;
        bench.run();
        assert_eq!(bench.get(0x8000, 2), (n as u16).to_le_bytes());
        took.push((bench.now - before).0);
        bench.write(0x04, START_POLL & !1);
    }
    // Gen3 x8 carries less than 7.88 GB/s: 4 MiB take more than 530 us.
    assert!(
        took[0] < took[1] && took[1] < took[2] && took[2] > 530_000_000,
        "{took:?}"
    );
}
