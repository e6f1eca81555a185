//! A guest whose rings DPDK works on: its testpmd answers pings as a vhost-user
//! back end.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Which end of the socket testpmd is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Testpmd {
    Listens,
    Connects,
}

/// A testpmd that answers ARP and ICMP echo requests. It ends with this.
struct BackEnd(Child);

impl BackEnd {
    fn start(socket: &Path, role: Testpmd) -> Self {
        let client = u8::from(role == Testpmd::Connects);
        let device = format!("net_vhost0,iface={},client={client}", socket.display());
        let prefix = format!("vmm{}", std::process::id());
        let child = Command::new("dpdk-testpmd")
            .args(["--no-huge", "--no-pci", "-m", "256", "--no-telemetry"])
            // Two threads that share a processor if they must.
            .args(["--lcores", "0@0,1@0", "--file-prefix", &prefix, "--vdev"])
            .args([&device, "--", "--forward-mode=icmpecho", "--auto-start"])
            .args(["--total-num-mbufs=2048", "--no-mlockall"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        // As a crash would: it does not say goodbye.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn missing() -> bool {
    let found = Command::new("dpdk-testpmd")
        .args(["--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        println!("SKIP: no 'dpdk-testpmd' command (apt-get install dpdk-dev)");
    }
    found.is_err()
}

const PEER: &str = "10.30.0.1";
/// Echo requests of a guest without an answer so far.
const UNANSWERED: &str = "awk '/^Icmp:/ && !n { for (n = 1; n <= NF; n++) c[$n] = n; next } \
     /^Icmp:/ { print \"unanswered: \" $c[\"OutEchos\"] - $c[\"InEchoReps\"] \";\" }' /proc/net/snmp";
/// What the guest says when it wants its back end killed.
const CUE: &str = "now without a back end";

fn topology(socket: &Path, role: Testpmd) -> String {
    let server = role == Testpmd::Connects;
    let mut yaml = format!(
        "guests:\n  g:\n    arch: x86_64\n    nics:\n      - {{ vhost-user: {{ socket: {}, server: {server} }}, address: 10.30.0.2/24 }}\nchecks:\n",
        serde_json::to_string(socket).unwrap()
    );
    let state = "/sys/class/net/eth0/carrier";
    for (command, want) in [
        (format!("cat {state}"), "1"),
        (
            format!("ping -n -c 200 -i 0.01 -s 1400 {PEER}"),
            " 0% packet loss",
        ),
        // By the kernel's count: ping itself misses answers that come in one
        // burst after testpmd was not running for a while.
        (
            format!("ping -n -c 20000 -f -s 56 {PEER} | tail -3; {UNANSWERED}"),
            "unanswered: 0;",
        ),
        // Traffic goes on while the back end is killed and started again.
        (
            format!(
                "ping -n -i 0.01 {PEER} > /tmp/ping & echo '{CUE}' > /dev/console; \
                 while [ $(cat {state}) = 1 ]; do sleep 0.05; done; \
                 until [ $(cat {state}) = 1 ]; do sleep 0.05; done; \
                 sleep 1; kill -INT $!; wait; tail -3 /tmp/ping; echo link is back"
            ),
            "link is back",
        ),
        // The driver is told to announce itself, and nothing is stuck.
        (
            format!("ping -n -c 200 -i 0.01 -s 1000 {PEER}"),
            " 0% packet loss",
        ),
        // A new driver on the same back end.
        (
            format!(
                "cd /sys/bus/virtio/drivers/virtio_net && d=$(ls -d virtio*) && \
                 echo $d > unbind && echo $d > bind && sleep 0.5 && \
                 ip addr add 10.30.0.2/24 dev eth0 && ip link set eth0 up && \
                 ping -n -c 50 -i 0.01 {PEER}"
            ),
            " 0% packet loss",
        ),
        (
            "dmesg | grep -ciE 'timed out|BUG:|needs reset' || true".into(),
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

fn pings(role: Testpmd) {
    if missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("vhost");
    let back_end = BackEnd::start(&socket, role);
    let run = Run::new(&topology(&socket, role)).start();
    assert!(run.wait_for("g", CUE), "the guest never came so far");
    std::thread::sleep(Duration::from_millis(300));
    drop(back_end);
    // What a killed process leaves behind.
    if role == Testpmd::Listens {
        let _ = std::fs::remove_file(&socket);
    }
    std::thread::sleep(Duration::from_millis(500));
    let _back_end = BackEnd::start(&socket, role);
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let counters = &ended.result["guests"]["g"];
    println!("{counters}");
}

#[test]
fn testpmd_listens() {
    pings(Testpmd::Listens);
}
#[test]
fn testpmd_connects() {
    pings(Testpmd::Connects);
}
#[test]
fn without_a_back_end_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nobody");
    let ended = Run::new(&topology(&socket, Testpmd::Listens)).end();
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("start it first"), "{}", ended.err);
}
