//! What goes into a guest's root file system.

use std::collections::BTreeSet;

use crate::Arch;
use crate::cpio::CpioError;
use crate::deb::{DebEntry, DebKind};
use crate::elf;
use crate::tree::{MERGED, Node, Tree};

/// Programs of the default image, each with the libraries that it needs.
///
/// busybox runs its own `ping` and `ip` where it is the one to look for a
/// command, so /bin/sh and the usual command runners are Debian's.
pub(crate) const BASE_PROGRAMS: [(&str, &str); 6] = [
    ("busybox-static", "usr/bin/busybox"),
    ("dash", "usr/bin/dash"),
    ("coreutils", "usr/bin/env"),
    ("coreutils", "usr/bin/timeout"),
    ("iputils-ping", "usr/bin/ping"),
    ("iproute2", "usr/bin/ip"),
];

const INIT: &str = include_str!("../guest/init.sh");
const AGENT: &str = include_str!("../guest/agent.sh");

/// Small files of every image: path, mode, contents.
const FILES: [(&str, u32, &str); 11] = [
    ("init", 0o755, INIT),
    ("usr/lib/vmm/agent", 0o644, AGENT),
    (
        "etc/fstab",
        0o644,
        "proc /proc proc defaults 0 0\nsysfs /sys sysfs defaults 0 0\ndev /dev devtmpfs defaults 0 0\n",
    ),
    (
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/shadow", 0o640, "root::19000:0:99999:7:::\n"),
    (
        "etc/group",
        0o644,
        "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    ),
    (
        "etc/hosts",
        0o644,
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
    ),
    (
        "etc/nsswitch.conf",
        0o644,
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    (
        "etc/profile",
        0o644,
        "PS1='\\h:\\w# '\nalias ip=/usr/bin/ip ping=/usr/bin/ping\n",
    ),
    ("etc/shells", 0o644, "/bin/sh\n"),
    ("etc/hostname", 0o644, "vmm\n"),
];

/// Hash of the files above, so that images of older code are not reused.
pub(crate) fn fingerprint() -> String {
    let parts: Vec<&str> = FILES.iter().map(|(_, _, text)| *text).collect();
    crate::cache::recipe_hash(&parts)
}

/// Directories and links of the bare layout.
pub(crate) fn base_layout(tree: &mut Tree) -> Result<(), CpioError> {
    for dir in [
        "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/sbin",
        "var/log", "var/tmp", "var/lib",
    ] {
        let mode = crate::tree::default_dir_mode(dir);
        tree.insert(dir, Node::Dir { mode })?;
    }
    for link in MERGED {
        tree.insert(link, Node::Symlink(format!("usr/{link}")))?;
    }
    tree.insert("usr/lib64", Node::Dir { mode: 0o755 })?;
    tree.insert("var/run", Node::Symlink("/run".to_string()))?;
    tree.insert("etc/mtab", Node::Symlink("/proc/mounts".to_string()))?;
    tree.insert(
        "dev/console",
        Node::CharDevice {
            mode: 0o600,
            device: (5, 1),
        },
    )
}

/// Our own files. Called last: packages must not replace them.
pub(crate) fn own_files(tree: &mut Tree) -> Result<(), CpioError> {
    for (path, mode, text) in FILES {
        let data = text.as_bytes().to_vec();
        let node = Node::File { mode, data };
        // Packages may bring fuller tables of users and services.
        match path.starts_with("etc/") && path != "etc/fstab" {
            true => tree.insert_new(path, node)?,
            false => tree.insert(path, node)?,
        }
    }
    Ok(())
}

/// Files that no guest of ours reads.
fn is_wanted(path: &str, keep_gconv: bool) -> bool {
    const LEAVE_OUT: [&str; 12] = [
        "usr/share/doc/",
        "usr/share/doc-base/",
        "usr/share/man/",
        "usr/share/info/",
        "usr/share/locale/",
        "usr/share/lintian/",
        "usr/share/bug/",
        "usr/share/bash-completion/",
        "usr/share/zsh/",
        "usr/share/fish/",
        "lib/systemd/",
        "usr/lib/systemd/",
    ];
    !LEAVE_OUT.iter().any(|dir| path.starts_with(dir)) && (keep_gconv || !path.contains("/gconv/"))
}

/// Adds a package's files to `tree`.
pub(crate) fn add_package(
    tree: &mut Tree,
    entries: Vec<DebEntry>,
    keep_gconv: bool,
) -> Result<(), CpioError> {
    let mut links = Vec::new();
    for entry in entries {
        if !is_wanted(&entry.path, keep_gconv) {
            continue;
        }
        let node = match entry.kind {
            // Empty directories of left-out trees are not worth an entry.
            DebKind::Dir if entry.path.starts_with("usr/share") => continue,
            DebKind::Dir => Node::Dir { mode: entry.mode },
            DebKind::File(data) => Node::File {
                mode: entry.mode,
                data,
            },
            DebKind::Symlink(target) => Node::Symlink(target),
            DebKind::Hardlink(target) => {
                links.push((entry.path, target));
                continue;
            }
        };
        tree.insert(&entry.path, node)?;
    }
    // The archive has no hard links: a copy is as good.
    for (path, target) in links {
        if let Some(node) = tree.get(&target).cloned() {
            tree.insert(&path, node)?;
        }
    }
    Ok(())
}

/// Copies a program and every library that it needs from `pool` to `tree`.
/// Returns names of libraries that `pool` does not have.
pub(crate) fn add_program(
    tree: &mut Tree,
    pool: &Tree,
    path: &str,
    arch: Arch,
) -> Result<Vec<String>, CpioError> {
    let mut missing = Vec::new();
    let mut todo = vec![path.to_string()];
    let mut seen = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Some(node) = pool.get(&path) else {
            missing.push(path);
            continue;
        };
        match node {
            Node::Symlink(target) => todo.extend(Tree::link_target(&path, target)),
            Node::File { data, .. } => {
                for name in elf::needed(data) {
                    match find_library(pool, &name, arch) {
                        Some(found) => todo.push(found),
                        None => missing.push(name),
                    }
                }
            }
            _ => {}
        }
        tree.insert_new(&path, node.clone())?;
    }
    Ok(missing)
}

fn find_library(pool: &Tree, name: &str, arch: Arch) -> Option<String> {
    if name.starts_with('/') {
        return crate::tree::normalise(name)
            .ok()
            .filter(|p| pool.contains(p));
    }
    let multiarch = arch.multiarch();
    [
        format!("usr/lib/{multiarch}/{name}"),
        format!("usr/lib/{name}"),
    ]
    .into_iter()
    .find(|path| pool.contains(path))
}

/// Links for busybox's applets, where no real program is.
pub(crate) fn add_applets(tree: &mut Tree) -> Result<usize, CpioError> {
    let Some(Node::File { data, .. }) = tree.get("usr/bin/busybox") else {
        return Ok(0);
    };
    let names = applets(data);
    for name in &names {
        if !tree.contains(&format!("usr/sbin/{name}")) {
            tree.insert_new(
                &format!("usr/bin/{name}"),
                Node::Symlink("busybox".to_string()),
            )?;
        }
    }
    tree.insert("usr/bin/sh", Node::Symlink("dash".to_string()))?;
    for name in ["modprobe", "init"] {
        // The kernel itself asks for these under /sbin.
        let target = if name == "init" {
            "/init"
        } else {
            "../bin/modprobe"
        };
        tree.insert_new(
            &format!("usr/sbin/{name}"),
            Node::Symlink(target.to_string()),
        )?;
    }
    Ok(names.len())
}

/// The applet names in a busybox binary: a table of NUL-terminated strings in
/// ASCII order that begins with `[` and `[[` and ends with an empty string.
/// Reading it saves running a program of a foreign architecture; /init asks
/// busybox itself if it is not found.
fn applets(busybox: &[u8]) -> Vec<String> {
    const HEAD: &[u8] = b"\0[\0[[\0";
    let Some(at) = busybox.windows(HEAD.len()).position(|w| w == HEAD) else {
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    for field in busybox[at + 1..].split(|&b| b == 0) {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"[-_.+".contains(b);
        if field.is_empty() || field.len() > 32 || !field.iter().all(plain) {
            break;
        }
        let name = String::from_utf8_lossy(field).into_owned();
        if names.last().is_some_and(|last| *last >= name) {
            break;
        }
        names.push(name);
    }
    names.retain(|name| name != "busybox" && name != "init" && name != "linuxrc");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applet_table() {
        let binary = b"junk\0[\0[[\0ash\0cat\0ls\0\0after\0";
        assert_eq!(applets(binary), ["[", "[[", "ash", "cat", "ls"]);
        assert!(applets(b"no table").is_empty());
    }

    #[test]
    fn packages_lose_their_documentation() {
        let file = |path: &str| DebEntry {
            path: path.to_string(),
            mode: 0o644,
            kind: DebKind::File(b"x".to_vec()),
        };
        let mut tree = Tree::default();
        let hard = DebEntry {
            kind: DebKind::Hardlink("bin/tool".to_string()),
            ..file("bin/tool2")
        };
        let entries = vec![
            file("usr/share/doc/x/copyright"),
            file("usr/lib/x/gconv/UTF-16.so"),
            hard,
            file("bin/tool"),
        ];
        add_package(&mut tree, entries, false).unwrap();
        let paths: Vec<&str> = tree.iter().map(|(p, _)| p.as_str()).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/tool", "usr/bin/tool2"]);
    }
}
