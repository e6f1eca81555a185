//! A guest that attacks its devices for a minute: the monitor and the other
//! guests' traffic go on, and its devices work again afterwards.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;

/// Of the rogue guest's RAM, 16 MiB at 256 MiB and the end are not Linux's: rings
/// and buffers lie there, also such as go on behind the end.
const TOPOLOGY: &str = r#"
guests:
  host: { arch: x86_64, nics: [{ link: wire, address: 10.1.0.1/24 }] }
  board:
    arch: aarch64
    nics:
      - { link: wire, address: 10.1.0.2/24 }
      - { card: fpga0, address: 10.2.0.2/24 }
  rogue:
    arch: x86_64
    memory: 512M
    packages: [python3]
    image: { cmdline: "memmap=16M$0x10000000,64K$0x1fff0000" }
    files: [{ from: ./rogue.py, to: /root/rogue.py }]
    nics:
      - { link: wire, address: 10.1.0.3/24 }
      - { card: fpga0, address: 10.2.0.3/24 }
      - { loopback: true }
cards: { fpga0: { host: rogue } }
checks:
  - ping: { from: rogue, to: board, count: 3 }
  - run:
      guest: rogue
      command: |
        cd /sys/bus/pci/drivers/virtio-pci
        for f in 0000:*; do echo $f >unbind; done
        (setsid python3 /root/rogue.py 60 0x10000000 0x1000000 0x20000000 0000:00:01.0 0000:00:02.0 0000:00:03.0; echo ended $?) >/tmp/log 2>&1 </dev/null &
        echo started
      expect_output: started
  - ping: { from: host, to: board, count: 600, interval: 100ms }
  - run:
      guest: rogue
      command: until grep ended /tmp/log; do sleep 1; done; cat /tmp/log
      expect_output: " attacks"
      timeout: 120s
  - run:
      guest: rogue
      command: |
        cd /sys/bus/pci/drivers/virtio-pci
        for f in 0000:00:01.0 0000:00:02.0 0000:00:03.0; do echo $f >bind; done
        until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done
        ifconfig eth0 10.1.0.3 netmask 255.255.255.0 up
        ifconfig eth1 10.2.0.3 netmask 255.255.255.0 up
        ping -q -c 20 -i 0.01 10.1.0.1 && ping -q -c 20 -i 0.01 10.2.0.2 | grep ' 0% packet loss' && echo recovered
      expect_output: recovered
"#;

#[test]
fn a_hostile_guest_harms_nobody_else() {
    attack(TOPOLOGY, &[]);
}

/// A shorter attack, with every block compiled when it is entered first.
#[test]
fn a_hostile_guest_harms_nobody_else_compiled() {
    let topology = TOPOLOGY.replace("rogue.py 60 ", "rogue.py 15 ");
    assert_ne!(topology, TOPOLOGY);
    let topology = topology.replace("interval: 100ms", "interval: 25ms");
    attack(&topology, &["env", "VMM_JIT=1"]);
}

fn attack(topology: &str, prefix: &[&str]) {
    let rogue = std::fs::read(ci::root().join("ci/guest/rogue.py")).unwrap();
    let run = Run::new(topology).file("rogue.py", &rogue);
    let ended = run.under(prefix).end().expect(0);
    let row = &ended.result["checks"][2];
    assert_eq!(
        (&row["kind"], &row["received"]),
        (&"ping".into(), &600.into())
    );
    // The attacks went deep: chains and rings were looked at and refused.
    let total = |name: &str| -> u64 {
        ["rogue.eth0", "rogue.eth1", "rogue.eth2"]
            .iter()
            .map(|nic| ended.result["nics"][nic][name].as_u64().unwrap())
            .sum()
    };
    for name in [
        "broken_rings",
        "bad_commands",
        "tx0.malformed",
        "tx0.notifications",
    ] {
        let n = total(name);
        println!("{name}: {n}");
        assert!(n > 10, "{name}: {n}");
    }
}
