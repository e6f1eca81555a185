//! What a user asks for, and what comes back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Arch;
use crate::cache::{Manifest, recipe_hash};
use crate::kernel_package::DEFAULT_MODULES;
use crate::rootfs;

/// Changes when the layout of images changes.
const FORMAT: &str = "4";

/// An image to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Architecture of the guest.
    pub arch: Arch,
    /// Debian packages beside the base, with their dependencies; `name` or
    /// `name=version`.
    pub packages: Vec<String>,
    /// Kernel package, real or meta; default: Debian's cloud kernel.
    pub kernel_package: Option<String>,
    /// Kernel modules beside the default set, with their dependencies.
    pub modules: Vec<String>,
}

impl ImageSpec {
    /// The default image of an architecture.
    pub fn new(arch: Arch) -> ImageSpec {
        ImageSpec {
            arch,
            packages: Vec::new(),
            kernel_package: None,
            modules: Vec::new(),
        }
    }

    /// Kernel package, given or default.
    pub fn kernel_package(&self) -> &str {
        self.kernel_package
            .as_deref()
            .unwrap_or(self.arch.default_kernel_package())
    }

    /// Modules to load on demand or at boot, default set first.
    pub(crate) fn wanted_modules(&self) -> Vec<String> {
        let mut wanted: Vec<String> = DEFAULT_MODULES.map(String::from).to_vec();
        wanted.extend(self.sorted_modules());
        wanted
    }

    fn sorted_modules(&self) -> Vec<String> {
        let mut modules = self.modules.clone();
        modules.sort();
        modules.dedup();
        modules
    }

    /// Packages in a fixed order.
    pub(crate) fn sorted_packages(&self) -> Vec<String> {
        let mut packages = self.packages.clone();
        packages.sort();
        packages.dedup();
        packages
    }

    /// Name of the recipe: same for equal specs built by equal code.
    pub(crate) fn recipe(&self) -> String {
        recipe_hash(&[
            FORMAT,
            &rootfs::fingerprint(),
            self.arch.name(),
            self.kernel_package(),
            &self.sorted_packages().join(" "),
            &self.wanted_modules().join(" "),
        ])
    }
}

/// A built image in the cache.
#[derive(Clone, Debug)]
pub struct Image {
    /// Plain kernel: arm64 `Image`, or x86 ELF `vmlinux`.
    pub kernel: PathBuf,
    /// The kernel as its package ships it.
    pub vmlinuz: PathBuf,
    /// Uncompressed cpio; an overlay may be appended.
    pub initrd: PathBuf,
    /// `uname -r` and package version of the kernel.
    pub version: String,
    /// Modules in the initrd, in load order.
    pub modules: Vec<String>,
    /// All that is known of it.
    pub manifest: Manifest,
}
