//! What is known of a vCPU that could not go on.

use crate::accel::CrashReport;
use crate::machine::Ending;
use crate::run::Finished;
use std::fmt::Write;
use std::path::Path;

/// Prints the reports of crashed guests and writes them to `crash-GUEST.txt`.
pub(super) fn show(finished: &[Finished], out: &Path) {
    for guest in finished {
        if let Some(Ending::Crash(report)) = &guest.ending {
            let text = text(report);
            let path = out.join(format!("crash-{}.txt", guest.name));
            eprint!("guest '{}': {text}", guest.name);
            if let Err(error) = std::fs::write(&path, text) {
                eprintln!("cannot write {}: {error}", path.display());
            }
        }
    }
}

fn text(report: &CrashReport) -> String {
    let mut text = format!("{}\n{}", report.reason, report.registers);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("code at the program counter:");
    if report.code.is_empty() {
        text.push_str(" cannot be read");
    }
    for byte in &report.code {
        // Writing to a string cannot fail.
        let _ = write!(text, " {byte:02x}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_registers_and_code() {
        let mut report = CrashReport {
            reason: "triple fault".into(),
            registers: "rip 8005".into(),
            code: vec![0x0f, 0x0b],
        };
        assert_eq!(
            text(&report),
            "triple fault\nrip 8005\ncode at the program counter: 0f 0b\n"
        );
        report.code.clear();
        assert!(text(&report).ends_with("cannot be read\n"));
    }
}
