//! What a run reports: `result.json`, `junit.xml`, `report.html` and the
//! terminal's table; and what a card should reach, without a run.

mod accounts;
mod html;
mod junit;
mod model;
mod svg;
mod table;
#[cfg(test)]
mod tests;

pub use accounts::{Dropped, NicCounters, dropped};
pub use html::{FifoLine, Report, RowDetails, report_html};
pub use junit::junit_xml;
pub use model::{CardModel, plot};
pub use table::{TableStyle, table};

use crate::topology::{Arch, LinkState, Protocol, TimeMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the run, unique on a machine.
    pub run_id: String,
    /// Seed of the run.
    pub seed: u64,
    /// How time passed.
    pub time: TimeMode,
    /// Lockstep only: equal for equal runs.
    pub trace_hash: Option<String>,
    /// The guests by name.
    pub guests: BTreeMap<String, GuestResult>,
    /// The cards' counters by name.
    pub cards: BTreeMap<String, serde_json::Value>,
    /// The network interfaces' counters, by `GUEST.NIC` and name.
    pub nics: NicCounters,
    /// The checks' rows, in the order of the topology.
    pub checks: Vec<CheckResult>,
    /// Whether every row passed.
    pub passed: bool,
}

impl RunResult {
    /// An empty result of a run with this id, seed and time mode.
    pub fn new(run_id: impl Into<String>, seed: u64, time: TimeMode) -> Self {
        Self {
            version: 1,
            run_id: run_id.into(),
            seed,
            time,
            trace_hash: None,
            guests: BTreeMap::new(),
            cards: BTreeMap::new(),
            nics: NicCounters::new(),
            checks: Vec::new(),
            passed: true,
        }
    }
    /// Adds a row.
    pub fn push(&mut self, row: CheckResult) {
        self.passed &= row.passed();
        self.checks.push(row);
    }
    /// The text of `result.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|e| format!("\"{e}\""));
        text.push('\n');
        text
    }
}

/// What a guest did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestResult {
    /// Architecture.
    pub arch: Arch,
    /// What ran its processors.
    pub accel: UsedAccel,
    /// Host time from kernel entry to the agent being ready, in milliseconds.
    pub boot_ms: f64,
    /// Instructions executed; KVM does not count them.
    pub instructions: Option<u64>,
    /// Host memory of this guest, in KiB.
    pub rss_kib: u64,
    /// Times that another thread woke this guest's idle thread; 0 in lockstep,
    /// where all guests share one.
    #[serde(default)]
    pub handoffs: u64,
}

/// What ran a guest's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsedAccel {
    /// The host's KVM.
    Kvm,
    /// The built-in emulator.
    Emulated,
}

/// One row of the checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CheckResult {
    /// Echo requests of one size.
    Ping(PingResult),
    /// A throughput measurement with one size.
    Iperf3(Iperf3Result),
    /// A command.
    Run(CommandResult),
    /// A change at run time.
    Set(SetResult),
}

impl CheckResult {
    /// Whether it passed.
    pub fn passed(&self) -> bool {
        match self {
            Self::Ping(row) => row.passed,
            Self::Iperf3(row) => row.passed,
            Self::Run(row) => row.passed,
            Self::Set(row) => row.passed,
        }
    }
    /// Why it did not pass, if anything but its numbers says so.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Ping(row) => row.error.as_deref(),
            Self::Iperf3(row) => row.error.as_deref(),
            Self::Run(row) => row.error.as_deref(),
            Self::Set(row) => row.error.as_deref(),
        }
    }
    /// A name for it, the same in every run of a topology.
    pub fn name(&self) -> String {
        match self {
            Self::Ping(row) => format!("ping {} to {}, {} bytes", row.from, row.to, row.size),
            Self::Iperf3(row) => {
                let protocol = match row.protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                };
                let size = row.size.map(|s| format!(", {s} bytes")).unwrap_or_default();
                format!("iperf3 {protocol} {} to {}{size}", row.from, row.to)
            }
            Self::Run(row) => format!("run on {}: {}", row.guest, one_line(&row.command)),
            Self::Set(row) => format!("set {}: link {}", row.nic, row.link),
        }
    }
}

/// Seconds since 1970 as `2026-11-20T13:29:05`.
fn utc(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86_400, epoch % 86_400);
    // Years that start in March, so that a leap day is a year's last one.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn none(n: &u64) -> bool {
    *n == 0
}

/// Echo requests of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingResult {
    /// The guest that asked.
    pub from: String,
    /// The guest that answered.
    pub to: String,
    /// Payload in bytes.
    pub size: u32,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub received: u64,
    /// How many of them the guest's kernel counted and ping did not see: it had
    /// stopped waiting, or its socket was full.
    #[serde(default, skip_serializing_if = "none")]
    pub late: u64,
    /// Further answers to an answered request.
    pub duplicates: u64,
    /// Requests without an answer, 0 to 1.
    pub loss: f64,
    /// Round-trip times; null when there are none.
    pub rtt_us: Option<RttUs>,
    /// Whether the loss is within its limit and nothing else was wrong.
    pub passed: bool,
    /// What else was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RttUs {
    /// Least.
    pub min: f64,
    /// Mean.
    pub avg: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile, by nearest rank.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

/// A throughput measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iperf3Result {
    /// The guest that sent.
    pub from: String,
    /// The guest that received.
    pub to: String,
    /// Transport.
    pub protocol: Protocol,
    /// Bytes of one write; null for iperf3's own choice.
    pub size: Option<u32>,
    /// How long it measured.
    pub seconds: f64,
    /// What the receiver got.
    pub bits_per_second: f64,
    /// What the sender sent.
    pub sent_bits_per_second: f64,
    /// TCP: segments sent again.
    pub retransmits: Option<u64>,
    /// UDP: datagrams lost, 0 to 1.
    pub loss: Option<f64>,
    /// UDP: jitter.
    pub jitter_us: Option<f64>,
    /// Whether it met what was asked.
    pub passed: bool,
    /// Why there are no numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The guest.
    pub guest: String,
    /// The command.
    pub command: String,
    /// Its exit code; null when it did not end.
    pub exit: Option<i32>,
    /// Its stdout and stderr.
    pub output: String,
    /// Whether it met what was asked.
    pub passed: bool,
    /// What it did not meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A change at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetResult {
    /// The interface.
    pub nic: String,
    /// Its link from then on.
    pub link: LinkState,
    /// Whether it was done.
    pub passed: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
