//! Random AArch64 programs.

use crate::noise::Noise;
use crate::{Program, Rig};
use cpu::aarch64::{Aarch64, Aarch64State};
use cpu::{Cpu, Signal};
use machine::{Bare, CODE, STAY};
use vm_memory::{Bytes, GuestAddress};

#[allow(dead_code)]
#[path = "../aarch64_system/machine.rs"]
mod machine;

/// A block that only EL1 uses: tables, and behind them the vectors.
const SYSTEM: u64 = 0x60_0000;
const VECTORS: u64 = SYSTEM + 0x4000;
const SYSTEM_BYTES: usize = 0x5000;
const PAGES: u64 = 0x40_0000;
/// Access flag of a page table entry.
const ACCESSED: u64 = 1 << 10;
const DATA_BYTES: usize = 0x6000;
const CODE_BYTES: usize = 0x2000;
/// Programs lie across the end of a page.
const START: u64 = CODE + 0xf80;

pub struct Board {
    bare: Bare,
    system: Vec<u8>,
    fresh: Aarch64State,
}

impl Rig for Board {
    type Isa = Aarch64;
    type Seen = (
        u64,
        [u64; 32],
        (u64, u64, u64, u64),
        Vec<u128>,
        (u64, u64, u8, u64, u32, [u64; 3]),
    );

    fn new() -> Self {
        let mut bare = Bare::new(&[]);
        // 4 KiB granules, 39 bits: blocks of 2 MiB, pages from `PAGES` on.
        let user = ACCESSED | 1 << 6;
        bare.put64(SYSTEM, SYSTEM + 0x1000 | 3);
        for n in 0..8 {
            bare.put64(SYSTEM + 0x1000 + n * 8, n << 21 | user | 1);
        }
        bare.put64(SYSTEM + 0x1000 + 3 * 8, SYSTEM | ACCESSED | 1);
        bare.put64(SYSTEM + 0x1000 + 2 * 8, SYSTEM + 0x2000 | 3);
        for n in 0..512 {
            let page = PAGES + n * 0x1000 | user | 3;
            // Page 4 is read only, page 5 is not there.
            let page = match n {
                4 => page | 1 << 7,
                5 => 0,
                _ => page,
            };
            bare.put64(SYSTEM + 0x2000 + n * 8, page);
        }
        for vector in 0..16 {
            bare.put(VECTORS + vector * 0x80, &[STAY]);
        }
        let s = &mut bare.cpu.s;
        s.sys.ttbr[0] = SYSTEM;
        s.sys.tcr = 25 | 1 << 23;
        s.sys.mair = 0xff;
        s.sys.sctlr |= 1 | 3 << 3;
        s.sys.cpacr = 3 << 20;
        s.sys.vbar = VECTORS;
        let fresh = s.clone();
        let mut system = vec![0; SYSTEM_BYTES];
        let ram = &bare.ram;
        ram.read_slice(&mut system, GuestAddress(SYSTEM)).unwrap();
        Self {
            bare,
            system,
            fresh,
        }
    }
    fn cpu(&mut self) -> &mut Cpu<Aarch64> {
        &mut self.bare.cpu
    }
    fn load(&mut self, program: &Program) {
        let ram = &self.bare.ram;
        // A program may have overwritten anything.
        let mut system = vec![0; SYSTEM_BYTES];
        ram.read_slice(&mut system, GuestAddress(SYSTEM)).unwrap();
        if system != self.system {
            ram.write_slice(&self.system, GuestAddress(SYSTEM)).unwrap();
        }
        // What EL0 may write, EL1 may not run.
        let code = ACCESSED | u64::from(program.user) << 6 | 1;
        ram.write_obj(code, GuestAddress(SYSTEM + 0x1000)).unwrap();
        let mut code = program.code.clone();
        code.resize(CODE_BYTES, 0);
        ram.write_slice(&code, GuestAddress(START)).unwrap();
        self.again(program);
        self.bare.cpu.flush_tlb();
    }
    fn again(&mut self, program: &Program) {
        let ram = &self.bare.ram;
        ram.write_slice(&program.data, GuestAddress(PAGES)).unwrap();
        let mut state = self.fresh.clone();
        for n in 0..31 {
            state.set_x(n, program.registers[n as usize]);
        }
        state.set_sp(program.registers[31]);
        state.set_nzcv(program.registers[0] as u32);
        for n in 0..32 {
            state.v[n] = crate::vector(program, n);
        }
        // Mostly the modes at reset.
        (state.fpsr, state.fpcr) = match program.registers[18] & 15 {
            0..=5 => (0, 0),
            6 => (16, 1 << 22),
            7 => (16, 1 << 24),
            8 => (16, 1 << 25),
            _ => (16, 0),
        };
        state.pc = START;
        self.bare.cpu.signal.clear(Signal::IRQ);
        self.bare.cpu.s = state;
        self.bare.cpu.set_mode(0);
        if program.user {
            let sp = self.bare.cpu.s.sp();
            self.bare.user();
            self.bare.cpu.s.set_sp(sp);
            self.bare.cpu.set_mode(1);
        }
    }
    fn seen(&mut self) -> Self::Seen {
        let s = &self.bare.cpu.s;
        let mut x = [0; 32];
        for (n, x) in x.iter_mut().enumerate() {
            *x = s.x_or_sp(n as u8);
        }
        let p = &s.p;
        let count = self.bare.cpu.icount();
        let level = p.el | p.daif << 4;
        let rest = (s.sys.esr, s.sys.far, level, count, s.fpsr, s.sys.tpidr);
        (s.pc, x, (p.n, p.z, p.c, p.v), s.v.to_vec(), rest)
    }
    fn interrupt(&mut self) {
        self.bare.cpu.signal.raise(Signal::IRQ);
    }
    fn was_interrupted(&mut self) -> bool {
        // IRQ from the same level with its own stack, and from a lower one.
        let vector = self.bare.cpu.s.pc.wrapping_sub(VECTORS);
        matches!(vector, 0x280 | 0x480)
    }
    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; DATA_BYTES + CODE_BYTES];
        let (data, code) = bytes.split_at_mut(DATA_BYTES);
        let ram = &self.bare.ram;
        ram.read_slice(data, GuestAddress(PAGES)).unwrap();
        ram.read_slice(code, GuestAddress(START)).unwrap();
        bytes
    }
    fn program(noise: &mut Noise, n: usize) -> Program {
        let vectors = noise.pick(&[1, 2, 20, 20]);
        let mut code: Vec<u32> = (0..n)
            .map(|at| instruction(noise, at as i64, n as i64, vectors))
            .collect();
        for at in 1..n {
            // A store behind an exclusive load, mostly of the same bytes.
            let load = code[at - 1];
            if load & 0x3fe0_7c00 == 0x0840_7c00 && noise.below(4) != 0 {
                let store = load & 0xc000_03e0 | 0x0800_7c00;
                let registers = noise.below(16) as u32 | (noise.below(16) as u32) << 16;
                let other = u32::from(noise.once_in(8)) << 30;
                code[at] = store ^ other | registers;
            }
        }
        let code = code.into_iter().flat_map(u32::to_le_bytes).collect();
        let mut registers = [0; 32].map(|_| noise.number());
        // Around the borders of pages that differ, and the program itself.
        for register in &mut registers[19..28] {
            let near = noise.below(64) & noise.pick(&[63, 56]);
            *register = match noise.below(10) {
                0 => PAGES + 0x4000 - near,
                1 => PAGES + 0x5000 - near,
                2 => START + noise.below(n as u64) * 4,
                3 => 0x80_0000 + near * 8,
                4 => PAGES + near | 0xff << 56,
                _ => PAGES + 0x1000 - near,
            };
        }
        for r in [29, 30] {
            registers[r] = START + noise.below(n as u64) * 4;
        }
        registers[31] = PAGES + 0x2000 + if noise.once_in(10) { 8 } else { 0 };
        Program {
            code,
            registers,
            data: noise.bytes(DATA_BYTES),
            user: noise.once_in(4),
        }
    }
}

/// Random bits where `mask` has ones.
fn fill(noise: &mut Noise, pattern: u32, mask: u32) -> u32 {
    pattern | noise.next() as u32 & mask
}

/// A base register that leads somewhere.
fn base(noise: &mut Noise, insn: u32) -> u32 {
    let register = match noise.below(12) {
        0 => noise.below(32) as u32,
        1 | 2 => 31,
        _ => 19 + noise.below(9) as u32,
    };
    insn & !(31 << 5) | register << 5
}

/// Destinations: seldom one of the bases.
fn keep_bases(noise: &mut Noise, insn: u32) -> u32 {
    if matches!(insn & 31, 19..=28) && !noise.once_in(8) {
        insn & !31 | noise.below(19) as u32
    } else {
        insn
    }
}

fn instruction(noise: &mut Noise, at: i64, n: i64, vectors: u64) -> u32 {
    let to = noise.below(n as u64) as i64 - at;
    let kind = if vectors == 1 {
        noise.pick(&[40, 44, 49])
    } else if noise.once_in(vectors) {
        noise.pick(&[38, 39, 40, 41, 42, 49, 49, 49])
    } else {
        noise.below(51)
    };
    let insn = match kind {
        // Branches within the program.
        0 => return 0x1400_0000 | to as u32 & 0x3ff_ffff | (noise.below(2) as u32) << 31,
        1 | 2 => return fill(noise, 0x5400_0000, 15) | (to as u32 & 0x7_ffff) << 5,
        3 | 4 => return fill(noise, 0x3400_0000, 0x8100_001f) | (to as u32 & 0x7_ffff) << 5,
        5 => return fill(noise, 0x3600_0000, 0x81f8_001f) | (to as u32 & 0x3fff) << 5,
        6 => return 0xd61f_0000 | noise.pick(&[0, 2, 1]) << 21 | noise.pick(&[29, 30, 30, 3]) << 5,
        // Data processing, immediate: PC-relative, add, logic, move, bit field.
        7 => fill(noise, 0x1000_0000, 0xe000_00ff),
        8..=11 => fill(noise, 0x1100_0000, 0xe07f_ffff),
        12 => fill(noise, 0x1200_0000, 0xe07f_ffff),
        13 => fill(noise, 0x1280_0000, 0xe07f_ffff),
        14 => fill(noise, 0x1300_0000, 0xe07f_ffff),
        15 => fill(noise, 0x1380_0000, 0x807f_ffff) & !(1 << 21),
        // Registers: logic, add shifted and extended, carry, conditional.
        16 | 17 => fill(noise, 0x0a00_0000, 0xe0ff_ffff),
        18 | 19 => fill(noise, 0x0b00_0000, 0xe0df_ffff),
        20 => fill(noise, 0x0b20_0000, 0xe01f_ffff),
        21 => fill(noise, 0x1a00_0000, 0xe01f_03ff),
        22 => fill(noise, 0x3a40_0000, 0xc01f_fbef),
        23 => fill(noise, 0x1a80_0000, 0xc01f_f7ff),
        // One, two and three sources.
        24 => fill(noise, 0x5ac0_0000, 0x8000_1fff),
        25 => fill(noise, 0x1ac0_0000, 0x801f_2fff),
        26 | 27 => fill(noise, 0x1b00_0000, 0x80ff_ffff),
        // Loads and stores: unsigned offset, unscaled and indexed, register.
        28..=30 => {
            let insn = fill(noise, 0x3900_0000, 0xc0c0_0fff);
            return base(noise, insn);
        }
        31 | 32 => {
            let insn = fill(noise, 0x3800_0000, 0xc0df_ffff);
            return base(noise, insn);
        }
        33 => {
            let insn = fill(noise, 0x3820_0800, 0xc0df_f3ff);
            return base(noise, insn);
        }
        // Pairs, literals.
        34..=36 => {
            let insn = fill(noise, 0x2800_0000, 0xc1c7_fc1f);
            return base(noise, insn);
        }
        37 => fill(noise, 0x1800_0000, 0xc000_0fff),
        // Exclusives and atomics; vector loads and stores.
        38 => {
            let pattern = noise.pick(&[0x0800_7c00, 0x3820_0000, 0x3d00_0000, 0x2c00_0000]);
            let insn = fill(noise, pattern, 0xc05f_83ff);
            return base(noise, insn);
        }
        39 => {
            let pattern = noise.pick(&[0x3d00_0000, 0x3c00_0000, 0x3c20_0800, 0x2c00_0000]);
            let insn = fill(noise, pattern, 0xc1c7_f41f);
            return base(noise, insn);
        }
        // Scalar floating point: two sources, one, compare, moves, select.
        40 | 41 => {
            let (pattern, mask) = noise.pick(&[
                (0x1e20_0800, 0x004f_33ef),
                (0x1e20_0800, 0x004f_33ef),
                (0x1e20_4000, 0x0041_81ef),
                (0x1e20_2000, 0x004f_01f8),
                (0x1e20_0c00, 0x004f_f1ef),
                (0x1e20_1000, 0x005f_e00f),
                (0x1e26_0000, 0x0001_03ff),
                (0x9e66_0000, 0x0001_03ff),
                (0x9eae_0000, 0x0001_03ff),
                (0x1e22_0000, 0x8041_03ff),
                (0x1e20_0000, 0x805f_03ff),
                (0x1e22_4000, 0x00c1_83ff),
                (0x1f00_0000, 0x006f_bdef),
                (0x1f00_0000, 0x006f_bdef),
            ]);
            return fill(noise, pattern, mask);
        }
        // Vectors of integers: three registers, two, immediates, lanes, permutations.
        49 | 50 => {
            let (pattern, mask) = noise.pick(&[
                (0x0e20_0400, 0x60df_fbff),
                (0x0e20_0400, 0x60df_fbff),
                (0x0e20_0400, 0x60df_fbff),
                (0x0e20_0800, 0x60c1_f3ff),
                (0x0f00_0400, 0x607f_fbff),
                (0x0f00_0400, 0x607f_fbff),
                (0x0f08_8400, 0x4037_03ff),
                (0x0f08_0400, 0x6077_13ff),
                (0x0f08_5400, 0x4077_03ff),
                (0x0f08_a400, 0x6037_03ff),
                (0x0e30_0800, 0x60c1_f3ff),
                (0x0e30_a800, 0x60c1_03ff),
                (0x0e20_8800, 0x60c1_33ff),
                (0x0e00_0400, 0x601f_7bff),
                (0x5e00_0400, 0x001f_03ff),
                (0x0e00_0800, 0x40df_73ff),
                (0x2e00_0000, 0x401f_7bff),
                (0x0f00_0400, 0x6007_f3ff),
            ]);
            return fill(noise, pattern, mask);
        }
        // Arithmetic of few registers.
        44 => {
            let pattern = noise.pick(&[0x1e20_0800, 0x1e60_0800, 0x1e60_0800]);
            return fill(noise, pattern, 0x0007_31ef);
        }
        // System registers, barriers, DC ZVA.
        42 => {
            let insn = noise.pick(&[
                0xd53b_d040,
                0xd51b_d040,
                0xd538_d080,
                0xd518_d080,
                0xd538_4100,
                0xd538_4020,
                0xd503_3bbf,
                0xd503_39bf,
                0xd503_3f9f,
                0xd50b_7420,
                0xd53b_4420,
                0xd53b_4400,
                0xd51b_4420,
                0xd51b_4400,
            ]);
            if insn & 31 == 31 {
                return insn;
            }
            return insn | noise.below(31) as u32;
        }
        // Ordered accesses.
        43 => {
            let insn = fill(noise, 0x089f_fc00, 0xc040_001f);
            return base(noise, insn);
        }
        // Exclusives; compare and swap; atomic operations.
        45 => {
            let insn = fill(noise, 0x0800_7c00, 0xc05f_83ff);
            return base(noise, insn);
        }
        46 => {
            let insn = fill(noise, 0x08a0_7c00, 0xc05f_83ff);
            return base(noise, insn);
        }
        47 => {
            let insn = fill(noise, 0x3820_0000, 0xc0df_f3ff);
            return base(noise, insn);
        }
        // The interrupt mask, by immediate and register; ISB.
        48 => {
            let insn = noise.pick(&[
                0xd503_40df,
                0xd503_40ff,
                0xd53b_4220,
                0xd51b_4220,
                0xd503_3fdf,
            ]);
            return match insn & 31 {
                31 if insn & 0x7000 == 0x4000 => insn | (noise.next() as u32 & 15) << 8,
                31 => insn,
                _ => insn | noise.below(31) as u32,
            };
        }
        _ => noise.next() as u32,
    };
    keep_bases(noise, insn)
}
