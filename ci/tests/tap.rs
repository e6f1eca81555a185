//! A guest on a TAP interface, with this machine at the other end. Everything
//! happens in a network namespace of the test.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Namespace, Run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

const TAP: &str = "vmmtap0";
const HOST: &str = "10.20.0.1";
const GUEST: &str = "10.20.0.2";

/// The namespace, or a word on what is missing.
fn namespace() -> Option<Namespace> {
    let missing = |what: &str| println!("SKIP: {what}");
    if !std::path::Path::new("/dev/net/tun").exists() {
        missing("there is no /dev/net/tun");
        return None;
    }
    for tool in ["iperf3", "ping", "ip"] {
        let there = std::process::Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output();
        if !there.is_ok_and(|output| output.status.success()) {
            missing(&format!("no '{tool}' command"));
            return None;
        }
    }
    let space = Namespace::new().map_err(|why| missing(&why)).ok()?;
    let made = space
        .run(&["ip", "tuntap", "add", "mode", "tap", "name", "probe0"])
        .is_ok_and(|output| output.status.success());
    if !made {
        missing("no permission to make a TAP interface (run as root)");
        return None;
    }
    space.out(&["ip", "link", "del", "probe0"]);
    Some(space)
}

fn topology() -> String {
    let mut yaml = format!(
        "guests:\n  g:\n    arch: x86_64\n    packages: [iperf3]\n    nics: [{{ tap: {TAP}, address: {GUEST}/24 }}]\nchecks:\n"
    );
    // The interface may be set up a little later than the guest.
    for (command, want) in [
        (
            format!("until ping -c 1 -W 1 {HOST} >/dev/null; do :; done; echo there"),
            "there",
        ),
        (
            format!("ping -n -c 100 -i 0.01 -s 1472 {HOST}"),
            " 0% packet loss",
        ),
        (
            format!("ping -n -c 20 -i 0.02 -s 65507 {HOST}"),
            " 0% packet loss",
        ),
        (format!("iperf3 -c {HOST} -t 2"), "iperf Done"),
        (format!("iperf3 -c {HOST} -t 2 -R"), "iperf Done"),
        // The host's turn: it pings, then connects twice.
        ("iperf3 -s -1".into(), "receiver"),
        ("iperf3 -s -1".into(), "sender"),
        (
            "dmesg | grep -ciE 'timed out|bad gso|BUG:' || true".into(),
            "0",
        ),
    ] {
        yaml += &format!(
            "  - run: {{ guest: g, command: {}, expect_output: {} }}\n",
            serde_json::to_string(&command).unwrap(),
            serde_json::to_string(want).unwrap()
        );
    }
    yaml
}

fn links(space: &Namespace) -> Vec<String> {
    space
        .out(&["ip", "-o", "link"])
        .lines()
        .filter_map(|line| Some(line.split(": ").nth(1)?.to_owned()))
        .collect()
}

/// Rates in each second of a client's connection, and that of the whole.
fn rates(json: &str) -> (Vec<f64>, f64) {
    let value: Value = serde_json::from_str(json).unwrap();
    let rate = |part: &Value| part["bits_per_second"].as_f64().unwrap();
    let parts = value["intervals"].as_array().unwrap();
    (
        parts.iter().map(|part| rate(&part["sum"])).collect(),
        rate(&value["end"]["sum_received"]),
    )
}

fn traffic(space: &Namespace, exists: bool) {
    let address = |space: &Namespace| {
        space.out(&["ip", "addr", "add", &format!("{HOST}/24"), "dev", TAP]);
        space.out(&["ip", "link", "set", TAP, "up"]);
    };
    if exists {
        space.out(&[
            "ip", "tuntap", "add", "mode", "tap", "vnet_hdr", "name", TAP,
        ]);
        address(space);
    }
    let before = links(space);
    let server = space.start(&["iperf3", "-s"]);
    let prefix = space.prefix();
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let run = Run::new(&topology()).with_images().under(&prefix).start();
    if !exists {
        let path = ["ip", "link", "show", TAP];
        space.until(&path);
        address(space);
    }
    space.until(&["ping", "-n", "-c", "1", "-W", "1", GUEST]);
    for (size, count, interval) in [("56", "100", "0.01"), ("65507", "20", "0.02")] {
        let text = space.out(&["ping", "-n", "-c", count, "-i", interval, "-s", size, GUEST]);
        assert!(text.contains(" 0% packet loss"), "{text}");
    }
    for way in ["", "-R"] {
        // iperf3 exits with 0 when its JSON says that it could not connect.
        let command = format!(
            "o=$(iperf3 -J -c {GUEST} -t 2 {way}); case $o in *'\"error\"'*) exit 1 ;; esac; echo \"$o\""
        );
        let (seconds, whole) = rates(&space.until(&["sh", "-c", &command]));
        assert!(seconds.iter().all(|rate| *rate > 0.0), "{way}: {seconds:?}");
        assert!(whole > 10e6, "{way}: {whole} bit/s");
        println!("{way}: {:.0} Mb/s", whole / 1e6);
    }
    drop(server);
    run.end().expect(0);
    assert_eq!(links(space), before, "nothing is left behind");
}

#[test]
fn an_existing_interface() {
    if let Some(space) = namespace() {
        traffic(&space, true);
    }
}

#[test]
fn an_interface_of_the_run() {
    if let Some(space) = namespace() {
        traffic(&space, false);
    }
}

/// A user who may not use the interface is told so, and what to do.
#[test]
fn no_permission_is_said() {
    let Some(space) = namespace() else { return };
    let mut words = space.prefix();
    words.extend(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ]
        .map(str::to_owned),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let yaml = format!(
        "guests:\n  g:\n    arch: aarch64\n    image: {{ kernel: ./kernel, initrd: ./initrd }}\n    nics: [{{ tap: {TAP} }}]\n"
    );
    // An arm64 Image of one page: the header's magic is all that is looked at
    // before the machine is built (Linux, Documentation/arm64/booting).
    let mut kernel = vec![0u8; 4096];
    kernel[16..24].copy_from_slice(&4096u64.to_le_bytes());
    kernel[56..60].copy_from_slice(b"ARM\x64");
    let run = Run::new(&yaml)
        .file("kernel", &kernel)
        .file("initrd", b"")
        .under(&words);
    std::fs::set_permissions(run.dir(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let ended = run.end().expect(3);
    assert!(
        ended.err.contains(TAP)
            && ended.err.contains("permission")
            && ended.err.contains("ip tuntap add"),
        "{}",
        ended.err
    );
}
