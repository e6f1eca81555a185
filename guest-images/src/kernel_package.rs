//! Kernel and modules out of a Debian kernel package.

use std::collections::{BTreeMap, BTreeSet};

use crate::deb::{self, DebError, DebKind};
use crate::decompress::{self, Format};
use crate::modules::{self, ModInfo};

/// Modules of the default image: what a guest's network card, console and
/// agent need, and common network tools. Dependencies come by themselves.
pub(crate) const DEFAULT_MODULES: [&str; 9] = [
    "virtio_pci",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "af_packet",
    "ipv6",
    "tun",
    "8021q",
    "virtio_mmio",
];

/// What an image takes from a kernel package.
#[derive(Debug, Default)]
pub(crate) struct KernelPackage {
    /// `uname -r` of the kernel.
    pub release: String,
    /// `boot/vmlinuz-*` as shipped.
    pub vmlinuz: Vec<u8>,
    /// Names in load order.
    pub order: Vec<String>,
    /// What each module says of itself.
    pub info: BTreeMap<String, ModInfo>,
    /// Contents of the modules in `order`, uncompressed.
    pub contents: BTreeMap<String, Vec<u8>>,
}

/// Reads a kernel package without holding all of it in memory.
pub(crate) fn read(bytes: &[u8], wanted: &[String]) -> Result<KernelPackage, DebError> {
    let mut out = KernelPackage::default();
    let mut builtin = BTreeSet::new();
    let mut keep: BTreeSet<String> = wanted.iter().map(|n| modules::module_name(n)).collect();
    let mut total = 0;
    // The first pass learns the dependencies, the second fetches what they add.
    deb::visit_deb(bytes, &mut |entry, reader| {
        if !matches!(entry.kind, DebKind::File(_)) {
            return Ok(());
        }
        if entry.path.starts_with("boot/vmlinu") {
            out.vmlinuz = deb::take(reader, &mut total)?;
        } else if let Some(rest) = module_path(&entry.path) {
            let (release, file) = rest.split_once('/').unwrap_or((rest, ""));
            out.release = release.to_string();
            if file == "modules.builtin" {
                let text = deb::take(reader, &mut total)?;
                builtin.extend(
                    String::from_utf8_lossy(&text)
                        .lines()
                        .map(modules::module_name),
                );
            } else if is_module(file) {
                let mut fresh = 0;
                let module = plain_module(&entry.path, deb::take(reader, &mut fresh)?)?;
                let name = modules::module_name(file);
                if let Some(info) = modules::modinfo(&module) {
                    out.info.insert(name.clone(), info);
                }
                if keep.contains(&name) {
                    total += module.len() as u64;
                    out.contents.insert(name, module);
                }
            }
        }
        Ok(())
    })?;
    out.order = modules::load_order(wanted, &out.info, &builtin);
    out.contents.retain(|name, _| out.order.contains(name));
    keep = out
        .order
        .iter()
        .filter(|name| !out.contents.contains_key(*name))
        .cloned()
        .collect();
    if !keep.is_empty() {
        deb::visit_deb(bytes, &mut |entry, reader| {
            let name = modules::module_name(&entry.path);
            let is_file = matches!(entry.kind, DebKind::File(_));
            if is_file && is_module(&entry.path) && keep.contains(&name) {
                let module = plain_module(&entry.path, deb::take(reader, &mut total)?)?;
                out.contents.insert(name, module);
            }
            Ok(())
        })?;
    }
    Ok(out)
}

fn module_path(path: &str) -> Option<&str> {
    path.strip_prefix("lib/modules/")
        .or_else(|| path.strip_prefix("usr/lib/modules/"))
}

fn is_module(path: &str) -> bool {
    [".ko", ".ko.xz", ".ko.zst", ".ko.gz"]
        .iter()
        .any(|end| path.ends_with(end))
}

fn plain_module(path: &str, bytes: Vec<u8>) -> Result<Vec<u8>, DebError> {
    let mut module = expand_module(path, bytes)?;
    module.truncate(modules::unsigned_len(&module));
    Ok(module)
}

fn expand_module(path: &str, bytes: Vec<u8>) -> Result<Vec<u8>, DebError> {
    match Format::detect(&bytes) {
        Some(format) => {
            decompress::decompress(format, &bytes, deb::MAX_UNPACKED).map_err(|source| {
                DebError::Data {
                    member: path.to_string(),
                    source,
                }
            })
        }
        None => Ok(bytes),
    }
}
