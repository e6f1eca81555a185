//! From the checks of a topology to commands for guests.

use crate::checks::{iperf3_client_command, iperf3_server_command, ping_command};
use crate::run::{Command, Job};
use crate::topology::{CheckSpec, PingSpec, TopologySpec};
use bus::SimTime;
use std::net::{IpAddr, Ipv4Addr};

/// Seconds that ping waits for late answers.
const PING_WAIT: u32 = 2;
const IPERF3_PORT: u16 = 5201;

/// One row of the results: which check it comes from, and its size if it has
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index into the topology's checks.
    pub check: usize,
    /// Payload or write size of this row.
    pub size: Option<u32>,
}

/// The jobs of all checks, and the row that each makes.
pub(super) fn jobs(topology: &TopologySpec) -> (Vec<Job>, Vec<Row>) {
    let mut jobs = Vec::new();
    let mut rows = Vec::new();
    let guest = |name: &str| {
        topology
            .guests
            .keys()
            .position(|key| key == name)
            .unwrap_or(0)
    };
    for (check, spec) in topology.checks.iter().enumerate() {
        match spec {
            CheckSpec::Ping(ping) => {
                for &size in ping.size.values() {
                    let command = Command {
                        guest: guest(&ping.from),
                        command: ping_command(
                            ping,
                            size,
                            target(topology, &ping.from, &ping.to),
                            PING_WAIT,
                        ),
                        timeout_s: ping_limit(ping),
                    };
                    let title = format!("ping {} to {}, {size} bytes", ping.from, ping.to);
                    jobs.push(Job {
                        title,
                        link: None,
                        commands: vec![command],
                    });
                    rows.push(Row {
                        check,
                        size: Some(size),
                    });
                }
            }
            CheckSpec::Iperf3(iperf3) => {
                let sizes: Vec<Option<u32>> = match &iperf3.size {
                    Some(sizes) => sizes.values().iter().map(|&size| Some(size)).collect(),
                    None => vec![None],
                };
                for size in sizes {
                    let server = Command {
                        guest: guest(&iperf3.to),
                        command: format!("{} && sleep 0.3", iperf3_server_command(IPERF3_PORT)),
                        timeout_s: 30,
                    };
                    let client = Command {
                        guest: guest(&iperf3.from),
                        command: iperf3_client_command(
                            iperf3,
                            size,
                            target(topology, &iperf3.from, &iperf3.to),
                            IPERF3_PORT,
                        ),
                        timeout_s: iperf3.seconds.saturating_add(60),
                    };
                    let title = format!("iperf3 {} to {}", iperf3.from, iperf3.to);
                    jobs.push(Job {
                        title,
                        link: None,
                        commands: vec![server, client],
                    });
                    rows.push(Row { check, size });
                }
            }
            CheckSpec::Run(run) => {
                let timeout_s = run
                    .timeout
                    .0
                    .0
                    .div_ceil(SimTime::from_secs(1).0)
                    .try_into()
                    .unwrap_or(u32::MAX);
                let command = Command {
                    guest: guest(&run.guest),
                    command: run.command.clone(),
                    timeout_s,
                };
                jobs.push(Job {
                    title: format!("{}: {}", run.guest, run.command),
                    link: None,
                    commands: vec![command],
                });
                rows.push(Row { check, size: None });
            }
            CheckSpec::Set(set) => {
                jobs.push(Job {
                    title: format!("{}: link {}", set.nic, set.link),
                    link: Some((set.nic.clone(), set.link.is_up())),
                    commands: Vec::new(),
                });
                rows.push(Row { check, size: None });
            }
        }
    }
    (jobs, rows)
}

/// Validation has made sure that there is one.
fn target(topology: &TopologySpec, from: &str, to: &str) -> IpAddr {
    topology
        .route(from, to)
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Sending takes count times interval; lost requests and slow emulation come
/// on top.
fn ping_limit(ping: &PingSpec) -> u32 {
    let sending = ping.interval.0.as_secs_f64() * f64::from(ping.count);
    (sending * 4.0 + f64::from(ping.count) * 0.1 + 60.0) as u32
}
