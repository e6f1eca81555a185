//! Everything that can go wrong while an image is built, with what to do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cpio::CpioError;
use crate::deb::DebError;
use crate::kernel::KernelError;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image could not be built or opened.
#[derive(Debug, Error)]
pub enum Error {
    /// The apt client is not there.
    #[error(
        "cannot run {program}: {source}. Guest images come from Debian packages: install apt, \
         or give a kernel and an initrd of your own with `image: {{ kernel, initrd }}`"
    )]
    NoApt {
        /// The program.
        program: &'static str,
        /// Why it did not start.
        source: io::Error,
    },
    /// The package servers cannot be reached.
    #[error(
        "cannot reach the package servers for {arch} packages: {detail}. Check the network and \
         apt's sources and proxy settings (`apt-get update` must work), then try again; an image \
         that was built once needs no network"
    )]
    Network {
        /// Debian architecture.
        arch: &'static str,
        /// apt's own words.
        detail: String,
    },
    /// A package that apt does not know.
    #[error(
        "no package {name:?} for {arch} in this machine's apt sources{}",
        near_names(.near)
    )]
    PackageNotFound {
        /// As it was asked for.
        name: String,
        /// Debian architecture.
        arch: &'static str,
        /// Names that are spelled nearly so.
        near: Vec<String>,
    },
    /// A name that no package can have.
    #[error(
        "bad package name {name:?}: lower case letters, digits, \"+\", \"-\" and \".\" only, \
         optionally followed by =VERSION"
    )]
    BadPackageName {
        /// As it was asked for.
        name: String,
    },
    /// The packages cannot be installed together.
    #[error("apt cannot resolve the packages {packages:?} for {arch}: {detail}")]
    Unsolvable {
        /// What was asked for.
        packages: Vec<String>,
        /// Debian architecture.
        arch: &'static str,
        /// apt's own words.
        detail: String,
    },
    /// Another failure of apt.
    #[error("{command} failed ({status}): {detail}")]
    Apt {
        /// The command without its configuration.
        command: String,
        /// Exit status.
        status: String,
        /// apt's own words.
        detail: String,
    },
    /// The disk is full.
    #[error(
        "no space left on the disk of {path}: free some, or point XDG_CACHE_HOME at another disk"
    )]
    DiskFull {
        /// Where the write failed.
        path: PathBuf,
    },
    /// A downloaded file is not what the package index says.
    #[error(
        "checksum mismatch: {what} (expected {expected}, found {found}). The file was removed; \
         try again, and if it stays, a proxy or mirror on the way is damaged"
    )]
    Checksum {
        /// The file.
        what: String,
        /// SHA-256 or other wanted value.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A package that cannot be read.
    #[error("package {package}: {source}")]
    Deb {
        /// File name of the package.
        package: String,
        /// The defect.
        source: DebError,
    },
    /// A package without something that the image needs from it.
    #[error("package {package} has no {what}: {hint}")]
    Missing {
        /// Name of the package.
        package: String,
        /// What was looked for.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A kernel that cannot be used.
    #[error("{what}: {source}")]
    Kernel {
        /// Package or path.
        what: String,
        /// The defect.
        source: KernelError,
    },
    /// The archive cannot be written.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// There is no home for the cache.
    #[error("no place for the image cache: set XDG_CACHE_HOME or HOME")]
    NoCacheDir,
    /// A cache path that apt's configuration cannot hold.
    #[error("apt cannot work in {path:?}: set XDG_CACHE_HOME to a path without quotes")]
    BadCacheDir {
        /// The private apt root.
        path: PathBuf,
    },
    /// Another input or output error.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done ("cannot read", "cannot write", ...).
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl Error {
    /// Wraps an I/O error, telling a full disk apart.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { path },
            _ => Error::Io {
                action,
                path,
                source,
            },
        }
    }
}

fn near_names(near: &[String]) -> String {
    match near {
        [] => ". `apt-cache search WORD` finds packages".to_string(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}
