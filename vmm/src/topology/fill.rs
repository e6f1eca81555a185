//! Fills in the defaults that depend on other parts of a topology.

use super::card::CardBackend;
use super::check::CheckSpec;
use super::spec::{Arch, ImageSpec, TimeMode, TopologySpec};
use super::units::{Duration, Mac};
use bus::SimTime;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Quantum of a lockstep run that has no card.
const LONE_QUANTUM: SimTime = SimTime::from_us(100);

/// Makes every default visible. Relative paths become relative to `base`.
pub(super) fn fill(topology: &mut TopologySpec, base: &Path) {
    for card in topology.cards.values_mut() {
        card.host.get_or_insert_with(|| "host".into());
        if card.backend == CardBackend::Sim {
            card.board.get_or_insert_with(|| "board".into());
        }
    }
    let boards: BTreeSet<_> = topology
        .cards
        .values()
        .filter_map(|c| c.board.clone())
        .collect();
    let mut taken: BTreeSet<Mac> = topology
        .guests
        .values()
        .flat_map(|g| g.nics.iter().filter_map(|n| n.mac))
        .collect();
    for (number, (name, guest)) in (1u16..).zip(topology.guests.iter_mut()) {
        guest.arch.get_or_insert(if boards.contains(name) {
            Arch::Aarch64
        } else {
            Arch::X86_64
        });
        if let ImageSpec::Files(files) = &mut guest.image {
            for path in files.kernel.iter_mut().chain(&mut files.initrd) {
                anchor(path, base);
            }
        }
        for file in &mut guest.files {
            anchor(&mut file.from, base);
        }
        for (at, nic) in (0u16..).zip(guest.nics.iter_mut()) {
            nic.name.get_or_insert_with(|| format!("eth{at}"));
            nic.mtu.get_or_insert(1500);
            if let Some(socket) = &mut nic.vhost_user {
                anchor(socket.socket_mut(), base);
            }
            let mut last = at + 1;
            while nic.mac.is_none() {
                let [hi, lo] = number.to_be_bytes();
                let mac = Mac([0x52, 0x54, hi, lo, (last >> 8) as u8, last as u8]);
                if taken.insert(mac) {
                    nic.mac = Some(mac);
                }
                last += 1;
            }
        }
    }
    for check in &topology.checks {
        let CheckSpec::Iperf3(iperf3) = check else {
            continue;
        };
        for name in [&iperf3.from, &iperf3.to] {
            if let Some(guest) = topology.guests.get_mut(name)
                && guest.image == ImageSpec::Debian
                && !guest.packages.iter().any(|p| p == "iperf3")
            {
                guest.packages.push("iperf3".into());
            }
        }
    }
    if topology.time == TimeMode::Lockstep && topology.quantum.is_none() {
        let least = topology.cards.values().map(|c| c.link.latency).min();
        topology.quantum = Some(least.unwrap_or(Duration(LONE_QUANTUM)));
    }
}

fn anchor(path: &mut PathBuf, base: &Path) {
    if path.is_relative() && !path.as_os_str().is_empty() {
        let plain = path.strip_prefix(".").unwrap_or(path);
        *path = base.join(plain);
    }
}
