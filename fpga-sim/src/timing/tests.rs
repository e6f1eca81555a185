//! Expected values: the published pcie-bench model's, and the measurements
//! that the profiles are named after.

use super::link::{concurrency, engine, with_fixed_cost};
use super::nic::Nic;
use super::*;
use crate::card::{DmaSpec, LinkSpec};
use bus::SimTime;

fn spec(generation: u8, lanes: u8, max_payload: u16) -> LinkSpec {
    LinkSpec {
        generation,
        lanes,
        max_payload,
        max_read_request: 512,
        latency: SimTime::ZERO,
    }
}

/// Equal to the digits that were printed, and at least to 1e-3.
fn close(got: f64, printed: f64, what: &str) {
    let half_digit: f64 = if printed >= 126.1 { 0.051 } else { 0.0051 };
    assert!(
        (got - printed).abs() <= half_digit.max(printed * 1e-3),
        "{what}: {got} is not {printed}"
    );
}

#[test]
fn bandwidth_table() {
    type Row = (u8, u8, u16, f64, f64, [[f64; 3]; 6]);
    let rows: [Row; 8] = [
        (
            1,
            1,
            128,
            2.00,
            1.86,
            [
                [1.35, 1.42, 1.06],
                [1.57, 1.61, 1.45],
                [1.45, 1.51, 1.35],
                [1.57, 1.61, 1.51],
                [1.56, 1.60, 1.50],
                [1.57, 1.61, 1.51],
            ],
        ),
        (
            2,
            4,
            128,
            16.00,
            13.89,
            [
                [10.10, 10.59, 7.94],
                [11.70, 12.02, 10.84],
                [10.85, 11.26, 10.12],
                [11.70, 12.02, 11.26],
                [11.66, 11.98, 11.20],
                [11.70, 12.02, 11.26],
            ],
        ),
        (
            2,
            8,
            256,
            32.00,
            28.68,
            [
                [20.86, 21.85, 16.39],
                [26.22, 26.60, 24.15],
                [24.16, 24.81, 22.40],
                [26.22, 26.60, 25.14],
                [26.16, 26.55, 25.07],
                [26.22, 26.60, 25.14],
            ],
        ),
        (
            3,
            4,
            256,
            31.51,
            29.07,
            [
                [21.14, 22.15, 16.61],
                [26.58, 26.96, 24.48],
                [24.50, 25.15, 22.71],
                [26.58, 26.96, 25.49],
                [26.52, 26.92, 25.41],
                [26.58, 26.96, 25.49],
            ],
        ),
        (
            3,
            8,
            128,
            63.02,
            56.67,
            [
                [41.21, 43.17, 32.38],
                [47.72, 49.01, 44.23],
                [44.26, 45.94, 41.26],
                [47.72, 49.01, 45.91],
                [47.54, 48.85, 45.70],
                [47.72, 49.01, 45.91],
            ],
        ),
        (
            3,
            8,
            256,
            63.02,
            57.88,
            [
                [42.10, 44.10, 33.08],
                [52.92, 53.69, 48.75],
                [48.78, 50.09, 45.22],
                [52.92, 53.69, 50.75],
                [52.81, 53.60, 50.60],
                [52.92, 53.69, 50.75],
            ],
        ),
        (
            3,
            16,
            256,
            126.03,
            113.70,
            [
                [82.69, 86.63, 64.97],
                [103.95, 105.46, 95.75],
                [95.81, 98.39, 88.82],
                [103.95, 105.46, 99.68],
                [103.74, 105.28, 99.39],
                [103.95, 105.46, 99.68],
            ],
        ),
        (
            4,
            16,
            256,
            252.06,
            227.40,
            [
                [165.4, 173.3, 129.9],
                [207.9, 210.9, 191.5],
                [191.6, 196.8, 177.6],
                [207.9, 210.9, 199.4],
                [207.5, 210.6, 198.8],
                [207.9, 210.9, 199.4],
            ],
        ),
    ];
    for (generation, lanes, payload, raw, tlp, values) in rows {
        let link = PcieLink::new(&spec(generation, lanes, payload)).unwrap();
        let name = format!("Gen{generation} x{lanes} M{payload}");
        close(link.raw(), raw, &name);
        close(link.tlp(), tlp, &name);
        for (size, want) in [64, 256, 257, 512, 1500, 4096].into_iter().zip(values) {
            let name = format!("{name} {size} B");
            close(link.write(size), want[0], &name);
            close(link.read(size), want[1], &name);
            close(link.both(size), want[2], &name);
        }
    }
}

#[test]
fn nic_models() {
    let link = PcieLink::new(&spec(3, 8, 256)).unwrap();
    let table = [
        (Nic::Simple, [12.58, 31.17, 39.31, 44.33, 46.06]),
        (Nic::Kernel, [17.63, 37.50, 43.96, 47.12, 48.08]),
        (Nic::Dpdk, [20.65, 40.50, 45.93, 48.23, 48.86]),
    ];
    for (nic, values) in table {
        for (frame, want) in [64, 256, 512, 1024, 1500].into_iter().zip(values) {
            close(
                nic.bandwidth(&link, frame),
                want,
                &format!("{nic:?} {frame}"),
            );
        }
    }
}

#[test]
fn engine_concurrency_and_fixed_cost() {
    close(engine(256, 250.0, 8), 7.11, "256 bit at 250 MHz");
    close(concurrency(32, 64, 600.0), 27.3, "32 tags at 600 ns");
    let link = PcieLink::new(&spec(3, 8, 256)).unwrap();
    // Printed with two or three digits.
    let rows = [
        (1500, [2.30, 1.17, 0.59, 0.30], 0.006),
        (65_536, [35.5, 26.5, 17.6, 10.5], 0.06),
        (1 << 20, [52.0, 50.0, 48.0, 43.0], 1.0),
    ];
    for (size, values, digit) in rows {
        for (fixed, want) in [5e3, 10e3, 20e3, 40e3].into_iter().zip(values) {
            let write = with_fixed_cost(fixed, 1, size, link.write(size));
            let read = with_fixed_cost(fixed, 1, size, link.read(size));
            assert!(
                write - digit <= want && want <= read + digit,
                "{size} B, {fixed} ns: {write} to {read}, not {want}"
            );
        }
    }
}

#[test]
fn one_byte_over_the_payload_is_a_tooth_of_the_saw() {
    let link = PcieLink::new(&spec(3, 8, 256)).unwrap();
    for n in 1..16 {
        let edge = n * 256;
        for f in [PcieLink::write, PcieLink::read, PcieLink::both] {
            assert!(f(&link, edge + 1) < f(&link, edge));
        }
        assert!(link.write(edge) > link.write(edge - 1));
    }
}

#[test]
fn links_that_do_not_exist() {
    let bad = |change: fn(&mut LinkSpec)| {
        let mut spec = spec(3, 8, 256);
        change(&mut spec);
        PcieLink::new(&spec).unwrap_err()
    };
    assert_eq!(bad(|s| s.generation = 6), LinkError::Generation(6));
    assert_eq!(bad(|s| s.lanes = 3), LinkError::Lanes(3));
    assert_eq!(bad(|s| s.max_payload = 1024), LinkError::Payload(1024));
    assert_eq!(bad(|s| s.max_read_request = 0), LinkError::ReadRequest(0));
}

#[test]
fn profiles_by_name() {
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(json, format!("\"{profile}\""));
    }
    assert!("fast".parse::<Profile>().is_err());
}

/// Gb/s of back-to-back transfers of one frame by the clock.
fn saturate(spec: &LinkSpec, profile: Profile, ways: &[Way], size: u64) -> f64 {
    let mut clock = LinkClock::new(spec, profile, 1).unwrap();
    let mut last = SimTime::ZERO;
    let n = 20_000;
    for _ in 0..n {
        for &way in ways {
            last = last.max(clock.begin(way, SimTime::ZERO, 1, size).start);
        }
    }
    (n * size * 8) as f64 / (last.0 as f64 * 1e-3)
}

#[test]
fn a_saturated_clock_reaches_what_the_formulas_say() {
    let spec = spec(3, 8, 256);
    let link = PcieLink::new(&spec).unwrap();
    let near = |got: f64, want: f64, what: &str| {
        assert!((got / want - 1.0).abs() < 0.01, "{what}: {got}, not {want}");
    };
    for size in [512, 1500, 9000] {
        let write = saturate(&spec, Profile::Nfp6000Gen3x8, &[Way::C2h], size);
        near(write, link.write(size), "write");
    }
    // Small writes run into the engine's 47.4 M/s.
    let write = saturate(&spec, Profile::Nfp6000Gen3x8, &[Way::C2h], 64);
    near(write, 47.4e6 * 64.0 * 8e-9, "64 B writes");
    // 64-byte reads run into 32 tags of 563.56 ns.
    let read = saturate(&spec, Profile::Nfp6000Gen3x8, &[Way::H2c], 64);
    near(read, 32.0 * 64.0 * 8.0 / 563.56, "64 B reads");
    let both = saturate(&spec, Profile::Nfp6000Gen3x8, &[Way::C2h, Way::H2c], 1500);
    near(both, link.both(1500), "both");
    // One transfer in flight of 10 or 5 us each: 1.17 and 2.30 Gb/s.
    let irq = saturate(&spec, Profile::XdmaGen3x8Irq, &[Way::H2c], 1500);
    near(irq, 1.17, "xdma irq");
    let poll = saturate(&spec, Profile::XdmaGen3x8Poll, &[Way::H2c], 1500);
    near(poll, 2.30, "xdma poll");
}

#[test]
fn latency_matters_when_few_reads_are_outstanding() {
    let read = |latency_ns, size| {
        let mut spec = spec(3, 8, 256);
        spec.latency = SimTime::from_ns(latency_ns);
        saturate(&spec, Profile::Nfp6000Gen3x8, &[Way::H2c], size)
    };
    assert!(read(1_000, 64) < 0.65 * read(500, 64), "tags are the limit");
    assert!(read(50, 1500) > 0.99 * read(25, 1500), "the link is");
}

#[test]
fn idle_latencies_are_the_measured_ones() {
    let mut spec = spec(3, 8, 256);
    let ns = |spec: &LinkSpec, profile, way, size| {
        let mut clock = LinkClock::new(spec, profile, 1).unwrap();
        clock.begin(way, SimTime::ZERO, 1, size).ready.0 as f64 * 1e-3
    };
    for size in [64u64, 512, 1500] {
        let read = ns(&spec, Profile::Nfp6000Gen3x8, Way::H2c, size);
        let write = ns(&spec, Profile::Nfp6000Gen3x8, Way::C2h, size);
        assert!((read - (545.0 + 0.29 * size as f64)).abs() < 1.0, "{read}");
        let both = 740.0 + 0.54 * size as f64;
        assert!((read + write - both).abs() < 1.0, "{read} + {write}");
    }
    spec.latency = SimTime::from_ns(500);
    assert_eq!(ns(&spec, Profile::Ideal, Way::H2c, 65_536), 500.0);
    let irq = ns(&spec, Profile::XdmaGen3x8Irq, Way::H2c, 64);
    assert!((10_500.0..10_530.0).contains(&irq), "{irq}");
}

#[test]
fn frames_that_wait_for_the_channel_share_a_transfer() {
    let spec = spec(3, 8, 256);
    let mut clock = LinkClock::new(&spec, Profile::XdmaGen3x8Irq, 1).unwrap();
    let first = clock.begin(Way::H2c, SimTime::ZERO, 1, 1500);
    let mut second = clock.begin(Way::H2c, SimTime(1), 1, 1500);
    assert_eq!(second.start, first.ready);
    let alone = second.ready;
    for _ in 0..9 {
        clock.extend(Way::H2c, &mut second, 1, 1500);
    }
    let wire = 1500.0 * 8.0 / PcieLink::new(&spec).unwrap().read(1500);
    let longer = (second.ready - alone).0 as f64 * 1e-3;
    assert!((longer - 9.0 * wire).abs() < 2.0, "{longer}");
    assert_eq!(
        clock.begin(Way::H2c, SimTime(2), 1, 1500).start,
        second.ready
    );
}

#[test]
fn a_bad_host_has_its_quantiles_and_repeats_from_its_seed() {
    let spec = spec(3, 8, 256);
    let row = |seed| -> Vec<u64> {
        let mut clock = LinkClock::new(&spec, Profile::BadHost, seed).unwrap();
        (0..200_000u64)
            .map(|n| {
                let at = SimTime::from_ms(n * 10);
                (clock.begin(Way::H2c, at, 1, 1).ready - at).as_ns()
            })
            .collect()
    };
    let mut sorted = row(7);
    assert_eq!(sorted, row(7));
    assert_ne!(sorted, row(8));
    sorted.sort_unstable();
    let quantile = |q: f64| sorted[(q * sorted.len() as f64) as usize] as f64;
    assert!((quantile(0.5) / 1_213.0 - 1.0).abs() < 0.02);
    assert!((quantile(0.95) / 3_500.0 - 1.0).abs() < 0.05);
    assert!((12_000.0 * 0.8..2_000_000.0).contains(&quantile(0.999)));
    assert!((sorted[sorted.len() - 1] as f64) < 2_001_000.0);
}

#[test]
fn an_iommu_costs_small_random_reads_most() {
    let free = concurrency(32, 64, 563.56);
    assert_eq!(behind_iommu(free, 64, 64), free);
    let lost = 1.0 - behind_iommu(free, 64, 1 << 14) / free;
    assert!((0.65..0.75).contains(&lost), "{lost}");
    let link = PcieLink::new(&spec(3, 8, 256)).unwrap().read(512);
    assert!(behind_iommu(link, 512, 1 << 14) > 0.9 * link);
}

#[test]
fn curves_agree_with_the_clock() {
    let mut link = spec(3, 8, 256);
    link.latency = SimTime::from_ns(100);
    for profile in Profile::ALL {
        let dma = DmaSpec {
            profile,
            ..DmaSpec::default()
        };
        let points = curves(&link, &dma, &[64, 257, 1500, 9000]).unwrap();
        for p in points {
            assert!(p.gbps_both <= p.gbps_write.min(p.gbps_read) + 1e-9, "{p:?}");
            assert!(p.us_read > 0.0999 && p.us_write > 0.0999, "{p:?}");
            if matches!(profile, Profile::Ideal | Profile::BadHost) {
                continue;
            }
            for (way, want) in [(Way::C2h, p.gbps_write), (Way::H2c, p.gbps_read)] {
                let got = saturate(&link, profile, &[way], p.size);
                assert!(
                    (got / want - 1.0).abs() < 0.01,
                    "{profile} {way:?} {p:?}: {got}"
                );
            }
        }
    }
}
