//! Random numbers from a seed (splitmix64, Steele, Lea and Flood 2014).

pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .collect();
        bytes.truncate(n);
        bytes
    }
    /// A number of any size: small, large, with few bits, with many.
    pub fn number(&mut self) -> u64 {
        let n = self.next();
        match self.below(6) {
            0 => n & 0xff,
            1 => (n & 0xff) as i8 as u64,
            2 => 1 << (n & 63),
            3 => n & 0xffff_ffff,
            4 => i64::MAX as u64 ^ (n & 1).wrapping_neg(),
            _ => n,
        }
    }
}
