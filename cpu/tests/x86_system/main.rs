//! Privileged behaviour of the x86-64 engine: small long-mode payloads whose
//! results are told by the Intel SDM (volume 3), section by section.

// A payload that cannot be built is a broken test.
#![allow(clippy::unwrap_used)]

mod apic;
mod exceptions;
mod machine;
mod paging;
#[cfg(feature = "jit")]
mod room;
mod run;
mod strings;
mod transfer;
