//! Boots of each machine alone: what must work, and what must fail well.

#![allow(clippy::unwrap_used)] // A test may fail.
#![allow(unsafe_code)] // A signal is sent to a child.

use ci::Run;

const ARCHES: [&str; 2] = ["aarch64", "x86_64"];

fn one(arch: &str, extra: &str, checks: &str) -> Run {
    Run::new(&format!(
        "guests:\n  g:\n    arch: {arch}\n{extra}checks:\n{checks}"
    ))
}

fn uname(arch: &str) -> String {
    format!(
        "  - run: {{ guest: g, command: 'uname -m; cat /proc/cpuinfo', expect_output: '{arch}' }}\n"
    )
}

#[test]
fn board_yaml_passes_free_and_lockstep() {
    for mode in ["free", "lockstep"] {
        let ended = Run::of("board.yaml")
            .arg("--time")
            .arg(mode)
            .end()
            .expect(0);
        let board = &ended.result["guests"]["board"];
        assert_eq!(board["arch"], "aarch64");
        assert_eq!(board["accel"], "emulated");
        assert!(board["boot_ms"].as_f64().unwrap() > 1.0);
        assert!(board["instructions"].as_u64().unwrap() > 100_000_000);
        let rss = board["rss_kib"].as_u64().unwrap();
        assert!((20_000..256 * 1024).contains(&rss), "{rss} KiB");
        assert!(ended.read("junit.xml").contains("<testsuite"));
        assert!(ended.read("console-board.log").contains("Linux version"));
    }
}

#[test]
fn host_yaml_passes_free_and_lockstep() {
    for mode in ["free", "lockstep"] {
        Run::of("host.yaml")
            .arg("--accel")
            .arg("emulated")
            .arg("--time")
            .arg(mode)
            .end()
            .expect(0);
    }
}

#[test]
fn lockstep_repeats_bit_for_bit() {
    for arch in ARCHES {
        let hash = |seed: &str| {
            let run = one(arch, "", &uname(arch))
                .arg("--time")
                .arg("lockstep")
                .arg("--seed")
                .arg(seed);
            let ended = run.end().expect(0);
            let hash = ended.result["trace_hash"].as_str().unwrap().to_owned();
            (
                hash,
                ended.result["guests"]["g"]["instructions"]
                    .as_u64()
                    .unwrap(),
            )
        };
        let first = hash("1");
        assert_eq!(first, hash("1"), "{arch}");
        assert_ne!(first.0, hash("2").0, "{arch}: another seed, another run");
    }
}

#[test]
fn what_is_no_kernel_is_named() {
    for arch in ARCHES {
        let image = "    image: { kernel: ./kernel }\n";
        let ended = one(arch, image, &uname(arch))
            .file("kernel", b"#!/bin/sh\necho hello\n")
            .end()
            .expect(3);
        assert!(
            ended.err.contains("kernel") && ended.err.contains("guest 'g'"),
            "{}",
            ended.err
        );
        let ended = one(arch, "    image: { kernel: ./nowhere }\n", &uname(arch))
            .end()
            .expect(3);
        assert!(ended.err.contains("nowhere"), "{}", ended.err);
    }
}

#[test]
fn a_truncated_initrd_is_a_failed_boot() {
    for arch in ARCHES {
        // A cpio header that promises more than there is, then nothing.
        let mut cpio = b"070701".to_vec();
        cpio.extend_from_slice(b"0000000100008180000000000000000000000001000000000000ffff");
        let image = "    image: { initrd: ./initrd }\n    boot_timeout: 20s\n";
        let ended = one(arch, image, &uname(arch))
            .file("initrd", &cpio)
            .end()
            .expect(3);
        assert!(ended.err.contains("guest 'g'"), "{}", ended.err);
        assert!(
            ended.err.contains("console-g.log"),
            "the log is named: {}",
            ended.err
        );
    }
}

#[test]
fn memory_sizes() {
    for arch in ARCHES {
        let ended = one(arch, "    memory: 64M\n", &uname(arch)).end().expect(2);
        assert!(ended.err.contains("memory"), "{}", ended.err);
        let least = if arch == "aarch64" { "192M" } else { "128M" };
        one(arch, &format!("    memory: {least}\n"), &uname(arch))
            .end()
            .expect(0);
        let check = "  - run: { guest: g, command: \"awk '/MemTotal/ { exit !($2 > 3800000) }' /proc/meminfo\" }\n";
        one(arch, "    memory: 4G\n", check).end().expect(0);
    }
}

#[test]
fn a_crash_is_reported_with_the_end_of_the_log() {
    for arch in ARCHES {
        let check = "  - run: { guest: g, command: 'echo c > /proc/sysrq-trigger' }\n";
        let ended = one(arch, "", check).end().expect(3);
        assert!(ended.err.contains("crashed or rebooted"), "{}", ended.err);
        assert!(ended.err.contains("the last lines of"), "{}", ended.err);
        assert!(ended.err.contains("  [ "), "kernel messages: {}", ended.err);
        assert!(ended.read("console-g.log").contains("sysrq"));
        assert_eq!(ended.result["passed"], false);
    }
}

#[test]
fn a_command_that_hangs_is_stopped() {
    for arch in ARCHES {
        let checks = "  - run: { guest: g, command: 'echo before; while :; do :; done', timeout: 2s }\n  - run: { guest: g, command: 'echo after', expect_output: after }\n";
        let ended = one(arch, "", checks).end().expect(1);
        let rows = ended.result["checks"].as_array().unwrap();
        assert_eq!(rows[0]["passed"], false);
        assert!(
            rows[0]["error"].as_str().unwrap().contains("2s"),
            "{}",
            rows[0]
        );
        assert!(
            rows[0]["output"].as_str().unwrap().contains("before"),
            "{}",
            rows[0]
        );
        assert_eq!(rows[1]["passed"], true, "the agent goes on");
    }
}

#[test]
fn ctrl_c_shuts_down_and_writes_results() {
    let check = "  - run: { guest: g, command: 'echo started > /dev/console; sleep 1000', timeout: 1100s }\n";
    let run = one("aarch64", "", check).start();
    assert!(run.wait_for("g", "started"));
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(run.pid() as i32, libc::SIGINT) };
    let ended = run.end();
    assert_ne!(ended.code, 0);
    assert_eq!(ended.result["passed"], false, "{}", ended.err);
    assert!(
        ended.read("console-g.log").contains("Power down")
            || ended.read("console-g.log").contains("reboot"),
        "a clean end"
    );
}

#[test]
fn full_debian_kernels_boot() {
    for (arch, package) in [
        ("aarch64", "linux-image-arm64"),
        ("x86_64", "linux-image-amd64"),
    ] {
        let image = format!("    memory: 512M\n    image: {{ package: {package} }}\n");
        let check = "  - run: { guest: g, command: 'uname -r | grep -v cloud' }\n";
        one(arch, &image, check).end().expect(0);
    }
}
