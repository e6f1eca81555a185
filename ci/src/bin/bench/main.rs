//! `cargo run --release -p ci --bin bench [RUNS]`: the rows of
//! docs/performance.md. `bench pair [RUNS]`: those of two guests only, beside
//! Debian's QEMU in the same run where it is installed. `bench guest [RUNS]`: a
//! set of programs in one guest, beside QEMU.
//!
//! Every row is the median of RUNS (default 3) runs of the `vmm` command. A
//! workload's instructions and seconds are those of a run with it less those of
//! a run with an empty command. Seconds are CPU time of the monitor (user and
//! system): on a shared machine wall time measures the neighbours.

#![allow(unsafe_code)] // getrusage.

mod guest;
mod pair;

use ci::{Ended, Run};

/// Name and command. Each does one kind of work many times over.
const WORK: &[(&str, &str)] = &[
    (
        "integer loop (shell)",
        "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done",
    ),
    (
        "sieve (awk, 200,000)",
        "awk 'BEGIN { n = 200000; for (i = 2; i <= n; i++) if (!(i in c)) { p++; for (j = i * i; j <= n; j += i) c[j] } print p }'",
    ),
    (
        "memcpy (dd, 1 MiB blocks, 1 GiB)",
        "dd if=/dev/zero of=/tmp/a bs=1M count=32 2>/dev/null; for i in $(seq 32); do dd if=/tmp/a of=/dev/null bs=1M 2>/dev/null; done",
    ),
    (
        "system calls (dd, 400,000)",
        "dd if=/dev/zero of=/dev/null bs=1 count=200000 2>/dev/null",
    ),
    (
        "fork and exec (300)",
        "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i + 1)); done",
    ),
    (
        "page faults (64 MiB, 8 times)",
        "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; done",
    ),
    (
        "gzip of 8 MiB",
        "dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null; gzip -1 < /tmp/r > /dev/null",
    ),
];

fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero rusage is a valid value to be overwritten.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median, with the least and the most where there are several values;
/// nothing where there is none.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    match (values.first(), values.last()) {
        (Some(least), Some(most)) if values.len() > 1 => {
            let middle = median(values.clone());
            format!("{middle:.digits$} ({least:.digits$} to {most:.digits$})")
        }
        (Some(only), _) => format!("{only:.digits$}"),
        _ => String::new(),
    }
}

struct Cost {
    seconds: f64,
    instructions: f64,
    ended: Ended,
}

/// Has the kernel test its ciphers at boot, as it does by default; a guest's
/// default words keep it from that.
const STOCK: &str = "cryptomgr.notests=0";

/// A boot with more words for the kernel, a command, and the power off.
fn cost(arch: &str, words: &str, command: &str) -> Cost {
    let command = serde_json::to_string(command).unwrap_or_default();
    let yaml = format!(
        "guests:\n  g: {{ arch: {arch}, image: {{ cmdline: \"{words}\" }} }}\nchecks:\n  - run: {{ guest: g, command: {command}, timeout: 300s }}\n"
    );
    let before = cpu_seconds();
    let ended = Run::new(&yaml).end().expect(0);
    let seconds = cpu_seconds() - before;
    let instructions = ended.result["guests"]["g"]["instructions"]
        .as_f64()
        .unwrap_or(0.0);
    Cost {
        seconds,
        instructions,
        ended,
    }
}

fn one_guest(arch: &str, runs: usize) {
    let boots: Vec<Cost> = (0..runs).map(|_| cost(arch, "", "true")).collect();
    let of = |f: &dyn Fn(&Cost) -> f64| median(boots.iter().map(f).collect());
    let (seconds, instructions) = (of(&|c| c.seconds), of(&|c| c.instructions));
    let g = |c: &Cost, key: &str| c.ended.result["guests"]["g"][key].as_f64().unwrap_or(0.0);
    println!(
        "| {arch} | start to power-off | {:.0} | {seconds:.2} | {:.0} |",
        instructions / 1e6,
        instructions / seconds / 1e6
    );
    let stock: Vec<Cost> = (0..runs).map(|_| cost(arch, STOCK, "true")).collect();
    let n = median(stock.iter().map(|c| c.instructions).collect());
    let s = median(stock.iter().map(|c| c.seconds).collect());
    println!(
        "| {arch} | the same, and the kernel's crypto tests | {:.0} | {s:.2} | {:.0} |",
        n / 1e6,
        n / s / 1e6
    );
    println!(
        "| {arch} | kernel entry to agent ready, wall | | {:.2} | |",
        of(&|c| g(c, "boot_ms")) / 1e3
    );
    println!(
        "| {arch} | guest memory touched, MiB | {:.0} | | |",
        of(&|c| g(c, "rss_kib")) / 1024.0
    );
    for (name, command) in WORK {
        let costs: Vec<Cost> = (0..runs).map(|_| cost(arch, "", command)).collect();
        let s = median(costs.iter().map(|c| c.seconds).collect()) - seconds;
        let n = median(costs.iter().map(|c| c.instructions).collect()) - instructions;
        println!(
            "| {arch} | {name} | {:.0} | {s:.2} | {:.0} |",
            n / 1e6,
            n / s / 1e6
        );
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pair_only = words.iter().any(|word| word == "pair");
    let guest_only = words.iter().any(|word| word == "guest");
    let runs = words.iter().find_map(|n| n.parse().ok()).unwrap_or(3);
    // Built before anything is measured.
    ci::vmm();
    if guest_only {
        guest::boots(runs);
        return guest::beside_qemu(runs);
    }
    if !pair_only {
        println!("| guest | work | M instructions | CPU s | M instr/s |\n|---|---|---|---|---|");
        for arch in ["aarch64", "x86_64"] {
            one_guest(arch, runs);
        }
    }
    pair::beside_qemu(runs);
    pair::costs();
}
