//! The pair: round trips and throughput beside QEMU in the same run, and what
//! they cost.

#![allow(clippy::disallowed_methods)] // It measures host time.

use super::{cpu_seconds, median, spread};
use ci::qemu::{Joint, QemuPair};
use ci::{Ended, Run, pair, peak_mib};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What both are asked, in this order: who runs it, and what.
const WORK: [(&str, &str); 9] = [
    ("board", "iperf3 -s -D; sleep 0.5"),
    ("host", "ping -n -c 200 -i 0.01 10.10.10.5"),
    ("board", "ping -n -c 200 -i 0.01 10.10.10.1"),
    // Below 10 ms ping does not sleep between two requests.
    ("host", "ping -n -c 500 -i 0.001 10.10.10.5"),
    ("host", "ping -n -q -f -c 3000 10.10.10.5"),
    ("host", "iperf3 -J -t 4 -c 10.10.10.5"),
    ("host", "iperf3 -J -t 4 -R -c 10.10.10.5"),
    ("host", "iperf3 -J -u -b 0 -l 64 -t 4 -c 10.10.10.5"),
    ("host", "iperf3 -J -u -b 0 -l 64 -t 4 -R -c 10.10.10.5"),
];
/// Ends at the first answer.
const FIRST: &str = "until ping -n -q -c 1 -W 0.2 10.10.10.5; do :; done";

/// Names of the rows of [`numbers`].
const ROWS: [&str; 12] = [
    "start to first ping reply, s",
    "RTT 56 bytes host to board every 10 ms, median, us",
    "RTT 56 bytes board to host every 10 ms, median, us",
    "RTT 56 bytes host to board every ms, median, us",
    "flood 56 bytes, replies/s",
    "pings and flood, lost of 3,900",
    "TCP host to board, Gb/s",
    "TCP board to host, Gb/s",
    "UDP 64 bytes host to board, received/s",
    "UDP 64 bytes board to host, received/s",
    "UDP 64 bytes, lost, % (both ways)",
    "memory, MiB (all processes)",
];

/// The rows, from the outputs of [`WORK`].
fn numbers(first: f64, out: &[String], rss: f64) -> [f64; 12] {
    let text = |i: usize| out.get(i).map_or("", String::as_str);
    let lost: f64 = (1..5).map(|i| lost(text(i)).unwrap_or(f64::NAN)).sum();
    let (there, back) = (udp(text(7)), udp(text(8)));
    [
        first,
        round_trip(text(1)),
        round_trip(text(2)),
        round_trip(text(3)),
        flood(text(4)).unwrap_or(f64::NAN),
        lost,
        tcp(text(5)),
        tcp(text(6)),
        there.0,
        back.0,
        (there.1 + back.1) / 2.0,
        rss,
    ]
}

/// Median of ping's own round trips, in us.
fn round_trip(output: &str) -> f64 {
    let times = output.lines().filter_map(|line| {
        let time = line.split_once(" time=")?.1;
        time.split_whitespace().next()?.parse::<f64>().ok()
    });
    median(times.collect()) * 1e3
}

/// Sent, received and milliseconds of `N packets transmitted, M received, ...
/// time Tms`.
fn summary(output: &str) -> Option<(f64, f64, f64)> {
    let line = output
        .lines()
        .find(|line| line.contains("packets transmitted"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let ms = words.last()?.strip_suffix("ms")?.parse().ok()?;
    Some((
        words.first()?.parse().ok()?,
        words.get(3)?.parse().ok()?,
        ms,
    ))
}

fn lost(output: &str) -> Option<f64> {
    summary(output).map(|(sent, received, _)| sent - received)
}

fn flood(output: &str) -> Option<f64> {
    summary(output).map(|(_, received, ms)| received / ms * 1e3)
}

fn json(output: &str) -> Value {
    let start = output.find('{').unwrap_or(0);
    serde_json::from_str(output.get(start..).unwrap_or("")).unwrap_or(Value::Null)
}

fn tcp(output: &str) -> f64 {
    let bits = &json(output)["end"]["sum_received"]["bits_per_second"];
    bits.as_f64().unwrap_or(f64::NAN) / 1e9
}

/// Datagrams that arrived in a second, and the share that did not, in %.
fn udp(output: &str) -> (f64, f64) {
    let sum = &json(output)["end"]["sum"];
    let n = |key: &str| sum[key].as_f64().unwrap_or(f64::NAN);
    let rate = (n("packets") - n("lost_packets")) / n("seconds");
    (rate, n("lost_percent"))
}

/// pair.yaml with iperf3 in both guests, which `run` checks do not ask for.
fn yaml(checks: &str) -> String {
    pair(checks).replace(
        "    memory: 256M\n",
        "    memory: 256M\n    packages: [iperf3]\n",
    )
}

/// What joins this monitor's two guests.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Card,
    Link,
}

/// The pair on `wire`.
fn on(wire: Wire, yaml: &str) -> String {
    let (Wire::Link, Some((guests, rest))) = (wire, yaml.split_once("\ncards:")) else {
        return yaml.to_owned();
    };
    let checks = rest
        .split_once("\nchecks:")
        .map_or("", |(_, checks)| checks);
    let guests = guests.replace("card: fpga0", "link: wire");
    format!("{guests}\nchecks:{checks}")
}

/// The rows of this monitor.
fn ours(wire: Wire) -> [f64; 12] {
    let run = |guest: &str, command: &str| {
        let command = serde_json::to_string(command).unwrap_or_default();
        format!("  - run: {{ guest: {guest}, command: {command}, timeout: 300s }}\n")
    };
    let mark = format!("{FIRST}; echo firstping >/dev/console");
    let mut checks = run("host", &mark);
    WORK.iter()
        .for_each(|(guest, command)| checks += &run(guest, command));
    let run = Run::new(&on(wire, &yaml(&checks))).with_images();
    let start = Instant::now();
    let started = run.start();
    let log = started.out().join("console-host.log");
    let mut first = f64::NAN;
    let mut rss = 0.0f64;
    while let Some(now) = peak_mib(started.pid()) {
        rss = rss.max(now);
        if first.is_nan()
            && std::fs::read(&log).is_ok_and(|b| String::from_utf8_lossy(&b).contains("firstping"))
        {
            first = start.elapsed().as_secs_f64();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = started.end();
    let rows = ended.rows("run");
    let out: Vec<String> = rows
        .iter()
        .skip(1)
        .map(|row| row["output"].as_str().unwrap_or("").to_owned())
        .collect();
    numbers(first, &out, rss)
}

/// The rows of QEMU.
fn theirs(joint: Joint) -> Result<[f64; 12], Box<dyn std::error::Error>> {
    let mut pair = QemuPair::start(joint)?;
    pair.host(FIRST)?;
    let first = pair.seconds();
    let mut out = Vec::new();
    for (guest, command) in WORK {
        out.push(match guest {
            "host" => pair.host(command)?,
            _ => pair.board(command)?,
        });
    }
    Ok(numbers(first, &out, pair.rss_mib()))
}

/// This monitor and QEMU in turns, `runs` times; medians, least and most.
pub fn beside_qemu(runs: usize) {
    println!(
        "\n| pair, free | vmm, ideal card | vmm, link | QEMU TCG, stream | QEMU TCG, taps and bridge |\n|---|---|---|---|---|"
    );
    let mut all: [Vec<[f64; 12]>; 4] = Default::default();
    for _ in 0..runs {
        all[0].push(ours(Wire::Card));
        all[1].push(ours(Wire::Link));
        for (slot, joint) in [(2, Joint::Stream), (3, Joint::Taps)] {
            match theirs(joint) {
                Ok(rows) => all[slot].push(rows),
                Err(error) => eprintln!("SKIP: {joint:?}: {error}"),
            }
        }
    }
    for (row, name) in ROWS.iter().enumerate() {
        print!("| {name} |");
        for column in &all {
            let values = column.iter().map(|rows| rows[row]).collect();
            print!(" {} |", spread(values, 3));
        }
        println!();
    }
}

fn checks(commands: &[&str], mode: &str, under: &[&str]) -> (Ended, f64) {
    let mut list = String::new();
    for command in commands {
        let command = serde_json::to_string(command).unwrap_or_default();
        list += &format!("  - run: {{ guest: host, command: {command}, timeout: 300s }}\n");
    }
    let server = "  - run: { guest: board, command: 'iperf3 -s -D; sleep 0.5' }\n";
    let before = cpu_seconds();
    let run = Run::new(&yaml(&format!("{server}{list}"))).under(under);
    let ended = run.arg("--time").arg(mode).end().expect(0);
    (ended, cpu_seconds() - before)
}

/// Guest instructions and hand-offs of a round trip and of a megabyte, and what
/// lockstep costs: differences to a run without the work.
pub fn costs() {
    const PINGS: &str = "ping -n -q -i 0.01 -c 300 10.10.10.5";
    const BULK: &str = "iperf3 -c 10.10.10.5 -n 64M";
    let of = |ended: &Ended, guest: &str, key: &str| {
        let value = &ended.result["guests"][guest][key];
        value.as_f64().unwrap_or(f64::NAN)
    };
    println!("\n| cost | host | board |\n|---|---|---|");
    let (idle, _) = checks(&["sleep 3"], "lockstep", &[]);
    let (pings, _) = checks(&[PINGS], "lockstep", &[]);
    let (bulk, _) = checks(&["sleep 3", BULK], "lockstep", &[]);
    for (name, run, by) in [
        ("thousand instructions for a round trip", &pings, 300.0),
        (
            "thousand instructions for a MB of TCP, host to board",
            &bulk,
            67.1,
        ),
    ] {
        let cost =
            |guest| (of(run, guest, "instructions") - of(&idle, guest, "instructions")) / by / 1e3;
        println!("| {name} | {:.1} | {:.1} |", cost("host"), cost("board"));
    }
    let (idle, _) = checks(&["sleep 3"], "free", &[]);
    let (pings, _) = checks(&[PINGS], "free", &[]);
    let each = |guest| (of(&pings, guest, "handoffs") - of(&idle, guest, "handoffs")) / 300.0;
    println!(
        "| thread hand-offs for a round trip | {:.2} | {:.2} |",
        each("host"),
        each("board")
    );
    println!("\n| on one core, CPU s | free | lockstep |\n|---|---|---|");
    let one = ["taskset", "-c", "0"];
    for (name, work) in [
        ("boot and power off", "true"),
        ("300 pings in 3 s", PINGS),
        ("64 MiB of TCP", BULK),
    ] {
        let (_, free) = checks(&[work], "free", &one);
        let (_, lockstep) = checks(&[work], "lockstep", &one);
        println!("| {name} | {free:.2} | {lockstep:.2} |");
    }
}
