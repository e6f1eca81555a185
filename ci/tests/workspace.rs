//! The rules of the workspace that no compiler checks.

#![allow(clippy::unwrap_used)] // A test may fail.

use serde_json::Value;
use std::process::Command;

/// Which workspace crates each crate may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("bus", &[]),
    ("cpu", &["bus"]),
    ("fpga-sim", &["bus"]),
    ("devices", &["bus", "fpga-sim"]),
    ("guest-images", &[]),
    (
        "vmm",
        &["bus", "cpu", "fpga-sim", "devices", "guest-images"],
    ),
    (
        "fuzz",
        &["bus", "cpu", "fpga-sim", "devices", "guest-images", "vmm"],
    ),
    ("vnet-agent", &["fpga-sim"]),
    ("ci", &["guest-images"]),
];

#[test]
fn dependencies_run_one_way() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(ci::root())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: Vec<&str> = packages
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        ALLOWED.len(),
        "a crate is missing from the table: {names:?}"
    );
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = ALLOWED
            .iter()
            .find(|(n, _)| *n == name)
            .unwrap_or_else(|| panic!("{name} is not in the table"))
            .1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            assert!(
                !names.contains(&to) || allowed.contains(&to),
                "{name} must not depend on {to}"
            );
        }
    }
}

#[test]
fn only_one_file_names_concrete_network_devices() {
    // Adding a device is one folder and one match arm.
    let src = ci::root().join("vmm/src");
    let mut found = Vec::new();
    let mut folders = vec![src];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path)
                .unwrap_or_default()
                .contains("VirtioPci::new")
            {
                found.push(path.file_name().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found, ["build.rs"]);
}
