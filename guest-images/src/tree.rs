//! A root file system in memory, in the merged-/usr layout of Debian 12.

use std::collections::BTreeMap;

use crate::cpio::{CpioError, Writer};

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Dir { mode: u32 },
    File { mode: u32, data: Vec<u8> },
    Symlink(String),
    CharDevice { mode: u32, device: (u32, u32) },
}

/// Paths (relative, normalised) to files, in sorted order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// Top-level directories that merged /usr turns into symbolic links.
pub(crate) const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// A guest path as the image stores it: relative, `/bin` and its like under
/// `usr`, `/var/run` under `run`.
///
/// # Errors
/// A path with `..` or NUL, or an empty one.
pub(crate) fn normalise(path: &str) -> Result<String, CpioError> {
    let bad = || CpioError::BadPath(path.to_string());
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(bad()),
            part if part.contains('\0') => return Err(bad()),
            part => parts.push(part),
        }
    }
    match parts.as_slice() {
        [] => return Err(bad()),
        ["var", "run", _, ..] => drop(parts.remove(0)),
        [first, _, ..] if MERGED.contains(first) => parts.insert(0, "usr"),
        _ => {}
    }
    Ok(parts.join("/"))
}

/// Mode of a directory that nobody described.
pub(crate) fn default_dir_mode(path: &str) -> u32 {
    match path {
        "tmp" | "var/tmp" => 0o1777,
        "root" => 0o700,
        _ => 0o755,
    }
}

impl Tree {
    /// Puts `node` at `path` with its parent directories. A directory never
    /// replaces something else, and the merged-/usr links stay links.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), CpioError> {
        let path = normalise(path)?;
        if MERGED.contains(&path.as_str()) && matches!(node, Node::Dir { .. }) {
            return Ok(());
        }
        let parents: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for at in parents {
            let parent = &path[..at];
            if !self.nodes.contains_key(parent) {
                let mode = default_dir_mode(parent);
                self.nodes.insert(parent.to_string(), Node::Dir { mode });
            }
        }
        match (&node, self.nodes.get(&path)) {
            (Node::Dir { .. }, Some(old)) if !matches!(old, Node::Dir { .. }) => {}
            _ => drop(self.nodes.insert(path, node)),
        }
        Ok(())
    }

    /// Inserts unless something is there already.
    pub fn insert_new(&mut self, path: &str, node: Node) -> Result<(), CpioError> {
        match self.contains(path) {
            true => Ok(()),
            false => self.insert(path, node),
        }
    }

    /// Whether the path is in the tree, without following links.
    pub fn contains(&self, path: &str) -> bool {
        normalise(path).is_ok_and(|p| self.nodes.contains_key(&p))
    }

    /// The node at a path, without following links.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&normalise(path).ok()?)
    }

    /// All files, sorted by path.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.nodes.iter()
    }

    /// Where a symbolic link at `path` leads, as a normalised path.
    pub fn link_target(path: &str, target: &str) -> Option<String> {
        if target.starts_with('/') {
            return normalise(target).ok();
        }
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        normalise(&parts.join("/")).ok()
    }

    /// The archive of the tree: same tree, same bytes.
    pub fn to_cpio(&self) -> Result<Vec<u8>, CpioError> {
        let mut out = Writer::default();
        for (path, node) in &self.nodes {
            match node {
                Node::Dir { mode } => out.dir(path, *mode)?,
                Node::File { mode, data } => out.file(path, *mode, data)?,
                Node::Symlink(target) => out.symlink(path, target)?,
                Node::CharDevice { mode, device } => out.char_device(path, *mode, *device)?,
            }
        }
        Ok(out.finish())
    }
}
