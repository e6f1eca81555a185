//! Programs for guests: one file each in `ci/guest`, without crates.

use crate::root;
use std::path::Path;
use std::process::Command;

/// Compiles `ci/guest/NAME.rs` to a static executable at `to`; `None`, and a line
/// that says why, where the compiler or its musl target is missing.
pub fn program(name: &str, arch: &str, to: &Path) -> Option<Vec<u8>> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let target = format!("{arch}-unknown-linux-musl");
    let built = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Clinker=rust-lld", "-Clink-self-contained=yes"])
        .args(["--target", &target, "-o"])
        .arg(to)
        .arg(root().join(format!("ci/guest/{name}.rs")))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("SKIP: no {name} for {arch}: rustup target add {target}");
        return None;
    }
    std::fs::read(to).ok()
}
