//! A generic fuzz driver for any [`BusDevice`].

use crate::BusDevice;

/// Drives `device`, whose window has `len` bytes, by the commands in `input`.
///
/// Each command takes one byte for direction and width, four for the offset
/// and, for a write, as many as the width. The driver only asks that the device
/// neither panics nor hangs; `after` is called after each access so that a test
/// can check its own rules.
pub fn drive<D: BusDevice + ?Sized>(
    device: &mut D,
    len: u64,
    input: &[u8],
    mut after: impl FnMut(&mut D),
) {
    let mut bytes = input.iter().copied();
    let mut next = || bytes.next();
    while let Some(command) = next() {
        let width = 1usize << ((command >> 1) & 3);
        let mut offset = 0u64;
        for _ in 0..4 {
            offset = offset << 8 | u64::from(next().unwrap_or(0));
        }
        if len < width as u64 {
            return;
        }
        // Half of the accesses are aligned: most registers answer only these.
        offset %= len - width as u64 + 1;
        if command & 0x80 == 0 {
            offset &= !(width as u64 - 1);
        }
        let mut data = [0u8; 8];
        let data = &mut data[..width];
        if command & 1 == 0 {
            let _ = device.read(offset, data);
        } else {
            data.fill_with(|| next().unwrap_or(0));
            let _ = device.write(offset, data);
        }
        after(device);
    }
}

/// A small reproducible generator (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }
    /// 64 random bits.
    #[allow(clippy::should_implement_trait)] // It never ends.
    pub fn next(&mut self) -> u64 {
        let x = &mut self.0;
        *x ^= *x >> 12;
        *x ^= *x << 25;
        *x ^= *x >> 27;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `end`, or 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // The upper bits are the better ones.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// `len` bytes of [`Noise`], for short fuzz runs without a fuzzer.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&noise.next().to_le_bytes());
    }
    out.truncate(len);
    out
}
