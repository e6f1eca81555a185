//! The KVM accelerator: virtual machines of the host's kernel.
//!
//! | file | idea |
//! |---|---|
//! | `vm` | a VM, its memory slots and dirty log |
//! | `cpuid` | what a guest sees of the processor |
//! | `boot` | the state in which a 64-bit kernel is entered |
//! | `vcpu` | running, exits as data, crash reports |
//! | `kick` | bringing a vCPU back from guest code |
//! | `doorbells` | queue notifications by ioeventfd |
//! | `irq` | pins of the I/O APIC and message-signalled interrupts |

mod boot;
mod cpuid;
mod doorbells;
mod irq;
mod kick;
#[cfg(test)]
mod tests;
mod vcpu;
mod vm;

pub use boot::BootState;
pub use doorbells::KvmDoorbells;
pub use irq::KvmIrqs;
pub use kick::Kicker;
pub use vcpu::KvmVcpu;
pub use vm::KvmVm;

use kvm_ioctls::Error as Errno;

/// KVM did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// `/dev/kvm` cannot be opened.
    #[error("cannot open /dev/kvm: {0}")]
    Open(Errno),
    /// Not the stable API.
    #[error("/dev/kvm speaks API version {0}; 12 is needed")]
    Version(i32),
    /// A capability is missing.
    #[error("this KVM has no {0}; a newer kernel has it")]
    Capability(&'static str),
    /// A call failed.
    #[error("KVM: cannot {what}: {why}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        why: Errno,
    },
}

impl KvmError {
    /// For `map_err` behind a call.
    fn call(what: &'static str) -> impl Fn(Errno) -> Self {
        move |why| Self::Call { what, why }
    }
}
