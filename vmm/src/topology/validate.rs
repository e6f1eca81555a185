//! Checks what the types cannot: that the parts of a topology fit together.

mod cards;
mod checks;
mod guests;
mod nics;

use super::error::{Problem, suggest};
use super::spec::{TimeMode, TopologySpec};
use super::tree::Node;

/// The topology under check, where its parts were written, and what was found.
pub(super) struct Context<'a> {
    pub(super) topology: &'a TopologySpec,
    root: &'a Node,
    pub(super) machine_arch: &'a str,
    problems: Vec<Problem>,
}

impl Context<'_> {
    /// Notes a problem of the value at `path`.
    pub(super) fn problem(&mut self, path: &str, what: impl Into<String>, hint: impl Into<String>) {
        let place = self.root.place(path);
        self.problems.push(Problem::new(place, what, hint));
    }
    pub(super) fn guest_names(&self) -> Vec<&str> {
        self.topology.guests.keys().map(String::as_str).collect()
    }
    /// Notes a problem unless guest `name` exists.
    pub(super) fn need_guest(&mut self, path: &str, name: &str) -> bool {
        if self.topology.guests.contains_key(name) {
            return true;
        }
        let hint = suggest(name, &self.guest_names(), "the guests are");
        self.problem(path, format!("there is no guest '{name}'"), hint);
        false
    }
    pub(super) fn lockstep(&self) -> bool {
        self.topology.time == TimeMode::Lockstep
    }
}

/// Everything that is wrong with `topology`, in the order of the file.
pub(super) fn problems(topology: &TopologySpec, root: &Node, machine_arch: &str) -> Vec<Problem> {
    let mut context = Context {
        topology,
        root,
        machine_arch,
        problems: Vec::new(),
    };
    if topology.version != 1 {
        let what = format!("version {} is not known", topology.version);
        context.problem("version", what, "this program reads version 1");
    }
    guests::check(&mut context);
    cards::check(&mut context);
    nics::check(&mut context);
    checks::check(&mut context);
    let mut problems = context.problems;
    problems.sort();
    problems.dedup();
    problems
}

/// Why `name` cannot name a guest or card, whose name becomes a host name and
/// part of file names.
pub(super) fn bad_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.is_empty()
        || name.len() > 32
        || !name.chars().all(ok)
        || name.starts_with('-')
        || name.ends_with('-')
}
