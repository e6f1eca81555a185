//! Network interfaces: what they are connected to, names, addresses.

use super::Context;
use crate::topology::card::Function;
use crate::topology::error::suggest;
use crate::topology::nic::{NicBackend, NicSpec};
use crate::topology::spec::TopologySpec;
use crate::topology::units::Cidr;
use std::collections::BTreeMap;

/// Linux's IFNAMSIZ without the final zero.
const NAME: usize = 15;
/// Linux's sun_path without the final zero.
const SOCKET: usize = 107;
/// Most queue pairs of an interface.
const MAX_QUEUES: u16 = 16;
/// Descriptors of a queue.
const QUEUE_SIZES: std::ops::RangeInclusive<u16> = 16..=1024;

pub(super) fn check(context: &mut Context<'_>) {
    let topology = context.topology;
    let mut macs = BTreeMap::new();
    let mut ips = BTreeMap::new();
    let mut taps = BTreeMap::new();
    for (guest, spec) in &topology.guests {
        let mut names = BTreeMap::new();
        let mut cards = BTreeMap::new();
        for (i, nic) in spec.nics.iter().enumerate() {
            let path = format!("guests.{guest}.nics.{i}");
            let label = format!("{guest}.{}", nic.name());
            if bad_interface(nic.name()) {
                let what = format!("'{}' cannot be an interface's name", nic.name());
                context.problem(&format!("{path}.name"), what, "write one like eth0");
            } else if names.insert(nic.name(), i).is_some() {
                let what = format!("guest '{guest}' has two interfaces called '{}'", nic.name());
                context.problem(&format!("{path}.name"), what, "give each a name of its own");
            }
            connection(context, &path, guest, nic);
            if let Some(card) = nic.card.as_deref()
                && cards.insert(card, i).is_some()
            {
                let what = format!("guest '{guest}' has two interfaces on card '{card}'");
                context.problem(
                    &format!("{path}.card"),
                    what,
                    "a card has one for each side",
                );
            }
            if let Some(tap) = nic.tap.as_deref().or(nic.vhost_net.as_deref())
                && let Some(other) = taps.insert(tap.to_owned(), label.clone())
            {
                let what = format!("{label} and {other} both use TAP device '{tap}'");
                let key = if nic.tap.is_some() {
                    "tap"
                } else {
                    "vhost-net"
                };
                context.problem(
                    &format!("{path}.{key}"),
                    what,
                    "give each a device of its own",
                );
            }
            if let Some(mac) = nic.mac
                && let Some(other) = macs.insert(mac, label.clone())
            {
                let what = format!("{label} and {other} both have MAC address {mac}");
                let hint = "change one, or leave 'mac' out for a default";
                context.problem(&format!("{path}.mac"), what, hint);
            }
            if let Some(address) = nic.address {
                host_address(context, &path, address);
                if let Some(other) = ips.insert(address.ip, label.clone()) {
                    let what = format!("{label} and {other} both have address {}", address.ip);
                    context.problem(&format!("{path}.address"), what, "change one of them");
                }
            }
            if !(1..=MAX_QUEUES).contains(&nic.queues()) {
                let what = format!("{} queue pairs are not possible", nic.queues());
                let hint = format!("write 1 to {MAX_QUEUES}");
                context.problem(&format!("{path}.queues"), what, hint);
            }
            let size = nic.queue_size();
            if !QUEUE_SIZES.contains(&size) || !size.is_power_of_two() {
                let what = format!("a queue cannot have {size} descriptors");
                let hint = "write a power of two from 16 to 1024";
                context.problem(&format!("{path}.queue_size"), what, hint);
            }
            if nic.mtu() < 68 {
                let what = format!("an MTU of {} is too small", nic.mtu());
                context.problem(
                    &format!("{path}.mtu"),
                    what,
                    "write 68 to 65535, such as 1500",
                );
            }
        }
    }
    shared_networks(context);
    captures(context);
}

fn connection(context: &mut Context<'_>, path: &str, guest: &str, nic: &NicSpec) {
    let kinds = "card, link, tap, vhost-net, vhost-user or loopback";
    let backends = nic.backends();
    if backends.len() != 1 {
        let how = match backends.len() {
            0 => "nothing".to_owned(),
            n => format!("{n} things"),
        };
        let what = format!("interface {guest}.{} is connected to {how}", nic.name());
        context.problem(path, what, format!("write exactly one of {kinds}"));
        return;
    }
    match nic.backend() {
        NicBackend::Card(name) => on_card(context, path, guest, name),
        NicBackend::Tap(tap) | NicBackend::VhostNet(tap) => {
            let key = if nic.tap.is_some() {
                "tap"
            } else {
                "vhost-net"
            };
            if bad_interface(tap) {
                let what = format!("'{tap}' cannot be a TAP device's name");
                let hint = format!("use 1 to {NAME} characters, such as tap0");
                context.problem(&format!("{path}.{key}"), what, hint);
            }
            outside(context, &format!("{path}.{key}"));
        }
        NicBackend::VhostUser(socket) => {
            let at = format!("{path}.vhost-user");
            let length = socket.socket().as_os_str().len();
            if length == 0 || length > SOCKET {
                let what = format!("a socket's path cannot have {length} characters");
                context.problem(&at, what, format!("write 1 to {SOCKET} characters"));
            }
            outside(context, &at);
        }
        NicBackend::Link(_) | NicBackend::Loopback => {}
    }
}

fn outside(context: &mut Context<'_>, path: &str) {
    if context.lockstep() {
        let what = "an interface to the outside cannot run in lockstep";
        context.problem(path, what, "connect it to a card, or write 'time: free'");
    }
}

fn on_card(context: &mut Context<'_>, path: &str, guest: &str, name: &str) {
    let topology = context.topology;
    let path = format!("{path}.card");
    let Some(card) = topology.cards.get(name) else {
        let names: Vec<_> = topology.cards.keys().collect();
        let hint = if names.is_empty() {
            format!("add it: 'cards: {{ {name}: {{}} }}'")
        } else {
            suggest(name, &names, "the cards are")
        };
        context.problem(&path, format!("there is no card '{name}'"), hint);
        return;
    };
    let (host, board) = (card.host.as_deref(), card.board.as_deref());
    if host != Some(guest) && board != Some(guest) {
        let taken = |side: &str, by: Option<&str>| match by {
            Some(by) => format!("its {side} side is guest '{by}'"),
            None => format!("it has no {side} guest"),
        };
        let what = format!(
            "guest '{guest}' is not on card '{name}': {} and {}",
            taken("host", host),
            taken("board", board)
        );
        let hint = "a side has one guest; use a second card, or change 'host' or 'board' there";
        context.problem(&path, what, hint);
    } else if host == Some(guest) && !card.expose.contains(&Function::VirtioNet) {
        let what = format!("card '{name}' has no network interface for guest '{guest}'");
        let hint = format!("add virtio-net to 'expose' of card '{name}'");
        context.problem(&path, what, hint);
    }
}

fn host_address(context: &mut Context<'_>, path: &str, address: Cidr) {
    let path = format!("{path}.address");
    let ip = address.ip;
    if ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() {
        let what = format!("{ip} cannot be an interface's address");
        context.problem(&path, what, "write one like 10.10.10.1/24");
    } else if !address.is_host() {
        let what = format!(
            "{ip} is the network or broadcast address of {}/{}",
            address.network(),
            address.prefix
        );
        context.problem(&path, what, "write a host address in it");
    }
}

/// The two interfaces on a card must be in one network.
fn shared_networks(context: &mut Context<'_>) {
    let topology = context.topology;
    for (name, card) in &topology.cards {
        let side = |guest: &Option<String>| {
            let guest = guest.as_ref()?;
            let nics = &topology.guests.get(guest)?.nics;
            let at = nics.iter().position(|n| n.card.as_ref() == Some(name))?;
            Some((guest.clone(), at, nics[at].address?))
        };
        let (Some(host), Some(board)) = (side(&card.host), side(&card.board)) else {
            continue;
        };
        let (there, here) = (host.2, board.2);
        let network = format!("{}/{}", there.network(), there.prefix);
        let path = format!("guests.{}.nics.{}.address", board.0, board.1);
        if !there.contains(here.ip) {
            let what = format!(
                "{} is outside {network}, the network of guest '{}' on card '{name}'",
                here.ip, host.0
            );
            context.problem(&path, what, format!("write an address in {network}"));
        } else if there.prefix != here.prefix {
            let what = format!(
                "{here} and {there} of guest '{}' on card '{name}' differ in their prefix",
                host.0
            );
            context.problem(&path, what, format!("write {}/{}", here.ip, there.prefix));
        }
    }
}

/// Every interface as `GUEST.NIC`.
pub(super) fn names(topology: &TopologySpec) -> Vec<String> {
    let guests = topology.guests.iter();
    guests
        .flat_map(|(guest, spec)| {
            let nics = spec.nics.iter();
            nics.map(move |nic| format!("{guest}.{}", nic.name()))
        })
        .collect()
}

fn captures(context: &mut Context<'_>) {
    let topology = context.topology;
    let mut known: Vec<String> = topology.cards.keys().cloned().collect();
    known.extend(names(topology));
    for (i, point) in topology.capture.iter().enumerate() {
        let path = format!("capture.{i}");
        if !known.contains(point) {
            let hint = suggest(point, &known, "write GUEST.NIC or a card:");
            context.problem(
                &path,
                format!("there is nothing to capture at '{point}'"),
                hint,
            );
        } else if outside_nics(topology).contains(point) {
            context.problem(
                &path,
                format!("the frames of '{point}' do not pass through this process"),
                "capture at its other end, or write 'tap:' instead of 'vhost-net:'",
            );
        } else if topology.capture[..i].contains(point) {
            context.problem(
                &path,
                format!("'{point}' is here twice"),
                "remove one of them",
            );
        }
    }
}

/// Interfaces whose frames are moved by somebody else.
fn outside_nics(topology: &TopologySpec) -> Vec<String> {
    let mut all = Vec::new();
    for (guest, spec) in &topology.guests {
        let outside = spec.nics.iter().filter(|nic| {
            let backend = nic.backend();
            matches!(backend, NicBackend::VhostNet(_) | NicBackend::VhostUser(_))
        });
        all.extend(outside.map(|nic| format!("{guest}.{}", nic.name())));
    }
    all
}

fn bad_interface(name: &str) -> bool {
    name.is_empty()
        || name.len() > NAME
        || name == "."
        || name == ".."
        || name.contains(|c: char| {
            c == '/' || c == ':' || c == '%' || c.is_whitespace() || !c.is_ascii_graphic()
        })
}
