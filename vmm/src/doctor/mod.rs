//! `vmm doctor`: what this machine can do, what a run would use, and what to do
//! about the rest.
//!
//! Every part looks at one thing and changes nothing. All of the default pair
//! runs without any of the privileged ones.

mod host;
mod images;
mod network;
mod xdma;

use crate::accel::probe::{self, KvmState};
use std::fmt;
use std::io;
use std::path::Path;

/// How well something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is there.
    Good,
    /// It is not, and something else takes its place.
    Replaced,
    /// It is not, and some topologies cannot run.
    Missing,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How it stands.
    pub health: Health,
    /// What was found, with numbers where something was measured.
    pub found: String,
    /// What a run would use.
    pub used: String,
    /// What to do to have more; `None` when there is nothing to do.
    pub advice: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.health {
            Health::Good => "ok",
            Health::Replaced => "--",
            Health::Missing => "no",
        };
        writeln!(f, "{mark} {}: {}", self.what, self.found)?;
        writeln!(f, "     used:  {}", self.used)?;
        if let Some(advice) = &self.advice {
            writeln!(f, "     to do: {advice}")?;
        }
        Ok(())
    }
}

/// Looks at everything.
pub fn findings() -> Vec<Finding> {
    vec![
        kvm(probe::kvm()),
        network::tap(),
        network::vhost_net(),
        xdma::card(),
        images::packages(),
        images::cache(),
        host::memory(),
        host::processors(),
    ]
}

/// Prints what was found; the exit code of the command.
pub fn doctor() -> u8 {
    for finding in findings() {
        crate::app::say(&finding.to_string());
    }
    crate::app::exit::PASSED
}

fn kvm(state: &KvmState) -> Finding {
    let native = state.is_native();
    let used = if native {
        "x86-64 guests run under KVM, AArch64 guests emulated"
    } else {
        "all guests are emulated"
    };
    Finding {
        what: "KVM",
        health: if native {
            Health::Good
        } else {
            Health::Replaced
        },
        found: state.to_string(),
        used: used.to_owned(),
        advice: state.advice(),
    }
}

/// Whether a device node can be opened for reading and writing.
enum Node {
    Usable,
    Absent,
    Denied,
    Failed(io::Error),
}

fn open(path: impl AsRef<Path>) -> Node {
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
    {
        Ok(_) => Node::Usable,
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Node::Absent,
            Some(libc::EACCES | libc::EPERM) => Node::Denied,
            _ => Node::Failed(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::probe::Proof;
    use std::time::Duration;

    #[test]
    fn every_problem_comes_with_something_to_do() {
        for finding in findings() {
            let text = finding.to_string();
            assert!(
                !finding.found.is_empty() && !finding.used.is_empty(),
                "{text}"
            );
            assert!(
                finding.health != Health::Missing || finding.advice.is_some(),
                "{text}"
            );
            assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text:?}");
        }
    }

    #[test]
    fn kvm_states() {
        let native = kvm(&KvmState::Native {
            took: Duration::from_micros(1700),
        });
        assert!(
            native.to_string().starts_with("ok KVM: native (") && native.advice.is_none(),
            "{native}"
        );
        assert!(native.found.contains("1.7 ms"), "{native}");
        for (state, word) in [
            (KvmState::Absent, "absent"),
            (KvmState::NoPermission, "no permission (join group kvm)"),
            (
                KvmState::Interpreted(Proof::Sse(String::new())),
                "interpreted",
            ),
        ] {
            let finding = kvm(&state);
            assert!(finding.found.starts_with(word), "{finding}");
            assert!(
                finding.used.contains("emulated") && finding.advice.is_some(),
                "{finding}"
            );
        }
    }
}
