//! Random numbers with a fixed seed, and values that instructions find hard.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    /// An integer of any size: random, small, or next to a power of two.
    pub fn integer(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(64),
            1 => 0u64.wrapping_sub(self.below(64)),
            2 | 3 => {
                let bit = 1u64 << self.below(64);
                bit.wrapping_add(self.below(3)).wrapping_sub(1)
            }
            4 => self.next() & 0xffff_ffff,
            5 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }
    pub fn f32(&mut self) -> u32 {
        let sign = (self.next() as u32) & 0x8000_0000;
        let fraction = self.next() as u32 & 0x7f_ffff;
        sign | match self.below(16) {
            0 => 0,
            1 => 0x7f80_0000,
            2 => 0x7fc0_0000 | fraction,
            3 => 0x7f80_0001 | (fraction & 0x3f_ffff),
            4 => fraction >> self.below(23),
            5 => 0x0080_0000 | fraction,
            6 => 0x7f00_0000 | fraction,
            7 => (self.below(256) as u32) << 23,
            8 => (self.below(40) as f32).to_bits(),
            9 => (self.next() as i32 as f32).to_bits() & 0x7fff_ffff,
            10 => (self.below(1 << 26) as f32 * 0.5).to_bits(),
            _ => ((110 + self.below(40) as u32) << 23) | fraction,
        }
    }
    pub fn f64(&mut self) -> u64 {
        let sign = self.next() & (1 << 63);
        let fraction = self.next() >> 12;
        sign | match self.below(16) {
            0 => 0,
            1 => 0x7ff << 52,
            2 => 0x7ff8 << 48 | fraction,
            3 => 0x7ff << 52 | 1 | (fraction >> 1),
            4 => fraction >> self.below(52),
            5 => 1 << 52 | fraction,
            6 => 0x7fe << 52 | fraction,
            7 => self.below(2048) << 52,
            8 => (self.below(40) as f64).to_bits(),
            9 => (self.next() as i64 as f64).to_bits() & !(1 << 63),
            10 => (self.below(1 << 40) as f64 * 0.5).to_bits(),
            // Ranges of the conversions to f32.
            11 => ((0x3ff - 127 - 26 + self.below(30)) << 52) | fraction,
            12 => {
                ((0x3ff + 125 + self.below(5)) << 52) | (fraction | self.next() & 0xff_ffff << 28)
            }
            _ => ((0x3ff - 20 + self.below(90)) << 52) | fraction,
        }
    }
    pub fn f80(&mut self) -> u128 {
        let sign = (self.next() & 0x8000) as u128;
        let integer = 1u64 << 63;
        let fraction = self.next();
        let (exponent, significand) = match self.below(20) {
            0 => (0, 0),
            1 => (0x7fff, integer),
            2 => (0x7fff, integer | fraction),
            3 => (0x7fff, integer | (fraction & !(1 << 62)) | 1),
            4 => (0, fraction >> (1 + self.below(62))),
            5 => (1, integer | fraction),
            6 => (0x7ffe, integer | fraction),
            7 => (self.below(0x8000), integer),
            // Unnormals, pseudo-infinities, pseudo-denormals.
            8 => (self.below(0x8000), fraction & !integer),
            9 => (0, integer | fraction),
            10 => (0x3fff + 63, integer | fraction),
            11 => (
                0x3fff + self.below(70),
                integer | (fraction << self.below(63)),
            ),
            12 => (0x3fff - 16382 + self.below(80), integer | fraction),
            13 => (0x3fff - 1080 + self.below(80), integer | fraction),
            14 => (
                0x3fff + 1020 + self.below(6),
                integer | fraction | self.next() << 11,
            ),
            15 => (0x3fff - 150 + self.below(30), integer | fraction),
            16 => (
                0x3fff + 125 + self.below(5),
                integer | fraction | self.next() << 40,
            ),
            _ => (0x3fff - 10 + self.below(70), integer | fraction),
        };
        (sign | exponent as u128) << 64 | significand as u128
    }
    /// 16 bytes of one kind of lanes.
    pub fn vector(&mut self) -> u128 {
        let mut value = 0u128;
        match self.below(8) {
            0..=2 => (0..4).for_each(|i| value |= u128::from(self.f32()) << (32 * i)),
            3..=5 => (0..2).for_each(|i| value |= u128::from(self.f64()) << (64 * i)),
            6 => (0..2).for_each(|i| value |= u128::from(self.integer()) << (64 * i)),
            _ => {
                let edge = [0u8, 1, 0x7f, 0x80, 0xff];
                for i in 0..16 {
                    let byte = if self.one_in(2) {
                        self.pick(&edge)
                    } else {
                        self.next() as u8
                    };
                    value |= u128::from(byte) << (8 * i);
                }
            }
        }
        value
    }
}
