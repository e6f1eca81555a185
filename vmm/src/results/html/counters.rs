//! Guests, counters, and which counter explains which loss.

use super::{Report, table};
use crate::results::accounts::{self, Direction};
use crate::results::svg::{escape, grouped, number};
use crate::results::{CheckResult, UsedAccel};
use std::collections::BTreeSet;
use std::fmt::Write;

const NONE: &str = "&#8211;";

pub(super) fn guests(report: &Report<'_>) -> String {
    let rows: Vec<Vec<String>> = report
        .topology
        .guests
        .iter()
        .map(|(name, spec)| {
            let ran = report.result.guests.get(name);
            let accel = ran.map_or(NONE, |g| match g.accel {
                UsedAccel::Kvm => "KVM",
                UsedAccel::Emulated => "emulated",
            });
            let boot = ran.filter(|g| g.boot_ms > 0.0);
            let log = format!("console-{name}.log");
            vec![
                escape(name),
                spec.arch().name().to_owned(),
                accel.to_owned(),
                spec.vcpus.to_string(),
                super::memory(spec.memory),
                boot.map_or_else(
                    || "not ready".to_owned(),
                    |g| format!("{:.2} s", g.boot_ms / 1e3),
                ),
                ran.and_then(|g| g.instructions)
                    .map_or_else(|| NONE.to_owned(), grouped),
                ran.map_or_else(
                    || NONE.to_owned(),
                    |g| format!("{} MiB", number(g.rss_kib as f64 / 1024.0)),
                ),
                format!("<a href=\"{0}\">{0}</a>", escape(&log)),
            ]
        })
        .collect();
    let head = [
        "Guest",
        "Architecture",
        "Runs by",
        "vCPUs",
        "Memory",
        "Boot to agent",
        "Instructions",
        "Memory used",
        "Console log",
    ];
    table(&head, &rows, true)
}

/// Interfaces of guest `guest` on `card`.
fn nics_on(report: &Report<'_>, guest: Option<&str>, card: &str) -> Vec<String> {
    let Some((name, spec)) = guest.and_then(|g| report.topology.guests.get_key_value(g)) else {
        return Vec::new();
    };
    let on = spec
        .nics
        .iter()
        .filter(|nic| nic.card.as_deref() == Some(card));
    on.map(|nic| format!("{name}.{}", nic.name())).collect()
}

/// What each direction of each card, and its interfaces, made of the frames; and
/// whether that explains the requests that the checks lost.
pub(super) fn accounts(report: &Report<'_>) -> String {
    let mut out = String::new();
    let dropped = accounts::dropped(report.result, report.nics);
    let total: u64 = dropped.iter().map(|d| d.frames).sum();
    let mut missing = 0;
    for (card, spec) in &report.topology.cards {
        let hosts = nics_on(report, spec.host.as_deref(), card);
        let boards = nics_on(report, spec.board.as_deref(), card);
        for direction in accounts::directions(report.result, card) {
            let (from, to) = match direction.name {
                "h2c" => (&hosts, &boards),
                _ => (&boards, &hosts),
            };
            missing += direction.missing().unsigned_abs();
            out.push_str(&road(report, card, &direction, from, to));
        }
    }
    let lost = lost_requests(report);
    let mut says = String::new();
    let _ = match (lost, total) {
        (0, 0) => write!(says, "No request was lost and no frame was dropped."),
        (0, n) => write!(
            says,
            "{} frames were dropped, but every request of a check was answered.",
            grouped(n)
        ),
        (lost, 0) => write!(
            says,
            "{} requests were not answered, but no interface or card lost a frame: they were lost inside a guest \
             (its stack, its buffers, an answer after the end).",
            grouped(lost)
        ),
        (lost, n) => write!(
            says,
            "{} requests were not answered; {} frames were dropped on the way, each counted below by cause.",
            grouped(lost),
            grouped(n)
        ),
    };
    if missing > 0 {
        let _ = write!(
            says,
            " <span class=\"hot\">{} frames are in no counter.</span>",
            grouped(missing as u64)
        );
    }
    let mut page = format!("<p>{says}</p>\n");
    if !dropped.is_empty() {
        let rows: Vec<Vec<String>> = dropped
            .iter()
            .map(|d| {
                vec![
                    escape(&d.place),
                    format!("<code>{}</code>", escape(&d.cause)),
                    format!("<span class=\"hot\">{}</span>", grouped(d.frames)),
                    accounts::meaning(&d.cause).to_owned(),
                ]
            })
            .collect();
        page.push_str(&table(&["Where", "Counter", "Frames", "Why"], &rows, false));
    }
    page + &out
}

fn lost_requests(report: &Report<'_>) -> u64 {
    let lost = report.result.checks.iter().map(|check| match check {
        CheckResult::Ping(row) => row.sent.saturating_sub(row.received),
        _ => 0,
    });
    lost.sum()
}

/// One direction as an account: from the sender's interface to the receiver's.
fn road(
    report: &Report<'_>,
    card: &str,
    direction: &Direction,
    from: &[String],
    to: &[String],
) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row =
        |what: String, frames: u64, note: String| rows.push(vec![what, frames_cell(frames), note]);
    for nic in from {
        let Some(counters) = report.nics.get(nic) else {
            continue;
        };
        row(
            format!("{} sent", escape(nic)),
            accounts::queues(counters, "tx", "frames"),
            String::new(),
        );
    }
    row(
        format!("{} took", escape(card)),
        direction.sent,
        String::new(),
    );
    for (cause, n) in &direction.dropped {
        rows_drop(&mut rows, &format!("{} dropped", escape(card)), cause, *n);
    }
    let mut row =
        |what: String, frames: u64, note: String| rows.push(vec![what, frames_cell(frames), note]);
    if direction.in_flight > 0 {
        row(
            "still in the FIFO".to_owned(),
            direction.in_flight,
            String::new(),
        );
    }
    row(
        format!("{} delivered", escape(card)),
        direction.delivered,
        String::new(),
    );
    for nic in to {
        let Some(counters) = report.nics.get(nic) else {
            continue;
        };
        for (name, n) in counters
            .iter()
            .filter(|(name, n)| **n > 0 && name.starts_with("rx"))
        {
            if accounts::is_nic_drop(name) {
                rows_drop(&mut rows, &format!("{} kept back", escape(nic)), name, *n);
            }
        }
        let frames = accounts::queues(counters, "rx", "frames");
        rows.push(vec![
            format!("{} received", escape(nic)),
            frames_cell(frames),
            String::new(),
        ]);
    }
    if direction.missing() != 0 {
        let note = "sent, but neither delivered, dropped nor in flight".to_owned();
        let n = format!("<span class=\"hot\">{}</span>", direction.missing());
        rows.push(vec!["not explained".to_owned(), n, note]);
    }
    let arrow = if direction.name == "h2c" {
        "host to board (H2C)"
    } else {
        "board to host (C2H)"
    };
    format!(
        "<h3>{}, {arrow}</h3>\n{}",
        escape(card),
        table(&["Step", "Frames", ""], &rows, false).replace("<table>", "<table class=\"road\">")
    )
}

fn rows_drop(rows: &mut Vec<Vec<String>>, who: &str, cause: &str, n: u64) {
    let class = if accounts::is_expected(cause) {
        "zero"
    } else {
        "hot"
    };
    rows.push(vec![
        format!("{who}: <code>{}</code>", escape(cause)),
        format!("<span class=\"{class}\">&#8722;{}</span>", grouped(n)),
        accounts::meaning(cause).to_owned(),
    ]);
}

fn frames_cell(frames: u64) -> String {
    format!("<b>{}</b>", grouped(frames))
}

/// A counter, dimmed when nothing was counted.
fn value(n: u64, drop: bool) -> String {
    match (n, drop) {
        (0, _) => "<span class=\"zero\">0</span>".to_owned(),
        (n, true) => format!("<span class=\"hot\">{}</span>", grouped(n)),
        (n, false) => grouped(n),
    }
}

/// All counters of cards and interfaces.
pub(super) fn all(report: &Report<'_>) -> String {
    let mut out = String::new();
    for (name, card) in &report.result.cards {
        let ways = ["h2c", "c2h"].map(|way| flat(card.get(way)));
        let names: BTreeSet<&String> = ways.iter().flatten().map(|(name, _)| name).collect();
        let rows: Vec<Vec<String>> = names
            .into_iter()
            .map(|key| {
                let mut row = vec![format!("<code>{}</code>", escape(key))];
                for way in &ways {
                    let found = way.iter().find(|(name, _)| name == key);
                    row.push(found.map_or_else(
                        || NONE.to_owned(),
                        |(_, n)| value(*n, key.starts_with("dropped")),
                    ));
                }
                row
            })
            .collect();
        let _ = writeln!(out, "<h3>{}</h3>", escape(name));
        out.push_str(&table(
            &["Counter", "H2C (host to board)", "C2H (board to host)"],
            &rows,
            true,
        ));
        let xdma: Vec<Vec<String>> = flat(card.get("xdma"))
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(key, n)| {
                let hot = key.ends_with(".errors");
                vec![format!("<code>{}</code>", escape(&key)), value(n, hot)]
            })
            .collect();
        if !xdma.is_empty() {
            let _ = writeln!(out, "<h3>{}: XDMA</h3>", escape(name));
            out.push_str(&table(&["Counter", "XDMA"], &xdma, true));
        }
    }
    if !report.nics.is_empty() {
        let keys: BTreeSet<&String> = report.nics.values().flat_map(|c| c.keys()).collect();
        let rows: Vec<Vec<String>> = keys
            .into_iter()
            .map(|key| {
                let mut row = vec![format!("<code>{}</code>", escape(key))];
                let drop = accounts::is_nic_drop(key) && !accounts::is_expected(key);
                row.extend(report.nics.values().map(|counters| {
                    counters
                        .get(key)
                        .map_or_else(|| NONE.to_owned(), |n| value(*n, drop))
                }));
                row
            })
            .collect();
        let names: Vec<String> = report.nics.keys().map(|name| escape(name)).collect();
        let mut head = vec!["Counter"];
        head.extend(names.iter().map(String::as_str));
        out.push_str("<h3>Network interfaces</h3>\n");
        out.push_str(&table(&head, &rows, true));
    }
    out
}

/// Numbers of an object by their path.
fn flat(value: Option<&serde_json::Value>) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for (key, value) in value.and_then(|v| v.as_object()).into_iter().flatten() {
        match value.as_u64() {
            Some(n) => all.push((key.clone(), n)),
            None => all.extend(
                flat(Some(value))
                    .into_iter()
                    .map(|(k, n)| (format!("{key}.{k}"), n)),
            ),
        }
    }
    all
}
