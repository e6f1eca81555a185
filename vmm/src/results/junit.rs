//! `junit.xml`, as GitLab, GitHub actions and Jenkins read it.
//!
//! The elements and attributes are those of Jenkins' `junit-10.xsd`, which the
//! others' readers take as well: `skipped` counts on a suite only, properties come
//! before cases, and every case has a class and a name. Viewers tell cases apart
//! by class and name, so names of one file differ.

use super::svg::escape;
use super::{CheckResult, Report, utc};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Longest output of a command that goes into the report, in bytes.
const MOST_OUTPUT: usize = 64 << 10;

/// The text of `junit.xml`. A check that failed is a failure; one that did not
/// run because the run ended is an error, as is the end of the run itself.
pub fn junit_xml(report: &Report<'_>) -> String {
    let result = report.result;
    let skipped = |i: usize| report.rows.get(i).is_some_and(|row| row.skipped);
    let seconds = |i: usize| report.rows.get(i).map_or(0.0, |row| row.seconds);
    let tests = result.checks.len() + usize::from(report.failure.is_some());
    let failed = |i: &usize| !result.checks[*i].passed();
    let errors = (0..result.checks.len())
        .filter(failed)
        .filter(|i| skipped(*i))
        .count();
    let failures = (0..result.checks.len()).filter(failed).count() - errors;
    let errors = errors + usize::from(report.failure.is_some());
    let time: f64 = (0..result.checks.len()).map(seconds).sum();
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    let started = match report.started {
        0 => String::new(),
        epoch => format!(" timestamp=\"{}\"", utc(epoch)),
    };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"vmm\" {counts} time=\"{time:.3}\">\n  \
         <testsuite name=\"vmm\" {counts} skipped=\"0\" time=\"{time:.3}\"{started}>\n    <properties>\n"
    );
    let mut property = |name: &str, value: &str| {
        let _ = writeln!(
            xml,
            "      <property name=\"{name}\" value=\"{}\"/>",
            attribute(value)
        );
    };
    property("run_id", &result.run_id);
    property("seed", &result.seed.to_string());
    if let Some(hash) = &result.trace_hash {
        property("trace_hash", hash);
    }
    xml.push_str("    </properties>\n");
    if let Some(failure) = report.failure {
        let failure = attribute(failure);
        let _ = writeln!(
            xml,
            "    <testcase classname=\"vmm.guests\" name=\"guests stay up\" time=\"0.000\">\n      \
             <error type=\"guests\" message=\"{failure}\">{failure}</error>\n    </testcase>"
        );
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (i, check) in result.checks.iter().enumerate() {
        let kind = match check {
            CheckResult::Ping(_) => "ping",
            CheckResult::Iperf3(_) => "iperf3",
            CheckResult::Run(_) => "run",
            CheckResult::Set(_) => "set",
        };
        let mut name = check.name();
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            let _ = write!(name, " ({times})");
        }
        let _ = write!(
            xml,
            "    <testcase classname=\"vmm.{kind}\" name=\"{}\" time=\"{:.3}\">",
            attribute(&name),
            seconds(i)
        );
        if !check.passed() {
            let element = if skipped(i) { "error" } else { "failure" };
            let message = attribute(&reason(check));
            let detail = escape(&super::table::detail(check));
            let _ = write!(
                xml,
                "\n      <{element} type=\"{kind}\" message=\"{message}\">{detail}</{element}>"
            );
        }
        if let CheckResult::Run(row) = check {
            let output = escape(tail(&row.output, MOST_OUTPUT));
            let _ = write!(xml, "\n      <system-out>{output}</system-out>");
        }
        if xml.ends_with("\">") {
            xml.truncate(xml.len() - 1);
            xml.push_str("/>\n");
        } else {
            xml.push_str("\n    </testcase>\n");
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text as an attribute: a reader would turn line ends into spaces.
fn attribute(text: &str) -> String {
    escape(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

fn reason(check: &CheckResult) -> String {
    match (check.error(), check) {
        (Some(error), _) => error.to_owned(),
        (None, CheckResult::Ping(row)) => {
            format!(
                "{} of {} requests were lost",
                row.sent - row.received.min(row.sent),
                row.sent
            )
        }
        (None, CheckResult::Iperf3(row)) => {
            format!("{:.0} bits per second arrived", row.bits_per_second)
        }
        (None, CheckResult::Run(_)) => "the command failed".into(),
        (None, CheckResult::Set(_)) => "it was not done".into(),
    }
}

/// The last `most` bytes of `text`, from a character's start.
fn tail(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or("")
}
