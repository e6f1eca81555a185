//! The card's time as a guest sees it.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Run, pair};

/// Median round trip of 56 bytes in the host guest's own ping, in us.
fn round_trip(profile: &str) -> f64 {
    let checks = "  - ping: { from: host, to: board, size: 56, count: 50, interval: 10ms }\n";
    let ended = Run::new(&pair(checks))
        .arg("--time")
        .arg("lockstep")
        .set(format!("cards.fpga0.dma.profile={profile}"))
        .end()
        .expect(0);
    ended.rows("ping")[0]["rtt_us"]["p50"].as_f64().unwrap()
}

/// pcie-timing.md, section 4: an XDMA transfer costs 10 us with interrupts and
/// 5 us with polling. A round trip is two: H2C for the request, C2H for the
/// answer. Wire time and ping's rounding are below 1 us.
#[test]
fn a_ping_shows_what_a_transfer_costs() {
    let ideal = round_trip("ideal");
    for (profile, fixed) in [("xdma-gen3x8-irq", 10.0), ("xdma-gen3x8-poll", 5.0)] {
        let each = (round_trip(profile) - ideal) / 2.0;
        assert!((each - fixed).abs() < 1.0, "{profile}: {each} us");
    }
}
