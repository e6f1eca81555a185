//! `backend: xdma` and `vnet-agent` against a stand-in for a real card: the
//! device nodes are files with the same semantics (a position is a card
//! address), and the board's agent maps the same file as its memory.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::{Namespace, Run};
use std::fs::{File, hard_link};
use std::path::{Path, PathBuf};
use std::process::Command;

fn agent() -> PathBuf {
    let vmm = ci::vmm();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "vnet-agent"])
        .current_dir(ci::root())
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cannot build vnet-agent"
    );
    vmm.with_file_name("vnet-agent")
}

fn nodes(dir: &Path) {
    let node = |suffix: &str| dir.join(format!("xdma0{suffix}"));
    let memory = File::create(node("_h2c_1")).unwrap();
    memory.set_len(64 << 20).unwrap();
    hard_link(node("_h2c_1"), node("_c2h_1")).unwrap();
    let user = File::create(node("_user")).unwrap();
    user.set_len(1 << 20).unwrap();
}

#[test]
fn a_guest_reaches_the_boards_agent() {
    let space = match Namespace::new() {
        Ok(space) if Path::new("/dev/net/tun").exists() => space,
        Ok(_) => return println!("SKIP: there is no /dev/net/tun"),
        Err(why) => return println!("SKIP: {why}"),
    };
    let dir = tempfile::tempdir().unwrap();
    nodes(dir.path());
    let memory = dir.path().join("xdma0_h2c_1");
    let agent = agent();
    let board = [
        agent.to_str().unwrap(),
        "--role=board",
        "--tap",
        "--address=10.10.10.5/24",
        "--memory",
        memory.to_str().unwrap(),
    ];
    let first = space.start(&board);
    space.until(&["ip", "addr", "show", "vnet0", "up"]);
    let mut yaml = format!(
        "guests:\n  host: {{ nics: [{{ card: fpga0, address: 10.10.10.1/24 }}] }}\ncards:\n  \
         fpga0:\n    backend: {{ xdma: {{ device: {}, h2c: 1, c2h: 1 }} }}\n    \
         expose: [virtio-net]\nchecks:\n",
        dir.path().join("xdma0").display()
    );
    for size in [56, 512, 1024, 1472, 1473, 2048, 65507] {
        yaml += &format!(
            "  - run: {{ guest: host, command: 'ping -q -c 50 -i 0.02 -s {size} 10.10.10.5', \
             expect_output: ' 0% packet loss' }}\n"
        );
    }
    // The agent starts anew under the guest's feet.
    // Its new interface has a new address.
    yaml += "  - run: { guest: host, command: 'echo now > /dev/console; sleep 5' }\n  \
             - run: { guest: host, command: 'ip neigh flush all; \
             until ping -c 1 -W 1 10.10.10.5; do :; done; \
             ping -q -c 50 -i 0.02 10.10.10.5', expect_output: ' 0% packet loss' }\n";
    let run = Run::new(&yaml).with_images().start();
    assert!(run.wait_for("host", "now"), "the pings did not end");
    drop(first);
    let second = space.start(&board);
    let ended = run.end().expect(0);
    assert_eq!(ended.result["checks"].as_array().unwrap().len(), 9);
    drop(second);
}

#[test]
fn a_card_that_is_not_there_is_explained() {
    let yaml = "guests: { host: { nics: [{ card: fpga0 }] } }\ncards:\n  fpga0: \
                { backend: { xdma: { device: /dev/xdma77 } } }\n";
    let ended = Run::new(yaml).with_images().end();
    assert_ne!(ended.code, 0);
    for word in ["card 'fpga0'", "/dev/xdma77_h2c_0 does not exist", "insmod"] {
        assert!(ended.err.contains(word), "{word}: {}", ended.err);
    }
}
