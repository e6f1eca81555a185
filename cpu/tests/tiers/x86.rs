//! Random x86-64 programs.

use crate::noise::Noise;
use crate::x86_code::instruction;
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
