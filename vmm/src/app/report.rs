//! What a run leaves behind: table, files, exit code.

use super::execute::Ran;
use super::exit;
use crate::checks::{iperf3_result, parse_iperf3, parse_ping, ping_result, run_result};
use crate::clock;
use crate::hash::Fnv;
use crate::machine::Ending;
use crate::machine::build::card_counters;
use crate::results::{
    CheckResult, FifoLine, GuestResult, Report, RowDetails, RunResult, SetResult, TableStyle,
    UsedAccel, dropped, junit_xml, report_html, table,
};
use crate::run::{Failure, JobResult};
use crate::topology::{CheckSpec, TimeMode, TopologySpec};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// A name for a run: start time and process.
pub(super) fn run_id() -> String {
    format!("{}-{}", clock::epoch(), std::process::id())
}

/// The start time in a name of [`run_id`], in seconds since 1970.
fn started(id: &str) -> u64 {
    id.split('-')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0)
}

/// Prints and writes the results; the exit code.
pub(super) fn report(topology: &TopologySpec, ran: &Ran, out: &Path) -> u8 {
    let (result, rows) = result(topology, ran);
    let style = TableStyle {
        unicode: false,
        color: io::stdout().is_terminal(),
    };
    let failure = ran.controller.failure();
    // Rows that say no more than that they did not run would hide the reason.
    if !matches!(failure, Some(Failure::Start { .. })) {
        say(&table(&result, &dropped(&result, &result.nics), style));
    }
    super::crash::show(&ran.finished, out);
    if let Some(failure) = failure {
        eprintln!("error: {failure}");
        if let Some(name) = failure.guest() {
            show_log(&out.join(format!("console-{name}.log")));
        }
    }
    let why = failure.map(ToString::to_string);
    let fifos = ran.cards.iter().flat_map(|(name, card)| {
        let [h2c, c2h] = card.time_lines();
        let fifo = |direction, line| FifoLine {
            card: name.clone(),
            direction,
            line,
        };
        [fifo("h2c", h2c), fifo("c2h", c2h)]
    });
    let report = Report {
        result: &result,
        topology,
        rows: &rows,
        nics: &result.nics,
        fifos: &fifos.collect::<Vec<_>>(),
        failure: why.as_deref(),
        started: started(&ran.id),
    };
    // The most useful one first: a full disk may have room for it.
    let files = [
        ("result.json", result.to_json()),
        ("junit.xml", junit_xml(&report)),
        ("report.html", report_html(&report)),
    ];
    let unwritten = write_all(out, &files);
    for error in ran.unwritten.iter().chain(&unwritten) {
        eprintln!("error: {error}");
    }
    if !unwritten.is_empty() || ran.unwritten.is_some() {
        eprintln!("free some space or choose another directory with --out, and run again");
        return exit::INFRASTRUCTURE;
    }
    say(&format!(
        "results in {}; open {}\n",
        out.display(),
        out.join("report.html").display()
    ));
    match (failure, result.passed) {
        (Some(_), _) => exit::INFRASTRUCTURE,
        (None, true) => exit::PASSED,
        (None, false) => exit::FAILED,
    }
}

/// Prints to standard output. A reader that went away must not cost the results.
pub fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes each file of `files` to directory `out`, whatever happens to the
/// others; what went wrong. A file is there whole or not at all.
fn write_all(out: &Path, files: &[(&str, String)]) -> Vec<String> {
    let mut errors = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        let part = out.join(format!(".{name}.part"));
        let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path));
        if let Err(error) = written {
            // It was not there before, or is of no use.
            let _ = std::fs::remove_file(&part);
            errors.push(format!("cannot write {}: {error}", path.display()));
        }
    }
    errors
}

/// The end of a console log, after a failure.
fn show_log(path: &Path) {
    const LINES: usize = 15;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("the last lines of {}:", path.display());
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        eprintln!("  {}", line.trim_end());
    }
}

/// The result, and what else is known of each of its rows.
fn result(topology: &TopologySpec, ran: &Ran) -> (RunResult, Vec<RowDetails>) {
    let mut rows = Vec::new();
    let mut result = RunResult::new(ran.id.clone(), topology.seed, topology.time);
    for (row, job) in ran.rows.iter().zip(ran.controller.results()) {
        let Some(check) = topology.checks.get(row.check) else {
            continue;
        };
        let (judged, rtts_us) = judge(check, row.size, job.as_ref());
        result.push(judged);
        let seconds = job
            .as_ref()
            .map_or(0.0, |job| job.outcome.took.as_secs_f64());
        rows.push(RowDetails {
            rtts_us,
            seconds,
            skipped: job.is_none(),
        });
    }
    result.passed &= ran.controller.failure().is_none();
    let mut trace = Fnv::default();
    for (index, finished) in ran.finished.iter().enumerate() {
        let Some(spec) = topology.guests.get(&finished.name) else {
            continue;
        };
        let ready = ran
            .controller
            .links()
            .iter()
            .find(|link| link.name == finished.name)
            .and_then(|link| link.ready());
        let guest = GuestResult {
            arch: spec.arch(),
            accel: if finished.machine.is_kvm() {
                UsedAccel::Kvm
            } else {
                UsedAccel::Emulated
            },
            boot_ms: ready.map_or(0.0, |(at, _)| at.as_secs_f64() * 1e3),
            // KVM does not count them.
            instructions: (!finished.machine.is_kvm())
                .then(|| finished.machine.stats().instructions),
            rss_kib: ran.resident_kib.get(index).copied().unwrap_or(0),
            handoffs: finished.machine.signal().handoffs(),
        };
        if topology.time == TimeMode::Lockstep {
            trace.add(finished.name.as_bytes());
            trace.add_u64(finished.machine.state_hash());
        }
        tracing::info!(
            guest = finished.name,
            ending = ?finished.ending.as_ref().map(ending),
            stats = ?finished.machine.stats(),
            exits = finished.machine.exits(),
            unmapped = finished.machine.unmapped(),
            "guest"
        );
        result.guests.insert(finished.name.clone(), guest);
    }
    if topology.time == TimeMode::Lockstep {
        result.trace_hash = Some(format!("{:016x}", trace.value()));
    }
    for (name, card) in &ran.cards {
        let counters = serde_json::to_value(card_counters(&**card)).unwrap_or_default();
        result.cards.insert(name.clone(), counters);
    }
    for (name, card) in &ran.real {
        let counters = serde_json::to_value(card_counters(&**card)).unwrap_or_default();
        result.cards.insert(name.clone(), counters);
    }
    for (name, counters) in &ran.xdma {
        if let Some(card) = result.cards.get_mut(name).and_then(|c| c.as_object_mut()) {
            let counters: serde_json::Map<_, _> = counters
                .iter()
                .map(|(name, n)| (name.clone(), (*n).into()))
                .collect();
            card.insert("xdma".into(), counters.into());
        }
    }
    result.nics = ran
        .nics
        .iter()
        .map(|(name, list)| (name.clone(), list.iter().cloned().collect()))
        .collect();
    (result, rows)
}

fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::PowerOff => "powered off",
        Ending::Reset => "reset",
        Ending::Crash(_) => "crashed",
    }
}

/// A row, and its round-trip times in microseconds.
fn judge(check: &CheckSpec, size: Option<u32>, job: Option<&JobResult>) -> (CheckResult, Vec<f64>) {
    let mut rtts = Vec::new();
    let output = |job: &JobResult| String::from_utf8_lossy(&job.outcome.output).into_owned();
    let text = match job {
        None => Err("it did not run".to_owned()),
        Some(job) if !job.complete => Err(format!(
            "a preparing command failed: {}",
            output(job).trim()
        )),
        Some(job) => Ok(output(job)),
    };
    let row = match check {
        CheckSpec::Ping(spec) => {
            let report = text.and_then(|text| parse_ping(&text).map_err(|e| e.to_string()));
            if let Ok(report) = &report {
                rtts.clone_from(&report.rtts_us);
            }
            CheckResult::Ping(ping_result(spec, size.unwrap_or(56), report))
        }
        CheckSpec::Iperf3(spec) => {
            let report = text.and_then(|text| parse_iperf3(&text).map_err(|e| e.to_string()));
            CheckResult::Iperf3(iperf3_result(spec, size, report))
        }
        CheckSpec::Run(spec) => {
            const KILLED: i32 = 137;
            let ended = match (text, job) {
                (Ok(text), Some(job)) if job.timed_out && job.outcome.exit == KILLED => {
                    Err((format!("it was stopped after {}", spec.timeout), text))
                }
                (Ok(text), Some(job)) => Ok((job.outcome.exit, text)),
                (Ok(text), None) => Err(("it did not run".into(), text)),
                (Err(why), _) => Err((why, String::new())),
            };
            CheckResult::Run(run_result(spec, ended))
        }
        CheckSpec::Set(spec) => CheckResult::Set(SetResult {
            nic: spec.nic.clone(),
            link: spec.link,
            passed: text.is_ok(),
            error: text.err(),
        }),
    };
    (row, rtts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_stops_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        // Linux's device that is always full stands in the first file's way.
        std::os::unix::fs::symlink("/dev/full", dir.path().join(".result.json.part")).unwrap();
        let files = [
            ("result.json", "{}".to_owned()),
            ("junit.xml", "<a/>".to_owned()),
        ];
        let errors = write_all(dir.path(), &files);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("result.json: No space left on device"),
            "{errors:?}"
        );
        assert_eq!(
            std::fs::read_to_string(dir.path().join("junit.xml")).unwrap(),
            "<a/>"
        );
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["junit.xml"], "nothing half written is left");
        assert_eq!(write_all(dir.path(), &files), Vec::<String>::new());
        assert_eq!(write_all(&dir.path().join("gone"), &files).len(), 2);
    }
}
