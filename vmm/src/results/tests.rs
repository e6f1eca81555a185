//! Reports against their documented shapes.

use super::*;
use serde_json::json;

fn sample() -> RunResult {
    let mut result = RunResult::new("r1", 7, TimeMode::Lockstep);
    result.trace_hash = Some("abcd".into());
    result.guests.insert(
        "board".into(),
        GuestResult {
            arch: Arch::Aarch64,
            accel: UsedAccel::Emulated,
            boot_ms: 2500.5,
            instructions: Some(200_000_000),
            rss_kib: 70_000,
            handoffs: 12,
        },
    );
    result
        .cards
        .insert("fpga0".into(), json!({ "h2c": { "sent": 10, "delivered": 7, "dropped": { "full_new": 2, "dma": 1, "size": 0 } },
                                 "c2h": { "sent": 7, "delivered": 7, "dropped": { "full_new": 0 } } }));
    let ping = PingResult {
        from: "host".into(),
        to: "board".into(),
        size: 56,
        sent: 10,
        received: 10,
        late: 0,
        duplicates: 0,
        loss: 0.0,
        rtt_us: Some(RttUs {
            min: 80.25,
            avg: 120.0,
            p50: 110.0,
            p99: 300.0,
            max: 300.0,
        }),
        passed: true,
        error: None,
    };
    result.push(CheckResult::Ping(ping.clone()));
    result.push(CheckResult::Ping(PingResult {
        size: 2048,
        received: 9,
        loss: 0.1,
        passed: false,
        rtt_us: None,
        ..ping
    }));
    result.push(CheckResult::Iperf3(Iperf3Result {
        from: "host".into(),
        to: "board".into(),
        protocol: Protocol::Tcp,
        size: None,
        seconds: 3.0,
        bits_per_second: 1.25e9,
        sent_bits_per_second: 1.26e9,
        retransmits: Some(0),
        loss: None,
        jitter_us: None,
        passed: true,
        error: None,
    }));
    result.push(CheckResult::Run(CommandResult {
        guest: "host".into(),
        command: "echo '<&>'\nfalse".into(),
        exit: Some(1),
        output: "<&>\"\u{1}\u{1b}[0m\n".into(),
        passed: false,
        error: Some("it ended with 1, not 0".into()),
    }));
    result
}

/// What the report of [`sample`] needs beside it.
fn with_report<T>(
    result: &RunResult,
    failure: Option<&str>,
    then: impl FnOnce(&Report<'_>) -> T,
) -> T {
    let yaml = "guests: { host: {}, board: { arch: aarch64 } }";
    let options = crate::topology::LoadOptions::default();
    let topology = crate::topology::parse(yaml, "t", std::path::Path::new("/"), &options).unwrap();
    let row = |seconds| RowDetails {
        seconds,
        ..RowDetails::default()
    };
    then(&Report {
        result,
        topology: &topology,
        rows: &[row(0.25), row(1.0)],
        nics: &NicCounters::new(),
        fifos: &[],
        failure,
        started: 1_795_181_345,
    })
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn result_json_has_the_documented_shape() {
    let result = sample();
    let value: serde_json::Value = serde_json::from_str(&result.to_json()).unwrap();
    assert_eq!(
        value["guests"]["board"],
        json!({ "arch": "aarch64", "accel": "emulated", "boot_ms": 2500.5,
                "instructions": 200_000_000, "rss_kib": 70_000, "handoffs": 12 })
    );
    assert_eq!(
        value["checks"][0],
        json!({ "kind": "ping", "from": "host", "to": "board", "size": 56, "sent": 10,
                "received": 10, "duplicates": 0, "loss": 0.0,
                "rtt_us": { "min": 80.25, "avg": 120.0, "p50": 110.0, "p99": 300.0, "max": 300.0 },
                "passed": true })
    );
    assert_eq!(value["checks"][2]["kind"], "iperf3");
    assert_eq!(value["checks"][2]["bits_per_second"], 1.25e9);
    assert_eq!(value["checks"][3]["exit"], 1);
    for (key, want) in [
        ("version", json!(1)),
        ("run_id", json!("r1")),
        ("seed", json!(7)),
        ("time", json!("lockstep")),
        ("trace_hash", json!("abcd")),
        ("passed", json!(false)),
    ] {
        assert_eq!(value[key], want, "{key}");
    }
    assert_eq!(serde_json::from_value::<RunResult>(value).unwrap(), result);
}

#[test]
fn junit_is_well_formed() {
    let result = sample();
    let xml = with_report(&result, None, junit_xml);
    snapshot("junit", &xml);
    conforms(&xml);
    let mut twice = result.clone();
    twice.checks.extend(result.checks);
    let xml = with_report(&twice, Some("guest 'board' <crashed>\n"), junit_xml);
    conforms(&xml);
    assert!(xml.contains("message=\"guest &#39;board&#39; &lt;crashed&gt;&#10;\""));
}

/// The rules of Jenkins' junit-10.xsd that apply to these elements, and what
/// viewers need: numbers that add up, and cases that differ.
fn conforms(xml: &str) {
    let document = roxmltree::Document::parse(xml).unwrap();
    let allowed = |name: &str| -> (&[&str], &[&str]) {
        match name {
            "testsuites" => (
                &["name", "time", "tests", "failures", "disabled", "errors"],
                &["testsuite"],
            ),
            "testsuite" => (
                &[
                    "name",
                    "tests",
                    "failures",
                    "errors",
                    "time",
                    "disabled",
                    "skipped",
                    "timestamp",
                    "hostname",
                    "id",
                    "package",
                ],
                &["properties", "testcase", "system-out", "system-err"],
            ),
            "properties" => (&[], &["property"]),
            "property" => (&["name", "value"], &[]),
            "testcase" => (
                &["name", "assertions", "time", "classname", "status"],
                &["skipped", "error", "failure", "system-out", "system-err"],
            ),
            "failure" | "error" => (&["type", "message"], &[]),
            "system-out" => (&[], &[]),
            other => panic!("<{other}>"),
        }
    };
    for node in document.descendants().filter(|n| n.is_element()) {
        let (attributes, children) = allowed(node.tag_name().name());
        assert!(
            node.attributes().all(|a| attributes.contains(&a.name())),
            "{node:?}"
        );
        assert!(
            node.children()
                .filter(|c| c.is_element())
                .all(|c| children.contains(&c.tag_name().name())),
            "{node:?}"
        );
    }
    let suite = document.root_element().first_element_child().unwrap();
    assert_eq!(
        suite.first_element_child().unwrap().tag_name().name(),
        "properties"
    );
    let count = |name| {
        document
            .descendants()
            .filter(|n| n.has_tag_name(name))
            .count()
            .to_string()
    };
    for node in [document.root_element(), suite] {
        assert_eq!(node.attribute("tests"), Some(count("testcase").as_str()));
        assert_eq!(node.attribute("failures"), Some(count("failure").as_str()));
        assert_eq!(node.attribute("errors"), Some(count("error").as_str()));
    }
    let mut names: Vec<_> = document
        .descendants()
        .filter(|n| n.has_tag_name("testcase"))
        .map(|n| {
            (
                n.attribute("classname").unwrap(),
                n.attribute("name").unwrap(),
            )
        })
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "names differ");
}

/// Values of `date -u -d @N`.
#[test]
fn dates() {
    assert_eq!(utc(0), "1970-01-01T00:00:00");
    assert_eq!(utc(951_782_399), "2000-02-28T23:59:59");
    assert_eq!(utc(951_868_799), "2000-02-29T23:59:59");
    assert_eq!(utc(1_795_181_345), "2026-11-20T13:29:05");
    assert_eq!(utc(4_102_444_799), "2099-12-31T23:59:59");
}

#[test]
fn tables() {
    let lost = dropped(&sample(), &NicCounters::new());
    let plain = table(&sample(), &lost, TableStyle::default());
    assert!(plain.is_ascii());
    snapshot("table_ascii", &plain);
    let unicode = TableStyle {
        unicode: true,
        color: false,
    };
    snapshot("table_unicode", &table(&sample(), &lost, unicode));
    let color = TableStyle {
        unicode: false,
        color: true,
    };
    let colored = table(&sample(), &lost, color);
    let stripped = colored
        .replace("\x1b[32m", "")
        .replace("\x1b[31m", "")
        .replace("\x1b[0m", "");
    assert_eq!(stripped, plain);
    let empty = RunResult::new("r", 1, TimeMode::Free);
    assert_eq!(
        table(&empty, &[], TableStyle::default()),
        "0 passed, 0 failed\n"
    );
}
