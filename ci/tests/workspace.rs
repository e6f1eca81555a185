//! The rules of the workspace that no compiler checks.

#![allow(clippy::unwrap_used)] // A test may fail.

use serde_json::Value;
use std::path::PathBuf;
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

/// All files in `folder` and below.
fn files_below(folder: PathBuf) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn only_one_file_names_concrete_network_devices() {
    // Adding a device is one folder and one match arm.
    let names = |path: &PathBuf| {
        let code = std::fs::read_to_string(path).unwrap_or_default();
        code.contains("VirtioPci::new")
    };
    let mut found = files_below(ci::root().join("vmm/src"));
    found.retain(names);
    let found: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(found, ["build.rs"]);
}

/// Documents name the tests that show what they say, as `FILE.rs: NAME`.
#[test]
fn tests_that_documents_name_exist() {
    let crates = ALLOWED.iter().map(|(name, _)| ci::root().join(name));
    let files: Vec<PathBuf> = crates.flat_map(files_below).collect();
    let mut named = 0;
    for entry in std::fs::read_dir(ci::root().join("docs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for (file, test) in text.split('`').filter_map(|part| part.split_once(".rs: ")) {
            let file = format!("{file}.rs");
            let function = format!("fn {test}(");
            let has = |path: &&PathBuf| {
                path.ends_with(&file)
                    && std::fs::read_to_string(path).is_ok_and(|code| code.contains(&function))
            };
            assert!(files.iter().any(|path| has(&path)), "{file}: {test}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
