//! `vmm model`.

use super::exit;
use super::prepare::card_spec;
use super::report::say;
use crate::results::{CardModel, plot};
use crate::topology::TopologySpec;
use std::path::Path;

/// Prints what each card of a topology should reach, and with `svg` draws it;
/// the exit code. Nothing is booted.
pub fn model(topology: &TopologySpec, svg: Option<&Path>) -> u8 {
    if topology.cards.is_empty() {
        eprintln!("error: the topology has no card; 'cards: {{ fpga0: {{}} }}' adds one");
        return exit::INPUT;
    }
    let cards: Vec<CardModel> = topology
        .cards
        .iter()
        .map(|(name, card)| {
            let spec = card_spec(card, topology.seed, true);
            CardModel {
                name: name.clone(),
                link: spec.link,
                dma: spec.dma,
            }
        })
        .collect();
    for (n, card) in cards.iter().enumerate() {
        match card.table() {
            Ok(table) => say(&format!("{}{table}", if n > 0 { "\n" } else { "" })),
            Err(error) => {
                eprintln!("error: card '{}': {error}", card.name);
                return exit::INPUT;
            }
        }
    }
    let Some(path) = svg else { return exit::PASSED };
    let written = match plot(&cards) {
        Ok(text) => std::fs::write(path, text),
        Err(error) => {
            eprintln!("error: {error}");
            return exit::INPUT;
        }
    };
    match written {
        Ok(()) => {
            say(&format!("plot in {}\n", path.display()));
            exit::PASSED
        }
        Err(error) => {
            eprintln!(
                "error: cannot write {}: {error}; free some space or choose another file",
                path.display()
            );
            exit::INFRASTRUCTURE
        }
    }
}
