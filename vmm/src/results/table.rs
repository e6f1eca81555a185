//! The terminal's table.

use super::{CheckResult, Dropped, RunResult};
use crate::checks::{loss_bound, wilson};

/// How a table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStyle {
    /// Lines and marks beyond ASCII.
    pub unicode: bool,
    /// Colours by terminal escapes.
    pub color: bool,
}

const HEAD: [&str; 12] = [
    "check",
    "size",
    "sent",
    "recv",
    "dup",
    "loss",
    "95 % interval",
    "min",
    "avg",
    "p50",
    "p99",
    "max",
];

/// The table of a run: pings with loss and round-trip times in microseconds,
/// then other checks, then what was dropped, then the verdict.
pub fn table(result: &RunResult, dropped: &[Dropped], style: TableStyle) -> String {
    let mut out = String::new();
    let pings: Vec<_> = result
        .checks
        .iter()
        .filter_map(|c| match c {
            CheckResult::Ping(row) => Some((row, c)),
            _ => None,
        })
        .collect();
    if !pings.is_empty() {
        let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
        for (row, _) in &pings {
            let arrow = if style.unicode { "\u{2192}" } else { "->" };
            let mut cells = vec![
                format!("ping {} {arrow} {}", row.from, row.to),
                row.size.to_string(),
                row.sent.to_string(),
                row.received.to_string(),
                row.duplicates.to_string(),
                percent(row.loss),
                interval(row.sent.saturating_sub(row.received), row.sent, style),
            ];
            match &row.rtt_us {
                Some(r) => cells.extend([r.min, r.avg, r.p50, r.p99, r.max].map(micros)),
                None => cells.extend(std::iter::repeat_n("-".to_owned(), 5)),
            }
            rows.push(cells);
        }
        rows[0].push("result (times in us)".into());
        for (row, (ping, check)) in rows.iter_mut().skip(1).zip(&pings) {
            let mut verdict = mark(check.passed(), style);
            if let Some(error) = &ping.error {
                verdict.push_str(&format!(" {error}"));
            }
            if ping.late > 0 {
                verdict.push_str(&format!(" ({} late)", ping.late));
            }
            row.push(verdict);
        }
        out.push_str(&layout(&rows, style));
    }
    for check in result
        .checks
        .iter()
        .filter(|c| !matches!(c, CheckResult::Ping(_)))
    {
        out.push_str(&format!(
            "{} {}: {}\n",
            mark(check.passed(), style),
            check.name(),
            detail(check)
        ));
    }
    let sent: u64 = pings.iter().map(|(row, _)| row.sent).sum();
    let lost = pings
        .iter()
        .map(|(row, _)| row.sent.saturating_sub(row.received));
    let lost: u64 = lost.sum();
    if sent > 0 {
        out.push_str(&format!("{}\n", all_pings(lost, sent)));
    }
    if lost > 0 || !dropped.is_empty() {
        out.push_str(&format!("{}\n", drops(dropped)));
    }
    let passed = result.checks.iter().filter(|c| c.passed()).count();
    let failed = result.checks.len() - passed;
    out.push_str(&format!("{passed} passed, {failed} failed\n"));
    out
}

/// What all pings together say about the loss rate.
pub(super) fn all_pings(lost: u64, sent: u64) -> String {
    match (lost, loss_bound(sent), wilson(lost, sent)) {
        (0, Some(bound), _) => format!(
            "0 of {sent} requests lost: the loss rate is below {} with 95 % confidence (3/N)",
            percent(bound)
        ),
        (lost, _, Some(i)) => format!(
            "{lost} of {sent} requests lost: the loss rate is {} to {} with 95 % confidence",
            percent(i.low),
            percent(i.high)
        ),
        _ => "no request was sent".to_owned(),
    }
}

/// Frames dropped by cause, in one line.
fn drops(dropped: &[Dropped]) -> String {
    if dropped.is_empty() {
        return "no card or network interface dropped a frame".to_owned();
    }
    let causes: Vec<String> = dropped
        .iter()
        .map(|d| format!("{} {} {}", d.place, d.cause, d.frames))
        .collect();
    let total: u64 = dropped.iter().map(|d| d.frames).sum();
    let word = if total == 1 { "frame" } else { "frames" };
    format!("{total} {word} dropped: {}", causes.join(", "))
}

/// The numbers of a row in one line.
pub(super) fn detail(check: &CheckResult) -> String {
    let numbers = match check {
        CheckResult::Ping(row) => {
            let mut text = format!("{} of {} answered", row.received, row.sent);
            if let Some(i) = wilson(row.sent.saturating_sub(row.received), row.sent) {
                let (low, high) = (percent(i.low), percent(i.high));
                text += &format!(", loss {} (95 %: {low} to {high})", percent(row.loss));
            }
            text
        }
        CheckResult::Iperf3(row) => {
            let mut text = format!("{}bit/s", si(row.bits_per_second));
            if let Some(n) = row.retransmits {
                text += &format!(", {n} retransmits");
            }
            if let Some(loss) = row.loss {
                text += &format!(", loss {}", percent(loss));
            }
            text
        }
        CheckResult::Run(row) => match row.exit {
            Some(exit) => format!("exit {exit}"),
            None => "did not end".into(),
        },
        CheckResult::Set(row) if row.passed => "done".into(),
        CheckResult::Set(_) => "not done".into(),
    };
    match check.error() {
        Some(error) => format!("{numbers}; {error}"),
        None => numbers,
    }
}

fn mark(passed: bool, style: TableStyle) -> String {
    let word = match (passed, style.unicode) {
        (true, true) => "\u{2713} pass",
        (false, true) => "\u{2717} FAIL",
        (true, false) => "pass",
        (false, false) => "FAIL",
    };
    match (style.color, passed) {
        (true, true) => format!("\x1b[32m{word}\x1b[0m"),
        (true, false) => format!("\x1b[31m{word}\x1b[0m"),
        (false, _) => word.to_owned(),
    }
}

fn interval(lost: u64, sent: u64, style: TableStyle) -> String {
    let dash = if style.unicode { "\u{2013}" } else { ".." };
    match wilson(lost, sent) {
        Some(i) => format!("{}{dash}{}", percent(i.low), percent(i.high)),
        None => "-".into(),
    }
}

pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

fn micros(us: f64) -> String {
    if us < 100.0 {
        format!("{us:.1}")
    } else {
        format!("{us:.0}")
    }
}

/// `1.25 G` and the like.
pub(super) fn si(value: f64) -> String {
    for (scale, unit) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= scale {
            return format!("{:.2} {unit}", value / scale);
        }
    }
    format!("{value:.0} ")
}

/// Columns side by side: the first and last to the left, numbers to the right.
fn layout(rows: &[Vec<String>], style: TableStyle) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            rows.iter()
                .filter_map(|r| r.get(c))
                .map(|t| width(t))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (text, w))| match c {
                _ if c + 1 == columns => text.clone(),
                0 => format!("{text}{}", " ".repeat(w - width(text))),
                _ => format!("{}{text}", " ".repeat(w - width(text))),
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
        if n == 0 {
            let line = if style.unicode { "\u{2500}" } else { "-" };
            let last = width(rows[0].last().map_or("", String::as_str));
            let total: usize = widths.iter().take(columns - 1).map(|w| w + 2).sum();
            out.push_str(&line.repeat(total + last));
            out.push('\n');
        }
    }
    out
}
