//! Random instructions and states, from a fixed seed.

use super::elf::DATA;
use super::record::{RECORD, Record, SCRATCH};

/// xorshift64*: enough for tests, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Instruction families; each is a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Integer,
    Memory,
    Atomic,
    Float,
    Vector,
    VectorFloat,
    VectorMemory,
}

/// Encoding groups: fixed bits and their mask. Bits that are free in a group
/// may make an undefined encoding, which must be undefined in both.
const INTEGER: &[(u32, u32)] = &[
    (0x1100_0000, 0x1f80_0000), // add, subtract immediate
    (0x1200_0000, 0x1f80_0000), // logical immediate
    (0x1280_0000, 0x1f80_0000), // move wide
    (0x1300_0000, 0x1f80_0000), // bitfield
    (0x1380_0000, 0x1fa0_0000), // extract
    (0x1000_0000, 0x1f00_0000), // address of a label
    (0x0a00_0000, 0x1f00_0000), // logical, shifted register
    (0x0b00_0000, 0x1f20_0000), // add, subtract, shifted register
    (0x0b20_0000, 0x1fe0_0000), // add, subtract, extended register
    (0x1a00_0000, 0x1fe0_fc00), // with carry
    (0x3a40_0000, 0x3fe0_0410), // conditional compare
    (0x1a80_0000, 0x3fe0_0800), // conditional select
    (0x1ac0_0800, 0x7fe0_f800), // divide
    (0x1ac0_2000, 0x7fe0_f000), // variable shift
    (0x5ac0_0000, 0x7fff_e000), // one source
    (0x1b00_0000, 0x7fe0_0000), // multiply-add
    (0x9b20_0000, 0xff60_0000), // long multiply
    (0x9b40_0000, 0xff60_8000), // high half of a product
];
const FLOAT: &[(u32, u32)] = &[
    (0x1e20_4000, 0xffa0_7c00), // one source
    (0x1e20_4000, 0xff20_7c00),
    (0x1e22_4000, 0xff3e_7c00), // between precisions
    (0x1e20_2000, 0xffa0_fc07), // compare
    (0x1e20_1000, 0xff20_1fe0), // immediate
    (0x1e20_0400, 0xffa0_0c00), // conditional compare
    (0x1e20_0800, 0xffa0_0c00), // two sources
    (0x1e20_0800, 0xffa0_0c00),
    (0x1e20_0c00, 0xffa0_0c00), // conditional select
    (0x1f00_0000, 0xff80_0000), // three sources
    (0x1f00_0000, 0xff80_0000),
    (0x1e20_0000, 0x7fa0_fc00), // to and from integers, moves
    (0x1e20_0000, 0x7f20_fc00),
    (0x1e02_0000, 0x7fbe_0000), // from fixed point
    (0x1e18_0000, 0x7fbe_0000), // to fixed point
];
const VECTOR: &[(u32, u32)] = &[
    (0x0e20_0400, 0x9f20_0400), // three same
    (0x0e20_0400, 0x9f20_0400),
    (0x5e20_0400, 0xdf20_0400),
    (0x0e20_0000, 0x9f20_0c00), // three different
    (0x5e20_0000, 0xdf20_0c00),
    (0x0e20_0800, 0x9f3e_0c00), // two registers
    (0x0e20_0800, 0x9f3e_0c00),
    (0x5e20_0800, 0xdf3e_0c00),
    (0x0e30_0800, 0x9f3e_0c00), // across lanes
    (0x5e30_0800, 0xdf3e_0c00), // pairwise
    (0x0e00_0400, 0x9fe0_8400), // copy
    (0x5e00_0400, 0xdfe0_8400),
    (0x0f00_0400, 0x9ff8_0400), // modified immediate
    (0x0f00_0400, 0x9f80_0400), // shift by immediate
    (0x0f00_0400, 0x9f80_0400),
    (0x5f00_0400, 0xdf80_0400),
    (0x0f00_0000, 0x9f00_0400), // by element
    (0x5f00_0000, 0xdf00_0400),
    (0x0e00_0800, 0xbf20_8c00), // permute
    (0x2e00_0000, 0xbfe0_8400), // extract
    (0x0e00_0000, 0xbfe0_8c00), // table
];
/// The floating-point parts of the above.
const VECTOR_FLOAT: &[(u32, u32)] = &[
    (0x0e20_c400, 0x9f20_c400),
    (0x5e20_c400, 0xdf20_c400),
    (0x0e21_8800, 0x9f3f_8c00),
    (0x5e21_8800, 0xdf3f_8c00),
    (0x0ea0_c800, 0x9fbf_cc00),
    (0x5ea0_c800, 0xdfbf_cc00),
    (0x6e30_c800, 0xff3e_cc00),
    (0x7e30_c800, 0xff3e_cc00),
    (0x0f80_1000, 0x9f80_3400),
    (0x5f80_1000, 0xdf80_3400),
    (0x0f00_e400, 0x9f80_e400),
    (0x5f00_e400, 0xdf80_e400),
];

/// Registers that hold addresses stay as they are.
const RESERVED: std::ops::RangeInclusive<u32> = 25..=28;

fn free_register(n: u32) -> u32 {
    if RESERVED.contains(&n) { n - 8 } else { n }
}

/// One case: instructions and the state before them.
pub struct Case {
    pub code: Vec<u32>,
    pub record: Record,
}

struct Builder<'a> {
    random: &'a mut Random,
    record: Record,
    code: Vec<u32>,
    address: u64,
    // Base registers that are not used up.
    bases: Vec<u32>,
    // Instructions that a branch leads to.
    targets: Vec<usize>,
    keep_sp: bool,
}

/// A case of `family` for record number `index`, about `length` instructions.
/// Data processing mostly takes words from `pool`, if there are any.
pub fn case(
    random: &mut Random,
    family: Family,
    index: usize,
    length: usize,
    pool: &[u32],
) -> Case {
    let address = DATA + (index * RECORD) as u64;
    let mut b = Builder {
        record: state(random, address),
        random,
        code: Vec::new(),
        address,
        bases: vec![26, 27, 31],
        targets: Vec::new(),
        keep_sp: family != Family::Integer,
    };
    while b.code.len() < length {
        if !pool.is_empty() && !b.random.one_in(16) {
            let word = b.random.pick(pool);
            b.code.push(word);
            continue;
        }
        match family {
            Family::Integer if b.random.one_in(6) => b.branch(length),
            Family::Integer if b.random.one_in(40) => b.system(),
            Family::Integer => b.data(INTEGER),
            Family::Memory | Family::VectorMemory | Family::Atomic if b.bases.is_empty() => {
                b.data(INTEGER)
            }
            Family::Memory => match b.random.below(8) {
                0 | 1 => b.immediate(0),
                2 => b.unscaled(0),
                3 => b.register(0),
                4 => b.pair(0),
                5 => b.literal(0),
                6 => b.exclusive(),
                _ => b.ordered(),
            },
            Family::VectorMemory => match b.random.below(8) {
                0 => b.immediate(1 << 26),
                1 => b.unscaled(1 << 26),
                2 => b.register(1 << 26),
                3 => b.pair(1 << 26),
                4 => b.literal(1 << 26),
                _ => b.structures(),
            },
            Family::Atomic => b.atomic(),
            Family::Float if b.random.one_in(40) => b.system(),
            Family::Float => b.data(FLOAT),
            Family::Vector => b.data(VECTOR),
            Family::VectorFloat => b.data(VECTOR_FLOAT),
        }
    }
    Case {
        code: b.code,
        record: b.record,
    }
}

fn state(random: &mut Random, address: u64) -> Record {
    let mut r = Record::new();
    for n in 0..31 {
        let x = integer(random);
        r.set_x(n, x);
    }
    r.set_x(28, address);
    r.set_sp(address + SCRATCH as u64 + 512);
    for n in 0..32 {
        let v = vector(random);
        r.set_v(n, v);
    }
    r.set_nzcv((random.next() as u32 & 15) << 28);
    let fpcr = random.next() as u32 & 0x07c0_0000;
    r.set_fpcr(if random.one_in(2) { 0 } else { fpcr });
    let fpsr = random.pick(&[0, 0, 0x10, 0x10, 0x9f, 0x0800_0000]);
    r.set_fpsr(fpsr);
    for byte in r.scratch_mut() {
        *byte = random.next() as u8;
    }
    r
}

fn integer(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.below(32),
        1 => (random.below(32) as i64).wrapping_neg() as u64,
        2 => 1u64.rotate_left(random.below(64) as u32),
        3 => random.next() as u32 as u64,
        4 => u64::MAX >> random.below(64),
        _ => random.next(),
    }
}

fn vector(random: &mut Random) -> u128 {
    let (low, high) = match random.below(8) {
        0 => (integer(random), integer(random)),
        1..=3 => (double(random), double(random)),
        4 | 5 => {
            let mut two = || u64::from(single(random)) | u64::from(single(random)) << 32;
            (two(), two())
        }
        6 => {
            let mut four = || (0..4).fold(0, |v, _| v << 16 | u64::from(half(random)));
            (four(), four())
        }
        _ => (random.next(), random.next()),
    };
    u128::from(low) | u128::from(high) << 64
}

/// A number of `exp` exponent and `fraction` fraction bits, often an edge.
fn number(random: &mut Random, exp: u32, fraction: u32) -> u64 {
    let max = (1u64 << exp) - 1;
    let bias = max >> 1;
    let field = match random.below(8) {
        0 => 0,
        1 => max,
        2 => random.pick(&[1, 2, max - 1, max - 2]),
        3 => bias + random.below(u64::from(fraction) + 12).min(bias),
        4 => bias.wrapping_sub(random.below(u64::from(fraction) + 3).min(bias)),
        5 => bias,
        _ => random.next() & max,
    };
    let ones = (1u64 << fraction) - 1;
    let bits = match random.below(6) {
        0 => 0,
        1 => 1,
        2 => ones,
        3 => 1 << random.below(fraction.into()),
        4 => random.next() & ones & !(ones >> 4),
        _ => random.next() & ones,
    };
    (random.next() & 1) << (exp + fraction) | field << fraction | bits
}

fn double(random: &mut Random) -> u64 {
    number(random, 11, 52)
}

fn single(random: &mut Random) -> u32 {
    number(random, 8, 23) as u32
}

fn half(random: &mut Random) -> u16 {
    number(random, 5, 10) as u16
}

impl Builder<'_> {
    fn random_bits(&mut self, fixed: u32, mask: u32) -> u32 {
        fixed | self.random.next() as u32 & !mask
    }
    fn free(&mut self) -> u32 {
        free_register(self.random.below(31) as u32)
    }
    /// Data processing.
    fn data(&mut self, groups: &[(u32, u32)]) {
        let (fixed, mask) = self.random.pick(groups);
        let mut insn = self.random_bits(fixed, mask);
        // The 64-bit carry-less product is an extension of its own.
        if insn & 0xbfe0_fc00 == 0x0ee0_e000 {
            return;
        }
        let mut rd = free_register(insn & 31);
        if rd == 31 && self.keep_sp {
            rd = 0;
        }
        insn = insn & !31 | rd;
        self.code.push(insn);
    }
    fn system(&mut self) {
        // MRS or MSR of NZCV, FPCR or FPSR. Reserved bits are not written.
        let register = self
            .random
            .pick(&[0xd53b_4200, 0xd53b_4400, 0xd53b_4420, 0xd51b_4200]);
        let rd = self.free();
        self.code.push(register | rd);
    }
    /// A branch forward within the case.
    fn branch(&mut self, length: usize) {
        let left = length.saturating_sub(self.code.len()) as u64;
        if left < 2 {
            return self.data(INTEGER);
        }
        let distance = 1 + self.random.below(left - 1) as u32;
        let rt = self.random.below(32) as u32;
        let bit = self.random.next() as u32;
        let insn = match self.random.below(8) {
            0 => 0x1400_0000 | distance,
            1 => 0x9400_0000 | distance,
            2 | 3 => 0x5400_0000 | distance << 5 | bit & 15,
            4 | 5 => 0x3400_0000 | bit & 0x8100_0000 | distance << 5 | rt,
            6 => 0x3600_0000 | bit & 0x81f8_0000 | distance << 5 | rt,
            // A branch must not lead between the two.
            _ if self.targets.contains(&(self.code.len() + 1)) => return,
            _ => {
                // ADR x24, then BR, BLR or RET to it.
                self.code.push(0x1000_0018 | (distance + 1) << 5);
                self.random.pick(&[0xd61f_0300, 0xd63f_0300, 0xd65f_0300])
            }
        };
        self.targets.push(self.code.len() + distance as usize);
        self.code.push(insn);
    }
    /// Takes a base register, and sets it so that base + `offset` is a random
    /// place in the scratch buffer.
    fn base(&mut self, offset: u64, aligned: bool) -> u32 {
        let i = self.random.below(self.bases.len() as u64) as usize;
        let rn = self.bases.swap_remove(i);
        let mut at = 96 + self.random.below(800);
        if aligned || self.random.one_in(2) {
            at &= !15;
        }
        let base = (self.address + SCRATCH as u64 + at).wrapping_sub(offset);
        if rn == 31 {
            self.record.set_sp(base);
        } else {
            self.record.set_x(rn as usize, base);
        }
        rn
    }
    fn scale(insn: u32) -> u32 {
        if insn >> 26 & 1 != 0 && insn >> 23 & 1 != 0 {
            4
        } else {
            insn >> 30
        }
    }
    /// A register that no address lies in, sometimes XZR.
    fn target(&mut self) -> u32 {
        if self.random.one_in(16) {
            31
        } else {
            self.free()
        }
    }
    fn immediate(&mut self, v: u32) {
        let insn = self.random_bits(0x3900_0000 | v, 0x3f00_03ff);
        let offset = u64::from(insn >> 10 & 0xfff) << Self::scale(insn);
        let rn = self.base(offset, false);
        let rt = self.target();
        self.code.push(insn | rn << 5 | rt);
    }
    fn unscaled(&mut self, v: u32) {
        let insn = self.random_bits(0x3800_0000 | v, 0x3f20_03ff);
        let nine = i64::from((insn << 11) as i32 >> 23) as u64;
        let offset = if insn >> 10 & 3 == 1 { 0 } else { nine };
        let rn = self.base(offset, false);
        let rt = self.target();
        self.code.push(insn | rn << 5 | rt);
    }
    fn register(&mut self, v: u32) {
        let insn = self.random_bits(0x3839_0800 | v, 0x3f3f_0fff);
        let index = self.record.x(25);
        let index = match insn >> 13 & 7 {
            2 => u64::from(index as u32),
            6 => index as i32 as u64,
            _ => index,
        };
        let shift = if insn >> 12 & 1 != 0 {
            Self::scale(insn)
        } else {
            0
        };
        let rn = self.base(index << shift, false);
        let rt = self.target();
        self.code.push(insn | rn << 5 | rt);
    }
    fn pair(&mut self, v: u32) {
        let insn = self.random_bits(0x2800_0000 | v, 0x3e00_7fff);
        let opc = insn >> 30;
        let scale = if v != 0 { 2 + opc } else { 2 + (opc >> 1) };
        let seven = i64::from((insn << 10) as i32 >> 25) << scale;
        let offset = if insn >> 23 & 3 == 1 { 0 } else { seven as u64 };
        let rn = self.base(offset, false);
        let rt = self.free();
        let mut rt2 = self.free();
        while rt2 == rt {
            rt2 = self.free();
        }
        self.code.push(insn | rt2 << 10 | rn << 5 | rt);
    }
    /// From the code before.
    fn literal(&mut self, v: u32) {
        let insn = self.random_bits(0x1800_0000 | v, 0x3fff_ffff);
        let back = self.random.below(self.code.len() as u64 + 2) as u32;
        let rt = self.target();
        self.code
            .push(insn | (back.wrapping_neg() & 0x7_ffff) << 5 | rt);
    }
    fn distinct<const N: usize>(&mut self) -> [u32; N] {
        let mut out = [0; N];
        for i in 0..N {
            loop {
                out[i] = self.free();
                if !out[..i].contains(&out[i]) {
                    break;
                }
            }
        }
        out
    }
    /// Exclusive load and store, sometimes the store alone.
    fn exclusive(&mut self) {
        let rn = self.base(0, true);
        let [rt, rt2, rs, stored, stored2] = self.distinct();
        let pair = self.random.one_in(3);
        let size = self.random.below(4) as u32 | if pair { 2 } else { 0 };
        let common = 0x0800_0000 | size << 30 | rn << 5;
        let order = |b: &mut Self| (b.random.next() as u32 & 1) << 15;
        if !self.random.one_in(8) {
            let rt2 = if pair { 1 << 21 | rt2 << 10 } else { 31 << 10 };
            let load = common | 1 << 22 | 31 << 16 | rt2 | rt | order(self);
            self.code.push(load);
        }
        if self.random.one_in(3) {
            self.data(INTEGER);
        }
        let rt2 = if pair {
            1 << 21 | stored2 << 10
        } else {
            31 << 10
        };
        let store = common | rs << 16 | rt2 | stored | order(self);
        self.code.push(store);
    }
    /// LDAR and STLR.
    fn ordered(&mut self) {
        let rn = self.base(0, true);
        let rt = self.target();
        let bits = self.random.next() as u32 & 0xc040_0000;
        self.code.push(0x089f_fc00 | bits | rn << 5 | rt);
    }
    fn atomic(&mut self) {
        let rn = self.base(0, true);
        let [rt, rs] = self.distinct();
        let bits = self.random.next() as u32;
        let insn = match self.random.below(4) {
            0 => 0x08a0_7c00 | bits & 0xc040_8000 | rs << 16 | rt,
            1 => 0x0820_7c00 | bits & 0x4040_8000 | (rs & 22) << 16 | (rt & 22),
            2 => 0x3820_8000 | bits & 0xc0c0_0000 | rs << 16 | rt,
            _ => {
                let rt = if bits & 0x300 == 0 { 31 } else { rt };
                0x3820_0000 | bits & 0xc0c0_7000 | rs << 16 | rt
            }
        };
        self.code.push(insn | rn << 5);
    }
    /// LD1 to LD4 and their like.
    fn structures(&mut self) {
        let mut insn = self.random_bits(0x0c00_0000, 0xbe00_03e0);
        // Fields that have to be zero mostly are.
        if !self.random.one_in(16) {
            if insn >> 23 & 1 == 0 {
                insn &= !(31 << 16);
            }
            if insn >> 24 & 1 == 0 {
                insn &= !(1 << 21);
                let opcode = self.random.pick(&[0u32, 2, 4, 6, 7, 8, 10]);
                insn = insn & !(15 << 12) | opcode << 12;
            }
        }
        let rn = self.base(0, false);
        self.code.push(insn | rn << 5);
    }
}
