//! Stock drivers on a device with several queue pairs, and a receiver whose
//! driver takes no unsegmented frames.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;
use serde_json::Value;

const TOPOLOGY: &str = r#"
guests:
  many:
    arch: x86_64
    packages: [iperf3, ethtool]
    nics: [{ link: wire, queues: 4, address: 10.31.0.1/24 }]
  one:
    arch: x86_64
    packages: [iperf3, ethtool]
    nics: [{ link: wire, address: 10.31.0.2/24 }]
checks:
  - ping: { from: one, to: many, size: [56, 1472, 8192], count: 20, interval: 10ms, max_loss: 0% }
  - run: { guest: many, command: "ethtool -l eth0 | grep -c 'Combined:[[:space:]]*4'", expect_output: "1" }
  - run: { guest: one, command: "setsid ping -n -q -i 0.002 -s 4000 10.31.0.1 >/tmp/flood 2>&1 </dev/null & echo $! >/tmp/pid; echo started", expect_output: "started" }
  - run: { guest: many, command: "i=0; while [ $i -lt 40 ]; do ethtool -L eth0 combined $((i % 4 + 1)) || exit 1; i=$((i + 1)); done; ethtool -L eth0 combined 4; echo $i times", expect_output: "40 times", timeout: 120s }
  - run: { guest: one, command: "kill -INT $(cat /tmp/pid); sleep 0.5; cat /tmp/flood; awk '/transmitted/ { exit !($1 > 50 && $4 > 0) }' /tmp/flood && echo under traffic", expect_output: "under traffic" }
  - run: { guest: many, command: "ethtool -L eth0 combined 4 && ethtool -X eth0 equal 4 && ethtool -K eth0 rxhash on && ethtool -k eth0 | grep receive-hashing", expect_output: "receive-hashing: on" }
  - run: { guest: many, command: "ethtool -x eth0", expect_output: "toeplitz: on" }
  - ping: { from: one, to: many, size: [56, 1472, 8192], count: 20, interval: 10ms, max_loss: 0% }
  - iperf3: { from: one, to: many, protocol: tcp, seconds: 1 }
  - iperf3: { from: one, to: many, protocol: tcp, seconds: 1 }
  - iperf3: { from: one, to: many, protocol: tcp, seconds: 1 }
  - iperf3: { from: one, to: many, protocol: tcp, seconds: 1 }
  - run: { guest: one, command: "ethtool -K eth0 rx-gro-hw off && ethtool -k eth0 | grep rx-gro-hw", expect_output: "rx-gro-hw: off" }
  - iperf3: { from: many, to: one, protocol: tcp, seconds: 1 }
  - run: { guest: many, command: "dmesg | grep -ciE 'timed out|bad gso|BUG:' || true", expect_output: "0" }
  - run: { guest: one, command: "dmesg | grep -ciE 'timed out|bad gso|bad csum|BUG:' || true", expect_output: "0" }
"#;

#[test]
fn hashes_spread_flows_and_frames_are_cut() {
    let ended = Run::new(TOPOLOGY).end();
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let count = |nic: &str, name: &str| {
        let counter = &ended.result["nics"][nic][name];
        counter
            .as_u64()
            .unwrap_or_else(|| panic!("no {nic} {name}"))
    };
    let frames: Vec<u64> = (0..4)
        .map(|queue| count("many.eth0", &format!("rx{queue}.frames")))
        .collect();
    let used = frames.iter().filter(|frames| **frames > 0).count();
    assert!(used > 1, "everything came on one queue: {frames:?}");
    assert!(count("one.eth0", "rx0.segmented") > 0);
    assert_eq!(count("one.eth0", "rx0.unwanted_offload"), 0);
    let sent = |value: &Value| value["kind"] == "iperf3" && value["passed"] == true;
    let checks = ended.result["checks"].as_array().unwrap();
    assert_eq!(checks.iter().filter(|check| sent(check)).count(), 5);
}
