//! A second archive, made for one run, that the kernel unpacks over the
//! image: files of the topology, and what the guest is to be.

use std::fmt::Write as _;

use crate::cpio::CpioError;
use crate::tree::{Node, Tree};

/// One file to place in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayEntry {
    /// Absolute path in the guest; parent directories come by themselves.
    pub path: String,
    /// Permission bits (not used for links).
    pub mode: u32,
    /// What it is.
    pub kind: OverlayKind,
}

/// What an overlay entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverlayKind {
    /// A regular file and its contents.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
}

impl OverlayEntry {
    /// A regular file.
    pub fn file(path: impl Into<String>, mode: u32, data: impl Into<Vec<u8>>) -> OverlayEntry {
        OverlayEntry {
            path: path.into(),
            mode,
            kind: OverlayKind::File(data.into()),
        }
    }
}

/// An archive to put behind the image's own, which is padded to 512 bytes:
/// `initrd = image bytes + overlay bytes`. Same entries, same bytes.
///
/// # Errors
/// A path that is not absolute or has `..`, or a file of 4 GiB or more.
pub fn overlay_cpio(entries: &[OverlayEntry]) -> Result<Vec<u8>, CpioError> {
    let mut tree = Tree::default();
    for entry in entries {
        if !entry.path.starts_with('/') {
            return Err(CpioError::BadPath(entry.path.clone()));
        }
        let mode = entry.mode & 0o7777;
        let node = match &entry.kind {
            OverlayKind::File(data) => Node::File {
                mode,
                data: data.clone(),
            },
            OverlayKind::Dir => Node::Dir { mode },
            OverlayKind::Symlink(target) => Node::Symlink(target.clone()),
        };
        tree.insert(&entry.path, node)?;
    }
    tree.to_cpio()
}

/// A network interface as the guest is to set it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestNic {
    /// MAC address by which the guest finds it.
    pub mac: [u8; 6],
    /// Name that it gets.
    pub name: String,
    /// `ADDRESS/PREFIX`, IPv4 or IPv6.
    pub address: Option<String>,
    /// MTU in bytes.
    pub mtu: Option<u16>,
}

/// What one guest is told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestSetup {
    /// Host name.
    pub hostname: String,
    /// Interfaces.
    pub nics: Vec<GuestNic>,
    /// Names of other guests: address and name.
    pub hosts: Vec<(String, String)>,
}

impl GuestSetup {
    /// The files that /init reads.
    pub fn entries(&self) -> Vec<OverlayEntry> {
        let mut nics = String::new();
        for nic in &self.nics {
            let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
            let address = nic.address.as_deref().unwrap_or("-");
            let mtu = nic.mtu.map_or("-".to_string(), |mtu| mtu.to_string());
            // Writing to a String cannot fail.
            let _ = writeln!(nics, "{mac} {} {address} {mtu}", nic.name);
        }
        let mut hosts = format!(
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {}\n",
            self.hostname
        );
        for (address, name) in &self.hosts {
            let _ = writeln!(hosts, "{address} {name}");
        }
        vec![
            OverlayEntry::file("/etc/vmm/nics", 0o644, nics),
            OverlayEntry::file("/etc/hostname", 0o644, format!("{}\n", self.hostname)),
            OverlayEntry::file("/etc/hosts", 0o644, hosts),
        ]
    }
}
