//! Xilinx's driver in the host guest. It is not part of this repository: the
//! test runs when VMM_XDMA_KO names a directory with `xdma.ko` for the guest's
//! kernel and statically linked `dma_to_device` and `dma_from_device`.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;
use std::path::PathBuf;

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

/// Loads the module, moves 8 MiB and odd pieces both ways, compares, unloads;
/// the kernel must have nothing to complain about.
const SCRIPT: &str = "#!/bin/sh
dmesg -c > /dev/null
insmod /x/xdma.ko $1 || exit 1
[ -f /tmp/in ] || head -c 8388608 /dev/urandom > /tmp/in
move() { # channel, card address, bytes
    /x/dma_to_device -d /dev/xdma0_h2c_$1 -a $2 -s $3 -f /tmp/in || exit 1
    rm -f /tmp/out
    /x/dma_from_device -d /dev/xdma0_c2h_$1 -a $2 -s $3 -f /tmp/out || exit 1
    head -c $3 /tmp/in | cmp - /tmp/out || exit 1
}
move 0 0x3000000 8388608
move 1 0x3000123 100001
move 3 0x3fffffd 3
n=0; while [ $n -lt 20 ]; do move 2 0x3800000 4096; n=$((n + 1)); done
rmmod xdma || exit 1
! dmesg | grep -iE 'warn|bug|error|fail|not running|timed out|call trace' | grep -v 'verification failed' || exit 1
echo ALL WELL
";

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
";
    Run::new(yaml).end().expect(0);
}
