//! Cards: sides, link, engine, FIFO, faults; and the quantum of lockstep.

use super::{Context, bad_name};
use crate::topology::card::{CardBackend, CardSpec};
use crate::topology::spec::Arch;
use bus::SimTime;
use std::collections::BTreeMap;

pub(super) fn check(context: &mut Context<'_>) {
    let topology = context.topology;
    let mut boards: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, card) in &topology.cards {
        let path = format!("cards.{name}");
        if bad_name(name) {
            let what = format!("'{name}' cannot be a card's name");
            let hint = "use 1 to 32 small letters, digits and inner '-'";
            context.problem(&path, what, hint);
        }
        if topology.guests.contains_key(name) {
            let what = format!("a guest and a card are both called '{name}'");
            context.problem(&path, what, "give the card another name, such as fpga0");
        }
        sides(context, &path, card);
        if let Some(board) = card.board.as_deref()
            && let Some(other) = boards.insert(board, name)
        {
            let what = format!("guest '{board}' is the board of card '{other}' already");
            context.problem(
                &format!("{path}.board"),
                what,
                "each card needs a board of its own",
            );
        }
        link(context, &path, card);
        engine(context, &path, card);
        real(context, &path, card);
    }
    quantum(context);
}

fn sides(context: &mut Context<'_>, path: &str, card: &CardSpec) {
    for (side, guest) in [("host", &card.host), ("board", &card.board)] {
        let Some(guest) = guest.as_deref() else {
            continue;
        };
        if !context.topology.guests.contains_key(guest) {
            let what = format!("the card's {side} side is guest '{guest}', which does not exist");
            let other = if side == "host" {
                &card.board
            } else {
                &card.host
            };
            let mut names = context.guest_names();
            names.retain(|name| other.as_deref() != Some(*name));
            let hint = match names.as_slice() {
                [] => format!("add guest '{guest}'"),
                names => format!("add it, or write '{side}: {}'", names.join("' or '")),
            };
            context.problem(&format!("{path}.{side}"), what, hint);
        }
    }
    if card.host == card.board {
        let what = "both sides of the card are the same guest";
        context.problem(&format!("{path}.board"), what, "a card joins two guests");
    }
    let board = card
        .board
        .as_deref()
        .and_then(|b| context.topology.guests.get_key_value(b));
    if let Some((name, guest)) = board
        && guest.arch() != Arch::Aarch64
    {
        let what = format!(
            "guest '{name}' is {}, not an ARM64 board",
            guest.arch().name()
        );
        let hint = format!("write 'arch: aarch64' for guest '{name}'");
        context.problem(&format!("{path}.board"), what, hint);
    }
    if card.expose.is_empty() {
        let what = "the card exposes no PCI function";
        context.problem(&format!("{path}.expose"), what, "write [virtio-net, xdma]");
    }
    for (i, function) in card.expose.iter().enumerate() {
        if card.expose[..i].contains(function) {
            let what = "the same PCI function is here twice";
            context.problem(&format!("{path}.expose.{i}"), what, "remove one of them");
        }
    }
    if context.lockstep() && matches!(card.backend, CardBackend::Xdma(_)) {
        let what = "a real card cannot run in lockstep";
        context.problem(
            &format!("{path}.backend"),
            what,
            "write 'backend: sim' or 'time: free'",
        );
    }
}

fn real(context: &mut Context<'_>, path: &str, card: &CardSpec) {
    let CardBackend::Xdma(xdma) = &card.backend else {
        return;
    };
    let path = format!("{path}.backend.xdma");
    for (key, channel) in [("h2c", xdma.h2c), ("c2h", xdma.c2h)] {
        if channel > 3 {
            let what = format!("there is no channel {channel}");
            context.problem(&format!("{path}.{key}"), what, "write 0 to 3");
        }
    }
    if xdma.ddr % 64 != 0 || xdma.ddr.checked_add(xdma.bytes.0).is_none() {
        let what = format!("the window cannot start at {:#x}", xdma.ddr);
        context.problem(
            &format!("{path}.ddr"),
            what,
            "write a multiple of 64, such as 0x3000000",
        );
    }
}

fn link(context: &mut Context<'_>, path: &str, card: &CardSpec) {
    let link = &card.link;
    let path = format!("{path}.link");
    if !(1..=5).contains(&link.generation) {
        let what = format!("there is no PCIe generation {}", link.generation);
        context.problem(&format!("{path}.gen"), what, "write 1 to 5");
    }
    if ![1, 2, 4, 8, 16].contains(&link.lanes) {
        let what = format!("a link cannot have {} lanes", link.lanes);
        context.problem(&format!("{path}.lanes"), what, "write 1, 2, 4, 8 or 16");
    }
    for (key, value, most, hint) in [
        (
            "max_payload",
            link.max_payload,
            512,
            "write 128, 256 or 512",
        ),
        (
            "max_read_request",
            link.max_read_request,
            4096,
            "write 128, 256, 512, 1024, 2048 or 4096",
        ),
    ] {
        if !value.is_power_of_two() || !(128..=most).contains(&value) {
            let what = format!("{key} cannot be {value} bytes");
            context.problem(&format!("{path}.{key}"), what, hint);
        }
    }
    if link.latency.0 > SimTime::from_secs(1) {
        let what = format!("a link cannot take {}", link.latency);
        context.problem(
            &format!("{path}.latency"),
            what,
            "write at most 1s, such as 500ns",
        );
    }
}

fn engine(context: &mut Context<'_>, path: &str, card: &CardSpec) {
    if !(1..=4).contains(&card.dma.channels) {
        let what = format!("a DMA engine cannot have {} channels", card.dma.channels);
        context.problem(&format!("{path}.dma.channels"), what, "write 1 to 4");
    }
    let fifo = &card.fifo;
    if !(1..=65_536).contains(&fifo.slots) {
        let what = format!("a FIFO cannot have {} slots", fifo.slots);
        context.problem(
            &format!("{path}.fifo.slots"),
            what,
            "write 1 to 65536, such as 1024",
        );
    }
    // One frame of the largest size must fit; two rings share a 16 MiB window.
    if fifo.bytes.0 < 128 << 10 || fifo.bytes.0 > 4 << 20 {
        let what = format!("a FIFO cannot hold {}", fifo.bytes);
        context.problem(&format!("{path}.fifo.bytes"), what, "write 128K to 4M");
    }
    for (i, fault) in card.faults.iter().enumerate() {
        if matches!(card.backend, CardBackend::Xdma(_)) {
            let what = "faults cannot be made in a real card";
            context.problem(&format!("{path}.faults.{i}"), what, "write 'backend: sim'");
            break;
        }
        let when = &fault.when;
        if when.nth == Some(0) || when.every == Some(0) {
            let what = "events are counted from 1, so there is no event 0";
            context.problem(&format!("{path}.faults.{i}.when"), what, "write 1 or more");
        }
        if let (Some(least), Some(most)) = (when.min_size, when.max_size)
            && least > most
        {
            let what = format!("no size is at least {least} and at most {most}");
            context.problem(&format!("{path}.faults.{i}.when"), what, "swap the two");
        }
    }
}

fn quantum(context: &mut Context<'_>) {
    let topology = context.topology;
    if !context.lockstep() {
        if topology.quantum.is_some() {
            let what = "'quantum' means nothing without 'time: lockstep'";
            context.problem("quantum", what, "remove it, or write 'time: lockstep'");
        }
        return;
    }
    for (name, card) in &topology.cards {
        let latency = card.link.latency;
        let path = format!("cards.{name}.link.latency");
        if latency.0 == SimTime::ZERO {
            let what = format!("lockstep needs a link latency above 0 at card '{name}'");
            context.problem(&path, what, "write 500ns or so, or 'time: free'");
        } else if let Some(quantum) = topology.quantum
            && quantum > latency
        {
            let what = format!(
                "the quantum of {quantum} is longer than the {latency} link latency of card '{name}'"
            );
            context.problem(
                "quantum",
                what,
                format!("write at most {latency}, or leave it out"),
            );
        }
    }
    let latencies = topology
        .cards
        .values()
        .all(|c| c.link.latency.0 > SimTime::ZERO);
    if latencies && topology.quantum.is_some_and(|q| q.0 < SimTime::from_ns(1)) {
        let what = "the quantum is too short for a single instruction";
        context.problem("quantum", what, "write 1ns at least, or leave it out");
    }
}
