//! Much at once, long transfers, and what must end at once.

use super::*;

/// Spec section 6.5 and the performance counters: a cyclic chain runs in slices
/// until RUN is cleared.
#[test]
fn the_performance_chain() {
    let mut bench = Bench::new();
    bench.probe(false);
    for i in 0..128u64 {
        let descriptor = Descriptor {
            length: 4096,
            source: 0x100_0000,
            destination: 0,
            next: RING + (i + 1) % 128 * 32,
            ..Descriptor::default()
        };
        bench.put(RING + i * 32, &descriptor.to_bytes());
    }
    bench.write(0xc0, 2);
    bench.write(0xc0, 5);
    bench.write(0x4080, RING as u32);
    bench.write(0x4084, 0);
    bench.write(0x4088, 0);
    bench.write(0x04, START);
    let mut counts = Vec::new();
    // Longer than any transfer: then it leaves time to the processor.
    let mut gaps = Vec::new();
    for _ in 0..40 {
        let Next::At(at) = bench.slice() else {
            panic!("it runs for ever")
        };
        gaps.push((at - bench.now).0);
        bench.now = at;
    }
    assert_eq!((gaps[0], gaps[39]), (0, SimTime::from_us(500).0));
    for _ in 0..5 {
        let Next::At(at) = bench.slice() else {
            panic!("it runs for ever")
        };
        bench.now = at;
        let cycles = bench.read(0xc4);
        let beats = bench.read(0xcc);
        assert!(cycles >= beats && beats > 0);
        counts.push((cycles, beats, bench.read(0x48)));
    }
    assert!(counts.windows(2).all(|w| w[0] < w[1]), "{counts:?}");
    bench.write(0x0c, 1);
    assert_eq!(bench.run(), 0);
    assert_eq!(bench.read(0x40) & 1, 0);
    bench.write(0xc0, 2);
    assert_eq!((bench.read(0xc4), bench.read(0xcc)), (0, 0));
}

/// All channels at once, at every offset in a page on both sides.
#[test]
fn all_channels_at_all_offsets() {
    let mut bench = Bench::new();
    bench.probe(false);
    let data = bus::fuzz::noise(5, 0x1_0000);
    bench.put(0x100_0000, &data);
    for offset in 0..4096u64 {
        let len = 1 + (offset * 7 % 300) as u32;
        for n in 0..4 {
            let from = 0x100_0000 + offset + n * 0x4000;
            let to = DDR + n * 0x4000 + (offset * 31 + n) % 4096;
            bench.start(Way::H2c, n, &[(from, to, len)], START);
        }
        bench.run();
        for n in 0..4 {
            assert_eq!(bench.complete(Way::H2c, n), (0x6, 1));
            let from = DDR + n * 0x4000 + (offset * 31 + n) % 4096;
            bench.start(
                Way::C2h,
                n,
                &[(0x200_0000 + n * 0x4000 + offset, from, len)],
                START,
            );
        }
        bench.run();
        for n in 0..4u64 {
            assert_eq!(bench.complete(Way::C2h, n), (0x6, 1));
            let at = (offset + n * 0x4000) as usize;
            let got = bench.get(0x200_0000 + at as u64, len as usize);
            assert!(
                got == data[at..at + len as usize],
                "offset {offset} channel {n}"
            );
        }
    }
}

/// RUN cleared in the middle, Bus Master Enable cleared, reset: nothing is
/// written behind them.
#[test]
fn nothing_lands_after_the_end() {
    let mut bench = Bench::new();
    bench.probe(false);
    let whole = pages(0x100_0000, DDR, 2048);
    bench.put(0x100_0000, &vec![7; 8 << 20]);
    for way in 0..3 {
        bench.start(Way::H2c, 0, &whole, START);
        bench.slice();
        match way {
            0 => bench.write(0x04, STOP),
            1 => bench.host.set_bus_master(false),
            _ => bench.xdma.reset(0),
        }
        bench
            .card
            .axi()
            .ddr()
            .write_slice(&vec![0; 8 << 20], GuestAddress(DDR))
            .unwrap();
        bench.run();
        // The descriptor that was under way may end: its first 4 KiB at most.
        let after = bench.ddr(DDR, 8 << 20);
        assert!(
            after.iter().filter(|byte| **byte != 0).count() <= 4096,
            "{way}"
        );
        match way {
            0 => assert_eq!(bench.read(0x40) & 1, 0),
            1 => {
                assert_eq!(bench.read(0x40) & 1, 1, "it waits");
                bench.host.set_bus_master(true);
                bench.run();
                assert_eq!(bench.complete(Way::H2c, 0), (0x6, 2048));
            }
            _ => {
                assert_eq!(
                    (bench.read(0x04), bench.read(0x40), bench.read(0x48)),
                    (0, 0, 0)
                );
                assert_eq!(
                    (bench.read(0x90), bench.read(0x2010), bench.read(0x20a0)),
                    (0, 0, 0)
                );
            }
        }
    }
}

/// Random accesses of any width with random memory behind them.
#[test]
fn fuzz() {
    struct Behind(Bench);
    impl bus::BusDevice for Behind {
        fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), bus::IoError> {
            self.0.xdma.load(offset, data);
            Ok(())
        }
        fn write(&mut self, offset: u64, data: &[u8]) -> Result<bus::Action, bus::IoError> {
            // Half of the writes go to the registers that start something, and
            // chains start where descriptors are.
            let mut data = data.to_vec();
            let mut offset = offset;
            if offset & 4 == 0 {
                const HOT: [u64; 8] = [0x04, 0x08, 0x4080, 0x4088, 0x1004, 0x1008, 0x5080, 0x90];
                offset = HOT[(offset >> 3) as usize % 8] + (offset >> 6 & 3) * 0x100;
                if offset & 0xff == 0x80 && data.len() >= 4 {
                    data.truncate(4);
                    data[0] &= 0xe0;
                    data[2] &= 0x3f;
                    data[3] = 0;
                }
            }
            self.0.xdma.store(offset, &data);
            Ok(bus::Action::None)
        }
    }
    let bench = Bench::new();
    let mut noise = bus::fuzz::noise(9, 0x40_0000);
    for (i, descriptor) in noise.chunks_exact_mut(32).enumerate() {
        descriptor[2..4].copy_from_slice(&[0x4b, 0xad]);
        if i % 3 > 0 {
            // Lengths and addresses that are often good ones.
            descriptor[6..8].fill(0);
            descriptor[11..16].fill(0);
            descriptor[19..24].fill(0);
            descriptor[24] &= 0xe0;
            descriptor[26] &= 0x3f;
            descriptor[27..32].fill(0);
        }
    }
    bench.put(0, &noise);
    let mut behind = Behind(bench);
    let input = bus::fuzz::noise(21, 60_000);
    bus::fuzz::drive(&mut behind, CONFIG_BAR, &input, |behind| {
        behind.0.now += SimTime::from_ms(1);
        behind.0.slice();
    });
    let channels = &behind.0.xdma.counters().channels;
    let done: u64 = channels.iter().map(|c| c.descriptors).sum();
    assert!(done > 100, "{done}: it reaches the engine");
}

/// 1 to 64 MiB as xdma.ko moves it: pages, in runs of at most its ring of 2048
/// descriptors, to any byte address of the card.
#[test]
fn transfers_of_1_to_64_mib() {
    let mut bench = Bench::new();
    bench.probe(false);
    const HOST: u64 = 0x400_0000;
    let data = bus::fuzz::noise(64, 64 << 20);
    for (mib, card) in [
        (1, 0x12_3457),
        (2, 4095),
        (8, 0x300_0001),
        (16, 0x71),
        (64, 0),
    ] {
        let bytes = &data[..mib << 20];
        bench.put(HOST, bytes);
        for way in WAYS {
            if way == Way::C2h {
                bench.put(HOST, &vec![0; bytes.len()]);
            }
            for (run, part) in bytes.chunks(2048 * 4096).enumerate() {
                let skip = run as u64 * 2048 * 4096;
                let n = part.len() as u64 / 4096;
                bench.start(way, 0, &pages(HOST + skip, card + skip, n), START);
                bench.run();
                assert_eq!(bench.complete(way, 0), (0x6, n as u32), "{mib} MiB");
            }
            assert!(bench.ddr(card, bytes.len()) == bytes, "{mib} MiB {way:?}");
        }
        assert!(bench.get(HOST, bytes.len()) == bytes, "{mib} MiB");
    }
    let counters = bench.xdma.counters();
    let (h2c, c2h) = (counters.channels[0], counters.channels[4]);
    assert_eq!((h2c.bytes, c2h.bytes), (91 << 20, 91 << 20));
    assert_eq!((c2h.descriptors, c2h.errors), (91 << 8, 0));
}

/// Spec section 10: mainline's driver has blocks of 32 descriptors whose inner
/// `next` it never writes, ends a run with STOP and COMPLETED, and reads no
/// status: a rising RUN clears it.
#[test]
fn mainlines_block_chains() {
    let mut bench = Bench::new();
    bench.write(0x90, 0x0008_0256);
    bench.write(0x2014, !0);
    bench.write(0x20a0, 0x0302_0100);
    let junk = bus::fuzz::noise(40, 8 * 4096);
    let data = bus::fuzz::noise(41, 4096 * 64);
    bench.put(0x100_0000, &data);
    for (round, &n) in [4096u64, 1, 31, 32, 33, 4095, 64].iter().enumerate() {
        let zeroes = vec![0; data.len()];
        let ddr = bench.card.axi().ddr();
        ddr.write_slice(&zeroes, GuestAddress(DDR)).unwrap();
        // Blocks lie apart, and not in order.
        let block = |i: u64| RING + (i / 32 * 37 % 128) * 0x1000;
        for i in 0..n {
            let (last, ends) = (i + 1 == n, i % 32 == 31);
            let inner = junk[i as usize * 8..][..8].try_into().unwrap();
            let descriptor = Descriptor {
                stop: last,
                completed: last,
                eop: false,
                next_adjacent: match ends && !last {
                    true => (n - i - 2).min(31) as u8,
                    false => junk[i as usize] & 0x3f,
                },
                length: 64,
                source: 0x100_0000 + i * 64,
                destination: DDR + i * 64,
                next: if ends {
                    block(i + 1)
                } else {
                    u64::from_le_bytes(inner)
                },
            };
            bench.put(block(i) + i % 32 * 32, &descriptor.to_bytes());
        }
        bench.write(0x0c, 1);
        bench.write(0x4080, block(0) as u32);
        bench.write(0x4084, 0);
        bench.write(0x4088, (n - 1).min(31) as u32);
        bench.write(0x04, 0x00ff_fe1f);
        assert_eq!(bench.read(0x40), 1, "nothing of the last run");
        bench.run();
        assert_eq!(u64::from(bench.read(0x48)), n);
        assert_eq!(bench.raised.len(), round + 1, "one message a run");
        let bytes = n as usize * 64;
        assert!(bench.ddr(DDR, bytes) == data[..bytes], "{n}");
        assert_eq!(bench.ddr(DDR + n * 64, 64), [0; 64]);
    }
}

/// All eight at once: each makes progress, and each tells it once.
#[test]
fn all_channels_at_once() {
    let mut bench = Bench::new();
    bench.probe(false);
    const BYTES: usize = 4 << 20;
    let host = |dense: u64| 0x200_0000 + dense * 0x40_0000 + dense;
    let card = |dense: u64| 0x100_0000 + dense * 0x40_1000 + 3 * dense;
    let noise = |dense: u64| bus::fuzz::noise(90 + dense, BYTES);
    for dense in 0..8 {
        let (way, n) = (WAYS[dense as usize / 4], dense % 4);
        match way {
            Way::H2c => bench.put(host(dense), &noise(dense)),
            Way::C2h => {
                let ddr = bench.card.axi().ddr();
                ddr.write_slice(&noise(dense), GuestAddress(card(dense)))
                    .unwrap();
            }
        }
        bench.start(way, n, &pages(host(dense), card(dense), 1024), START);
    }
    bench.slice();
    for dense in 0..8 {
        let (block, _) = Bench::at(WAYS[dense as usize / 4], dense % 4);
        let count = bench.read(block + 0x48);
        assert!((1..1024).contains(&count), "{dense} is under way: {count}");
    }
    bench.run();
    bench.raised.sort_unstable();
    assert_eq!(bench.raised, [0, 1, 2, 3, 4, 5, 6, 7]);
    for dense in 0..8 {
        let way = WAYS[dense as usize / 4];
        assert_eq!(bench.complete(way, dense % 4), (0x6, 1024));
        let there = match way {
            Way::H2c => bench.ddr(card(dense), BYTES),
            Way::C2h => bench.get(host(dense), BYTES),
        };
        assert!(there == noise(dense), "{dense}");
    }
}

/// Two threads take turns on one channel, as the driver's lock makes them,
/// while the engine works on a third.
#[test]
fn two_threads_on_one_channel() {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut bench = Bench::new();
    bench.probe(false);
    let (bench, channel, over) = (Mutex::new(bench), Mutex::new(()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let engine = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut bench = bench.lock().unwrap();
                if let Next::At(at) = bench.slice() {
                    bench.now = at;
                }
                drop(bench);
                std::thread::yield_now();
            }
        });
        let threads = [0u64, 1].map(|thread| {
            let (bench, channel) = (&bench, &channel);
            scope.spawn(move || {
                let (host, card) = (0x100_0000 + (thread << 20), DDR + (thread << 20));
                for round in 0..300u64 {
                    let data = bus::fuzz::noise(round << 1 | thread, 3 * 4096);
                    for way in WAYS {
                        let _turn = channel.lock().unwrap();
                        let (block, _) = Bench::at(way, 0);
                        {
                            let mut bench = bench.lock().unwrap();
                            match way {
                                Way::H2c => bench.put(host, &data),
                                Way::C2h => bench.put(host, &[0; 3 * 4096]),
                            }
                            bench.start(way, 0, &pages(host, card, 3), START);
                        }
                        while bench.lock().unwrap().read(block + 0x40) & 1 != 0 {
                            std::thread::yield_now();
                        }
                        assert_eq!(bench.lock().unwrap().complete(way, 0), (0x6, 3));
                    }
                    assert!(
                        bench.lock().unwrap().get(host, data.len()) == data,
                        "{round}"
                    );
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        engine.join().unwrap();
    });
    assert_eq!(bench.into_inner().unwrap().raised.len(), 1200);
}
