//! The checks as tables.

use super::{Report, table};
use crate::checks::{loss_bound, wilson};
use crate::results::svg::{escape, number};
use crate::results::table::{detail, percent, si};
use crate::results::{CheckResult, PingResult};
use std::fmt::Write;

pub(super) fn tables(report: &Report<'_>) -> String {
    let mut out = String::new();
    pings(report, &mut out);
    throughput(report, &mut out);
    commands(report, &mut out);
    out
}

fn mark(passed: bool, error: Option<&str>) -> String {
    let mut text = match passed {
        true => "<span class=\"pass\">&#10003; pass</span>".to_owned(),
        false => "<span class=\"fail\">&#10007; fail</span>".to_owned(),
    };
    if let Some(error) = error {
        let _ = write!(text, " {}", escape(error));
    }
    text
}

/// `95 % interval` of a loss, and its upper bound when nothing was lost.
fn bounds(row: &PingResult) -> (String, String) {
    let lost = row.sent.saturating_sub(row.received);
    let interval = wilson(lost, row.sent).map_or("&#8211;".to_owned(), |i| {
        format!("{} &#8211; {}", percent(i.low), percent(i.high))
    });
    let bound = match loss_bound(row.sent) {
        Some(bound) if lost == 0 => format!("&lt; {}", percent(bound)),
        _ => "&#8211;".to_owned(),
    };
    (interval, bound)
}

fn pings(report: &Report<'_>, out: &mut String) {
    let rows: Vec<&PingResult> = pings_of(report).map(|(_, row)| row).collect();
    if rows.is_empty() {
        return;
    }
    let head = [
        "Ping",
        "Bytes",
        "Sent",
        "Received",
        "Duplicates",
        "Loss",
        "95&#160;% interval (Wilson)",
        "Bound 3/N",
        "min",
        "avg",
        "p50",
        "p99",
        "max",
        "Result",
    ];
    let body: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let (interval, bound) = bounds(row);
            let loss = percent(row.loss);
            let loss = if row.loss > 0.0 {
                format!("<span class=\"hot\">{loss}</span>")
            } else {
                loss
            };
            let mut cells = vec![
                format!("{} &#8594; {}", escape(&row.from), escape(&row.to)),
                row.size.to_string(),
                row.sent.to_string(),
                match row.late {
                    0 => row.received.to_string(),
                    late => format!("{} ({late} late)", row.received),
                },
                row.duplicates.to_string(),
                loss,
                interval,
                bound,
            ];
            match &row.rtt_us {
                Some(r) => cells.extend([r.min, r.avg, r.p50, r.p99, r.max].map(number)),
                None => cells.extend(std::iter::repeat_n("&#8211;".to_owned(), 5)),
            }
            cells.push(mark(row.passed, row.error.as_deref()));
            cells
        })
        .collect();
    out.push_str(&table(&head, &body, true));
    let sent: u64 = rows.iter().map(|r| r.sent).sum();
    let lost: u64 = rows.iter().map(|r| r.sent.saturating_sub(r.received)).sum();
    let _ = writeln!(
        out,
        "<p>Times in microseconds. {}</p>",
        crate::results::table::all_pings(lost, sent)
    );
}

/// The pings with their index among all rows.
pub(super) fn pings_of<'a>(report: &Report<'a>) -> impl Iterator<Item = (usize, &'a PingResult)> {
    report
        .result
        .checks
        .iter()
        .enumerate()
        .filter_map(|(i, check)| match check {
            CheckResult::Ping(row) => Some((i, row)),
            _ => None,
        })
}

fn throughput(report: &Report<'_>, out: &mut String) {
    let rows: Vec<Vec<String>> = report
        .result
        .checks
        .iter()
        .filter_map(|check| {
            let CheckResult::Iperf3(row) = check else {
                return None;
            };
            let none = || "&#8211;".to_owned();
            Some(vec![
                format!("{} &#8594; {}", escape(&row.from), escape(&row.to)),
                format!("{:?}", row.protocol).to_uppercase(),
                row.size.map_or_else(none, |s| s.to_string()),
                number(row.seconds),
                format!("{}bit/s", si(row.bits_per_second)),
                format!("{}bit/s", si(row.sent_bits_per_second)),
                row.retransmits.map_or_else(none, |n| n.to_string()),
                row.loss.map_or_else(none, percent),
                row.jitter_us
                    .map_or_else(none, |us| format!("{} us", number(us))),
                mark(row.passed, row.error.as_deref()),
            ])
        })
        .collect();
    if !rows.is_empty() {
        let head = [
            "iperf3",
            "Protocol",
            "Write size",
            "Seconds",
            "Received",
            "Sent",
            "Retransmits",
            "Loss",
            "Jitter",
            "Result",
        ];
        out.push_str(&table(&head, &rows, true));
    }
}

/// Longest output of a command that is shown, in characters.
const MOST_OUTPUT: usize = 20_000;

fn commands(report: &Report<'_>, out: &mut String) {
    for check in &report.result.checks {
        if let CheckResult::Set(row) = check {
            let mark = mark(row.passed, row.error.as_deref());
            let _ = writeln!(out, "<p>{mark} {}</p>", escape(&check.name()));
        }
        let CheckResult::Run(row) = check else {
            continue;
        };
        let _ = writeln!(
            out,
            "<details{}><summary>{} on {}: <code>{}</code> ({})</summary>",
            if row.passed { "" } else { " open=\"open\"" },
            mark(row.passed, None),
            escape(&row.guest),
            escape(&row.command),
            escape(&detail(check)),
        );
        let shown: String = row.output.chars().take(MOST_OUTPUT).collect();
        let _ = writeln!(out, "<pre>{}</pre>", escape(&shown));
        if shown.len() < row.output.len() {
            out.push_str("<p class=\"muted\">The rest is in result.json.</p>\n");
        }
        out.push_str("</details>\n");
    }
}
