//! Code, assembled from `aarch64.s` and `x86_64.s`.

use super::Seeds;
use std::process::Command;

pub fn aarch64() -> Seeds {
    assembled(
        include_str!("aarch64.s"),
        &["aarch64-linux-gnu-as", "-march=armv8.5-a+fp16"],
        "aarch64-linux-gnu-objcopy",
        "",
    )
}

pub fn x86_64() -> Seeds {
    let start = ".intel_syntax noprefix\n";
    assembled(include_str!("x86_64.s"), &["as", "--64"], "objcopy", start)
}

/// One seed for each `//=` line: flags, patches, code.
fn assembled(source: &str, assembler: &[&str], objcopy: &str, start: &str) -> Seeds {
    let dir = tempfile::tempdir().unwrap();
    let [text, object, binary] = ["s.s", "s.o", "s.bin"].map(|name| dir.path().join(name));
    let mut seeds = Seeds::new();
    for part in source.split("\n//=").skip(1) {
        let (head, body) = part.split_once('\n').unwrap();
        let mut words = head.split_whitespace();
        let name = words.next().unwrap();
        let flags: u8 = words.next().unwrap().parse().unwrap();
        let mut patches = Vec::new();
        let mut count = 0;
        for patch in words {
            let (which, value) = patch.split_once(':').unwrap();
            patches.push(u8::from_str_radix(which, 16).unwrap());
            patches.extend(u64::from_str_radix(value, 16).unwrap().to_le_bytes());
            count += 1;
        }
        std::fs::write(&text, format!("{start}{body}\n")).unwrap();
        let run = |command: &mut Command| {
            assert!(command.status().unwrap().success(), "{name}");
        };
        run(Command::new(assembler[0])
            .args(&assembler[1..])
            .arg("-o")
            .args([&object, &text]));
        run(Command::new(objcopy)
            .args(["-O", "binary", "-j", ".text"])
            .args([&object, &binary]));
        let mut bytes = vec![flags, count];
        bytes.extend(patches);
        bytes.extend(std::fs::read(&binary).unwrap());
        seeds.push((name.to_owned(), bytes));
    }
    seeds
}
