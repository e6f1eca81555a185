//! Which kernel modules an image needs, in load order, from the modules'
//! own `.modinfo` sections (a Debian kernel package ships no modules.dep).

use std::collections::{BTreeMap, BTreeSet};

use crate::elf;

/// What a module says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// Modules that must be loaded before it.
    pub depends: Vec<String>,
    /// Names by which the kernel asks for it.
    pub aliases: Vec<String>,
}

/// The kernel's spelling of a module name: `-` is `_`, no directory, no `.ko`.
pub fn module_name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    let base = base.split(".ko").next().unwrap_or(base);
    base.replace('-', "_")
}

/// Reads `.modinfo` of an uncompressed module; `None` if it has none.
pub fn modinfo(module: &[u8]) -> Option<ModInfo> {
    let section = elf::section(module, ".modinfo")?;
    let mut info = ModInfo::default();
    for field in section.split(|&b| b == 0) {
        let field = String::from_utf8_lossy(field);
        match field.split_once('=') {
            Some(("depends", list)) => info.depends.extend(
                list.split(',')
                    .filter(|name| !name.is_empty())
                    .map(module_name),
            ),
            Some(("alias", alias)) => info.aliases.push(alias.to_string()),
            _ => {}
        }
    }
    Some(info)
}

/// Length of a module without the signature that its build appended
/// (Documentation/admin-guide/module-signing.rst; `struct module_signature`
/// ends with the signature's length, big endian). The packages' checksums
/// have vouched for it, and each check costs the guest millions of
/// instructions.
pub fn unsigned_len(module: &[u8]) -> usize {
    const MARK: &[u8] = b"~Module signature appended~\n";
    let signed = || {
        let rest = module.strip_suffix(MARK)?;
        let (rest, info) = rest.split_last_chunk::<12>()?;
        let (_, length) = info.split_last_chunk::<4>()?;
        rest.len().checked_sub(u32::from_be_bytes(*length) as usize)
    };
    signed().unwrap_or(module.len())
}

/// `wanted` and all they depend on, each after its dependencies. Names that
/// are built in, or that this kernel does not have, are left out.
pub fn load_order(
    wanted: &[String],
    known: &BTreeMap<String, ModInfo>,
    builtin: &BTreeSet<String>,
) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        visit(&module_name(name), known, builtin, &mut seen, &mut order);
    }
    order
}

fn visit(
    name: &str,
    known: &BTreeMap<String, ModInfo>,
    builtin: &BTreeSet<String>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) {
    let Some(info) = known.get(name) else { return };
    if builtin.contains(name) || !seen.insert(name.to_string()) {
        return;
    }
    for dependency in &info.depends {
        visit(dependency, known, builtin, seen, order);
    }
    order.push(name.to_string());
}

/// A `modules.dep` for modules stored as `NAME.ko` beside it.
pub fn modules_dep(order: &[String], known: &BTreeMap<String, ModInfo>) -> String {
    let mut out = String::new();
    for name in order {
        let mut closure = load_order(std::slice::from_ref(name), known, &BTreeSet::new());
        closure.retain(|dependency| dependency != name && order.contains(dependency));
        closure.reverse();
        out.push_str(&format!("{name}.ko:"));
        for dependency in closure {
            out.push_str(&format!(" {dependency}.ko"));
        }
        out.push('\n');
    }
    out
}

/// A `modules.alias` for the same modules.
pub fn modules_alias(order: &[String], known: &BTreeMap<String, ModInfo>) -> String {
    let mut out = String::new();
    for name in order {
        for alias in known.get(name).map_or(&[][..], |info| &info.aliases) {
            out.push_str(&format!("alias {alias} {name}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 with a section name table and `.modinfo`.
    fn module(modinfo: &[u8]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut b = vec![0u8; 64];
        b[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let info_at = b.len() as u64;
        b.extend_from_slice(modinfo);
        let names_at = b.len() as u64;
        b.extend_from_slice(names);
        let headers = b.len() as u64;
        b[40..48].copy_from_slice(&headers.to_le_bytes());
        b[58] = 64;
        b[60] = 3;
        b[62] = 2;
        let sections = [
            (0u32, 0u64, 0u64),
            (1, info_at, modinfo.len() as u64),
            (10, names_at, names.len() as u64),
        ];
        for (name, at, len) in sections {
            let mut h = [0u8; 64];
            h[..4].copy_from_slice(&name.to_le_bytes());
            h[24..32].copy_from_slice(&at.to_le_bytes());
            h[32..40].copy_from_slice(&len.to_le_bytes());
            b.extend_from_slice(&h);
        }
        b
    }

    #[test]
    fn reads_modinfo() {
        let ko = module(b"license=GPL\0depends=net-failover,virtio\0alias=virtio:d1v*\0depends=\0");
        let info = modinfo(&ko).unwrap();
        assert_eq!(info.depends, ["net_failover", "virtio"]);
        assert_eq!(info.aliases, ["virtio:d1v*"]);
        for cut in 0..ko.len() {
            let _ = modinfo(&ko[..cut]);
        }
        assert!(modinfo(b"no ELF").is_none());
    }

    #[test]
    fn order_and_tables() {
        let info = |depends: &[&str]| ModInfo {
            depends: depends.iter().map(ToString::to_string).collect(),
            aliases: vec![format!("a{}", depends.len())],
        };
        let known = BTreeMap::from([
            ("net".to_string(), info(&["ring", "core"])),
            ("ring".to_string(), info(&["core"])),
            ("core".to_string(), info(&["built"])),
            ("built".to_string(), info(&[])),
            ("loop_a".to_string(), info(&["loop_b"])),
            ("loop_b".to_string(), info(&["loop_a"])),
        ]);
        let wanted: Vec<String> = ["net", "absent", "loop-a", "core"]
            .map(String::from)
            .to_vec();
        let builtin = BTreeSet::from(["built".to_string()]);
        let order = load_order(&wanted, &known, &builtin);
        assert_eq!(order, ["core", "ring", "net", "loop_b", "loop_a"]);
        let dep = modules_dep(&order[..3], &known);
        assert_eq!(dep, "core.ko:\nring.ko: core.ko\nnet.ko: ring.ko core.ko\n");
        assert_eq!(modules_alias(&order[..1], &known), "alias a1 core\n");
    }

    #[test]
    fn signatures() {
        let mut ko = b"module".to_vec();
        assert_eq!(unsigned_len(&ko), 6);
        ko.extend_from_slice(&[9; 300]);
        ko.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        ko.extend_from_slice(&300u32.to_be_bytes());
        ko.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(unsigned_len(&ko), 6);
        assert_eq!(unsigned_len(&ko[300..]), ko.len() - 300, "nonsense stays");
    }
}
