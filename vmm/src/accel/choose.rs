//! Which accelerator a guest gets, and why.

use super::probe::KvmState;
use crate::topology::{Accel, Arch, TimeMode};

/// What runs a guest's vCPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's KVM.
    Kvm,
    /// The emulator of the `cpu` crate.
    Emulated,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Emulated => "emulated",
        })
    }
}

/// What a guest asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// `accel` of the topology.
    pub accel: Accel,
    /// The guest's instruction set.
    pub arch: Arch,
    /// Time of the run.
    pub time: TimeMode,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// `accel: kvm` takes a KVM that interprets.
    pub insist: bool,
}

/// An accelerator with the reason, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What was chosen.
    pub accelerator: Accelerator,
    /// Why: half a sentence.
    pub why: String,
}

/// A guest that cannot run as it wishes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// KVM cannot be used at all.
    #[error("accel: kvm is not possible here: KVM is {state}; {advice}, or use 'accel: emulated'")]
    NoKvm {
        /// What the probe found.
        state: String,
        /// What to do.
        advice: String,
    },
    /// KVM would crawl.
    #[error(
        "accel: kvm is refused: KVM is {0}, which is slower than 'accel: emulated' and fails at instructions that it lacks; \
         use 'accel: auto', or insist with --insist-kvm"
    )]
    Interpreted(String),
    /// Several vCPUs without KVM.
    #[error("{vcpus} processors need KVM, and KVM is {state}; write 'vcpus: 1'")]
    Vcpus {
        /// What the guest wants.
        vcpus: u32,
        /// What the probe found, or why KVM is no choice.
        state: String,
    },
}

/// Chooses for one guest; `kvm` probes the host's KVM when it matters.
pub fn choose(wish: Wish, kvm: impl FnOnce() -> KvmState) -> Result<Choice, ChoiceError> {
    let emulated = |why: String| {
        if wish.vcpus > 1 {
            return Err(ChoiceError::Vcpus {
                vcpus: wish.vcpus,
                state: why,
            });
        }
        Ok(Choice {
            accelerator: Accelerator::Emulated,
            why,
        })
    };
    match wish.accel {
        Accel::Emulated => emulated("not asked for".to_owned()).map(|c| Choice {
            why: "as asked for".into(),
            ..c
        }),
        Accel::Kvm => {
            let state = kvm();
            let why = format!("as asked for; KVM is {state}");
            match state {
                KvmState::Native { .. } => Ok(Choice {
                    accelerator: Accelerator::Kvm,
                    why,
                }),
                KvmState::Interpreted(_) if wish.insist => Ok(Choice {
                    accelerator: Accelerator::Kvm,
                    why,
                }),
                KvmState::Interpreted(_) => Err(ChoiceError::Interpreted(state.to_string())),
                _ => Err(ChoiceError::NoKvm {
                    advice: state.advice().unwrap_or_default(),
                    state: state.to_string(),
                }),
            }
        }
        Accel::Auto if wish.time == TimeMode::Lockstep => {
            emulated("not for lockstep, which needs virtual time".to_owned())
        }
        Accel::Auto if wish.arch.name() != std::env::consts::ARCH || wish.arch != Arch::X86_64 => {
            emulated(format!(
                "not for {} guests on this machine",
                wish.arch.name()
            ))
        }
        Accel::Auto => match kvm() {
            state @ KvmState::Native { .. } => Ok(Choice {
                accelerator: Accelerator::Kvm,
                why: format!("KVM is {state}"),
            }),
            state => emulated(state.to_string()).map(|c| Choice {
                why: format!("KVM is {state}"),
                ..c
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::probe::Proof;
    use std::time::Duration;

    fn wish(accel: Accel) -> Wish {
        Wish {
            accel,
            arch: Arch::X86_64,
            time: TimeMode::Free,
            vcpus: 1,
            insist: false,
        }
    }
    fn native() -> KvmState {
        KvmState::Native {
            took: Duration::from_millis(2),
        }
    }
    fn interpreted() -> KvmState {
        KvmState::Interpreted(Proof::Slow(Duration::from_millis(137)))
    }
    fn never() -> KvmState {
        panic!("KVM does not matter here")
    }
    fn is(choice: Result<Choice, ChoiceError>) -> Accelerator {
        choice.unwrap().accelerator
    }

    #[test]
    fn auto_follows_the_probe() {
        assert_eq!(is(choose(wish(Accel::Auto), native)), Accelerator::Kvm);
        for state in [
            interpreted(),
            KvmState::Absent,
            KvmState::NoPermission,
            KvmState::Broken("no".into()),
        ] {
            assert_eq!(
                is(choose(wish(Accel::Auto), || state)),
                Accelerator::Emulated
            );
        }
        assert_eq!(
            is(choose(
                Wish {
                    time: TimeMode::Lockstep,
                    ..wish(Accel::Auto)
                },
                never
            )),
            Accelerator::Emulated
        );
        assert_eq!(
            is(choose(
                Wish {
                    arch: Arch::Aarch64,
                    ..wish(Accel::Auto)
                },
                never
            )),
            Accelerator::Emulated
        );
        assert_eq!(
            is(choose(wish(Accel::Emulated), never)),
            Accelerator::Emulated
        );
    }

    #[test]
    fn an_interpreting_kvm_is_refused_unless_somebody_insists() {
        let error = choose(wish(Accel::Kvm), interpreted)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("137.0 ms") && error.contains("--insist-kvm"),
            "{error}"
        );
        assert_eq!(
            is(choose(
                Wish {
                    insist: true,
                    ..wish(Accel::Kvm)
                },
                interpreted
            )),
            Accelerator::Kvm
        );
        assert_eq!(is(choose(wish(Accel::Kvm), native)), Accelerator::Kvm);
        let absent = choose(
            Wish {
                insist: true,
                ..wish(Accel::Kvm)
            },
            || KvmState::NoPermission,
        );
        assert!(absent.unwrap_err().to_string().contains("usermod -aG kvm"));
    }

    #[test]
    fn several_processors_need_kvm() {
        let two = |accel| Wish {
            vcpus: 2,
            ..wish(accel)
        };
        assert_eq!(is(choose(two(Accel::Auto), native)), Accelerator::Kvm);
        assert!(matches!(
            choose(two(Accel::Auto), interpreted),
            Err(ChoiceError::Vcpus { vcpus: 2, .. })
        ));
    }
}
