//! What guests do with their NICs, over a software switch and over the card.
//! Many commands share one boot: booting is most of what such a test costs.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Ended, Run};
use serde_json::Value;
use std::fmt::Write;

/// A guest, its address' last number, and the Ethernet address that it gets by
/// its place in the topology.
struct Side {
    guest: &'static str,
    number: u8,
    mac: &'static str,
}

const HOST: Side = Side {
    guest: "host",
    number: 1,
    mac: "52:54:00:02:00:01",
};
const BOARD: Side = Side {
    guest: "board",
    number: 2,
    mac: "52:54:00:01:00:01",
};

/// Checks of a topology with both guests on one wire.
struct Script {
    yaml: String,
}

impl Script {
    /// `wire` is what their NICs are connected to: `link: wire` or `card: fpga0`.
    fn new(wire: &str, mtu: u32, packages: &str) -> Self {
        let mut yaml = String::from("guests:\n");
        for (side, arch) in [(HOST, "x86_64"), (BOARD, "aarch64")] {
            let _ = writeln!(
                yaml,
                "  {}: {{ arch: {arch}, packages: [{packages}], nics: [{{ {wire}, address: 10.1.0.{}/24, mtu: {mtu}, mac: \"{}\" }}] }}",
                side.guest, side.number, side.mac
            );
        }
        if wire.starts_with("card") {
            yaml += "cards: { fpga0: {} }\n";
        }
        yaml += "checks:\n";
        Self { yaml }
    }
    /// A command that must exit with 0 and print `want`.
    fn run(&mut self, side: &Side, command: &str, want: &str) {
        let _ = writeln!(
            self.yaml,
            "  - run: {{ guest: {}, command: {}, expect_output: {}, timeout: 120s }}",
            side.guest,
            serde_json::to_string(command).unwrap(),
            serde_json::to_string(want).unwrap()
        );
    }
    /// Any other check, as it is written.
    fn check(&mut self, text: &str) {
        let _ = writeln!(self.yaml, "  - {text}");
    }
    /// Echo requests of which none may get lost.
    fn ping(&mut self, from: &Side, arguments: &str) {
        self.run(from, &format!("ping -n -q {arguments}"), " 0% packet loss");
    }
    /// Runs it; every row must pass.
    fn end(self) -> Ended {
        let ended = Run::new(&self.yaml).end();
        let failed: Vec<Value> = rows(&ended)
            .into_iter()
            .filter(|row| row["passed"] != true)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
        ended.expect(0)
    }
}

fn rows(ended: &Ended) -> Vec<Value> {
    let rows = ended.result["checks"].as_array();
    rows.cloned().unwrap_or_default()
}

/// Waits for `eth0` and sets it up as the guest's start did.
fn set_up(side: &Side) -> String {
    format!(
        "until ip link show eth0 >/dev/null 2>&1; do :; done; ip link set eth0 mtu 9000 up && ip addr replace 10.1.0.{}/24 dev eth0",
        side.number
    )
}

/// Warnings of the kernel that a network device can cause.
const COMPLAINTS: &str = "dmesg | grep -iE 'oops|BUG:|WARNING:|call trace|NETDEV WATCHDOG|timed out|virtio_net.*(fail|error)' && exit 1; echo quiet";

fn tools(script: &mut Script, side: &Side) {
    for (command, want) in [
        ("ethtool -i eth0", "driver: virtio_net"),
        ("ethtool -i eth0", "bus-info: 0000:00:01.0"),
        ("ethtool -k eth0", "\ntx-checksumming: on"),
        ("ethtool -k eth0", "\ntcp-segmentation-offload: on"),
        ("ethtool -k eth0", "\nrx-vlan-filter: on [fixed]"),
        ("ethtool -l eth0", "Combined:\t1"),
        ("ethtool -g eth0", "RX:\t\t256"),
        ("ethtool eth0", "Link detected: yes"),
        ("ethtool eth0", "Speed: 10000Mb/s"),
        (
            "ethtool -S eth0 | awk '/rx_queue_0_packets|tx_queue_0_packets|rx_queue_0_bytes/ { n += $2 > 0 } /tx_timeouts|drops/ { bad += $2 } END { print n, bad + 0 }'",
            "3 0",
        ),
        (
            "lspci -nn",
            "[0200]: Red Hat, Inc. Virtio 1.0 network device [1af4:1041]",
        ),
        (
            "lspci -vv -s 1 2>&1; lspci -xxx -s 1 2>&1",
            "MSI-X: Enable+ Count=",
        ),
        (
            "lspci -vv -s 1",
            "Express (v2) Root Complex Integrated Endpoint",
        ),
        ("lspci -vv -s 1", "FLReset+"),
        ("lspci -vv -s 1", "Kernel driver in use: virtio-pci"),
        (
            "lspci -vv -s 1 | grep -cE 'VirtIO: (CommonCfg|Notify|ISR|DeviceCfg)'",
            "4",
        ),
        (
            "lspci -vv 2>&1 | grep -iE 'unknown header|access denied|!!!' || echo sane",
            "sane",
        ),
    ] {
        script.run(side, command, want);
    }
}

/// `from` reaches `to` in every way that Linux has for it.
fn protocols(script: &mut Script, from: &Side, to: &Side) {
    let (a, b) = (from.number, to.number);
    // 8,972 bytes of data, 8 of ICMP and 20 of IP are 9,000.
    script.ping(from, &format!("-c 50 -i 0.002 -M do -s 8972 10.1.0.{b}"));
    script.ping(from, &format!("-c 50 -i 0.002 -s 65507 10.1.0.{b}"));
    script.ping(from, &format!("-c 50 -i 0.002 -M do -s 8972 10.7.0.{b}"));
    script.ping(from, &format!("-c 50 -i 0.002 -M do -s 8952 fd00::{b}"));
    script.ping(from, &format!("-c 50 -i 0.002 -s 60000 fd00::{b}"));
    // All nodes of the link: this one answers itself, and the other answers.
    script.run(
        from,
        &format!("ping -n -c 5 -i 0.05 -I fd00::{a} ff02::1%eth0"),
        &format!("from fd00::{b}"),
    );
    script.run(
        from,
        "ping -n -c 5 -i 0.05 -t 1 -I eth0 224.0.0.1",
        &format!("from 10.1.0.{b}"),
    );
    // A group of its own: refused by the NIC's filter until it is joined.
    script.run(
        to,
        "ip maddr add 01:00:5e:01:02:03 dev eth0; ip maddr show dev eth0",
        "01:00:5e:01:02:03",
    );
    script.run(from, &format!("ip neigh replace 10.1.0.{b} lladdr 01:00:5e:01:02:03 dev eth0 && ping -n -c 3 -i 0.01 -W 1 10.1.0.{b}; ip neigh del 10.1.0.{b} dev eth0; echo done"), "done");
    script.run(to, "ip maddr del 01:00:5e:01:02:03 dev eth0 && ip link set eth0 promisc on && ip link set eth0 promisc off && ip link set eth0 allmulticast on && ip link set eth0 allmulticast off && echo filters", "filters");
    script.run(
        from,
        &format!("ip link set eth0 address 52:54:00:aa:00:0{a} && cat /sys/class/net/eth0/address"),
        &format!("52:54:00:aa:00:0{a}"),
    );
    script.ping(from, &format!("-c 20 -i 0.01 10.1.0.{b}"));
    script.run(
        from,
        &format!("ip link set eth0 address {} && echo back", from.mac),
        "back",
    );
    script.ping(from, &format!("-c 20 -i 0.01 10.1.0.{b}"));
}

/// Everything that changes while the interface is up.
fn changes(script: &mut Script, side: &Side, other: &Side) {
    let peer = format!("10.1.0.{}", other.number);
    script.run(
        side,
        "ethtool -G eth0 rx 64 tx 128 && ethtool -g eth0 | tail -8",
        "TX:\t\t128",
    );
    script.ping(side, &format!("-c 50 -i 0.002 -s 65507 {peer}"));
    script.run(side, "ethtool -G eth0 rx 256 tx 256 && ethtool -C eth0 rx-usecs 50 rx-frames 8 tx-usecs 50 tx-frames 4 && ethtool -c eth0", "rx-usecs: 50");
    script.ping(side, &format!("-c 50 -i 0.002 {peer}"));
    script.run(side, "ethtool -C eth0 rx-usecs 0 rx-frames 0 tx-usecs 0 tx-frames 1 && for i in 1 2 3 4 5; do ip link set eth0 down; ip link set eth0 up; done; ip link show eth0", "UP");
    script.ping(side, &format!("-c 50 -i 0.002 {peer}"));
    script.run(
        side,
        &format!(
            "cd /sys/bus/pci/drivers/virtio-pci && echo 0000:00:01.0 >unbind && ! ip link show eth0 2>/dev/null && echo 0000:00:01.0 >bind && {} && echo bound",
            set_up(side)
        ),
        "bound",
    );
    script.ping(side, &format!("-c 50 -i 0.002 {peer}"));
    // The driver goes and comes while the other guest sends to it.
    script.run(
        other,
        &format!(
            "ip neigh replace 10.1.0.{} lladdr {} dev eth0 nud permanent; setsid ping -q -i 0.002 -s 4000 10.1.0.{} >/tmp/flood 2>&1 </dev/null & echo $! >/tmp/pid; echo started",
            side.number, side.mac, side.number
        ),
        "started",
    );
    script.run(
        side,
        &format!(
            "i=0; while [ $i -lt 20 ]; do rmmod virtio_net && modprobe virtio_net || exit 1; {}; i=$((i + 1)); done; echo $i times",
            set_up(side)
        ),
        "20 times",
    );
    script.run(
        other,
        "kill -INT $(cat /tmp/pid); sleep 0.5; cat /tmp/flood; ip neigh flush dev eth0; awk '/transmitted/ { exit !($1 > 100 && $4 > 0) }' /tmp/flood && echo under traffic",
        "under traffic",
    );
    script.ping(side, &format!("-c 50 -i 0.002 {peer}"));
    script.ping(other, &format!("-c 50 -i 0.002 10.1.0.{}", side.number));
}

fn guests_use_it(wire: &str, seconds: u32) {
    let mut script = Script::new(wire, 9000, "ethtool, pciutils, iperf3, iproute2");
    for (side, n) in [(HOST, 1), (BOARD, 2)] {
        script.run(
            &side,
            &format!(
                "ip link add link eth0 name eth0.7 type vlan id 7 && ip addr add 10.7.0.{n}/24 dev eth0.7 && ip link set eth0.7 up && ip -6 addr add fd00::{n}/64 dev eth0 nodad && sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0 && ip -d link show eth0.7"
            ),
            "vlan protocol 802.1Q id 7",
        );
    }
    for (from, to) in [(HOST, BOARD), (BOARD, HOST)] {
        protocols(&mut script, &from, &to);
    }
    for side in [HOST, BOARD] {
        tools(&mut script, &side);
    }
    // Without segmentation, then without large receive as well.
    for (off, way) in [
        ("tso off", ("host", "board")),
        ("tso off gso off rx-gro-hw off", ("board", "host")),
    ] {
        for side in [HOST, BOARD] {
            script.run(
                &side,
                &format!("ethtool -K eth0 {off} && ethtool -k eth0"),
                "\ntcp-segmentation-offload: off",
            );
        }
        script.check(&format!(
            "iperf3: {{ from: {}, to: {}, seconds: 1, min_rate: 1M }}",
            way.0, way.1
        ));
    }
    for side in [HOST, BOARD] {
        script.run(
            &side,
            "ethtool -K eth0 tso on gso on rx-gro-hw on && ethtool -k eth0",
            "\ntcp-segmentation-offload: on",
        );
    }
    script.run(&BOARD, "iperf3 -s -D && echo serves", "serves");
    script.run(
        &HOST,
        &format!("iperf3 -J -i 5 --bidir -t {seconds} -c 10.1.0.2"),
        "\"end\"",
    );
    for (side, other) in [(HOST, BOARD), (BOARD, HOST)] {
        changes(&mut script, &side, &other);
    }
    for side in [HOST, BOARD] {
        script.run(&side, COMPLAINTS, "quiet");
    }
    let ended = script.end();
    let all = rows(&ended);
    counted(&ended);
    let report = all
        .iter()
        .find(|row| {
            row["command"]
                .as_str()
                .is_some_and(|c| c.starts_with("iperf3 -J"))
        })
        .unwrap();
    steady(report["output"].as_str().unwrap(), seconds);
}

/// What one NIC sent the other got, and what was asked for was counted.
fn counted(ended: &Ended) {
    let n = |nic: &str, name: &str| {
        let n = ended.result["nics"][nic][name].as_u64();
        n.unwrap_or_else(|| panic!("{nic} {name} in {:#}", ended.result["nics"]))
    };
    for (from, to) in [("host.eth0", "board.eth0"), ("board.eth0", "host.eth0")] {
        let sent = n(from, "tx0.frames");
        let got = n(to, "rx0.frames");
        assert!(got > 5_000 && sent >= got, "{from}: {sent}, {to}: {got}");
        // The group that was not joined, and the other guest's router requests.
        assert!(n(to, "rx0.filtered") > 0);
        assert!(n(from, "tx0.notifications") > 0 && n(to, "rx0.interrupts") > 0);
        for name in [
            "rx0.malformed",
            "tx0.malformed",
            "tx0.bad_header",
            "rx0.oversize",
            "broken_rings",
            "bad_commands",
        ] {
            assert_eq!(n(from, name), 0, "{from} {name}");
        }
    }
}

/// Both directions of an iperf3 run moved data in every interval to its end.
fn steady(report: &str, seconds: u32) {
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["error"], Value::Null, "{report:#}");
    let intervals = report["intervals"].as_array().unwrap();
    assert_eq!(intervals.len() as u32, seconds.div_ceil(5));
    for interval in intervals {
        for way in ["sum", "sum_bidir_reverse"] {
            let rate = interval[way]["bits_per_second"].as_f64().unwrap();
            assert!(rate > 1e6, "{way}: {interval:#}");
        }
    }
    for way in ["sum_received", "sum_received_bidir_reverse"] {
        let sum = &report["end"][way];
        let lasted = sum["seconds"].as_f64().unwrap();
        assert!(lasted > f64::from(seconds) - 1.0, "{way}: {sum}");
        println!(
            "{way}: {:.0} Mb/s",
            sum["bits_per_second"].as_f64().unwrap() / 1e6
        );
    }
}

#[test]
fn guests_use_a_link() {
    guests_use_it("link: wire", 30);
}

#[test]
fn guests_use_a_card() {
    guests_use_it("card: fpga0", 5);
}

/// No echo request of any size is lost between two guests on a switch, nor any
/// of a flood.
#[test]
fn a_link_loses_nothing() {
    let mut script = Script::new("link: wire", 1500, "");
    for (from, to) in [(HOST, BOARD), (BOARD, HOST)] {
        script.check(&format!(
            "ping: {{ from: {}, to: {}, size: [56, 256, 512, 1024, 1472, 1473, 2048, 8192, 65507], count: 100, interval: 2ms }}",
            from.guest, to.guest
        ));
    }
    for (from, to) in [(HOST, BOARD), (BOARD, HOST)] {
        script.run(
            &from,
            &format!("ping -n -q -f -c 20000 10.1.0.{}", to.number),
            "20000 packets transmitted, 20000 received, 0% packet loss",
        );
    }
    let ended = script.end();
    let sent: u64 = rows(&ended)
        .iter()
        .filter(|row| row["kind"] == "ping")
        .map(|row| row["received"].as_u64().unwrap())
        .sum();
    assert_eq!(sent, 2 * 9 * 100);
}
