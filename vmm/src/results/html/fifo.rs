//! FIFO depth and backpressure over time.

use super::{FifoLine, Report};
use crate::results::svg::{Anchor, Drawing, Scale, color, grouped, number};
use std::fmt::Write;

const WIDTH: f64 = 1040.0;

pub(super) fn time_lines(report: &Report<'_>) -> String {
    let mut out = String::from(
        "<p class=\"muted\">Each stick is the most frames that a sender found in the FIFO around that \
         time; below it, how often the sender had to wait because the FIFO was full.</p>\n",
    );
    // One time axis for all: directions can be compared.
    let ends = |line: &FifoLine| {
        let points = line.line.points();
        Some((
            points.first()?.at.as_secs_f64(),
            points.last()?.at.as_secs_f64(),
        ))
    };
    let spans: Vec<(f64, f64)> = report.fifos.iter().filter_map(ends).collect();
    let start = spans.iter().map(|s| s.0).fold(f64::MAX, f64::min);
    let end = spans.iter().map(|s| s.1).fold(0.0, f64::max);
    for (n, line) in report.fifos.iter().enumerate() {
        let slots = report
            .topology
            .cards
            .get(&line.card)
            .map(|card| card.fifo.slots);
        let what = match line.direction {
            "h2c" => "host to board (H2C)",
            _ => "board to host (C2H)",
        };
        let title = format!("{}, {what}", line.card);
        if line.line.points().is_empty() {
            let _ = writeln!(
                out,
                "<p>{}: no frame.</p>",
                crate::results::svg::escape(&title)
            );
            continue;
        }
        let drawing = one(line, &title, slots, (start, end), n);
        let _ = writeln!(out, "<div class=\"wide\">{drawing}</div>");
    }
    out
}

fn one(
    line: &FifoLine,
    title: &str,
    slots: Option<u32>,
    (start, end): (f64, f64),
    n: usize,
) -> String {
    let points = line.line.points();
    let deepest = points.iter().map(|p| p.depth).max().unwrap_or(0);
    let stalls: u64 = points.iter().map(|p| u64::from(p.stalls)).sum();
    let worst = points.iter().map(|p| p.stalls).max().unwrap_or(0);
    let (x0, x1) = (64.0, WIDTH - 16.0);
    let (top, base, strip) = (34.0, 154.0, 196.0);
    let height = if stalls > 0 { 240.0 } else { 200.0 };
    let bottom = if stalls > 0 { strip } else { base };
    let x = Scale::linear(start, end, x0, x1);
    let y = Scale::linear(0.0, f64::from(deepest.max(1)), base, top);
    let mut d = Drawing::new(WIDTH, height);
    d.text((x0, 18.0), Anchor::Start, "b", title);
    let mut text = format!("deepest {}", grouped(deepest.into()));
    if let Some(slots) = slots {
        text += &format!(" of {} slots", grouped(slots.into()));
    }
    text += &match stalls {
        0 => ", no wait".to_owned(),
        n => format!(", {} waits", grouped(n)),
    };
    d.text((x1, 18.0), Anchor::End, "m", &text);
    for tick in y.ticks(4).into_iter().filter(|t| t.fract() == 0.0) {
        d.line((x0, y.at(tick)), (x1, y.at(tick)), "g");
        d.text(
            (x0 - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            "m sm",
            &number(tick),
        );
    }
    for tick in x.ticks(10) {
        d.text(
            (x.at(tick), bottom + 18.0),
            Anchor::Middle,
            "m sm",
            &format!("{} s", seconds(tick)),
        );
    }
    for point in points {
        let at = x.at(point.at.as_secs_f64());
        if point.depth > 0 {
            d.stroke((at, base), (at, y.at(point.depth.into())), &color(n), 1.5);
        }
        if point.stalls > 0 {
            let share = f64::from(point.stalls) / f64::from(worst.max(1));
            d.stroke(
                (at, strip),
                (at, strip - 4.0 - 28.0 * share),
                "var(--bad)",
                1.5,
            );
        }
    }
    d.line((x0, base), (x1, base), "ax");
    if stalls > 0 {
        d.line((x0, strip), (x1, strip), "ax");
        d.text((x0 - 8.0, strip - 2.0), Anchor::End, "m sm", "waits");
    }
    d.inline(&format!("FIFO depth over time, {title}"))
}

/// Seconds on an axis that may start late and be short.
fn seconds(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
