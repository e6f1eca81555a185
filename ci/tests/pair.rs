//! The main job: two guests joined by the card.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Ended, Run};
use serde_json::Value;

fn pings(ended: &Ended) -> Vec<Value> {
    let rows = ended.result["checks"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    rows.into_iter()
        .filter(|row| row["kind"] == "ping")
        .collect()
}

/// Sent = delivered + dropped by cause + in flight, in both directions.
fn conserved(ended: &Ended) {
    for way in ["h2c", "c2h"] {
        let c = &ended.result["cards"]["fpga0"][way];
        let n = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("{key} in {c}"));
        let dropped: u64 = c["dropped"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(
            n("sent"),
            n("delivered") + dropped + n("in_flight"),
            "{way}: {c}"
        );
    }
}

#[test]
fn pair_yaml_loses_nothing() {
    for mode in ["free", "lockstep"] {
        let ended = Run::of("pair.yaml").arg("--time").arg(mode).end().expect(0);
        let rows = pings(&ended);
        assert_eq!(rows.len(), 10);
        for row in rows {
            assert_eq!(row["loss"], 0.0, "{mode}: {row}");
            assert_eq!(row["received"], 10, "{mode}: {row}");
        }
        conserved(&ended);
    }
}

#[test]
fn pair_in_lockstep_repeats() {
    let hash = |seed: &str| {
        let ended = Run::of("pair.yaml")
            .arg("--time")
            .arg("lockstep")
            .arg("--seed")
            .arg(seed)
            .end()
            .expect(0);
        ended.result["trace_hash"].as_str().unwrap().to_owned()
    };
    let first = hash("1");
    assert_eq!(first, hash("1"));
    assert_ne!(first, hash("7"));
}

/// Every size that specs of such cards worry about: fragments, FIFO slots, the
/// largest datagram.
const SIZES: &str =
    "[56, 64, 128, 256, 512, 1024, 1400, 1471, 1472, 1473, 1500, 2000, 2048, 65507]";

fn matrix(mode: &str, profile: &str) {
    let pair = std::fs::read_to_string(ci::root().join("pair.yaml")).unwrap();
    let (head, _) = pair.split_once("\nchecks:").unwrap();
    let mut yaml = format!("{head}\nchecks:\n");
    for (from, to) in [("host", "board"), ("board", "host")] {
        yaml += &format!(
            "  - ping: {{ from: {from}, to: {to}, size: {SIZES}, count: 30, interval: 5ms }}\n"
        );
    }
    let set = format!("cards.fpga0.dma.profile={profile}");
    let ended = Run::new(&yaml)
        .arg("--time")
        .arg(mode)
        .arg("--set")
        .arg(set)
        .end()
        .expect(0);
    assert_eq!(pings(&ended).len(), 28);
    conserved(&ended);
}

#[test]
fn loss_matrix_lockstep_ideal() {
    matrix("lockstep", "ideal");
}

#[test]
fn loss_matrix_lockstep_xdma() {
    matrix("lockstep", "xdma-gen3x8-irq");
}

#[test]
fn loss_matrix_free() {
    matrix("free", "ideal");
}

#[test]
fn a_small_dropping_fifo_loses_and_counts() {
    let pair = std::fs::read_to_string(ci::root().join("pair.yaml")).unwrap();
    let (head, _) = pair.split_once("\nchecks:").unwrap();
    // A datagram of 65,507 bytes is 45 fragments at once; four slots hold four.
    let yaml = format!(
        "{head}\nchecks:\n  - ping: {{ from: host, to: board, size: 65507, count: 20, interval: 5ms, max_loss: 0% }}\n"
    );
    let run = Run::new(&yaml)
        .arg("--set")
        .arg("cards.fpga0.fifo.on_full=drop-new")
        .arg("--set")
        .arg("cards.fpga0.fifo.slots=4");
    let ended = run.end().expect(1);
    let row = &pings(&ended)[0];
    assert!(row["loss"].as_f64().unwrap() > 0.0, "{row}");
    let dropped = &ended.result["cards"]["fpga0"]["h2c"]["dropped"]["full_new"];
    assert!(dropped.as_u64().unwrap() > 0, "{dropped}");
    conserved(&ended);
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
    let pair = std::fs::read_to_string(ci::root().join("pair.yaml")).unwrap();
    let (head, _) = pair.split_once("\nchecks:").unwrap();
    let yaml = format!(
        "{head}\nchecks:\n  - iperf3: {{ from: host, to: board, seconds: 2 }}\n  - iperf3: {{ from: board, to: host, seconds: 2 }}\n"
    );
    let ended = Run::new(&yaml).end().expect(0);
    for row in ended.result["checks"].as_array().unwrap() {
        assert!(row["bits_per_second"].as_f64().unwrap() > 1e6, "{row}");
    }
    conserved(&ended);
}

#[test]
fn what_a_card_cannot_do_is_refused() {
    for (set, want) in [
        (
            "cards.fpga0.faults=[{kind: drop}]",
            "'drop' cannot be injected",
        ),
        (
            "cards.fpga0.backend={xdma: {device: /dev/xdma0}}",
            "a real card cannot be used",
        ),
    ] {
        let ended = Run::of("pair.yaml").arg("--set").arg(set).end().expect(3);
        assert!(ended.err.contains(want), "{}", ended.err);
    }
}
