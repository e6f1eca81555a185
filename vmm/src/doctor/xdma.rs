//! Real FPGA cards with the XDMA driver.

use super::{Finding, Health, Node, open};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// PCI vendor of the cards (Xilinx).
const VENDOR: &str = "0x10ee";

pub(super) fn card() -> Finding {
    let cards = cards(names("/dev"));
    let plugged = plugged(Path::new("/sys/bus/pci/devices"));
    let denied: Vec<_> = cards
        .keys()
        .filter(|card| {
            !matches!(
                open(format!("/dev/{card}_user")),
                Node::Usable | Node::Absent
            )
        })
        .collect();
    let simulated = "the simulated card".to_owned();
    let (health, found, used, advice) = match (cards.is_empty(), plugged) {
        (true, 0) => (Health::Replaced, "no card".to_owned(), simulated, None),
        (true, n) => (
            Health::Replaced,
            format!(
                "{n} PCI function(s) of vendor {VENDOR}, and no driver: there is no /dev/xdma*"
            ),
            simulated,
            Some("load the xdma driver, if the card holds the XDMA design".to_owned()),
        ),
        (false, _) => {
            let list: Vec<_> = cards
                .iter()
                .map(|(card, n)| format!("/dev/{card} ({n} nodes)"))
                .collect();
            let advice = (!denied.is_empty())
                .then(|| "no permission for its nodes: run as root, or let a udev rule give them to a group".to_owned());
            let health = if denied.is_empty() {
                Health::Good
            } else {
                Health::Missing
            };
            let used = "what 'backend:' of the card says: sim, or { xdma: { device: /dev/xdma0 } }"
                .to_owned();
            (health, list.join(", "), used, advice)
        }
    };
    Finding {
        what: "XDMA card",
        health,
        found,
        used,
        advice,
    }
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Nodes of each card: `xdma0_user`, `xdma0_h2c_0` and so on.
fn cards(names: Vec<String>) -> BTreeMap<String, usize> {
    let mut cards = BTreeMap::new();
    for name in names {
        let card = name.split_once('_').map(|(card, _)| card);
        let number = card.and_then(|card| card.strip_prefix("xdma"));
        if let (Some(card), Some(number)) = (card, number)
            && number.parse::<u32>().is_ok()
        {
            *cards.entry(card.to_owned()).or_insert(0) += 1;
        }
    }
    cards
}

/// PCI functions of the vendor.
fn plugged(devices: &Path) -> usize {
    let vendor = |dir: &Path| fs::read_to_string(dir.join("vendor")).unwrap_or_default();
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    entries
        .filter(|entry| vendor(&entry.path()).trim() == VENDOR)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_belong_to_cards() {
        let names = [
            "xdma0_user",
            "xdma0_h2c_0",
            "xdma12_control",
            "xdma",
            "xdmax_user",
            "xdma_user",
            "null",
        ];
        let cards = cards(names.map(str::to_owned).into());
        assert_eq!(
            cards.into_iter().collect::<Vec<_>>(),
            [("xdma0".to_owned(), 2), ("xdma12".to_owned(), 1)]
        );
    }
}
