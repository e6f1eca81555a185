//! Guests on compiled code: from the first entry of each block, and from the
//! default threshold on.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;

/// Nothing of a lockstep run depends on what is compiled, and when.
#[test]
fn lockstep_is_the_same_at_any_threshold() {
    let hashes = ["off", "1", "1000"].map(|threshold| {
        let run = Run::of("pair.yaml").arg("--time").arg("lockstep");
        let jit = format!("VMM_JIT={threshold}");
        let ended = run.under(&["env", &jit]).end().expect(0);
        ended.conserved();
        ended.result["trace_hash"].as_str().unwrap().to_owned()
    });
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// A thousand processes, modules that come and go, a program that rewrites
/// itself.
fn changes(arch: &str, threshold: &str) {
    let dir = tempfile::tempdir().unwrap();
    let Some(rewrite) = ci::program("rewrite", arch, &dir.path().join("rewrite")) else {
        return;
    };
    let yaml = format!(
        "guests:
  g: {{ arch: {arch}, files: [{{ from: ./rewrite, to: /x/rewrite, mode: 755 }}] }}
checks:
  - run: {{ guest: g, command: 'i=0; while [ $i -lt 1000 ]; do (exit 7) && exit 1; i=$((i + 1)); done; echo forked $i', expect_output: 'forked 1000', timeout: 300s }}
  - run: {{ guest: g, command: 'i=0; while [ $i -lt 25 ]; do modprobe tun && rmmod tun || exit 1; i=$((i + 1)); done; echo loaded $i', expect_output: 'loaded 25', timeout: 300s }}
  - run: {{ guest: g, command: '/x/rewrite 20000', expect_output: 'rewritten 20000 times', timeout: 300s }}
  - run: {{ guest: g, command: 'dmesg | grep -icE \"oops|BUG:|Call trace|unhandled\" || true', expect_output: '0' }}
"
    );
    let jit = format!("VMM_JIT={threshold}");
    let run = Run::new(&yaml).file("rewrite", &rewrite);
    let ended = run.under(&["env", &jit]).end().expect(0);
    assert_eq!(ended.rows("run").len(), 4);
}

#[test]
fn the_board_changes_its_code() {
    changes("aarch64", "1");
    changes("aarch64", "1000");
}

#[test]
fn the_host_changes_its_code() {
    changes("x86_64", "1");
    changes("x86_64", "1000");
}
