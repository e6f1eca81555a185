//! Topologies: reading, changing, checking and showing them.
//!
//! A topology goes YAML text, located tree, `--set` changes, typed
//! [`TopologySpec`], defaults filled in, semantic checks. Every error names the
//! line and column, or the argument, that it comes from.

mod card;
mod check;
mod de;
mod error;
mod fill;
mod nic;
mod schema;
mod set;
mod spec;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod validate;

pub use card::{
    CardBackend, CardSpec, DmaProfile, DmaSpec, FaultSpec, FifoSpec, Function, LinkSpec, OnFull,
    WhenSpec, XdmaSpec,
};
pub use check::{CheckSpec, Iperf3Spec, PingSpec, Protocol, RunSpec, SetSpec};
pub use error::{Origin, Problem, TopologyError};
pub use nic::{LinkState, NicBackend, NicSpec, VhostUserSocket, VhostUserSpec};
pub use schema::{json_schema, reference_page};
pub use spec::{
    Accel, Arch, Doorbells, FileSpec, GuestSpec, ImageFiles, ImageSpec, TimeMode, TopologySpec,
};
pub use units::{Cidr, Duration, Mac, Mode, OneOrMany, Percent, Rate, Size};

use std::net::IpAddr;
use std::path::Path;
use tree::Node;

/// A change from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// How messages name it: `--set guests.host.memory=1G`, `--seed 7`.
    pub argument: String,
    /// `key.path=value`.
    pub assignment: String,
}

impl Override {
    /// `--set ASSIGNMENT`.
    pub fn set(assignment: &str) -> Self {
        Self {
            argument: format!("--set {assignment}"),
            assignment: assignment.to_owned(),
        }
    }
    /// `--time MODE`.
    pub fn time(mode: &str) -> Self {
        Self::option("--time", "time", mode)
    }
    /// `--seed N`.
    pub fn seed(seed: &str) -> Self {
        Self::option("--seed", "seed", seed)
    }
    /// `--accel KIND`, for every guest; `kvm` for those that this machine's KVM
    /// can run.
    pub fn accel(kind: &str) -> Self {
        Self::option("--accel", "guests.*.accel", kind)
    }
    fn option(option: &str, key: &str, value: &str) -> Self {
        Self {
            argument: format!("{option} {value}"),
            assignment: format!("{key}={value}"),
        }
    }
}

/// How to read a topology.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Changes, applied in this order.
    pub overrides: Vec<Override>,
    /// Architecture of this machine, as `std::env::consts::ARCH` names it.
    pub machine_arch: String,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            machine_arch: std::env::consts::ARCH.into(),
        }
    }
}

/// Reads, changes, completes and checks the topology in the file `path`.
pub fn load(path: &Path, options: &LoadOptions) -> Result<TopologySpec, TopologyError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| TopologyError {
        file: name.clone(),
        problems: vec![Problem::new(
            Origin::File { line: 0, column: 0 },
            format!("cannot read the topology: {e}"),
            "give an existing file to --topology",
        )],
    })?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty());
    let base = base.unwrap_or(Path::new("."));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    parse(&text, &name, &base, options)
}

/// Reads a topology from `text`. `file` names it in messages; relative paths in
/// it are relative to `base`.
pub fn parse(
    text: &str,
    file: &str,
    base: &Path,
    options: &LoadOptions,
) -> Result<TopologySpec, TopologyError> {
    let fail = |problems| TopologyError {
        file: file.to_owned(),
        problems,
    };
    let one = |problem| fail(vec![problem]);
    let mut root = Node::parse(text, &|line, column| Origin::File { line, column }).map_err(one)?;
    let (everywhere, single): (Vec<&Override>, _) = options
        .overrides
        .iter()
        .partition(|o| o.assignment.starts_with(EVERY_GUEST));
    for change in single {
        set::apply(&mut root, &change.assignment, &change.argument).map_err(one)?;
    }
    let mut topology: TopologySpec = de::read(&root).map_err(one)?;
    fill::fill(&mut topology, base);
    if !everywhere.is_empty() {
        for change in everywhere {
            for assignment in expand(&topology, &change.assignment, &options.machine_arch) {
                set::apply(&mut root, &assignment, &change.argument).map_err(one)?;
            }
        }
        topology = de::read(&root).map_err(one)?;
        fill::fill(&mut topology, base);
    }
    let problems = validate::problems(&topology, &root, &options.machine_arch);
    if problems.is_empty() {
        Ok(topology)
    } else {
        Err(fail(problems))
    }
}

/// Start of a change that is meant for every guest.
const EVERY_GUEST: &str = "guests.*.";

/// A change to every guest as one for each. KVM is meant for the guests that it
/// can run, unless there are none.
fn expand(topology: &TopologySpec, assignment: &str, machine_arch: &str) -> Vec<String> {
    let Some(rest) = assignment.strip_prefix(EVERY_GUEST) else {
        return Vec::new();
    };
    let native = |g: &GuestSpec| rest != "accel=kvm" || g.arch().name() == machine_arch;
    let any_native = topology.guests.values().any(native);
    topology
        .guests
        .iter()
        .filter(|(_, guest)| native(guest) || !any_native)
        .map(|(name, _)| format!("guests.{name}.{rest}"))
        .collect()
}

impl TopologySpec {
    /// The topology as YAML, with every default filled in. Reading it again
    /// gives the same topology.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|e| format!("# cannot be shown: {e}\n"))
    }
    /// The address at which guest `to` answers guest `from`: that of its first
    /// interface which shares a network with one of `from`'s.
    pub fn route(&self, from: &str, to: &str) -> Option<IpAddr> {
        let sources = &self.guests.get(from)?.nics;
        let shares = |to: &Cidr| {
            let mut own = sources.iter().filter_map(|n| n.address);
            own.any(|a| a.contains(to.ip))
        };
        let mut targets = self.guests.get(to)?.nics.iter().filter_map(|n| n.address);
        targets.find(shares).map(|a| a.ip)
    }
}
