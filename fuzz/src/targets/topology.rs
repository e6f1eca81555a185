//! Topology YAML. Input: the text.

use super::Target;
use std::path::Path;
use vmm::topology::{LoadOptions, parse};

pub const TARGET: Target = Target {
    name: "topology",
    about: "topology YAML: reading, checking, showing",
    run,
    max_len: 8192,
    rounds: 80_000,
    words: &[
        b"guests:\n",
        b"cards:\n",
        b"checks:\n",
        b"  - ",
        b"nics: [",
        b"ping: {",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!str ",
        b"|\n  ",
        b"---\n",
        b"\t",
        b"memory: 256M",
        b"10.0.0.1/24",
        b"\"\\u0000\"",
    ],
};

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let options = LoadOptions {
        overrides: Vec::new(),
        machine_arch: "x86_64".into(),
    };
    let read = |text: &str| parse(text, "fuzz.yaml", Path::new("/base"), &options);
    match read(&text) {
        Ok(topology) => {
            let shown = topology.to_yaml();
            match read(&shown) {
                Ok(again) => assert_eq!(again.to_yaml(), shown),
                Err(error) => panic!("cannot be read again: {error}\n{shown}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
