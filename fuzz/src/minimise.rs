//! Smaller inputs with the same crash.

use crate::{Target, attempt};

/// Most runs of the target.
const RUNS: usize = 4000;

/// A smaller input that makes `target` panic at the same place as `input`, or
/// `input` itself when it does not panic.
pub fn minimise(target: &Target, input: &[u8]) -> Vec<u8> {
    let mut best = input.to_vec();
    let Err(wanted) = attempt(target, input) else {
        return best;
    };
    let same =
        |bytes: &[u8]| attempt(target, bytes).is_err_and(|crash| crash.place == wanted.place);
    let mut left = RUNS;
    let mut size = best.len().next_power_of_two();
    while size > 0 && left > 0 {
        let before = best.len();
        let mut at = 0;
        while at < best.len() && left > 0 {
            left -= 1;
            let mut shorter = best.clone();
            drop(shorter.drain(at..(at + size).min(best.len())));
            if same(&shorter) {
                best = shorter;
            } else {
                at += size;
            }
        }
        // Again as long as something went.
        if best.len() == before {
            size /= 2;
        }
    }
    for at in 0..best.len().min(left) {
        let old = std::mem::take(&mut best[at]);
        if old != 0 && !same(&best) {
            best[at] = old;
        }
    }
    best
}
