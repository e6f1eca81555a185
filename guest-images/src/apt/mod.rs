//! Debian packages through apt's own client and this machine's own apt
//! configuration (sources, keys, proxies), in a private apt root: foreign
//! architectures need neither root nor `dpkg --add-architecture`.

mod index;
mod near;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Arch;
use crate::error::{Error, Result};
use crate::hash::sha256_hex;
use crate::progress::{DownloadState, Progress};

pub use index::{Package, closure};
pub use near::nearest;

/// Seconds after which the package lists are fetched again before a build.
const STALE_AFTER: u64 = 24 * 3600;

/// A private apt root for one architecture.
#[derive(Debug)]
pub struct Apt {
    arch: Arch,
    dir: PathBuf,
}

impl Apt {
    /// Opens or creates the root in `dir`. The caller holds its lock.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(dir: &Path, arch: Arch) -> Result<Apt> {
        for sub in ["lists/partial", "archives/partial", "debs"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        }
        let dir = fs::canonicalize(dir).map_err(Error::io("cannot open", dir))?;
        let apt = Apt { arch, dir };
        if apt.dir.to_string_lossy().contains(['"', '\n', '\u{fffd}']) {
            return Err(Error::BadCacheDir { path: apt.dir });
        }
        apt.write("status", "")?;
        apt.write("apt.conf", &run::configuration(&apt.dir, arch))?;
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))
    }

    /// Fetches the package lists if there are none, if they are old, or if
    /// `force` is set. Returns whether they were fetched.
    ///
    /// # Errors
    /// No apt, no network, disk full.
    pub fn update(&self, force: bool, progress: &dyn Progress) -> Result<bool> {
        let stamp = self.dir.join("updated");
        // The age is told by the file system's own clock: the status file
        // has just been written.
        let time = |p: &Path| fs::metadata(p).and_then(|m| m.modified());
        let age = match (time(&stamp), time(&self.dir.join("status"))) {
            (Ok(then), Ok(now)) => now.duration_since(then).map_or(0, |d| d.as_secs()),
            _ => u64::MAX,
        };
        if !force && age < STALE_AFTER {
            return Ok(false);
        }
        progress.step(&format!(
            "fetching package lists for {}",
            self.arch.debian()
        ));
        let result = self.run("apt-get", &["update", "-q"], &mut |_| {});
        match result {
            // Old lists are better than none.
            Err(Error::Network { detail, .. }) if !force && age != u64::MAX => {
                tracing::warn!(
                    "package lists are older than a day and cannot be renewed: {detail}"
                );
                return Ok(false);
            }
            other => other?,
        };
        self.write("updated", "")?;
        Ok(true)
    }

    /// What apt would install for `names` on an empty system, without
    /// recommended packages.
    ///
    /// # Errors
    /// An unknown package, an impossible set, no apt.
    pub fn solve(&self, names: &[String]) -> Result<BTreeMap<String, Package>> {
        for name in names {
            check_name(name)?;
        }
        let mut args = vec!["install", "-y", "-qq", "--print-uris", "--"];
        args.extend(names.iter().map(String::as_str));
        let out = self
            .run("apt-get", &args, &mut |_| {})
            .map_err(|e| self.explain(e, names))?;
        let exact: Vec<String> = out
            .lines()
            .filter_map(|line| index::name_and_version(line.split_whitespace().nth(1)?))
            .map(|(name, version)| format!("{name}={version}"))
            .collect();
        self.show(&exact)
    }

    /// Index entries of `names` (`name` or `name=version`), candidates only.
    ///
    /// # Errors
    /// An unknown package, no apt.
    pub fn show(&self, names: &[String]) -> Result<BTreeMap<String, Package>> {
        for name in names {
            check_name(name)?;
        }
        let mut packages = BTreeMap::new();
        if names.is_empty() {
            return Ok(packages);
        }
        let mut args = vec!["show", "--no-all-versions", "--"];
        args.extend(names.iter().map(String::as_str));
        let out = self
            .run("apt-cache", &args, &mut |_| {})
            .map_err(|e| self.explain(e, names))?;
        for package in out.split("\n\n").filter_map(index::parse_stanza) {
            packages.entry(package.name.clone()).or_insert(package);
        }
        for name in names {
            let bare = name.split('=').next().unwrap_or(name);
            if !packages.contains_key(bare) {
                return Err(self.not_found(name));
            }
        }
        Ok(packages)
    }

    /// Downloads what is not there yet, checks every package against the
    /// index's SHA-256, and returns the files in the order of `packages`.
    ///
    /// # Errors
    /// No network, disk full, checksum mismatch.
    pub fn download(&self, packages: &[Package], progress: &dyn Progress) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join("debs");
        let file = |p: &Package| dir.join(p.file_name());
        let missing: Vec<&Package> = packages
            .iter()
            .filter(|p| fs::metadata(file(p)).map_or(true, |m| m.len() != p.size))
            .collect();
        let total: u64 = missing.iter().map(|p| p.size).sum();
        if !missing.is_empty() {
            let mut state = DownloadState {
                total_bytes: total,
                total_packages: missing.len() as u64,
                ..DownloadState::default()
            };
            progress.download(state);
            let exact: Vec<String> = missing
                .iter()
                .map(|p| format!("{}={}", p.name, p.version))
                .collect();
            let mut args = vec!["download", "-q", "-o", "APT::Status-Fd=1", "--"];
            args.extend(exact.iter().map(String::as_str));
            self.run("apt-get", &args, &mut |line| {
                if let Some((index, percent)) = run::download_status(line) {
                    state.bytes = (percent / 100.0 * total as f64) as u64;
                    state.packages = index;
                    progress.download(state);
                }
            })?;
        }
        packages.iter().map(|p| self.verify(p, file(p))).collect()
    }

    fn verify(&self, package: &Package, path: PathBuf) -> Result<PathBuf> {
        let bytes = fs::read(&path).map_err(Error::io("cannot read", &path))?;
        let found = sha256_hex(&bytes);
        if found == package.sha256 {
            return Ok(path);
        }
        // Never leave a file that the next run would trust by its size.
        let _ = fs::remove_file(&path);
        Err(Error::Checksum {
            what: package.file_name(),
            expected: package.sha256.clone(),
            found,
        })
    }

    fn not_found(&self, name: &str) -> Error {
        let bare = name.split('=').next().unwrap_or(name);
        if bare != name
            && let Ok(known) = self.show(&[bare.to_string()])
        {
            // The package is there, in other versions.
            let near = known.values().map(|p| format!("{}={}", p.name, p.version));
            return Error::PackageNotFound {
                name: name.to_string(),
                arch: self.arch.debian(),
                near: near.collect(),
            };
        }
        let all = self.run("apt-cache", &["pkgnames"], &mut |_| {});
        Error::PackageNotFound {
            name: name.to_string(),
            arch: self.arch.debian(),
            near: nearest(bare, all.unwrap_or_default().lines(), 3),
        }
    }

    /// Turns apt's refusal of a package set into our own words.
    fn explain(&self, error: Error, names: &[String]) -> Error {
        let Error::Apt { detail, .. } = &error else {
            return error;
        };
        match run::unknown_package(detail) {
            Some(name) => self.not_found(&name),
            None if detail.contains("unmet dependencies") || detail.contains("onflict") => {
                Error::Unsolvable {
                    packages: names.to_vec(),
                    arch: self.arch.debian(),
                    detail: detail.clone(),
                }
            }
            None => error,
        }
    }
}

/// Debian Policy 5.6.1, so that nothing is taken for an option of apt.
fn check_name(name: &str) -> Result<()> {
    let (bare, version) = name.split_once('=').unwrap_or((name, "0"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = bare.len() >= 2
        && bare.starts_with(plain)
        && !bare.ends_with('-')
        && bare.chars().all(|c| plain(c) || "+-.".contains(c))
        && !version.is_empty()
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+-:~".contains(c));
    match good {
        true => Ok(()),
        false => Err(Error::BadPackageName {
            name: name.to_string(),
        }),
    }
}
