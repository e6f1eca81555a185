//! The two guest architectures and what Debian calls them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Architecture of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit ARM, little endian.
    #[serde(alias = "arm64")]
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64", alias = "amd64")]
    X86_64,
}

impl Arch {
    /// Debian's name of the architecture.
    pub fn debian(self) -> &'static str {
        match self {
            Arch::Aarch64 => "arm64",
            Arch::X86_64 => "amd64",
        }
    }

    /// The kernel's name, as `uname -m` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Aarch64 => "aarch64",
            Arch::X86_64 => "x86_64",
        }
    }

    /// Directory name of Debian's multiarch library paths.
    pub fn multiarch(self) -> &'static str {
        match self {
            Arch::Aarch64 => "aarch64-linux-gnu",
            Arch::X86_64 => "x86_64-linux-gnu",
        }
    }

    /// Kernel package of the default image.
    pub fn default_kernel_package(self) -> &'static str {
        match self {
            Arch::Aarch64 => "linux-image-cloud-arm64",
            Arch::X86_64 => "linux-image-cloud-amd64",
        }
    }

    /// `e_machine` of an ELF file for this architecture (ELF gABI).
    pub fn elf_machine(self) -> u16 {
        match self {
            Arch::Aarch64 => 183,
            Arch::X86_64 => 62,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "aarch64" | "arm64" => Ok(Arch::Aarch64),
            "x86_64" | "amd64" | "x86-64" => Ok(Arch::X86_64),
            other => Err(format!(
                "unknown architecture {other:?}: use aarch64 or x86_64"
            )),
        }
    }
}
