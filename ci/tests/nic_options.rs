//! What a topology can say about a NIC, in guests: cables that are pulled and
//! plugged in, transitional devices with legacy drivers, long queues.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Ended, Run};

/// Both guests on `wire`, with more words for their NICs and kernels.
fn topology(wire: &str, nic: [&str; 2], cmdline: &str, checks: &str) -> String {
    let mut yaml = String::from("guests:\n");
    for (i, (guest, arch)) in [("host", "x86_64"), ("board", "aarch64")]
        .into_iter()
        .enumerate()
    {
        yaml += &format!(
            "  {guest}:\n    arch: {arch}\n    packages: [ethtool, pciutils, iperf3]\n    image: {{ cmdline: \"{cmdline}\" }}\n    nics: [{{ {wire}, address: 10.9.0.{}/24, {} }}]\n",
            i + 1,
            nic[i]
        );
    }
    if wire.starts_with("card") {
        yaml += "cards: { fpga0: {} }\n";
    }
    format!("{yaml}checks:\n{checks}")
}

/// Runs it; every row must pass.
fn end(run: Run) -> Ended {
    let ended = run.end();
    let rows = ended.result["checks"].as_array().unwrap();
    let failed: Vec<_> = rows.iter().filter(|row| row["passed"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    ended.expect(0)
}

fn count(ended: &Ended, nic: &str, name: &str) -> u64 {
    let n = ended.result["nics"][nic][name].as_u64();
    n.unwrap_or_else(|| panic!("{nic} {name} in {:#}", ended.result["nics"]))
}

/// The host's cable is out at the start, goes in, out and in again, while the
/// board sends all the time.
const CABLE: &str = r#"
  - run: { guest: host, command: "cat /sys/class/net/eth0/carrier", expect_output: "0" }
  - run: { guest: board, command: "setsid ping -q -i 0.01 10.9.0.1 >/dev/null 2>&1 </dev/null & sleep 0.3; cat /sys/class/net/eth0/carrier", expect_output: "1" }
  - run: { guest: host, command: "ping -n -c 3 -i 0.05 -W 1 10.9.0.2", expect_exit: 1, expect_output: "100% packet loss" }
  - set: { nic: host.eth0, link: up }
  - run: { guest: host, command: "until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do :; done; sleep 1.5; ethtool eth0", expect_output: "Link detected: yes" }
  - ping: { from: host, to: board, size: [56, 1472, 65507], count: 20 }
  - set: { nic: host.eth0, link: down }
  - run: { guest: host, command: "until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do :; done; ethtool eth0; ip link show eth0 | grep NO-CARRIER", expect_output: "Link detected: no" }
  - run: { guest: host, command: "a=$(cat /sys/class/net/eth0/statistics/rx_packets); sleep 1; b=$(cat /sys/class/net/eth0/statistics/rx_packets); echo $((b - a)) came", expect_output: "0 came" }
  - set: { nic: host.eth0, link: up }
  - run: { guest: host, command: "until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do :; done; sleep 1.5; a=$(cat /sys/class/net/eth0/statistics/rx_packets); sleep 1; b=$(cat /sys/class/net/eth0/statistics/rx_packets); test $((b - a)) -gt 10 && echo flows", expect_output: "flows" }
  - ping: { from: board, to: host, size: [56, 1472, 65507], count: 20 }
  - run: { guest: host, command: "dmesg | grep -iE 'NETDEV WATCHDOG|BUG:|timed out' || echo quiet", expect_output: "quiet" }
"#;

fn cable(wire: &str) {
    let yaml = topology(wire, ["link_state: down", "link_state: up"], "", CABLE);
    let ended = end(Run::new(&yaml));
    assert!(count(&ended, "host.eth0", "rx0.link_down") > 50);
    assert_eq!(count(&ended, "host.eth0", "config_interrupts"), 3);
    assert_eq!(count(&ended, "board.eth0", "config_interrupts"), 0);
    assert_eq!(ended.rows("set").len(), 3);
}

#[test]
fn a_cable_of_a_link_is_pulled() {
    cable("link: wire");
}

#[test]
fn a_cable_of_a_card_is_pulled() {
    cable("card: fpga0");
}

/// It is an event of virtual time like any other.
#[test]
fn a_cable_is_pulled_at_the_same_time_in_every_lockstep_run() {
    let checks = r#"
  - ping: { from: host, to: board, count: 3 }
  - set: { nic: board.eth0, link: down }
  - run: { guest: board, command: "cat /sys/class/net/eth0/carrier", expect_output: "0" }
"#;
    let yaml = topology("link: wire", ["mtu: 1500"; 2], "", checks);
    let hashes = [0, 1].map(|_| {
        let ended = end(Run::new(&yaml).arg("--time").arg("lockstep"));
        ended.result["trace_hash"].as_str().unwrap().to_owned()
    });
    assert_eq!(hashes[0], hashes[1]);
}

/// The driver that speaks the interface before virtio 1.0, on I/O ports, in
/// both guests; one of them with the longest queues.
#[test]
fn legacy_drivers_in_both_guests() {
    let mut checks = String::new();
    for (guest, size) in [("host", 1024), ("board", 256)] {
        for (command, want) in [
            (
                "lspci -nn -s 1",
                "[0200]: Red Hat, Inc. Virtio network device [1af4:1000]",
            ),
            ("lspci -v -s 1", "I/O ports at"),
            ("grep virtio-pci-legacy /proc/ioports", "virtio-pci-legacy"),
            // VERSION_1 is feature 32.
            ("cut -c 33 /sys/bus/virtio/devices/virtio0/features", "0"),
            (
                "lspci -vv 2>&1 | grep -iE 'unknown header|access denied|!!!' || echo sane",
                "sane",
            ),
        ] {
            checks += &format!(
                "  - run: {{ guest: {guest}, command: {}, expect_output: {} }}\n",
                serde_json::to_string(command).unwrap(),
                serde_json::to_string(want).unwrap()
            );
        }
        checks += &format!(
            "  - run: {{ guest: {guest}, command: \"ethtool -g eth0 | grep -c '^[RT]X:.*[[:space:]]{size}$'\", expect_output: \"4\" }}\n"
        );
    }
    for (from, to) in [("host", "board"), ("board", "host")] {
        checks += &format!(
            "  - ping: {{ from: {from}, to: {to}, size: [56, 1472, 8192, 65507], count: 50, interval: 2ms }}\n  - iperf3: {{ from: {from}, to: {to}, seconds: 2, min_rate: 10M }}\n"
        );
    }
    for guest in ["host", "board"] {
        checks += &format!(
            "  - run: {{ guest: {guest}, command: \"i=0; while [ $i -lt 5 ]; do rmmod virtio_net && modprobe virtio_net || exit 1; i=$((i + 1)); done; until ip link set eth0 up; do :; done; echo $i times\", expect_output: \"5 times\" }}\n"
        );
    }
    let nic = "transitional: true, queue_size: 1024";
    let yaml = topology(
        "link: wire",
        [nic, "transitional: true"],
        "virtio_pci.force_legacy=1",
        &checks,
    );
    let ended = end(Run::new(&yaml));
    for name in [
        "rx0.malformed",
        "tx0.malformed",
        "tx0.bad_header",
        "broken_rings",
    ] {
        assert_eq!(count(&ended, "host.eth0", name), 0, "{name}");
        assert_eq!(count(&ended, "board.eth0", name), 0, "{name}");
    }
}
