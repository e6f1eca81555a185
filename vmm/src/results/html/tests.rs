//! The page of a made-up run.

use super::*;
use crate::results::*;
use crate::topology::{Arch, LoadOptions, Protocol, parse};
use bus::SimTime;
use serde_json::json;

const TOPOLOGY: &str = "\
guests:
  host: { arch: x86_64, nics: [{ name: eth0, card: fpga0, address: 10.0.0.1/24 }, { name: lan0, tap: tap0 }] }
  board: { arch: aarch64, nics: [{ name: eth0, card: fpga0, address: 10.0.0.5/24 }] }
  third: { arch: x86_64, nics: [{ name: eth0, link: lan, address: 10.0.1.1/24 }] }
cards:
  fpga0: { host: host, board: board, fifo: { slots: 4, on_full: drop-new } }
";

fn page(change: impl FnOnce(&mut RunResult, &mut NicCounters)) -> String {
    let topology = parse(
        TOPOLOGY,
        "t",
        std::path::Path::new("/"),
        &LoadOptions::default(),
    )
    .unwrap();
    let mut result = RunResult::new("run-7", 7, TimeMode::Lockstep);
    result.trace_hash = Some("19ad61a4e0b095e3".into());
    for (name, arch) in [("host", Arch::X86_64), ("board", Arch::Aarch64)] {
        result.guests.insert(
            name.into(),
            GuestResult {
                arch,
                accel: UsedAccel::Emulated,
                boot_ms: 396.6,
                instructions: Some(431_558_233),
                rss_kib: 88_112,
                handoffs: 0,
            },
        );
    }
    result.cards.insert(
        "fpga0".into(),
        json!({
            "h2c": { "sent": 100, "sent_bytes": 9000, "delivered": 90, "in_flight": 1, "depth_max": 4, "stalls": 3,
                     "dropped": { "full_new": 8, "size": 1, "dma": 0 } },
            "c2h": { "sent": 90, "sent_bytes": 9000, "delivered": 85, "in_flight": 0, "depth_max": 1, "stalls": 0,
                     "dropped": { "full_new": 0 } },
        }),
    );
    let ping = |size, received: u64, rtt: Option<f64>| PingResult {
        from: "host".into(),
        to: "board".into(),
        size,
        sent: 100,
        received,
        late: 0,
        duplicates: 0,
        loss: (100 - received) as f64 / 100.0,
        rtt_us: rtt.map(|t| RttUs {
            min: t,
            avg: t,
            p50: t,
            p99: t,
            max: t,
        }),
        passed: received == 100,
        error: None,
    };
    result.push(CheckResult::Ping(ping(56, 100, Some(17.25))));
    result.push(CheckResult::Ping(ping(2048, 90, None)));
    result.push(CheckResult::Iperf3(Iperf3Result {
        from: "host".into(),
        to: "board".into(),
        protocol: Protocol::Udp,
        size: Some(1400),
        seconds: 3.0,
        bits_per_second: 2.5e8,
        sent_bits_per_second: 2.6e8,
        retransmits: None,
        loss: Some(0.0385),
        jitter_us: Some(12.0),
        passed: true,
        error: None,
    }));
    result.push(CheckResult::Run(CommandResult {
        guest: "host".into(),
        command: "echo '<script>alert(1)</script>' && false".into(),
        exit: Some(1),
        output: "<b>&amp;\u{0}\u{1b}[1m\"'\n".into(),
        passed: false,
        error: Some("exit 1, not <0>".into()),
    }));
    let mut nics = NicCounters::new();
    for (name, tx, rx) in [("host.eth0", 100, 85), ("board.eth0", 90, 88)] {
        let counters = [
            ("tx0.frames", tx),
            ("rx0.frames", rx),
            ("rx0.filtered", 2),
            ("rx0.oversize", 0),
        ];
        nics.insert(name.into(), counters.map(|(k, n)| (k.to_owned(), n)).into());
    }
    change(&mut result, &mut nics);
    let rtts = |rtts_us: Vec<f64>| RowDetails {
        rtts_us,
        ..RowDetails::default()
    };
    let mut line = TimeLine::default();
    for i in 0..1000 {
        line.note(SimTime::from_us(i * 50), (i % 5) as u32, i % 5 == 4);
    }
    let fifo = |direction, line| FifoLine {
        card: "fpga0".into(),
        direction,
        line,
    };
    report_html(&Report {
        result: &result,
        topology: &topology,
        rows: &[
            rtts((0..100).map(|i| 17.0 + f64::from(i)).collect()),
            rtts(vec![]),
        ],
        nics: &nics,
        fifos: &[fifo("h2c", line), fifo("c2h", TimeLine::default())],
        failure: None,
        started: 1_795_181_345,
    })
}

fn read(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(page, options).unwrap()
}

/// All text of the page, cells separated by `|`.
fn text(document: &roxmltree::Document<'_>) -> String {
    document
        .descendants()
        .filter_map(|n| n.text().filter(|_| n.is_text()))
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn every_row_is_there() {
    let page = page(|_, _| {});
    let document = read(&page);
    let rows: Vec<String> = document
        .descendants()
        .filter(|n| n.has_tag_name(("http://www.w3.org/1999/xhtml", "tr")))
        .map(|row| {
            let cells = row.children().filter(|c| c.is_element());
            let text = |cell: roxmltree::Node<'_, '_>| {
                cell.descendants()
                    .filter(|n| n.is_text())
                    .filter_map(|n| n.text())
                    .collect::<String>()
            };
            cells.map(text).collect::<Vec<_>>().join("|")
        })
        .collect();
    let has = |want: &str| {
        assert!(
            rows.iter().any(|row| row.starts_with(want)),
            "{want}\n{rows:#?}"
        )
    };
    // 0 of 100 by Wilson: z^2 / (n + z^2) = 3.70 %; 3/N = 3 %.
    has("host \u{2192} board|56|100|100|0|0%|0% \u{2013} 3.7%|< 3%|17.2|17.2|");
    has("host \u{2192} board|2048|100|90|0|10%|");
    has("host \u{2192} board|UDP|1400|3|250.00 Mbit/s|260.00 Mbit/s|\u{2013}|3.85%|12 us|");
    has("host|x86_64|emulated|1|256 MiB|0.40 s|431,558,233|86 MiB|console-host.log");
    has("third|x86_64|\u{2013}|");
    // Which loss is explained by which counter.
    has("fpga0 h2c|full_new|8|");
    has("fpga0 h2c|size|1|");
    has("fpga0 took|100|");
    has("fpga0 delivered|90|");
    has("board.eth0 kept back: rx0.filtered|\u{2212}2|");
    has("not explained|5|");
    has("dropped.full_new|8|0");
    has("rx0.filtered|2|2");
    has("Trace hash|19ad61a4e0b095e3");
    has("Started|2026-11-20 13:29:05 UTC");
    let text = text(&document);
    for want in [
        "10 requests were not answered; 9 frames were dropped",
        "5 frames are in no counter.",
        "exit 1",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
}

#[test]
fn nothing_is_taken_for_markup_or_loaded() {
    let page = page(|result, nics| {
        result.run_id = "<i>&\"'".into();
        nics.insert("a<b.eth0".into(), [("tx0.<u>".to_owned(), 1)].into());
        if let CheckResult::Ping(row) = &mut result.checks[0] {
            row.from = "<em>h</em>".into();
            row.error = Some("]]> & <em>".into());
        }
    });
    let document = read(&page);
    for node in document.descendants().filter(|n| n.is_element()) {
        let name = node.tag_name().name();
        assert!(
            !["script", "i", "em", "u", "link", "img", "iframe"].contains(&name),
            "<{name}>"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            let external = attribute.value().contains("//") && attribute.name() != "xmlns";
            assert!(!external, "{attribute:?}");
        }
    }
    assert!(!page.contains("@import") && !page.contains("url("));
    assert!(text(&document).contains("<script>alert(1)</script>"));
    assert!(text(&document).contains("<b>&amp;\u{fffd}\u{fffd}[1m\"'"));
}

#[test]
fn drawings_stay_inside_their_frames() {
    let page = page(|_, _| {});
    let document = read(&page);
    let drawings: Vec<_> = document
        .descendants()
        .filter(|n| n.tag_name().name() == "svg")
        .collect();
    // Topology, loss, round trips, throughput, one FIFO (the other is empty).
    assert_eq!(drawings.len(), 5);
    for svg in drawings {
        let number = |n: roxmltree::Node<'_, '_>, name| {
            n.attribute(name).and_then(|v| v.parse::<f64>().ok())
        };
        let (width, height) = (
            number(svg, "width").unwrap(),
            number(svg, "height").unwrap(),
        );
        assert!(svg.attribute("aria-label").is_some());
        for node in svg.descendants() {
            for (name, most) in [
                ("x", width),
                ("x1", width),
                ("x2", width),
                ("cx", width),
                ("y", height),
                ("y1", height),
                ("y2", height),
                ("cy", height),
            ] {
                let Some(value) = number(node, name) else {
                    continue;
                };
                assert!((0.0..=most).contains(&value), "{name}={value} of {node:?}");
            }
            if let (Some(x), Some(w)) = (number(node, "x"), number(node, "width")) {
                assert!(w >= 0.0 && x + w <= width + 0.1, "{node:?}");
            }
        }
    }
}

#[test]
fn an_empty_run_and_a_broken_off_one() {
    let topology = parse(
        "guests: { a: {} }",
        "t",
        std::path::Path::new("/"),
        &LoadOptions::default(),
    )
    .unwrap();
    let mut result = RunResult::new("r", 1, TimeMode::Free);
    result.passed = false;
    let page = report_html(&Report {
        result: &result,
        topology: &topology,
        rows: &[],
        nics: &NicCounters::new(),
        fifos: &[],
        failure: Some("guest 'a' <crashed>"),
        started: 0,
    });
    let document = read(&page);
    let text = text(&document);
    for want in [
        "Broken off",
        "no checks",
        "guest 'a' <crashed>",
        "console-a.log",
    ] {
        assert!(text.contains(want), "{want}");
    }
}
