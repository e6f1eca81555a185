//! Xilinx's driver in the host guest. It is not part of this repository: the
//! test runs when VMM_XDMA_KO names a directory with `xdma.ko` for the guest's
//! kernel and statically linked `dma_to_device` and `dma_from_device`.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;
use std::path::PathBuf;
use std::process::Command;

const FILES: [&str; 3] = ["xdma.ko", "dma_to_device", "dma_from_device"];

fn driver() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("VMM_XDMA_KO").map(PathBuf::from) else {
        eprintln!("SKIP: no Xilinx driver: VMM_XDMA_KO names no directory with {FILES:?}");
        return None;
    };
    for file in FILES {
        if !dir.join(file).is_file() {
            eprintln!("SKIP: {} is missing", dir.join(file).display());
            return None;
        }
    }
    Some(dir)
}

/// Loads the module, moves 16 MiB and odd pieces both ways, on one channel by
/// two processes and on all channels at once, compares, unloads; the kernel must
/// have nothing to complain about.
const SCRIPT: &str = r#"#!/bin/sh
dmesg -c > /dev/null
insmod /x/xdma.ko $1 || exit 1
[ -f /tmp/in ] || head -c 16777216 /dev/urandom > /tmp/in
move() { # channel, card address, bytes, C2H channel
    /x/dma_to_device -d /dev/xdma0_h2c_$1 -a $2 -s $3 -f /tmp/in || exit 1
    rm -f /tmp/out$2
    /x/dma_from_device -d /dev/xdma0_c2h_${4:-$1} -a $2 -s $3 -f /tmp/out$2 || exit 1
    head -c $3 /tmp/in | cmp - /tmp/out$2 || exit 1
    rm /tmp/out$2
}
several() { # channel, card address
    n=0; while [ $n -lt 10 ]; do move $1 $2 70001 $3; n=$((n + 1)); done
}
together() { # channels
    at=50331648; jobs=
    for c in $*; do several ${c%:*} $at ${c#*:} & jobs="$jobs $!"; at=$((at + 1048577)); done
    for j in $jobs; do wait $j || exit 1; done
}
move 0 0x3000000 16777216
together 0:0 0:0
together 0:3 1:2 2:1 3:0
move 1 0x3000123 100001
move 3 0x3fffffd 3
n=0; while [ $n -lt 20 ]; do move 2 0x3800000 4096; n=$((n + 1)); done
rmmod xdma || exit 1
! dmesg | grep -iE 'warn|bug|error|fail|not running|timed out|call trace' | grep -v 'verification failed' || exit 1
echo ALL WELL
"#;

#[test]
fn the_driver_of_the_vendor_runs_unmodified() {
    let Some(dir) = driver() else { return };
    let mut yaml = String::from("guests:\n  host:\n    files:\n");
    let mut run_files = Vec::new();
    for file in FILES {
        yaml += &format!("      - {{ from: ./{file}, to: /x/{file}, mode: 755 }}\n");
        run_files.push((file, std::fs::read(dir.join(file)).unwrap()));
    }
    yaml += "      - { from: ./test.sh, to: /x/test.sh, mode: 755 }\n  board: {}\n\
             cards:\n  fpga0: { expose: [xdma] }\nchecks:\n";
    for mode in [
        "interrupt_mode=3",
        "interrupt_mode=1",
        "interrupt_mode=2",
        "poll_mode=1",
    ] {
        yaml += &format!(
            "  - run: {{ guest: host, command: /x/test.sh {mode}, expect_output: ALL WELL }}\n"
        );
    }
    let run = run_files
        .iter()
        .fold(Run::new(&yaml), |run, (name, bytes)| run.file(name, bytes));
    let ended = run.file("test.sh", SCRIPT.as_bytes()).end().expect(0);
    assert_eq!(ended.result["checks"].as_array().unwrap().len(), 4);
}

/// Reads 1,000 events of user interrupt 3 and takes each back; with `self` as
/// its argument it also raises them.
const EVENTS: &str = r#"
use Fcntl;
sysopen(my $events, "/dev/xdma0_events_3", O_RDWR) or die "events: $!";
sysopen(my $user, "/dev/xdma0_user", O_RDWR) or die "user: $!";
my $bit = pack("V", 8);
sub put { my $at = shift; syscall(18, fileno $user, $bit, 4, $at) == 4 or die "user: $!" } # pwrite64
my $word;
for (1..1000) {
    put(0x30004) if @ARGV;
    sysread($events, $word, 4) == 4 && unpack("V", $word) == 1 or die "event: $!";
    put(0x30008);
}
my $seen = "";
vec($seen, fileno $events, 1) = 1;
die "one too many" if select($seen, undef, undef, 0.1);
print "1000 EVENTS\n";
"#;

/// Spec section 8: a program waits on `/dev/xdma0_events_3`. The card's logic
/// raises the interrupt, for a program on the board and for the host's own.
#[test]
fn a_thousand_user_events_through_the_driver() {
    let Some(dir) = driver() else { return };
    let yaml = "
guests:
  host:
    packages: [perl-base]
    files: [{ from: ./xdma.ko, to: /x/xdma.ko }, { from: ./events.pl, to: /x/events.pl }]
  board: { packages: [busybox-static] }
cards:
  fpga0: { expose: [xdma] }
checks:
  - run: { guest: host, command: 'insmod /x/xdma.ko interrupt_mode=3 && (perl /x/events.pl > /tmp/log 2>&1 &)' }
  - run:
      guest: board
      timeout: 200s
      command: 'for i in $(seq 1000); do busybox devmem 0xa0340004 32 8;
        until [ $(busybox devmem 0xa0340000) = 0x00000000 ]; do :; done; done; echo ALL TAKEN'
      expect_output: ALL TAKEN
  - run: { guest: host, command: 'sleep 1; cat /tmp/log', expect_output: 1000 EVENTS }
  - run: { guest: host, command: 'perl /x/events.pl self', expect_output: 1000 EVENTS }
  - run: { guest: host, command: 'rmmod xdma && insmod /x/xdma.ko interrupt_mode=1 && perl /x/events.pl self', expect_output: 1000 EVENTS }
  - run: { guest: host, command: 'rmmod xdma && insmod /x/xdma.ko poll_mode=1 && perl /x/events.pl self', expect_output: 1000 EVENTS }
";
    let ended = Run::new(yaml)
        .file("xdma.ko", &std::fs::read(dir.join("xdma.ko")).unwrap())
        .file("events.pl", EVENTS.as_bytes())
        .end()
        .expect(0);
    // A rise for each, and none besides.
    let count = &ended.result["cards"]["fpga0"]["xdma"]["user_interrupts"];
    assert_eq!(count.as_u64(), Some(4000));
}

/// What the host guest sees of the card without any driver, and the board's
/// windows on the hard queues through /dev/mem.
#[test]
fn the_function_and_the_boards_windows_are_there() {
    let yaml = "
guests:
  host: { packages: [pciutils] }
  board: { packages: [busybox-static] }
cards:
  fpga0: { expose: [xdma] }
checks:
  - run: { guest: host, command: 'lspci -vvn -d 10ee:', expect_output: '10ee:903f' }
  - run: { guest: host, command: 'lspci -vvn -d 10ee:', expect_output: 'MSI-X: Enable- Count=32' }
  - run: { guest: board, command: 'busybox devmem 0xa0300040 32 0xfedcab78; busybox devmem 0xa030000c', expect_output: '0x00000001' }
  - run: { guest: board, command: 'busybox devmem 0xa0320000', expect_output: '0x00000001' }
  - run: { guest: board, command: 'busybox devmem 0x3000000 32 0x12345678; busybox devmem 0x3000000', expect_output: '0x12345678' }
  - run: { guest: board, command: 'busybox devmem 0x3000005 32; echo code $?', expect_output: 'code 0' }
";
    Run::new(yaml).end().expect(0);
}

/// As on a real processor, where SIGBUS (7) ends the program.
#[test]
fn strict_alignment_faults() {
    let yaml = "
guests:
  host: {}
  board: { packages: [busybox-static], strict_alignment: true }
cards:
  fpga0: { expose: [xdma] }
checks:
  - run: { guest: board, command: 'busybox devmem 0x3000004 32; echo code $?', expect_output: 'code 0' }
  - run: { guest: board, command: 'busybox devmem 0x3000005 32; echo code $?', expect_output: 'code 135' }
";
    Run::new(yaml).end().expect(0);
}

/// The agent's static builds for both sides, or what is missing.
fn agents() -> Option<[PathBuf; 2]> {
    let targets = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "vnet-agent"])
        .args(targets.map(|target| format!("--target={target}")))
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        .current_dir(ci::root())
        .output();
    if !built.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIP: no static agent: rustup target add {}",
            targets.join(" ")
        );
        return None;
    }
    let dir = ci::vmm().parent()?.parent()?.to_owned();
    Some(targets.map(|target| dir.join(target).join("release/vnet-agent")))
}

/// The agent on both sides, the host's over the driver: the code for a real
/// card against the real driver, without a card.
#[test]
fn agents_lose_nothing_over_the_driver() {
    let Some(dir) = driver() else { return };
    let Some([host, board]) = agents() else {
        return;
    };
    let mut yaml = String::from(
        "guests:
  host:
    files:
      - { from: ./xdma.ko, to: /x/xdma.ko }
      - { from: ./host, to: /x/vnet-agent, mode: 755 }
  board:
    files:
      - { from: ./board, to: /x/vnet-agent, mode: 755 }
cards:
  fpga0: { expose: [xdma] }
checks:
  - run: { guest: host, command: 'modprobe tun && insmod /x/xdma.ko && (/x/vnet-agent --role host --address 10.10.10.1/24 > /tmp/log 2>&1 &) && sleep 1 && cat /tmp/log', expect_output: attached }
  - run: { guest: board, command: 'modprobe tun && (/x/vnet-agent --role board --address 10.10.10.5/24 > /tmp/log 2>&1 &) && sleep 1 && cat /tmp/log', expect_output: attached }
  - run: { guest: host, command: 'until ping -c 1 -W 1 10.10.10.5; do :; done', expect_output: ' 0% packet loss' }
",
    );
    for (guest, to) in [("host", "10.10.10.5"), ("board", "10.10.10.1")] {
        for size in [56, 512, 1024, 1472, 1473, 2048, 65507] {
            yaml += &format!(
                "  - run: {{ guest: {guest}, command: 'ping -q -c 50 -i 0.05 -W 5 -s {size} {to}', \
                 expect_output: ' 0% packet loss' }}\n"
            );
        }
    }
    yaml += "  - run: { guest: host, command: 'kill $(pidof vnet-agent); sleep 1; \
             rmmod xdma && cat /tmp/log', expect_output: 'nonsense 0' }\n";
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let ended = Run::new(&yaml)
        .file("xdma.ko", &read(dir.join("xdma.ko")))
        .file("host", &read(host))
        .file("board", &read(board))
        .end()
        .expect(0);
    assert_eq!(ended.result["checks"].as_array().unwrap().len(), 18);
}
