//! New inputs from old ones.

use crate::Target;
use bus::fuzz::Noise;

/// Values at which programs go wrong: around zero and the limits of each width.
const EDGES: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    0x10,
    0x1f,
    0x20,
    0x3f,
    0x40,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xfff,
    0x1000,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
];

/// Lengths of blocks that are moved: those of fields are the likeliest.
const LENGTHS: [usize; 8] = [1, 2, 4, 4, 8, 16, 32, 64];

/// Makes inputs for one target.
#[derive(Clone, Debug)]
pub struct Mutator {
    noise: Noise,
    max_len: usize,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// The same seed makes the same inputs from the same pool.
    pub fn new(target: &Target, seed: u64) -> Self {
        Self {
            noise: Noise::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            max_len: target.max_len,
            words: target.words,
        }
    }
    /// The next input: one of `pool` changed in 1 to 32 places, or noise.
    pub fn input(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let noise = &mut self.noise;
        if pool.is_empty() || noise.below(16) == 0 {
            let most = 1 << noise.below(13);
            let len = noise.below(self.max_len.min(most) + 1);
            return bus::fuzz::noise(noise.next(), len);
        }
        let mut bytes = pool[noise.below(pool.len())].clone();
        let most = noise.below(6) + 1;
        for _ in 0..1usize << noise.below(most) {
            let other = &pool[self.noise.below(pool.len())];
            self.change(&mut bytes, other);
        }
        bytes.truncate(self.max_len);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let noise = &mut self.noise;
        let len = bytes.len();
        let at = noise.below(len);
        match noise.below(12) {
            0 | 1 if len > 0 => bytes[at] ^= 1 << noise.below(8),
            2 if len > 0 => bytes[at] = noise.next() as u8,
            3 | 4 => {
                let edge = EDGES[noise.below(EDGES.len())];
                let value = [edge, edge.wrapping_neg(), !edge][noise.below(3)];
                self.number(bytes, |_| value);
            }
            5 => {
                let delta = noise.below(36) as u64;
                let delta = if noise.below(2) == 0 {
                    delta
                } else {
                    delta.wrapping_neg()
                };
                self.number(bytes, |old| old.wrapping_add(delta));
            }
            6 => {
                let block = self.block(other);
                self.insert(bytes, &block);
            }
            7 => {
                let block = self.block(&bytes.clone());
                self.insert(bytes, &block);
            }
            8 => {
                let count = self.length().min(len - at);
                drop(bytes.drain(at..at + count));
            }
            9 => {
                let block = self.block(other);
                let count = block.len().min(len - at);
                bytes[at..at + count].copy_from_slice(&block[..count]);
            }
            10 if !self.words.is_empty() => {
                let word = self.words[noise.below(self.words.len())];
                if noise.below(2) == 0 {
                    self.insert(bytes, word);
                } else {
                    let count = word.len().min(len - at);
                    bytes[at..at + count].copy_from_slice(&word[..count]);
                }
            }
            // The start of one and the end of another.
            11 if noise.below(4) == 0 => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[noise.below(other.len())..]);
            }
            _ if noise.below(8) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
    /// Changes a little- or big-endian number of 1 to 8 bytes.
    fn number(&mut self, bytes: &mut [u8], change: impl FnOnce(u64) -> u64) {
        let width = 1 << self.noise.below(4);
        if bytes.len() < width {
            return;
        }
        let mut at = self.noise.below(bytes.len() - width + 1);
        if self.noise.below(2) == 0 {
            at &= !(width - 1);
        }
        let mut raw = [0; 8];
        let field = &mut bytes[at..at + width];
        let big = self.noise.below(4) == 0;
        if big {
            field.reverse();
        }
        raw[..width].copy_from_slice(field);
        let new = change(u64::from_le_bytes(raw)).to_le_bytes();
        field.copy_from_slice(&new[..width]);
        if big {
            field.reverse();
        }
    }
    fn length(&mut self) -> usize {
        LENGTHS[self.noise.below(LENGTHS.len())]
    }
    fn block(&mut self, from: &[u8]) -> Vec<u8> {
        let at = self.noise.below(from.len());
        let count = self.length().min(from.len() - at);
        from[at..at + count].to_vec()
    }
    fn insert(&mut self, bytes: &mut Vec<u8>, block: &[u8]) {
        let mut at = self.noise.below(bytes.len() + 1);
        if self.noise.below(2) == 0 {
            at &= !3;
        }
        drop(bytes.splice(at..at, block.iter().copied()));
    }
}
