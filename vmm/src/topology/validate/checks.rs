//! Checks: the guests they name, and limits of the tools they run.

use super::Context;
use crate::topology::check::{CheckSpec, Iperf3Spec, PingSpec, Protocol, RunSpec, SetSpec};
use crate::topology::error::suggest;
use bus::SimTime;

/// Largest ICMP echo payload: 65535 less the IPv4 and ICMP headers.
const MOST_PING: u32 = 65_507;
/// Most requests that iputils' ping sends without waiting.
const MOST_PRELOAD: u32 = 65_536;
/// Largest UDP payload.
const MOST_DATAGRAM: u32 = 65_507;

pub(super) fn check(context: &mut Context<'_>) {
    let topology = context.topology;
    for (i, check) in topology.checks.iter().enumerate() {
        let path = format!("checks.{i}.{}", check.kind());
        match check {
            CheckSpec::Ping(spec) => ping(context, &path, spec),
            CheckSpec::Iperf3(spec) => iperf3(context, &path, spec),
            CheckSpec::Run(spec) => run(context, &path, spec),
            CheckSpec::Set(spec) => set(context, &path, spec),
        }
    }
}

fn pair(context: &mut Context<'_>, path: &str, from: &str, to: &str) {
    let from_exists = context.need_guest(&format!("{path}.from"), from);
    let to_exists = context.need_guest(&format!("{path}.to"), to);
    if !from_exists || !to_exists {
        return;
    }
    let path = format!("{path}.to");
    if from == to {
        let what = format!("'{from}' is both ends of this check");
        context.problem(&path, what, "name two guests");
    } else if context.topology.route(from, to).is_none() {
        let what = format!("guest '{from}' has no address in a network of guest '{to}'");
        let hint = "give an interface of each an 'address' in one network";
        context.problem(&path, what, hint);
    }
}

fn ping(context: &mut Context<'_>, path: &str, spec: &PingSpec) {
    pair(context, path, &spec.from, &spec.to);
    let size = format!("{path}.size");
    if spec.size.values().is_empty() {
        context.problem(
            &size,
            "the list of sizes is empty",
            "write one, such as [56]",
        );
    }
    for bytes in spec.size.values().iter().filter(|b| **b > MOST_PING) {
        let what = format!("a ping cannot carry {bytes} bytes");
        context.problem(&size, what, format!("the most is {MOST_PING}"));
    }
    if !(1..=1_000_000).contains(&spec.count) {
        let what = format!("a ping cannot send {} requests", spec.count);
        context.problem(&format!("{path}.count"), what, "write 1 to 1000000");
    }
    if !(1..=MOST_PRELOAD).contains(&spec.preload) {
        let what = format!("ping cannot preload {} requests", spec.preload);
        let hint = format!("write 1 to {MOST_PRELOAD}");
        context.problem(&format!("{path}.preload"), what, hint);
    }
    if spec.interval.0 > SimTime::from_secs(3600) {
        let what = format!("an interval of {} is too long", spec.interval);
        context.problem(&format!("{path}.interval"), what, "write at most 3600s");
    } else if !spec.interval.0.as_ps().is_multiple_of(1_000_000_000) {
        let what = format!("ping cannot wait {}", spec.interval);
        context.problem(
            &format!("{path}.interval"),
            what,
            "write whole milliseconds",
        );
    }
}

fn iperf3(context: &mut Context<'_>, path: &str, spec: &Iperf3Spec) {
    pair(context, path, &spec.from, &spec.to);
    if !(1..=86_400).contains(&spec.seconds) {
        let what = format!("iperf3 cannot measure for {} s", spec.seconds);
        context.problem(&format!("{path}.seconds"), what, "write 1 to 86400");
    }
    if !(1..=128).contains(&spec.streams) {
        let what = format!("iperf3 cannot use {} connections", spec.streams);
        context.problem(&format!("{path}.streams"), what, "write 1 to 128");
    }
    let udp = spec.protocol == Protocol::Udp;
    let (least, most) = if udp {
        (16, MOST_DATAGRAM)
    } else {
        (1, 1 << 20)
    };
    for bytes in spec.size.iter().flat_map(|s| s.values()) {
        if !(least..=most).contains(bytes) {
            let what = format!("iperf3 cannot write {bytes} bytes at once");
            context.problem(
                &format!("{path}.size"),
                what,
                format!("write {least} to {most}"),
            );
        }
    }
    if spec.max_loss.is_some() && !udp {
        let what = "TCP loses nothing, so 'max_loss' means nothing here";
        context.problem(
            &format!("{path}.max_loss"),
            what,
            "remove it, or write 'protocol: udp'",
        );
    }
}

fn run(context: &mut Context<'_>, path: &str, spec: &RunSpec) {
    context.need_guest(&format!("{path}.guest"), &spec.guest);
    if spec.command.trim().is_empty() {
        let what = "the command is empty";
        context.problem(
            &format!("{path}.command"),
            what,
            "write one, such as \"uname -m\"",
        );
    }
    if spec.timeout.0 == SimTime::ZERO {
        let what = "a command cannot end in no time";
        context.problem(&format!("{path}.timeout"), what, "write 60s or so");
    }
}

fn set(context: &mut Context<'_>, path: &str, spec: &SetSpec) {
    let known = super::nics::names(context.topology);
    if !known.contains(&spec.nic) {
        let hint = suggest(&spec.nic, &known, "write GUEST.NIC:");
        let what = format!("there is no interface '{}'", spec.nic);
        context.problem(&format!("{path}.nic"), what, hint);
    }
}
