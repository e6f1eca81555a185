//! The main job: two guests joined by the card.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Run, pair};

#[test]
fn pair_yaml_loses_nothing() {
    for mode in ["free", "lockstep"] {
        let ended = Run::of("pair.yaml").arg("--time").arg(mode).end().expect(0);
        let rows = ended.rows("ping");
        assert_eq!(rows.len(), 10);
        for row in rows {
            assert_eq!(row["loss"], 0.0, "{mode}: {row}");
            assert_eq!(row["received"], 10, "{mode}: {row}");
        }
        ended.conserved();
    }
}

/// What virtual time promises: nothing of the machine shows in a run.
#[test]
fn pair_in_lockstep_repeats_on_one_core_and_on_all() {
    let hash = |seed: &str, under: &[&str]| {
        let run = Run::of("pair.yaml").arg("--time").arg("lockstep");
        let ended = run.arg("--seed").arg(seed).under(under).end().expect(0);
        ended.result["trace_hash"].as_str().unwrap().to_owned()
    };
    let first = hash("1", &[]);
    assert_eq!(first, hash("1", &["taskset", "-c", "0"]));
    assert_ne!(first, hash("7", &[]));
}

/// 56 to 2048 as in the specification of such tests; fragments at 1472/1473;
/// records of the FIFO, which come in units of 8 bytes: frames of 511, 512 and
/// 513; the largest datagram, 45 fragments.
const SIZES: &str = "[56, 64, 128, 256, 469, 470, 471, 512, 1024, 1400, 1471, 1472, 1473, 1500, \
                     2000, 2048, 65507]";

fn matrix(mode: &str, profile: &str) {
    matrix_under(&[], mode, profile, 30);
}

fn matrix_under(prefix: &[&str], mode: &str, profile: &str, count: u32) {
    let checks = format!(
        "  - ping: {{ from: host, to: board, size: {SIZES}, count: {count}, interval: 5ms }}\n  \
           - ping: {{ from: board, to: host, size: {SIZES}, count: {count}, interval: 5ms }}\n"
    );
    let ended = Run::new(&pair(&checks))
        .arg("--time")
        .arg(mode)
        .set(format!("cards.fpga0.dma.profile={profile}"))
        .under(prefix)
        .end()
        .expect(0);
    assert_eq!(ended.rows("ping").len(), 34);
    ended.conserved();
}

#[test]
fn loss_matrix_lockstep_ideal() {
    matrix("lockstep", "ideal");
}

/// Every block compiled when it is entered first.
#[test]
fn loss_matrix_compiled_at_once() {
    matrix_under(&["env", "VMM_JIT=1"], "lockstep", "ideal", 30);
}

/// The same with a thread for each guest.
#[test]
fn loss_matrix_compiled_at_once_free() {
    matrix_under(&["env", "VMM_JIT=1"], "free", "ideal", 30);
}

#[test]
fn loss_matrix_lockstep_xdma() {
    matrix("lockstep", "xdma-gen3x8-irq");
}

#[test]
fn loss_matrix_free() {
    matrix("free", "ideal");
}

/// 0 lost of 1,000 bounds the loss rate by 0.3 % (3/N).
fn a_thousand_each_way(size: u32) {
    let checks = format!(
        "  - ping: {{ from: host, to: board, size: {size}, count: 1000, interval: 5ms }}\n  \
           - ping: {{ from: board, to: host, size: {size}, count: 1000, interval: 5ms }}\n"
    );
    let run = Run::new(&pair(&checks)).arg("--time").arg("lockstep");
    let ended = run.end().expect(0);
    for row in ended.rows("ping") {
        assert_eq!(row["sent"], 1000, "{row}");
        assert_eq!(row["received"], 1000, "{row}");
        assert_eq!(row["duplicates"], 0, "{row}");
    }
    assert_eq!(ended.dropped(), 0);
    ended.conserved();
}

#[test]
fn a_thousand_pings_of_2048_bytes_each_way() {
    a_thousand_each_way(2048);
}

#[test]
fn a_thousand_pings_of_65507_bytes_each_way() {
    a_thousand_each_way(65_507);
}

/// iputils' ping ignores its interval while the guest's monotonic clock is
/// below 1 s, so the first check must not start before.
#[test]
fn the_first_ping_keeps_its_interval() {
    let checks = "  - run: { guest: host, command: 'ping -n -c 5 -i 0.1 10.10.10.5 | grep \", time 4..ms\"' }\n";
    let run = Run::new(&pair(checks)).arg("--time").arg("lockstep");
    run.end().expect(0);
}

/// Frames of a busy sender share a doorbell; an idle one's go at once.
#[test]
fn a_busy_sender_batches_and_an_idle_one_does_not() {
    let batch = |options: &str| {
        let checks = format!("  - ping: {{ from: host, to: board, count: 500, {options} }}\n");
        let run = Run::new(&pair(&checks)).arg("--time").arg("lockstep");
        let ended = run.end().expect(0);
        let n = |key: &str| ended.way("h2c")[key].as_f64().unwrap();
        n("sent") / n("doorbells")
    };
    // The 64 of the start come together, and answers later bring two or so.
    let busy = batch("interval: 0ms, preload: 64");
    assert!(busy > 1.2, "{busy} frames a doorbell");
    let idle = batch("interval: 2ms");
    assert!(idle < 1.05, "{idle} frames a doorbell");
}

#[test]
fn a_link_joins_guests_without_a_card() {
    let yaml = "
guests:
  host: { arch: x86_64, nics: [{ link: wire, address: 10.1.0.1/24 }] }
  board: { arch: aarch64, nics: [{ link: wire, address: 10.1.0.2/24 }] }
checks:
  - ping: { from: host, to: board, size: [56, 1472, 1473, 65507], count: 20, interval: 5ms }
  - ping: { from: board, to: host, size: [56, 1472, 1473, 65507], count: 20, interval: 5ms }
";
    for mode in ["free", "lockstep"] {
        Run::new(yaml).arg("--time").arg(mode).end().expect(0);
    }
}

#[test]
fn iperf3_both_ways() {
    let checks = "  - iperf3: { from: host, to: board, seconds: 2 }\n  \
                  - iperf3: { from: board, to: host, seconds: 2 }\n";
    let ended = Run::new(&pair(checks)).end().expect(0);
    for row in ended.rows("iperf3") {
        assert!(row["bits_per_second"].as_f64().unwrap() > 1e6, "{row}");
    }
    ended.conserved();
    for way in ["h2c", "c2h"] {
        let n = |key: &str| ended.way(way)[key].as_f64().unwrap();
        // Acknowledgements are most of one direction's frames and segments of
        // up to 64 KiB the others: together far above the MTU.
        let mean = n("delivered_bytes") / n("delivered");
        assert!(mean > 3_000.0, "{way}: {mean} bytes a frame");
    }
}

#[test]
fn what_a_card_cannot_do_is_refused() {
    let faults = "cards.fpga0.faults=[{kind: drop}]";
    let ended = Run::of("pair.yaml").set(faults).end().expect(3);
    let want = "'drop' cannot be injected";
    assert!(ended.err.contains(want), "{}", ended.err);
}
