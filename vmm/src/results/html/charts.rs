//! Loss against size, distribution of round-trip times, throughput.

use super::Report;
use super::checks::pings_of;
use crate::checks::{percentile, wilson};
use crate::results::svg::{Anchor, Drawing, Scale, color, fit, number};
use crate::results::table::{percent, si};
use crate::results::{CheckResult, PingResult};

const WIDTH: f64 = 1040.0;

fn pair(row: &PingResult) -> String {
    format!("{} \u{2192} {}", row.from, row.to)
}

/// All directions in the order of the checks.
fn pairs(report: &Report<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, row) in pings_of(report) {
        let name = pair(row);
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

pub(super) fn loss(report: &Report<'_>) -> String {
    let pairs = pairs(report);
    let mut sizes: Vec<u32> = pings_of(report).map(|(_, row)| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let (x0, x1, y0, y1) = (64.0, WIDTH - 16.0, 268.0, 40.0);
    let interval = |row: &PingResult| wilson(row.sent.saturating_sub(row.received), row.sent);
    let highest = pings_of(report)
        .filter_map(|(_, row)| interval(row))
        .map(|i| i.high);
    let highest = highest.fold(0.0, f64::max).clamp(1e-6, 1.0);
    let y = Scale::linear(0.0, highest * 100.0, y0, y1);
    let mut d = Drawing::new(WIDTH, 324.0);
    for tick in y.ticks(6) {
        d.line((x0, y.at(tick)), (x1, y.at(tick)), "g");
        d.text(
            (x0 - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            "m sm",
            &format!("{}%", number(tick)),
        );
    }
    d.line((x0, y0), (x1, y0), "ax");
    let step = (x1 - x0) / sizes.len().max(1) as f64;
    let every = (sizes.len() as f64 * 48.0 / (x1 - x0)).ceil().max(1.0) as usize;
    for (n, size) in sizes.iter().enumerate().filter(|(n, _)| n % every == 0) {
        let at = x0 + (n as f64 + 0.5) * step;
        d.text((at, y0 + 20.0), Anchor::Middle, "m", &size.to_string());
    }
    d.text(
        ((x0 + x1) / 2.0, y0 + 44.0),
        Anchor::Middle,
        "m sm",
        "bytes of ping payload",
    );
    let apart = (step * 0.7 / pairs.len().max(1) as f64).min(30.0);
    for (_, row) in pings_of(report) {
        let Some(n) = pairs.iter().position(|p| *p == pair(row)) else {
            continue;
        };
        let Some(place) = sizes.iter().position(|s| *s == row.size) else {
            continue;
        };
        let Some(range) = interval(row) else { continue };
        let shift = (n as f64 - (pairs.len() as f64 - 1.0) / 2.0) * apart;
        let at = x0 + (place as f64 + 0.5) * step + shift;
        let (low, high) = (y.at(range.low * 100.0), y.at(range.high * 100.0));
        d.stroke((at, low), (at, high), &color(n), 2.0);
        for end in [low, high] {
            d.stroke((at - 5.0, end), (at + 5.0, end), &color(n), 2.0);
        }
        d.mark((at, y.at(row.loss * 100.0)), n);
    }
    legend(&mut d, x0, &pairs);
    format!(
        "<p class=\"muted\">Marks are the share of requests that was not answered, bars the 95&#160;% \
         Wilson interval of the loss rate behind it.</p>\n<div class=\"wide\">{}</div>\n",
        d.inline("Loss against size of the payload")
    )
}

fn legend(d: &mut Drawing, x0: f64, names: &[String]) {
    let mut at = x0;
    for (n, name) in names.iter().enumerate() {
        d.mark((at + 6.0, 16.0), n);
        d.text((at + 18.0, 21.0), Anchor::Start, "", name);
        at += 44.0 + 8.0 * name.chars().count() as f64;
    }
}

const BINS: usize = 80;

pub(super) fn round_trips(report: &Report<'_>) -> String {
    let pairs = pairs(report);
    let rows: Vec<(&PingResult, &[f64])> = pings_of(report)
        .filter_map(|(i, row)| Some((row, report.rows.get(i)?.rtts_us.as_slice())))
        .filter(|(_, rtts)| !rtts.is_empty())
        .collect();
    let all = || rows.iter().flat_map(|(_, rtts)| rtts.iter().copied());
    let (low, high) = all().fold((f64::MAX, 0f64), |(l, h), v| (l.min(v), h.max(v)));
    if rows.is_empty() {
        return "<p class=\"muted\">No reply carried a time.</p>\n".to_owned();
    }
    let (x0, x1) = (210.0, WIDTH - 250.0);
    let row_height = 44.0;
    let bottom = 34.0 + row_height * rows.len() as f64;
    let x = Scale::log((low * 0.9).max(0.1), high * 1.1, x0, x1);
    let mut d = Drawing::new(WIDTH, bottom + 48.0);
    d.text(
        (WIDTH - 4.0, 20.0),
        Anchor::End,
        "m sm",
        "p50 / p99 / replies",
    );
    for tick in x.ticks(12) {
        d.line((x.at(tick), 28.0), (x.at(tick), bottom), "g");
        d.text(
            (x.at(tick), bottom + 18.0),
            Anchor::Middle,
            "m sm",
            &number(tick),
        );
    }
    d.text(
        ((x0 + x1) / 2.0, bottom + 40.0),
        Anchor::Middle,
        "m sm",
        "round-trip time, us (logarithmic)",
    );
    for (n, (row, rtts)) in rows.iter().enumerate() {
        let base = 34.0 + row_height * (n + 1) as f64 - 4.0;
        let series = pairs.iter().position(|p| *p == pair(row)).unwrap_or(0);
        d.line((x0, base), (x1, base), "ax");
        d.text(
            (x0 - 10.0, base - 8.0),
            Anchor::End,
            "",
            &format!("{}, {} B", fit(&pair(row), 140.0), row.size),
        );
        let mut sorted = rtts.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut bins = [0usize; BINS];
        let width = (x1 - x0) / BINS as f64;
        for rtt in &sorted {
            let bin = ((x.at(*rtt) - x0) / width) as usize;
            bins[bin.min(BINS - 1)] += 1;
        }
        let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
        for (bin, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let height = (*count as f64 / most * 32.0).max(3.0);
            let at = x0 + bin as f64 * width;
            d.bar(
                (at, base - height),
                ((width - 1.0).max(1.0), height),
                &color(series),
                0.75,
            );
        }
        let p = |share| percentile(&sorted, share).unwrap_or(0.0);
        let (p50, p99) = (p(0.5), p(0.99));
        for (value, height) in [(p50, 36.0), (p99, 20.0)] {
            d.stroke(
                (x.at(value), base),
                (x.at(value), base - height),
                "var(--ink)",
                2.0,
            );
        }
        let count = match row.received {
            received if received as usize == rtts.len() => format!("{received}"),
            received => format!("{} of {received}", rtts.len()),
        };
        let text = format!("{} / {} us / {count}", number(p50), number(p99));
        d.text((WIDTH - 4.0, base - 8.0), Anchor::End, "", &text);
    }
    format!(
        "<p class=\"muted\">A bar's height is the number of replies with that time, relative to its \
         row's fullest; the long line is the median, the short one the 99th percentile.</p>\n\
         <div class=\"wide\">{}</div>\n",
        d.inline("Distribution of round-trip times")
    )
}

pub(super) fn throughput(report: &Report<'_>) -> String {
    let rows: Vec<_> = report
        .result
        .checks
        .iter()
        .filter_map(|check| match check {
            CheckResult::Iperf3(row) => Some((check.name(), row)),
            _ => None,
        })
        .collect();
    let most = rows
        .iter()
        .map(|(_, r)| r.bits_per_second.max(r.sent_bits_per_second));
    let most = most.fold(1.0, f64::max);
    let (x0, x1) = (330.0, WIDTH - 230.0);
    let row_height = 40.0;
    let bottom = 10.0 + row_height * rows.len() as f64;
    let x = Scale::linear(0.0, most, x0, x1);
    let mut d = Drawing::new(WIDTH, bottom + 30.0);
    for tick in x.ticks(6) {
        d.line((x.at(tick), 6.0), (x.at(tick), bottom), "g");
        d.text(
            (x.at(tick), bottom + 20.0),
            Anchor::Middle,
            "m sm",
            &format!("{}bit/s", si(tick)),
        );
    }
    for (n, (name, row)) in rows.iter().enumerate() {
        let top = 10.0 + row_height * n as f64;
        d.text(
            (x0 - 10.0, top + 20.0),
            Anchor::End,
            "",
            &fit(name, x0 - 20.0),
        );
        d.bar(
            (x0, top + 4.0),
            (x.at(row.sent_bits_per_second) - x0, 24.0),
            &color(0),
            0.3,
        );
        d.bar(
            (x0, top + 8.0),
            (x.at(row.bits_per_second) - x0, 16.0),
            &color(0),
            1.0,
        );
        let mut text = format!("{}bit/s", si(row.bits_per_second));
        match (row.loss, row.retransmits) {
            (Some(loss), _) => text += &format!(", loss {}", percent(loss)),
            (None, Some(n)) if n > 0 => text += &format!(", {n} sent again"),
            _ => {}
        }
        let class = if row.passed { "" } else { "badt" };
        d.text(
            (
                x.at(row.bits_per_second.max(row.sent_bits_per_second)) + 10.0,
                top + 21.0,
            ),
            Anchor::Start,
            class,
            &text,
        );
    }
    d.line((x0, 6.0), (x0, bottom), "ax");
    format!(
        "<p class=\"muted\">Dark: what the receiver got; light: what the sender sent.</p>\n\
         <div class=\"wide\">{}</div>\n",
        d.inline("Throughput")
    )
}
