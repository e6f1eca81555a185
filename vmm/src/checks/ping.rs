//! `ping` of iputils: its command line and its output.

use super::stats::percentile;
use crate::results::{PingResult, RttUs};
use crate::topology::PingSpec;
use std::net::IpAddr;

/// What a `ping` reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were answered at least once.
    pub received: u64,
    /// Answers that the guest got and ping did not see.
    pub late: u64,
    /// Further answers to requests that were answered already.
    pub duplicates: u64,
    /// ICMP errors that came back.
    pub errors: u64,
    /// Answers whose payload was wrong.
    pub damaged: u64,
    /// Round-trip times of first answers in microseconds, in order of arrival.
    /// Empty when the payload has no room for a time stamp (under 16 bytes).
    pub rtts_us: Vec<f64>,
}

/// Output that has no statistics: ping did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ping printed no statistics; its last words were: {last}")]
pub struct PingError {
    /// Last line that it printed.
    pub last: String,
}

/// What the command prints behind ping's own output: echo replies that the
/// guest's kernel had counted before and after it.
const REPLIES: &str = "vmm: echo replies";

/// The command that sends `spec`'s requests of `size` bytes to `to`. `wait` is
/// how many seconds ping waits when it got no answer at all.
///
/// After its last request ping waits twice the longest round trip or one
/// interval, whichever is longer: milliseconds, in which a busy machine may
/// not have run the other guest. The kernel counts what comes later; if answers
/// are missing, the command gives them a second.
pub fn ping_command(spec: &PingSpec, size: u32, to: IpAddr, wait: u32) -> String {
    let seconds = spec.interval.0.as_us() as f64 / 1e6;
    let count = spec.count;
    let preload = match spec.preload {
        0 | 1 => String::new(),
        n => format!("-l {n} "),
    };
    // Shell built-ins only: a process costs an emulated guest milliseconds.
    let read = match to {
        // RFC 1213 names; the eleventh word of the line of numbers.
        IpAddr::V4(_) => {
            "while read -r k a b c d e f g h i v z; do [ \"$k\" = Icmp: ] && n=$v; done </proc/net/snmp"
        }
        IpAddr::V6(_) => {
            "while read -r k v; do [ $k = Icmp6InEchoReplies ] && n=$v; done </proc/net/snmp6"
        }
    };
    format!(
        "r() {{ n=0; {read}; }}; r; m=$n; \
         ping -n -c {count} -i {seconds} {preload}-s {size} -W {wait} {to}; e=$?; \
         r; [ $((n - m)) -ge {count} ] || {{ sleep 1; r; }}; echo {REPLIES} $m $n; exit $e"
    )
}

/// Reads what `ping` printed.
pub fn parse_ping(output: &str) -> Result<PingReport, PingError> {
    let mut report = PingReport::default();
    let mut summary = false;
    let mut replies = None;
    for line in output.lines() {
        let line = line.trim();
        if let Some(numbers) = line.strip_prefix(REPLIES) {
            let mut numbers = numbers.split_whitespace().map(str::parse::<u64>);
            if let (Some(Ok(before)), Some(Ok(after))) = (numbers.next(), numbers.next()) {
                replies = Some(after.saturating_sub(before));
            }
        } else if let Some(fields) = line.split_once(" packets transmitted, ") {
            summary |= statistics(&mut report, fields);
        } else if line.contains(" bytes from ") {
            if line.contains("(BAD CHECKSUM!)") || line.contains("(DIFFERENT ADDRESS!)") {
                report.damaged += 1;
            }
            if !line.contains("(DUP!)")
                && let Some(rtt) = round_trip(line)
            {
                report.rtts_us.push(rtt);
            }
        } else if line.contains("wrong data byte #") {
            report.damaged += 1;
        }
    }
    if summary {
        let seen = report.received + report.duplicates;
        report.late = replies
            .map_or(0, |all| all.saturating_sub(seen))
            .min(report.sent.saturating_sub(report.received));
        return Ok(report);
    }
    let last = output.lines().rev().find(|l| !l.trim().is_empty());
    Err(PingError {
        last: last.unwrap_or("(nothing)").trim().to_owned(),
    })
}

/// `10 packets transmitted, 9 received, +1 duplicates, +2 errors, 10% packet
/// loss, time 9012ms`.
fn statistics(report: &mut PingReport, (sent, rest): (&str, &str)) -> bool {
    // A kernel message may stand before it on a shared console.
    let sent = sent
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or("");
    let Ok(sent) = sent.parse() else {
        return false;
    };
    report.sent = sent;
    let mut received = None;
    for part in rest.split(", ") {
        let Some((number, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let number = number.trim_start_matches('+').parse().ok();
        match (what, number) {
            ("received" | "packets received", Some(n)) => received = Some(n),
            ("duplicates", Some(n)) => report.duplicates = n,
            ("errors", Some(n)) => report.errors = n,
            _ => {}
        }
    }
    report.received = received.unwrap_or(0);
    received.is_some()
}

/// The `time=0.512 ms` of an answer, in microseconds.
fn round_trip(line: &str) -> Option<f64> {
    let at = line.find(" time=").or_else(|| line.find(" time<"))? + " time=".len();
    let mut words = line.get(at..)?.split_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    let scale = match words.next()? {
        "ms" => 1e3,
        "us" => 1.0,
        "s" => 1e6,
        _ => return None,
    };
    Some(value * scale).filter(|t| t.is_finite() && *t >= 0.0)
}

impl PingReport {
    /// Requests that were answered, whether ping saw it or not.
    pub fn answered(&self) -> u64 {
        self.received + self.late
    }
    /// Requests without an answer, as a fraction of 1.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 {
            return 1.0;
        }
        self.sent.saturating_sub(self.answered()) as f64 / self.sent as f64
    }
    /// Round-trip times in brief. `None` when none is known.
    pub fn rtt(&self) -> Option<RttUs> {
        let mut sorted = self.rtts_us.clone();
        sorted.sort_by(f64::total_cmp);
        Some(RttUs {
            min: *sorted.first()?,
            avg: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: percentile(&sorted, 0.5)?,
            p99: percentile(&sorted, 0.99)?,
            max: *sorted.last()?,
        })
    }
}

/// The row of one size: it passes when the loss is within the limit and no
/// answer was damaged.
pub fn ping_result(spec: &PingSpec, size: u32, report: Result<PingReport, String>) -> PingResult {
    let (report, error) = match report {
        Ok(report) => (report, None),
        Err(error) => (PingReport::default(), Some(error)),
    };
    let damaged = (report.damaged > 0).then(|| format!("{} damaged answers", report.damaged));
    let short = report.sent < u64::from(spec.count) && error.is_none();
    let short = short.then(|| format!("sent {} of {} requests", report.sent, spec.count));
    let loss = report.loss();
    let error = error.or(damaged).or(short);
    PingResult {
        from: spec.from.clone(),
        to: spec.to.clone(),
        size,
        sent: report.sent,
        received: report.answered(),
        late: report.late,
        duplicates: report.duplicates,
        loss,
        rtt_us: report.rtt(),
        passed: error.is_none() && loss <= spec.max_loss.0 + 1e-12,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LoadOptions, OneOrMany, parse};

    /// Printed by iputils 20221126 to a healthy neighbour.
    const GOOD: &str = "\
PING 10.10.10.5 (10.10.10.5) 56(84) bytes of data.
64 bytes from 10.10.10.5: icmp_seq=1 ttl=64 time=0.512 ms
64 bytes from 10.10.10.5: icmp_seq=2 ttl=64 time=0.100 ms
64 bytes from 10.10.10.5: icmp_seq=3 ttl=64 time=0.300 ms
64 bytes from 10.10.10.5: icmp_seq=4 ttl=64 time=12.5 ms

--- 10.10.10.5 ping statistics ---
4 packets transmitted, 4 received, 0% packet loss, time 3060ms
rtt min/avg/max/mdev = 0.100/3.353/12.500/5.285 ms
";

    #[test]
    fn a_healthy_run() {
        let report = parse_ping(GOOD).unwrap();
        assert_eq!((report.sent, report.received, report.duplicates), (4, 4, 0));
        let rtt = report.rtt().unwrap();
        assert_eq!(
            (rtt.min, rtt.p50, rtt.p99, rtt.max),
            (100.0, 300.0, 12500.0, 12500.0)
        );
        // The average that ping itself printed.
        assert!((rtt.avg - 3353.0).abs() < 1.0, "{}", rtt.avg);
    }

    #[test]
    fn duplicates_errors_and_damage() {
        let report = parse_ping(
            "PING 10.0.0.2 (10.0.0.2) 2048(2076) bytes of data.\r
2056 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=1.00 ms\r
2056 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=1.50 ms (DUP!)\r
2056 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=2.00 ms\r
wrong data byte #17 should be 0x11 but was 0x12\r
From 10.0.0.1 icmp_seq=3 Destination Host Unreachable\r
no answer yet for icmp_seq=3\r
\r
--- 10.0.0.2 ping statistics ---\r
[   12.345678] virtio_net virtio0 eth0: reset3 packets transmitted, 2 received, +1 duplicates, +1 errors, 33.3333% packet loss, time 2003ms\r
rtt min/avg/max/mdev = 1.000/1.500/2.000/0.500 ms, pipe 3\r
",
        )
        .unwrap();
        assert_eq!((report.sent, report.received), (3, 2));
        assert_eq!(
            (report.duplicates, report.errors, report.damaged),
            (1, 1, 1)
        );
        assert_eq!(report.rtts_us, [1000.0, 2000.0]);
        assert!((report.loss() - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_came_back() {
        let text = "PING 10.0.0.2 (10.0.0.2) 8(36) bytes of data.\n\n\
                    --- 10.0.0.2 ping statistics ---\n\
                    5 packets transmitted, 0 received, 100% packet loss, time 4099ms\n\n";
        let report = parse_ping(text).unwrap();
        assert_eq!((report.loss(), report.rtt()), (1.0, None));
        let tiny = text.replace("0 received, 100%", "5 received, 0%");
        let tiny = parse_ping(&format!(
            "16 bytes from 10.0.0.2: icmp_seq=1 ttl=64\n{tiny}"
        ));
        assert_eq!(tiny.unwrap().rtt(), None, "too small for a time stamp");
    }

    #[test]
    fn no_statistics_is_an_error() {
        for text in [
            "ping: connect: Network is unreachable\n",
            "sh: ping: not found",
            "",
            "x packets transmitted, y received",
        ] {
            assert!(parse_ping(text).is_err(), "{text}");
        }
        let error = parse_ping("ping: connect: Network is unreachable\n\n").unwrap_err();
        assert_eq!(error.last, "ping: connect: Network is unreachable");
    }

    /// What ping did not wait for is late, not lost; what nobody got is lost.
    #[test]
    fn late_answers() {
        let ping = "3 packets transmitted, 1 received, 66% packet loss, time 20ms\n";
        for (line, late, loss) in [
            ("", 0, 2.0 / 3.0),
            ("vmm: echo replies 10 11\n", 0, 2.0 / 3.0),
            ("vmm: echo replies 10 12\n", 1, 1.0 / 3.0),
            ("vmm: echo replies 10 13\n", 2, 0.0),
            ("vmm: echo replies 10 99\n", 2, 0.0),
            ("vmm: echo replies 10\n", 0, 2.0 / 3.0),
            ("vmm: echo replies 13 10\n", 0, 2.0 / 3.0),
        ] {
            let report = parse_ping(&format!("{ping}{line}")).unwrap();
            assert_eq!((report.received, report.late), (1, late), "{line}");
            assert!((report.loss() - loss).abs() < 1e-9, "{line}");
        }
    }

    /// The numbers of Linux 6.1, as a shell reads them.
    #[test]
    fn the_command_reads_the_kernels_counters() {
        let spec = spec("0%");
        for to in ["127.0.0.1", "::1"] {
            let command = ping_command(&spec, 56, to.parse().unwrap(), 2);
            // As if ping had printed nothing; the counters are this machine's.
            let command = command.replace("ping -n", "true -n");
            let run = std::process::Command::new("sh")
                .args(["-c", &command])
                .output()
                .unwrap();
            let text = String::from_utf8(run.stdout).unwrap();
            let numbers = text.trim().strip_prefix(REPLIES).unwrap();
            assert!(
                numbers.split_whitespace().all(|n| n.parse::<u64>().is_ok()),
                "{text}"
            );
            assert_eq!(numbers.split_whitespace().count(), 2, "{text}");
        }
    }

    fn spec(max_loss: &str) -> PingSpec {
        let text = format!(
            "guests: {{ a: {{ nics: [{{ tap: t, address: 10.0.0.1/24 }}] }}, \
             b: {{ nics: [{{ tap: u, address: 10.0.0.2/24 }}] }} }}\n\
             checks: [{{ ping: {{ from: a, to: b, count: 4, max_loss: {max_loss} }} }}]\n"
        );
        let options = LoadOptions::default();
        let topology = parse(&text, "t", std::path::Path::new("/"), &options).unwrap();
        match &topology.checks[0] {
            crate::topology::CheckSpec::Ping(spec) => spec.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn command_and_verdict() {
        let spec = spec("25%");
        assert_eq!(spec.size, OneOrMany::One(56));
        let to = "10.0.0.2".parse().unwrap();
        let command = ping_command(&spec, 56, to, 2);
        assert!(command.contains("; ping -n -c 4 -i 0.01 -s 56 -W 2 10.0.0.2; "));
        let flood = PingSpec {
            interval: crate::topology::Duration(bus::SimTime::ZERO),
            preload: 64,
            ..spec.clone()
        };
        let command = ping_command(&flood, 56, to, 2);
        assert!(command.contains("; ping -n -c 4 -i 0 -l 64 -s 56 -W 2 10.0.0.2; "));
        assert!(ping_result(&spec, 56, Ok(parse_ping(GOOD).unwrap())).passed);
        let mut report = parse_ping(GOOD).unwrap();
        report.received = 3;
        assert!(
            ping_result(&spec, 56, Ok(report.clone())).passed,
            "25 % may be lost"
        );
        report.received = 2;
        assert!(!ping_result(&spec, 56, Ok(report.clone())).passed);
        report.received = 4;
        report.damaged = 1;
        assert!(!ping_result(&spec, 56, Ok(report.clone())).passed);
        report.damaged = 0;
        report.sent = 3;
        assert!(
            !ping_result(&spec, 56, Ok(report)).passed,
            "it stopped early"
        );
        let failed = ping_result(&spec, 56, Err("the guest crashed".into()));
        assert_eq!((failed.passed, failed.loss), (false, 1.0));
    }
}
