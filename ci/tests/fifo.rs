//! A FIFO that is too small and told to drop: what is lost must be counted, and
//! nothing else may be lost.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Ended, Run, pair};

/// Four slots; a full FIFO drops.
fn small(checks: &str, mode: &str, on_full: &str) -> Run {
    Run::new(&pair(checks))
        .arg("--time")
        .arg(mode)
        .set(format!("cards.fpga0.fifo.on_full={on_full}"))
        .set("cards.fpga0.fifo.slots=4")
}

fn lost(ended: &Ended) -> u64 {
    let rows = ended.rows("ping").into_iter();
    rows.map(|row| row["sent"].as_u64().unwrap() - row["received"].as_u64().unwrap())
        .sum()
}

/// In virtual time a transfer of 10 us holds its slot for that long, on every
/// machine: seven fragments sent at once do not fit, two do.
#[test]
fn a_small_dropping_fifo_loses_and_counts() {
    let checks = "  - ping: { from: host, to: board, size: [56, 2048, 9000], count: 20, interval: 5ms }\n  \
                  - ping: { from: board, to: host, size: [56, 2048, 9000], count: 20, interval: 5ms }\n";
    for (on_full, cause) in [("drop-new", "full_new"), ("drop-oldest", "full_oldest")] {
        let ended = small(checks, "lockstep", on_full)
            .set("cards.fpga0.dma.profile=xdma-gen3x8-irq")
            .end()
            .expect(1);
        for row in ended.rows("ping") {
            let all = row["size"] == 9000;
            assert_eq!(row["loss"], if all { 1.0 } else { 0.0 }, "{on_full}: {row}");
            assert_eq!(row["passed"], !all, "{on_full}: {row}");
        }
        for way in ["h2c", "c2h"] {
            let dropped = ended.way(way)["dropped"][cause].as_u64().unwrap();
            assert!(dropped > 0, "{on_full}, {way}: every drop has this cause");
        }
        assert!(
            ended.dropped() >= lost(&ended),
            "each datagram lost a fragment"
        );
        ended.conserved();
        let told = format!("{} frames dropped: fpga0 h2c {cause}", ended.dropped());
        assert!(ended.out.contains(&told), "{told}\n{}", ended.out);
        assert!(ended.read("report.html").contains(cause));
        assert!(ended.read("junit.xml").contains("<failure"));
    }
}

/// A flood of requests of one frame each: one request is lost for each frame
/// that the card dropped, and no other.
fn flood(mode: &str) -> Ended {
    let checks = "  - ping: { from: host, to: board, count: 500, interval: 0ms, preload: 64 }\n  \
                  - ping: { from: board, to: host, count: 500, interval: 0ms, preload: 64 }\n";
    // Slots are free again 200 us after a frame was sent: a few frames of a
    // flood fit, the others find it full.
    let ended = small(checks, mode, "drop-new")
        .set("cards.fpga0.link.latency=100us")
        .end();
    let (lost, dropped) = (lost(&ended), ended.dropped());
    assert_eq!(ended.code, i32::from(lost > 0), "{}", ended.err);
    // A few frames are no pings: neighbour discovery.
    assert!(
        (lost..lost + 20).contains(&dropped),
        "{lost} requests lost, {dropped} frames dropped\n{}",
        ended.out
    );
    ended.conserved();
    ended
}

#[test]
fn a_flood_into_a_small_fifo_in_virtual_time() {
    let ended = flood("lockstep");
    assert!(lost(&ended) > 100, "{}", ended.out);
}

/// In host time it depends on the machine whether the FIFO fills: the receiver
/// empties it as soon as its thread runs. What is lost is counted in any case.
#[test]
fn a_flood_into_a_small_fifo_in_host_time() {
    flood("free");
}

/// The same flood with the default policy: the sender waits.
#[test]
fn a_small_fifo_with_backpressure_loses_nothing() {
    let checks = "  - ping: { from: host, to: board, size: [56, 9000], count: 200, interval: 0ms, preload: 8 }\n  \
                  - ping: { from: board, to: host, size: [56, 9000], count: 200, interval: 0ms, preload: 8 }\n";
    for mode in ["lockstep", "free"] {
        let ended = small(checks, mode, "backpressure")
            .set("cards.fpga0.dma.profile=xdma-gen3x8-irq")
            .end()
            .expect(0);
        assert_eq!(lost(&ended), 0);
        assert_eq!(ended.dropped(), 0);
        ended.conserved();
        if mode == "lockstep" {
            let stalls = ended.way("h2c")["stalls"].as_u64().unwrap();
            assert!(stalls > 0, "the FIFO was never full");
        }
    }
}
