//! The same long-mode payloads on the emulated CPU and under KVM: both must
//! report the same, word for word.
//!
//! Without a native KVM the payloads run emulated, to their end, and the
//! comparison says SKIP; `ci/kvm-stage` runs this where there is one.

// A payload that cannot be built is a broken test.
#![allow(clippy::unwrap_used)]

mod machine;
mod payloads;

use machine::{emulated, kvm};
use payloads::{PAYLOADS, Payload};
use vmm::accel::probe;

/// Whether KVM had a say, or what differs.
fn check(payload: &Payload) -> Result<bool, String> {
    let emulated = emulated(payload.code);
    let known = payload
        .expected
        .iter()
        .all(|(index, word)| emulated.get(*index).is_some_and(|w| w == word));
    if !known || emulated.last().map(String::as_str) != Some("end") {
        return Err(format!(
            "{}: expected {:?}, emulated {emulated:?}",
            payload.name, payload.expected
        ));
    }
    if !probe::kvm().is_native() {
        return Ok(false);
    }
    if let (Some(what), true) = (payload.not_on_tcg, on_tcg()) {
        println!("SKIP: {}: the processor of qemu's TCG {what}", payload.name);
        return Ok(false);
    }
    let kvm = kvm(payload.code);
    if kvm != emulated {
        return Err(format!(
            "{}:\n  emulated {emulated:?}\n  KVM      {kvm:?}",
            payload.name
        ));
    }
    Ok(true)
}

/// Whether this machine's processor is itself emulated by qemu.
fn on_tcg() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.contains("QEMU TCG")
}

#[test]
fn payloads_report_the_same() {
    let results: Vec<_> = PAYLOADS.iter().map(check).collect();
    let wrong: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err().cloned())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if probe::kvm().is_native() {
        let compared = results.iter().filter(|result| **result == Ok(true)).count();
        println!("{compared} payloads report the same on both");
    } else {
        println!(
            "SKIP: no native KVM to compare with: KVM is {}",
            probe::kvm()
        );
    }
}
