//! `--set key.path=value`: changes the YAML tree before it is read.

use super::error::{Origin, Problem};
use super::tree::{Entry, Kind, Node};
use std::sync::Arc;

/// Applies `assignment` (`guests.host.memory=512M`, `checks[0].ping.count=3`,
/// `guests.host.nics.1={name: eth1, tap: tap0}`) to `root`. `argument` is how
/// messages name it. A list index one past the end appends.
pub(super) fn apply(root: &mut Node, assignment: &str, argument: &str) -> Result<(), Problem> {
    let origin = Origin::Argument(Arc::from(argument));
    let fail = |what: String, hint: &str| Err(Problem::new(origin.clone(), what, hint));
    let example = "write it like guests.host.memory=512M";
    let Some((path, value)) = assignment.split_once('=') else {
        return fail("there is no '='".into(), example);
    };
    let path = path.trim().replace('[', ".").replace(']', "");
    if path.is_empty() || path.split('.').any(|p| p.trim().is_empty()) {
        return fail("the key is empty or has an empty part".into(), example);
    }
    let place = origin.clone();
    let value = Node::parse(value, &move |_, _| place.clone())?;
    let mut node = root;
    for (n, part) in path.split('.').enumerate() {
        if node.is_null() {
            node.kind = Kind::Map(Vec::new());
        }
        let parent = path.split('.').take(n).collect::<Vec<_>>().join(".");
        node = match &mut node.kind {
            Kind::Map(entries) => {
                let at = match entries.iter().position(|e| e.key == part) {
                    Some(at) => at,
                    None => {
                        entries.push(Entry {
                            key: part.to_owned(),
                            origin: origin.clone(),
                            value: null(&origin),
                        });
                        entries.len() - 1
                    }
                };
                &mut entries[at].value
            }
            Kind::Seq(items) => {
                let len = items.len();
                match part.parse::<usize>() {
                    Ok(i) if i < len => &mut items[i],
                    Ok(i) if i == len => {
                        items.push(null(&origin));
                        &mut items[i]
                    }
                    Ok(i) => {
                        let what = format!("{parent} has no item {i}");
                        let hint = format!("it has {len}; the next one is {parent}[{len}]");
                        return fail(what, &hint);
                    }
                    Err(_) => {
                        let what = format!("{parent} is a list, and '{part}' is no number");
                        return fail(what, &format!("write {parent}[0] for its first item"));
                    }
                }
            }
            Kind::Scalar { .. } => {
                let what = format!("{parent} is a single value and has no '{part}'");
                let hint = format!("set the whole of it: {parent}={{{part}: ...}}");
                return fail(what, &hint);
            }
        };
    }
    *node = value;
    Ok(())
}

fn null(origin: &Origin) -> Node {
    Node {
        origin: origin.clone(),
        kind: Kind::Scalar {
            text: String::new(),
            plain: true,
        },
    }
}
