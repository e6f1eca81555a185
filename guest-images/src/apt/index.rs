//! Entries of a Debian package index, and the part of apt's solution that a
//! guest without maintainer scripts needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One package of an index (Debian Policy 5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version, with epoch.
    pub version: String,
    /// `arm64`, `amd64` or `all`.
    pub architecture: String,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// SHA-256 of the .deb, lower-case hexadecimal.
    pub sha256: String,
    /// Pre-Depends and Depends: each a list of alternatives, names only.
    pub depends: Vec<Vec<String>>,
    /// Virtual packages that it provides.
    pub provides: Vec<String>,
}

impl Package {
    /// Name of the file that `apt-get download` writes.
    pub fn file_name(&self) -> String {
        format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        )
    }
}

/// Packages that only maintainer scripts use. No such script runs in an
/// image, so they and what they alone need stay out unless asked for.
const FOR_SCRIPTS_ONLY: [&str; 22] = [
    "adduser",
    "base-passwd",
    "cdebconf",
    "debconf",
    "debconf-2.0",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "libpam-runtime",
    "lsb-base",
    "media-types",
    "passwd",
    "sensible-utils",
    "systemd",
    "systemd-sysv",
    "systemd-standalone-sysusers",
    "sysvinit-utils",
    "ucf",
    "update-inetd",
    "usr-is-merged",
    "usrmerge",
];

/// The packages reachable from `roots` in apt's solution, sorted by name.
pub fn closure(roots: &[String], solution: &BTreeMap<String, Package>) -> Vec<Package> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut todo: Vec<&str> = roots
        .iter()
        .filter_map(|root| find(root.split('=').next().unwrap_or(root), solution))
        .collect();
    while let Some(name) = todo.pop() {
        if !reached.insert(name) {
            continue;
        }
        let Some(package) = solution.get(name) else {
            continue;
        };
        for alternatives in &package.depends {
            // apt has chosen: the first alternative that it installs.
            let chosen = alternatives.iter().find_map(|a| {
                let found = find(a, solution)?;
                Some((a.as_str(), found))
            });
            if let Some((asked, found)) = chosen
                && !FOR_SCRIPTS_ONLY.contains(&asked)
                && !FOR_SCRIPTS_ONLY.contains(&found)
            {
                todo.push(found);
            }
        }
    }
    reached
        .into_iter()
        .filter_map(|name| solution.get(name).cloned())
        .collect()
}

/// The package of that name, or the first that provides it.
fn find<'a>(name: &str, solution: &'a BTreeMap<String, Package>) -> Option<&'a str> {
    solution
        .get(name)
        .or_else(|| {
            solution
                .values()
                .find(|p| p.provides.iter().any(|v| v == name))
        })
        .map(|p| p.name.as_str())
}

/// Name and version from a file name such as `libc6_2.36-9_arm64.deb`.
pub(super) fn name_and_version(file: &str) -> Option<(String, String)> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let name = parts.next()?.to_string();
    let version = parts.next()?.replace("%3a", ":").replace("%3A", ":");
    Some((name, version))
}

/// Reads one stanza of `apt-cache show`.
pub(super) fn parse_stanza(text: &str) -> Option<Package> {
    let mut package = Package::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key {
            "Package" => package.name = value.to_string(),
            "Version" => package.version = value.to_string(),
            "Architecture" => package.architecture = value.to_string(),
            "Size" => package.size = value.parse().ok()?,
            "SHA256" => package.sha256 = value.to_string(),
            "Depends" | "Pre-Depends" => package.depends.extend(relations(value)),
            "Provides" => package.provides = relations(value).concat(),
            _ => {}
        }
    }
    (!package.name.is_empty() && !package.version.is_empty() && package.sha256.len() == 64)
        .then_some(package)
}

fn relations(value: &str) -> Vec<Vec<String>> {
    value
        .split(',')
        .map(|group| group.split('|').filter_map(relation_name).collect())
        .collect()
}

fn relation_name(text: &str) -> Option<String> {
    let name = text.trim().split([' ', '(', ':', '[', '<']).next()?;
    (!name.is_empty()).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, depends: &[&[&str]], provides: &[&str]) -> (String, Package) {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let package = Package {
            name: name.to_string(),
            depends: depends.iter().map(|d| own(d)).collect(),
            provides: own(provides),
            ..Package::default()
        };
        (name.to_string(), package)
    }

    #[test]
    fn stanza() {
        let sha = "ab".repeat(32);
        let text = format!(
            "Package: iputils-ping\nVersion: 3:2022-1\nArchitecture: arm64\nSize: 46\n\
             Pre-Depends: dpkg (>= 1.17.14)\nDepends: libcap2 (>= 1:2.10), libc6:any | libc6.1 [arm64]\n\
             Provides: ping, x (= 1)\nSHA256: {sha}"
        );
        let p = parse_stanza(&text).unwrap();
        assert_eq!(p.file_name(), "iputils-ping_3%3a2022-1_arm64.deb");
        assert_eq!(
            p.depends,
            [vec!["dpkg"], vec!["libcap2"], vec!["libc6", "libc6.1"]]
        );
        assert_eq!(p.provides, ["ping", "x"]);
        assert_eq!(
            name_and_version(&p.file_name()),
            Some(("iputils-ping".into(), "3:2022-1".into()))
        );
        assert!(parse_stanza("Package: x\nVersion: 1").is_none());
    }

    #[test]
    fn closure_skips_packages_for_scripts() {
        let solution = BTreeMap::from([
            package("tool", &[&["libx"], &["debconf", "debconf-2.0"]], &[]),
            package("libx", &[&["other", "virtual"]], &[]),
            package("real", &[&["tool"]], &["virtual"]),
            package("debconf", &[&["perl-base"]], &["debconf-2.0"]),
            package("perl-base", &[], &[]),
        ]);
        let names = |roots: &[&str]| -> Vec<String> {
            let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
            closure(&roots, &solution)
                .into_iter()
                .map(|p| p.name)
                .collect()
        };
        assert_eq!(names(&["tool"]), ["libx", "real", "tool"]);
        assert_eq!(names(&["debconf"]), ["debconf", "perl-base"]);
        assert_eq!(names(&["virtual=1"]), ["libx", "real", "tool"]);
    }
}
