//! Random x86-64 programs.

use crate::noise::Noise;
use crate::{Program, Rig};
use cpu::engine::jit::JitConfig;
use cpu::x86_64::{LazyFlags, Segment, X86, X86State};
use cpu::{Cpu, VmEntry, VmExit};
use machine::{CODE, Machine, PAGES, PT};
use vm_memory::{Bytes, GuestAddress};

#[allow(dead_code)]
#[path = "../x86_system/machine.rs"]
mod machine;

const DATA_BYTES: usize = 0x6000;
/// Bytes that a program may fill with code.
const CODE_BYTES: usize = 0x2000;
/// Programs lie across the end of a page.
const START: u64 = CODE + 0xf80;

/// The vector of interrupts; its handler halts.
const VECTOR: u8 = 0x51;

/// Tables, descriptors and handlers lie below.
const SYSTEM_BYTES: usize = CODE as usize;

pub struct Pc {
    machine: Machine,
    system: Vec<u8>,
    fresh: X86State,
}

impl Rig for Pc {
    type Isa = X86;
    type Seen = (
        u64,
        [u64; 16],
        LazyFlags,
        u64,
        [u128; 16],
        (u64, u8, u64, u32),
        ([Segment; 6], u64, u64),
    );

    fn new() -> Self {
        let mut machine = Machine::new(|_| ());
        // Page 4 is read only, page 5 is not there.
        machine.write(PT + 4 * 8, (PAGES + 4 * 4096) | 5);
        machine.write(PT + 5 * 8, 0);
        let mut fresh = machine.cpu.s.clone();
        fresh.cr0 |= 1 << 16;
        fresh.cr4 |= 1 << 9;
        // The local APIC is on.
        fresh.apic.svr = 0x1ff;
        let mut system = vec![0; SYSTEM_BYTES];
        machine
            .ram
            .read_slice(&mut system, GuestAddress(0))
            .unwrap();
        Self {
            machine,
            system,
            fresh,
        }
    }
    fn cpu(&mut self) -> &mut Cpu<X86> {
        &mut self.machine.cpu
    }
    fn load(&mut self, program: &Program) {
        let ram = &self.machine.ram;
        // A program may have overwritten anything.
        let mut system = vec![0; SYSTEM_BYTES];
        ram.read_slice(&mut system, GuestAddress(0)).unwrap();
        if system != self.system {
            ram.write_slice(&self.system, GuestAddress(0)).unwrap();
        }
        let mut code = program.code.clone();
        code.resize(CODE_BYTES, 0xf4);
        ram.write_slice(&code, GuestAddress(START)).unwrap();
        self.again(program);
        self.machine.cpu.flush_tlb();
    }
    fn again(&mut self, program: &Program) {
        let ram = &self.machine.ram;
        ram.write_slice(&program.data, GuestAddress(PAGES)).unwrap();
        let mut state = self.fresh.clone();
        state.gpr.copy_from_slice(&program.registers[..16]);
        for (n, xmm) in state.xmm.iter_mut().enumerate() {
            *xmm = crate::vector(program, n);
        }
        // Mostly the modes at reset.
        state.mxcsr |= match program.registers[18] & 15 {
            0..=4 => 0,
            5 => 0x2020,
            6 => 0x8060,
            7 => 0x3f,
            _ => 0x20,
        };
        if program.registers[18] & 0xf0 == 0 {
            // One exception is not masked.
            state.mxcsr &= !(0x80 << (program.registers[19] % 6));
        }
        state.rip = START;
        // The same memory in the upper half of the address space.
        if program.registers[16] & 3 == 0 {
            state.rip |= 0xffff_ff80 << 32;
        }
        state.set_rflags(program.registers[17] & 0x8d5);
        // System calls lead into the program.
        let seed = program.registers[19];
        state.msr.efer |= u64::from(seed & 15 != 0);
        state.msr.lstar = state.rip + (seed >> 8 & 31);
        state.msr.star = 0x0023_0010 << 32;
        state.msr.fmask = [0x4_7fd5, 0x700, seed >> 16][seed as usize >> 4 & 3 & 2];
        state.msr.kernel_gs_base = seed >> 60 << 3;
        self.machine.cpu.s = state;
        self.machine.cpu.set_mode(0);
        if program.user {
            self.machine.user();
            self.machine.cpu.set_mode(1);
        }
    }
    fn seen(&mut self) -> Self::Seen {
        let s = &self.machine.cpu.s;
        let rest = (s.cr2, s.cpl, self.machine.cpu.icount(), s.mxcsr);
        let system = (s.seg, s.msr.kernel_gs_base, s.shadow_at);
        (s.rip, s.gpr, s.cc, s.rflags, s.xmm, rest, system)
    }
    fn interrupt(&mut self) {
        self.machine.inbox.deliver(VECTOR, false);
    }
    fn was_interrupted(&mut self) -> bool {
        self.machine.cpu.s.apic.isr.contains(VECTOR)
    }
    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; DATA_BYTES + CODE_BYTES];
        let (data, code) = bytes.split_at_mut(DATA_BYTES);
        let ram = &self.machine.ram;
        ram.read_slice(data, GuestAddress(PAGES)).unwrap();
        ram.read_slice(code, GuestAddress(START)).unwrap();
        bytes
    }
    fn program(noise: &mut Noise, n: usize) -> Program {
        let mut code = Vec::new();
        let mut starts = Vec::new();
        // Where a displacement lies, and how many bytes it has.
        let mut jumps = Vec::new();
        let vectors = noise.pick(&[1, 2, 8, 8]);
        for _ in 0..n {
            starts.push(code.len());
            if let Some(bytes) = instruction(noise, &mut code, vectors) {
                jumps.push((code.len() - bytes, bytes));
            }
        }
        for (at, bytes) in jumps {
            let to = noise.pick(&starts) as i64 + i64::from(noise.once_in(20));
            let distance = to - (at + bytes) as i64;
            match bytes {
                1 => code[at] = distance as u8,
                _ => code[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes()),
            }
        }
        let mut registers = [0; 32].map(|_| noise.number());
        let stack = PAGES + 0x2000 + noise.below(0x100) * 8;
        registers[4] = stack + u64::from(noise.once_in(30));
        // Around the borders of pages that differ, and the program itself.
        for r in [3, 5, 6, 7, 12, 13] {
            let near = noise.below(64) & noise.pick(&[63, 48]);
            registers[r] = match noise.below(10) {
                0 => PAGES + 0x4000 - near,
                1 => PAGES + 0x5000 - near,
                2 => START + noise.below(code.len() as u64),
                3 => 0x80_0000 + near,
                4 => 0xffff_ff80_0000_0000 + PAGES + near,
                _ => PAGES + 0x1000 - near,
            };
        }
        let mut data = noise.bytes(DATA_BYTES);
        // Return addresses.
        for at in (0x1f00..0x3000).step_by(8) {
            let to = START + noise.pick(&starts) as u64;
            data[at..at + 8].copy_from_slice(&to.to_le_bytes());
        }
        Program {
            code,
            registers,
            data,
            user: noise.once_in(4),
        }
    }
}

/// ModRM and what follows: a register, or memory near where pointers lead.
fn operand(noise: &mut Noise, code: &mut Vec<u8>, reg: u8) {
    if noise.below(2) == 0 {
        code.push(0xc0 | reg << 3 | noise.below(8) as u8);
        return;
    }
    let mut disp = (noise.below(32) as i8 - 16) as u8;
    if noise.below(2) == 0 {
        disp &= 0xf0;
    }
    match noise.below(8) {
        // [rip + disp32], into the program.
        0 => {
            code.push(reg << 3 | 5);
            code.extend(((noise.below(256) as i32) - 64).to_le_bytes());
        }
        // [base + index * scale + disp8]; no index four times of five.
        1 => {
            let index = if noise.once_in(5) { 0 } else { 4 };
            let sib = (noise.below(4) as u8) << 6 | index << 3 | noise.pick(&[3, 5, 6, 7]);
            code.extend([0x44 | reg << 3, sib, disp]);
        }
        _ => {
            let base = noise.pick(&[3, 5, 6, 7]);
            code.extend([0x40 | reg << 3 | base, disp]);
        }
    }
}

/// Appends an instruction, once in `vectors` times of vectors; the bytes of a jump's displacement at its end.
fn instruction(noise: &mut Noise, code: &mut Vec<u8>, vectors: u64) -> Option<usize> {
    let any = |noise: &mut Noise| noise.next() as u8;
    let cc = noise.below(16) as u8;
    if vectors != 1 && noise.once_in(5) {
        return match noise.below(9) {
            0 => {
                code.extend([0xeb, 0]);
                Some(1)
            }
            1 => {
                code.extend([0xe8, 0, 0, 0, 0]);
                Some(4)
            }
            2 => {
                code.push(0xc3);
                None
            }
            3 => {
                // jmp or call through a register or memory.
                let reg = noise.pick(&[2, 4]);
                code.push(0xff);
                operand(noise, code, reg);
                None
            }
            4 => {
                // LOOP and its kin.
                code.extend([0xe0 | cc & 3, 0]);
                Some(1)
            }
            5 | 6 => {
                code.extend([0x70 | cc, 0]);
                Some(1)
            }
            _ => {
                code.extend([0x0f, 0x80 | cc, 0, 0, 0, 0]);
                Some(4)
            }
        };
    }
    if vectors != 1 && noise.once_in(12) {
        system(noise, code);
        return None;
    }
    if vectors != 1 && noise.once_in(12) {
        locked(noise, code);
        return None;
    }
    if noise.once_in(vectors) {
        // Vectors: moves, logic, arithmetic, compares, conversions.
        if noise.once_in(if vectors == 1 { 40 } else { 12 }) {
            // LDMXCSR, STMXCSR, FXSAVE, FXRSTOR.
            code.extend([0x0f, 0xae]);
            let reg = noise.pick(&[2, 3, 3, 3, 3, 0, 1]);
            operand(noise, code, reg);
            return None;
        }
        if vectors == 1 {
            // Arithmetic of few registers.
            code.extend([noise.pick(&[0xf2, 0xf2, 0xf3, 0x66]), 0x0f]);
            code.push(noise.pick(&[
                0x58, 0x59, 0x5c, 0x5e, 0x51, 0x2e, 0x2f, 0x5a, 0x2c, 0x2a, 0x58, 0x59,
            ]));
            code.push(0xc0 | any(noise) & 0x1b);
            return None;
        }
        if noise.once_in(3) {
            // Moves of lanes, shifts by an immediate, compares.
            const LANES: [u8; 27] = [
                0x60, 0x61, 0x62, 0x68, 0x69, 0x6a, 0x6c, 0x6d, 0x64, 0x65, 0x66, 0xea, 0xee, 0xd5,
                0x12, 0x13, 0x16, 0x17, 0x14, 0x15, 0x70, 0x70, 0xc6, 0x71, 0x72, 0x73, 0x73,
            ];
            match noise.below(6) {
                0 => {}
                n => code.push([0x66, 0x66, 0x66, 0xf2, 0xf3][n as usize - 1]),
            }
            let form = noise.pick(&LANES);
            let reg = noise.below(8) as u8;
            if noise.once_in(8) {
                // PALIGNR.
                code.extend([0x0f, 0x3a, 0x0f]);
                operand(noise, code, reg);
                code.push(any(noise) & 0x3f);
                return None;
            }
            code.extend([0x0f, form]);
            match form {
                0x71..=0x73 => {
                    let kind = noise.pick(&[2, 3, 6, 7]);
                    code.push(0xc0 | kind << 3 | reg);
                    code.push(any(noise) & 0x4f);
                }
                0x70 | 0xc6 => {
                    operand(noise, code, reg);
                    code.push(any(noise));
                }
                _ => operand(noise, code, reg),
            }
            return None;
        }
        const FORMS: [u8; 48] = [
            0x10, 0x11, 0x12, 0x14, 0x15, 0x16, 0x28, 0x29, 0x2a, 0x2c, 0x2e, 0x2f, 0x50, 0x51,
            0x54, 0x55, 0x56, 0x57, 0x58, 0x58, 0x59, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x6c, 0x6d,
            0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e, 0x7f, 0xd6, 0xd7, 0xda, 0xdb, 0xde, 0xdf, 0xeb,
            0xef, 0xf8, 0xfb, 0xfc, 0xfe, 0xd4,
        ];
        match noise.below(4) {
            0 => {}
            n => code.push([0x66, 0xf2, 0xf3][n as usize - 1]),
        }
        if noise.below(3) == 0 {
            code.push(0x48);
        }
        code.extend([0x0f, noise.pick(&FORMS)]);
        let reg = noise.below(8) as u8;
        operand(noise, code, reg);
        return None;
    }
    if noise.once_in(40) {
        code.push(noise.pick(&[0xf0, 0xf2, 0xf3, 0x64, 0x65, 0x67]));
    }
    let short = noise.once_in(7);
    if short {
        code.push(0x66);
    }
    if noise.below(5) < 3 {
        // REX: W often, R, X and B as the base register allows.
        let w = noise.pick(&[0, 8, 8]);
        code.push(0x40 | w | noise.pick(&[0, 0, 4]) | u8::from(noise.once_in(8)));
    }
    let reg = noise.below(8) as u8;
    let immediate = if short { 2 } else { 4 };
    match noise.below(26) {
        0..=4 => {
            code.push((any(noise) & 7) << 3 | cc & 3);
            operand(noise, code, reg);
        }
        5 | 6 => {
            let form = noise.pick(&[0x80, 0x81, 0x83]);
            code.push(form);
            operand(noise, code, reg);
            let n = if form == 0x81 { immediate } else { 1 };
            code.extend(noise.bytes(n));
        }
        7..=9 => {
            code.push(0x88 | cc & 3);
            operand(noise, code, reg);
        }
        10 => {
            let form = 0xc6 | cc & 1;
            code.push(form);
            operand(noise, code, 0);
            code.extend(noise.bytes(if form == 0xc7 { immediate } else { 1 }));
        }
        11 => {
            code.push(noise.pick(&[0x84, 0x85, 0x86, 0x87, 0x8d, 0x63]));
            operand(noise, code, reg);
        }
        12 => {
            // F6 and F7: TEST has an immediate.
            let (form, kind) = (cc & 1, noise.pick(&[0, 2, 3, 4, 5, 6, 7]));
            code.push(0xf6 | form);
            operand(noise, code, kind);
            if kind == 0 {
                code.extend(noise.bytes(if form == 1 { immediate } else { 1 }));
            }
        }
        13 => {
            code.push(0xfe | cc & 1);
            operand(noise, code, cc >> 1 & 1);
        }
        14 | 15 => {
            let form = noise.pick(&[0xc0, 0xc1, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3]);
            code.push(form);
            operand(noise, code, reg);
            if form < 0xd0 {
                code.push(noise.pick(&[0, 1, 4, 7, 8, 12, 15, 16, 31, 32, 63, 0x83]));
            }
        }
        16 => {
            code.extend([0x0f, noise.pick(&[0xb6, 0xb7, 0xbe, 0xbf])]);
            operand(noise, code, reg);
        }
        17 => {
            code.extend([0x0f, noise.pick(&[0x90, 0x40]) | cc]);
            operand(noise, code, reg);
        }
        18 => {
            code.extend([0x0f, 0xaf]);
            operand(noise, code, reg);
        }
        19 => {
            let form = noise.pick(&[0x69, 0x6b]);
            code.push(form);
            operand(noise, code, reg);
            code.extend(noise.bytes(if form == 0x69 { immediate } else { 1 }));
        }
        20 => code.push(noise.pick(&[0x50, 0x58]) | noise.pick(&[0, 1, 2, 3, 5])),
        21 => match noise.below(3) {
            0 => code.extend([0x6a, any(noise)]),
            1 => code.push(0xc9),
            _ => {
                code.push(0x68);
                code.extend(noise.bytes(immediate));
            }
        },
        22 => {
            let form = noise.pick(&[0xa3, 0xab, 0xb3, 0xba, 0xbc, 0xbd, 0xa4, 0xac]);
            code.extend([0x0f, form]);
            operand(noise, code, if form == 0xba { 4 | reg & 3 } else { reg });
            if matches!(form, 0xba | 0xa4 | 0xac) {
                code.push(any(noise));
            }
        }
        23 => {
            code.extend([0x0f, noise.pick(&[0xb0, 0xb1, 0xc0, 0xc1])]);
            operand(noise, code, reg);
        }
        24 => match noise.below(3) {
            0 => code.extend([0x0f, 0xc8 | reg]),
            1 => code.push(noise.pick(&[
                0x90, 0x98, 0x99, 0xf5, 0xf8, 0xf9, 0xfc, 0x9e, 0x9f, 0xa4, 0xa5, 0xaa, 0xab, 0xac,
                0xa6, 0xae, 0xd7,
            ])),
            _ => {
                code.push(0xb0 | cc);
                // Four bytes too few with REX.W: the next instruction lends them.
                code.extend(noise.bytes(if cc < 8 { 1 } else { immediate }));
            }
        },
        _ => {
            // SSE moves and logic; prefixes make others of them.
            let form = [
                0x10, 0x11, 0x28, 0x29, 0x6e, 0x6f, 0x7e, 0x7f, 0xef, 0xfe, 0x57, 0xd6,
            ];
            code.extend([0x0f, noise.pick(&form)]);
            operand(noise, code, reg);
        }
    }
    None
}

/// Appends what changes privilege, flags and segments.
fn system(noise: &mut Noise, code: &mut Vec<u8>) {
    match noise.below(14) {
        0 => code.extend([0x0f, 0x05]),
        1 => code.extend([0x48, 0x0f, 0x07]),
        2 => code.extend([0x0f, 0x01, 0xf8]),
        3 => code.push(0xfa),
        4 | 10..=13 => code.push(0xfb),
        5 => code.push(0x9c),
        6 => code.push(noise.pick(&[0x9c, 0x9d])),
        7 => {
            // MOV from a segment register; PUSH of memory.
            code.push(0x8c);
            let n = noise.below(6) as u8;
            operand(noise, code, n);
        }
        8 => {
            code.push(0xff);
            operand(noise, code, 6);
        }
        _ => {
            // Fences, prefetches.
            let n = noise.pick(&[0xe8, 0xf0, 0xf8]);
            match noise.below(2) {
                0 => code.extend([0x0f, 0xae, n]),
                _ => code.extend([0x0f, 0x18, 0x43 | n & 0x10, 0]),
            }
        }
    }
}

/// Appends an instruction that changes memory atomically, or seldom one that
/// may not be locked.
fn locked(noise: &mut Noise, code: &mut Vec<u8>) {
    if noise.below(4) == 0 {
        code.push(noise.pick(&[0x64, 0x65, 0x66, 0x67]));
    }
    if !noise.once_in(3) {
        code.push(0xf0);
    }
    if noise.below(3) != 0 {
        code.push(0x40 | noise.pick(&[0, 8, 8]) | noise.pick(&[0, 4]));
    }
    let reg = noise.below(8) as u8;
    let wide = noise.below(2) as u8;
    let mut last = 0;
    match noise.below(7) {
        0 => code.push((noise.below(8) as u8) << 3 | wide),
        1 => {
            code.push(0x83);
            last = 1;
        }
        2 => code.push(0xfe | wide),
        3 => code.push(0x86 | wide),
        4 => code.extend([0x0f, noise.pick(&[0xb0, 0xc0]) | wide]),
        5 => code.extend([0x0f, noise.pick(&[0xab, 0xb3, 0xbb])]),
        _ => {
            code.extend([0x0f, 0xba]);
            last = 1;
        }
    }
    let kind = match code.last() {
        Some(0xba) => 4 | reg & 3,
        Some(0xfe | 0xff) => reg & 1,
        _ => reg,
    };
    operand(noise, code, kind);
    code.extend(noise.bytes(last));
}

/// A loop of two blocks, the first of which stores into the second when the loop
/// has been compiled for long.
#[test]
fn a_store_into_the_next_block_counts_at_once() {
    let code = [
        &[0x83, 0xf9, 10][..],     // cmp ecx, 10
        &[0x49, 0x89, 0xd8],       // mov r8, rbx
        &[0x4c, 0x0f, 0x44, 0xc2], // cmove r8, rdx
        &[0x41, 0x88, 0x08],       // mov [r8], cl
        &[0xeb, 0x00],             // jmp to the next instruction
        &[0x05, 1, 0, 0, 0],       // add eax, 1
        &[0xff, 0xc9],             // dec ecx
        &[0x75, 0xe8],             // jnz to the first
        &[0xf4],                   // hlt
    ];
    let mut registers = [0; 32];
    (registers[1], registers[2], registers[3]) = (20, START + 16, PAGES);
    // In the lower half, with no flags, at the privileged level.
    registers[16] = 1;
    let program = Program {
        code: code.concat(),
        registers,
        data: vec![0; DATA_BYTES],
        user: false,
    };
    for threshold in 1..5 {
        let mut pc = Pc::new();
        pc.cpu().set_jit(JitConfig {
            threshold: Some(threshold),
            code_bytes: 1 << 20,
            background: false,
        });
        pc.load(&program);
        assert_eq!(pc.cpu().run(VmEntry::Run, Some(1000)), VmExit::Halt);
        // Ten rounds of one, and ten of what was stored.
        assert_eq!(pc.cpu().s.gpr[0], 10 + 10 * 10, "threshold {threshold}");
        assert!(pc.cpu().jit_stats().0 > 0, "nothing was compiled");
    }
}
