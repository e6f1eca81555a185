//! The Toeplitz hash of receive-side scaling (virtio 1.2, section 5.1.6.4.3;
//! "Introduction to Receive Side Scaling", Microsoft).

/// Longest key, and the number of input bytes that it is long enough for.
pub(super) const KEY: usize = 40;
const INPUT: usize = KEY - 4;

/// A key, as tables of what each half byte of the input adds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Toeplitz {
    /// By position in half bytes, the first one of each byte being the high
    /// one, and by value.
    halves: Box<[[u32; 16]; 2 * INPUT]>,
}

impl Toeplitz {
    /// Of a key; what is missing at its end is zeroes.
    pub fn new(key: &[u8]) -> Self {
        let mut whole = [0u8; KEY];
        for (to, from) in whole.iter_mut().zip(key) {
            *to = *from;
        }
        // The 32 bits of the key that start at bit `at`.
        let window = |at: usize| {
            let bytes = whole.get(at / 8..at / 8 + 5).unwrap_or(&[0; 5]);
            let word = bytes.iter().fold(0u64, |w, b| w << 8 | u64::from(*b));
            (word >> (8 - at % 8)) as u32
        };
        let mut halves = Box::new([[0u32; 16]; 2 * INPUT]);
        for (position, table) in halves.iter_mut().enumerate() {
            for (value, entry) in table.iter_mut().enumerate() {
                for bit in 0..4 {
                    if value & 8 >> bit != 0 {
                        *entry ^= window(4 * position + bit);
                    }
                }
            }
        }
        Self { halves }
    }
    /// The hash of the bytes of `parts`, one part after another; 36 bytes in all
    /// at most.
    pub fn hash(&self, parts: &[&[u8]]) -> u32 {
        parts
            .iter()
            .flat_map(|part| part.iter())
            .flat_map(|byte| [byte >> 4, byte & 15])
            .zip(self.halves.iter())
            .fold(0, |hash, (half, table)| hash ^ table[usize::from(half)])
    }
}

impl std::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Toeplitz")
    }
}
