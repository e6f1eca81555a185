//! `iperf3`: its command lines and its JSON output.

use crate::results::Iperf3Result;
use crate::topology::{Iperf3Spec, Protocol};
use serde_json::Value;
use std::net::IpAddr;

/// What an iperf3 client reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iperf3Report {
    /// Bits per second that the receiver got.
    pub received_bps: f64,
    /// Bits per second that the sender sent.
    pub sent_bps: f64,
    /// How long it measured, in seconds.
    pub seconds: f64,
    /// TCP segments that were sent again.
    pub retransmits: Option<u64>,
    /// UDP datagrams sent.
    pub packets: Option<u64>,
    /// UDP datagrams lost.
    pub lost: Option<u64>,
    /// UDP jitter in microseconds.
    pub jitter_us: Option<f64>,
}

/// Output that is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Iperf3Error {
    /// It is not iperf3's JSON.
    #[error("iperf3 printed no result: {0}")]
    NotJson(String),
    /// iperf3 says that it failed.
    #[error("iperf3: {0}")]
    Failed(String),
    /// There are no totals in it.
    #[error("iperf3's result has no totals")]
    NoTotals,
}

/// The command that starts a server for one client, in the background.
pub fn iperf3_server_command(port: u16) -> String {
    format!("iperf3 -s -1 -D -p {port}")
}

/// The command that measures `spec` against `to` with writes of `size` bytes.
pub fn iperf3_client_command(
    spec: &Iperf3Spec,
    size: Option<u32>,
    to: IpAddr,
    port: u16,
) -> String {
    let mut command = format!("iperf3 -J -c {to} -p {port} -t {}", spec.seconds);
    if spec.protocol == Protocol::Udp {
        command += " -u";
    }
    if let Some(size) = size {
        command += &format!(" -l {size}");
    }
    if let Some(rate) = spec.rate {
        command += &format!(" -b {}", rate.0);
    }
    if spec.streams > 1 {
        command += &format!(" -P {}", spec.streams);
    }
    command
}

/// Reads what `iperf3 -J` printed.
pub fn parse_iperf3(output: &str) -> Result<Iperf3Report, Iperf3Error> {
    let json = match (output.find('{'), output.rfind('}')) {
        (Some(start), Some(end)) if start < end => output.get(start..=end),
        _ => None,
    };
    let value: Value = json
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| {
            let last = output.lines().rev().find(|l| !l.trim().is_empty());
            Iperf3Error::NotJson(last.unwrap_or("(nothing)").trim().to_owned())
        })?;
    if let Some(error) = value.get("error").and_then(Value::as_str) {
        return Err(Iperf3Error::Failed(error.to_owned()));
    }
    let end = value.get("end").ok_or(Iperf3Error::NoTotals)?;
    let number = |sum: Option<&Value>, key: &str| sum.and_then(|s| s.get(key)?.as_f64());
    let count = |sum: Option<&Value>, key: &str| sum.and_then(|s| s.get(key)?.as_u64());
    let (sent, received) = (end.get("sum_sent"), end.get("sum_received"));
    // UDP results have one sum of both ends; older versions have nothing else.
    let both = end.get("sum");
    let packets = count(both, "packets");
    let lost = count(both, "lost_packets");
    let sent_bps = number(sent.or(both), "bits_per_second").ok_or(Iperf3Error::NoTotals)?;
    let arrived = match (packets, lost) {
        (Some(all), Some(lost)) if all > 0 => 1.0 - lost.min(all) as f64 / all as f64,
        _ => 1.0,
    };
    Ok(Iperf3Report {
        received_bps: number(received, "bits_per_second")
            .filter(|bps| *bps > 0.0 || both.is_none())
            .unwrap_or(sent_bps * arrived),
        sent_bps,
        seconds: number(sent.or(both), "seconds").unwrap_or(0.0),
        retransmits: count(sent, "retransmits"),
        packets,
        lost,
        jitter_us: number(both, "jitter_ms").map(|ms| ms * 1e3),
    })
}

/// The row of one size: it passes when data arrived, at the least rate that was
/// asked for and with no more loss than was allowed.
pub fn iperf3_result(
    spec: &Iperf3Spec,
    size: Option<u32>,
    report: Result<Iperf3Report, String>,
) -> Iperf3Result {
    let (report, error) = match report {
        Ok(report) => (report, None),
        Err(error) => (Iperf3Report::default(), Some(error)),
    };
    let loss = match (report.packets, report.lost) {
        (Some(all), Some(lost)) if all > 0 => Some(lost.min(all) as f64 / all as f64),
        _ => None,
    };
    let least = spec.min_rate.map_or(0.0, |r| r.0 as f64);
    let most = spec.max_loss.map_or(1.0, |p| p.0) + 1e-12;
    let passed = error.is_none()
        && report.received_bps > 0.0
        && report.received_bps >= least
        && loss.unwrap_or(0.0) <= most;
    Iperf3Result {
        from: spec.from.clone(),
        to: spec.to.clone(),
        protocol: spec.protocol,
        size,
        seconds: report.seconds,
        bits_per_second: report.received_bps,
        sent_bits_per_second: report.sent_bps,
        retransmits: report.retransmits,
        loss,
        jitter_us: report.jitter_us,
        passed,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{OneOrMany, Percent, Rate};

    fn spec(protocol: Protocol) -> Iperf3Spec {
        Iperf3Spec {
            from: "host".into(),
            to: "board".into(),
            protocol,
            seconds: 3,
            size: Some(OneOrMany::One(1400)),
            rate: Some(Rate(100_000_000)),
            streams: 2,
            max_loss: None,
            min_rate: None,
        }
    }

    #[test]
    fn commands() {
        let to = "10.10.10.5".parse().unwrap();
        let mut udp = spec(Protocol::Udp);
        assert_eq!(
            iperf3_client_command(&udp, Some(1400), to, 5201),
            "iperf3 -J -c 10.10.10.5 -p 5201 -t 3 -u -l 1400 -b 100000000 -P 2"
        );
        (udp.rate, udp.streams, udp.protocol) = (None, 1, Protocol::Tcp);
        assert_eq!(
            iperf3_client_command(&udp, None, to, 5202),
            "iperf3 -J -c 10.10.10.5 -p 5202 -t 3"
        );
    }

    /// The shape of iperf 3.12's output, shortened.
    #[test]
    fn tcp() {
        let text = r#"warning: noise
{ "start": { "version": "iperf 3.12" }, "intervals": [],
  "end": { "streams": [],
    "sum_sent": { "start": 0, "end": 3.0, "seconds": 3.0, "bytes": 375000000,
      "bits_per_second": 1e9, "retransmits": 7, "sender": true },
    "sum_received": { "start": 0, "end": 3.04, "seconds": 3.04, "bytes": 374000000,
      "bits_per_second": 984210526.3, "sender": true },
    "cpu_utilization_percent": { "host_total": 1.5 } } }
"#;
        let report = parse_iperf3(text).unwrap();
        assert_eq!((report.sent_bps, report.received_bps), (1e9, 984_210_526.3));
        assert_eq!((report.retransmits, report.packets), (Some(7), None));
        let mut spec = spec(Protocol::Tcp);
        let result = iperf3_result(&spec, None, Ok(report.clone()));
        assert!(result.passed && result.loss.is_none());
        spec.min_rate = Some(Rate(990_000_000));
        assert!(!iperf3_result(&spec, None, Ok(report)).passed);
        assert!(!iperf3_result(&spec, None, Err("x".into())).passed);
    }

    #[test]
    fn udp() {
        let sum = r#""sum": { "seconds": 2.0, "bytes": 2500000, "bits_per_second": 10000000,
            "jitter_ms": 0.025, "lost_packets": 50, "packets": 2000, "lost_percent": 2.5 }"#;
        let new = format!(
            r#"{{ "end": {{ {sum}, "sum_sent": {{ "seconds": 2.0, "bits_per_second": 10000000 }},
               "sum_received": {{ "seconds": 2.0, "bits_per_second": 9750000 }} }} }}"#
        );
        let old = format!(r#"{{ "end": {{ {sum} }} }}"#);
        for text in [new, old] {
            let report = parse_iperf3(&text).unwrap();
            assert_eq!((report.packets, report.lost), (Some(2000), Some(50)));
            assert_eq!(report.received_bps, 9.75e6);
            assert_eq!(report.jitter_us, Some(25.0));
            let mut spec = spec(Protocol::Udp);
            let result = iperf3_result(&spec, Some(1400), Ok(report.clone()));
            assert_eq!((result.passed, result.loss), (true, Some(0.025)));
            spec.max_loss = Some(Percent(0.02));
            assert!(!iperf3_result(&spec, Some(1400), Ok(report)).passed);
        }
    }

    #[test]
    fn failures() {
        let refused = "{\n\t\"start\":\t{},\n\t\"end\":\t{},\n\t\"error\":\t\"unable to connect to server: Connection refused\"\n}\n";
        assert_eq!(
            parse_iperf3(refused).unwrap_err().to_string(),
            "iperf3: unable to connect to server: Connection refused"
        );
        assert_eq!(
            parse_iperf3("sh: iperf3: not found\n")
                .unwrap_err()
                .to_string(),
            "iperf3 printed no result: sh: iperf3: not found"
        );
        for text in [
            "",
            "}{",
            "{}",
            "{\"end\":{}}",
            "{\"end\":{\"sum_sent\":{}}}",
            "{\"end\":3}",
        ] {
            assert!(parse_iperf3(text).is_err(), "{text}");
        }
    }
}
