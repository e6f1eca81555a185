//! The in-guest set beside QEMU: `ci/guest/set.rs` in one guest at a time, this
//! monitor and QEMU in turns, and on the bare machine.

#![allow(clippy::disallowed_methods)] // It measures host time.

use super::{STOCK, cost, median, spread};
use ci::Run;
use ci::qemu::QemuGuest;
use guest_images::{Arch, OverlayEntry};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

/// Names in the order of the program, and milliseconds.
type Times = Vec<(String, f64)>;

fn times(output: &str) -> Times {
    let line = |line: &str| {
        let (name, ns) = line.split_once('\t')?;
        Some((name.to_owned(), ns.trim().parse::<f64>().ok()? / 1e6))
    };
    output.lines().filter_map(line).collect()
}

fn ours(arch: Arch, program: &[u8]) -> Times {
    let yaml = format!(
        "guests:\n  g: {{ arch: {}, files: [{{ from: ./set, to: /x/set, mode: 755 }}] }}\n\
         checks:\n  - run: {{ guest: g, command: /x/set 3, timeout: 300s }}\n",
        arch.name()
    );
    let ended = Run::new(&yaml).file("set", program).end().expect(0);
    let rows = ended.rows("run");
    times(
        rows.first()
            .map_or("", |row| row["output"].as_str().unwrap_or("")),
    )
}

fn theirs(arch: Arch, program: &[u8]) -> Result<Times, Box<dyn std::error::Error>> {
    let file = OverlayEntry::file("/x/set", 0o755, program.to_vec());
    let mut guest = QemuGuest::start(arch, "", &[file])?;
    Ok(times(&guest.run("/x/set 3")?))
}

/// Adds a run to a column.
fn add(column: &mut BTreeMap<String, Vec<f64>>, times: Times) -> Vec<String> {
    let mut names = Vec::new();
    for (name, ms) in times {
        column.entry(name.clone()).or_default().push(ms);
        names.push(name);
    }
    names
}

fn cell(values: Option<&Vec<f64>>) -> (f64, String) {
    let values = values.cloned().unwrap_or_default();
    (median(values.clone()), spread(values, 1))
}

/// Boots, wall and CPU time: of this monitor from its start until the guest has
/// powered off, of QEMU from its start until the guest's agent has answered.
pub fn boots(runs: usize) {
    println!("| guest | boot | vmm, wall s | QEMU TCG, wall s | vmm, CPU s | QEMU TCG, CPU s |");
    println!("|---|---|---|---|---|---|");
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for (words, kind) in [("", "without crypto tests"), (STOCK, "with crypto tests")] {
            let mut columns: [Vec<f64>; 4] = Default::default();
            for _ in 0..runs {
                let started = Instant::now();
                columns[2].push(cost(arch.name(), words, "true").seconds);
                columns[0].push(started.elapsed().as_secs_f64());
                let started = Instant::now();
                let theirs = QemuGuest::start(arch, words, &[]).and_then(|mut guest| {
                    guest.run("true")?;
                    Ok((started.elapsed().as_secs_f64(), guest.cpu_seconds()))
                });
                match theirs {
                    Ok((wall, cpu)) => {
                        columns[1].push(wall);
                        columns[3].extend(cpu);
                    }
                    Err(error) => eprintln!("SKIP: QEMU: {error}"),
                }
            }
            let cells = columns.map(|column| spread(column, 2));
            println!("| {} | {kind} | {} |", arch.name(), cells.join(" | "));
        }
    }
    println!();
}

/// The rows of both instruction sets: medians of `runs` runs, each of which
/// tells the fastest of three.
pub fn beside_qemu(runs: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!(
        "| guest | work | native x86-64, ms | vmm, ms | QEMU TCG, ms | vmm to native | QEMU to native |\n\
         |---|---|---|---|---|---|---|"
    );
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let build = |arch: Arch| ci::program("set", arch.name(), &dir.path().join(arch.name()));
        let (Some(program), Some(_)) = (build(arch), build(Arch::X86_64)) else {
            continue;
        };
        let mut columns: [BTreeMap<String, Vec<f64>>; 3] = Default::default();
        let mut names = Vec::new();
        for _ in 0..runs {
            let native = Command::new(dir.path().join("x86_64")).arg("3").output();
            if let Ok(output) = native {
                add(
                    &mut columns[0],
                    times(&String::from_utf8_lossy(&output.stdout)),
                );
            }
            names = add(&mut columns[1], ours(arch, &program));
            match theirs(arch, &program) {
                Ok(times) => {
                    add(&mut columns[2], times);
                }
                Err(error) => eprintln!("SKIP: QEMU: {error}"),
            }
        }
        let mut product = (0.0, 0.0);
        for name in &names {
            let [native, vmm, qemu] = columns.each_ref().map(|column| cell(column.get(name)));
            println!(
                "| {} | {name} | {:.2} | {} | {} | {:.1} | {:.1} |",
                arch.name(),
                native.0,
                vmm.1,
                qemu.1,
                vmm.0 / native.0,
                qemu.0 / native.0
            );
            product.0 += (vmm.0 / native.0).ln();
            product.1 += (qemu.0 / native.0).ln();
        }
        let mean = |sum: f64| (sum / names.len() as f64).exp();
        println!(
            "| {} | geometric mean | | | | {:.1} | {:.1} |",
            arch.name(),
            mean(product.0),
            mean(product.1)
        );
    }
}
