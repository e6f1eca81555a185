//! Guest kernels and initramfs images built from Debian packages, and the
//! channel by which the monitor runs commands in a guest.
//!
//! [`Cache::ensure`] gives the kernel and initrd of an [`ImageSpec`]; the
//! files of one run ([`GuestSetup`], [`OverlayEntry`]) go into a second
//! archive behind the initrd ([`overlay_cpio`]). [`kernel`] reads kernels of
//! the user's own. [`agent`] is the monitor's end of the command channel.

pub mod agent;
pub mod apt;
mod arch;
mod build;
mod cache;
pub mod cpio;
pub mod deb;
pub mod decompress;
mod elf;
mod error;
mod hash;
pub mod kernel;
mod kernel_package;
pub mod modules;
mod overlay;
mod progress;
mod rootfs;
mod spec;
mod tree;

pub use arch::Arch;
pub use cache::{Cache, Listed, Manifest};
pub use deb::read_deb;
pub use error::{Error, Result};
pub use kernel::{KernelForm, KernelImage, KernelKind, detect_kernel, load_kernel, unpack_bzimage};
pub use overlay::{GuestNic, GuestSetup, OverlayEntry, OverlayKind, overlay_cpio};
pub use progress::{Bars, DownloadState, Progress, Silent};
pub use spec::{Image, ImageSpec};
