//! `report.html`: one file that needs neither network nor scripts.

mod charts;
mod checks;
mod counters;
mod drawing;
mod fifo;
mod style;
#[cfg(test)]
mod tests;

use super::accounts::NicCounters;
use super::svg::{escape, grouped};
use super::{CheckResult, RunResult, utc};
use crate::topology::{TimeMode, TopologySpec};
use fpga_sim::card::TimeLine;
use std::fmt::Write;

/// What the report shows beside the result.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The result.
    pub result: &'a RunResult,
    /// What was run.
    pub topology: &'a TopologySpec,
    /// More about each row of the result's checks, in their order.
    pub rows: &'a [RowDetails],
    /// Counters of all network interfaces.
    pub nics: &'a NicCounters,
    /// FIFO depth over time, of all cards.
    pub fifos: &'a [FifoLine],
    /// Why the run ended early.
    pub failure: Option<&'a str>,
    /// Start of the run, in seconds since 1970; 0 when it is not known.
    pub started: u64,
}

/// What a row of the checks has beside its result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowDetails {
    /// Round-trip times in microseconds, in order of arrival.
    pub rtts_us: Vec<f64>,
    /// How long the row took, in seconds of virtual time.
    pub seconds: f64,
    /// It did not run: the run ended before it.
    pub skipped: bool,
}

/// FIFO depth of one direction over time.
#[derive(Clone, Debug)]
pub struct FifoLine {
    /// The card.
    pub card: String,
    /// `h2c` or `c2h`.
    pub direction: &'static str,
    /// Depth and stalls.
    pub line: TimeLine,
}

/// The page.
pub fn report_html(report: &Report<'_>) -> String {
    let result = report.result;
    let mut page = String::with_capacity(64 << 10);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
         <meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}: run {}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
        verdict(report).0,
        escape(&result.run_id),
        style::css()
    );
    header(report, &mut page);
    section(&mut page, "Topology", &drawing::topology(report));
    if !result.checks.is_empty() {
        section(&mut page, "Checks", &checks::tables(report));
    }
    if has(result, |c| matches!(c, CheckResult::Ping(_))) {
        section(&mut page, "Loss against size", &charts::loss(report));
        section(&mut page, "Round-trip times", &charts::round_trips(report));
    }
    if has(result, |c| matches!(c, CheckResult::Iperf3(_))) {
        section(&mut page, "Throughput", &charts::throughput(report));
    }
    if !result.cards.is_empty() || !report.nics.is_empty() {
        section(
            &mut page,
            "Where the frames went",
            &counters::accounts(report),
        );
    }
    if !report.fifos.is_empty() {
        section(
            &mut page,
            "FIFO depth and backpressure over time",
            &fifo::time_lines(report),
        );
    }
    section(&mut page, "Guests", &counters::guests(report));
    if !result.cards.is_empty() || !report.nics.is_empty() {
        section(&mut page, "Counters", &counters::all(report));
    }
    section(&mut page, "Run and files", &metadata(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn has(result: &RunResult, what: impl Fn(&CheckResult) -> bool) -> bool {
    result.checks.iter().any(what)
}

fn section(page: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(page, "<section>\n<h2>{title}</h2>\n{body}</section>\n");
    }
}

/// One word, and its class.
fn verdict(report: &Report<'_>) -> (&'static str, &'static str) {
    match (report.failure, report.result.passed) {
        (Some(_), _) => ("Broken off", "bad"),
        (None, true) => ("Passed", "good"),
        (None, false) => ("Failed", "bad"),
    }
}

fn header(report: &Report<'_>, page: &mut String) {
    let result = report.result;
    let passed = result.checks.iter().filter(|c| c.passed()).count();
    let (word, class) = verdict(report);
    let count = match result.checks.len() {
        0 => "no checks".to_owned(),
        n => format!("{passed} of {n} checks passed"),
    };
    let _ = write!(
        page,
        "<header class=\"{class}\">\n<h1>{word}</h1>\n<p>{count} &#183; run {} &#183; {}</p>\n",
        escape(&result.run_id),
        mode(result)
    );
    if let Some(failure) = report.failure {
        let _ = writeln!(page, "<p class=\"why\">{}</p>", escape(failure));
    }
    page.push_str("</header>\n");
}

fn mode(result: &RunResult) -> String {
    match result.time {
        TimeMode::Free => "free: every guest on its own thread, host time".to_owned(),
        TimeMode::Lockstep => format!("lockstep: virtual time, seed {}", result.seed),
    }
}

/// `256M` of a topology as `256 MiB`.
fn memory(size: crate::topology::Size) -> String {
    let text = size.to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    match text.get(digits.len()..) {
        Some(unit @ ("K" | "M" | "G" | "T")) => format!("{digits} {unit}iB"),
        _ => format!("{digits} bytes"),
    }
}

/// A table; the cells are markup. Columns after the first are numbers when
/// `numbers` says so.
fn table(head: &[&str], rows: &[Vec<String>], numbers: bool) -> String {
    let class = if numbers { " class=\"n\"" } else { "" };
    let mut out = format!("<div class=\"wide\"><table{class}>\n<thead><tr>");
    for name in head {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn metadata(report: &Report<'_>) -> String {
    let result = report.result;
    let mut rows = vec![
        vec!["Run".to_owned(), escape(&result.run_id)],
        vec!["Mode".to_owned(), mode(result)],
        vec!["Seed".to_owned(), result.seed.to_string()],
        vec![
            "Version of vmm".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ],
    ];
    if report.started > 0 {
        rows.insert(
            1,
            vec![
                "Started".to_owned(),
                utc(report.started).replace('T', " ") + " UTC",
            ],
        );
    }
    if let Some(hash) = &result.trace_hash {
        rows.push(vec![
            "Trace hash".to_owned(),
            format!("<code>{}</code>", escape(hash)),
        ]);
    }
    let instructions: u64 = result.guests.values().filter_map(|g| g.instructions).sum();
    if instructions > 0 {
        rows.push(vec!["Guest instructions".to_owned(), grouped(instructions)]);
    }
    let mut out = table(&["", ""], &rows, false).replace("<table>", "<table class=\"meta\">");
    let mut files = vec![
        ("result.json".to_owned(), "all numbers, for programs"),
        ("junit.xml".to_owned(), "the checks, for CI viewers"),
        (
            "topology.yaml".to_owned(),
            "what was run, with every default",
        ),
    ];
    if !report.topology.capture.is_empty() {
        files.push(("capture.pcapng".to_owned(), "captured frames"));
    }
    let logs = report.topology.guests.keys();
    files.extend(logs.map(|name| (format!("console-{name}.log"), "console of the guest")));
    out.push_str("<ul class=\"files\">\n");
    for (name, what) in files {
        let name = escape(&name);
        let _ = writeln!(out, "<li><a href=\"{name}\">{name}</a> {what}</li>");
    }
    out.push_str("</ul>\n");
    out
}
