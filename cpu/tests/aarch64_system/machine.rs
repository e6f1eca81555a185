//! A bare machine: a vCPU, 16 MiB of memory, and a few instructions.

use bus::vm_memory::{Bytes, GuestAddress};
use bus::{GuestRam, IrqLine, create_ram};
use cpu::aarch64::{Aarch64, Extra, boot_state};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use std::sync::Arc;

/// Where code starts.
pub const CODE: u64 = 0x1_0000;
/// Where the vectors are; each is a branch to itself.
pub const VECTORS: u64 = 0x2_0000;
/// Bytes of memory.
pub const RAM: u64 = 16 << 20;

/// `b .`
pub const STAY: u32 = 0x1400_0000;
pub const NOP: u32 = 0xd503_201f;
pub const ERET: u32 = 0xd69f_03e0;
pub const WFI: u32 = 0xd503_207f;
pub const ISB: u32 = 0xd503_3fdf;

/// MSR or MRS of op0, op1, CRn, CRm, op2.
const fn system(base: u32, r: (u32, u32, u32, u32, u32), rt: u32) -> u32 {
    base | (r.0 & 3) << 19 | r.1 << 16 | r.2 << 12 | r.3 << 8 | r.4 << 5 | rt
}
pub const fn msr(register: (u32, u32, u32, u32, u32), rt: u32) -> u32 {
    system(0xd500_0000, register, rt)
}
pub const fn mrs(register: (u32, u32, u32, u32, u32), rt: u32) -> u32 {
    system(0xd520_0000, register, rt)
}
/// LDR Xt, [Xn]
pub const fn ldr(rt: u32, rn: u32) -> u32 {
    0xf940_0000 | rn << 5 | rt
}
/// STR Xt, [Xn]
pub const fn str(rt: u32, rn: u32) -> u32 {
    0xf900_0000 | rn << 5 | rt
}
/// BR Xn
pub const fn br(rn: u32) -> u32 {
    0xd61f_0000 | rn << 5
}

pub struct Bare {
    pub cpu: Cpu<Aarch64>,
    pub ram: GuestRam,
}

impl Bare {
    pub fn new(code: &[u32]) -> Self {
        Self::with_lines(code, |_| [IrqLine::null(), IrqLine::null()])
    }
    /// The lines are the outputs of the virtual and the physical timer.
    pub fn with_lines(code: &[u32], lines: impl FnOnce(&Arc<Signal>) -> [IrqLine; 2]) -> Self {
        let ram = create_ram(&[(0, RAM)]).unwrap();
        let signal = Arc::new(Signal::default());
        let [vtimer, ptimer] = lines(&signal);
        let mut state = boot_state(CODE, 0);
        state.sys.vbar = VECTORS;
        let extra = Extra::new(vtimer, ptimer);
        let clock = Clock::instructions(1000);
        let bare = Self {
            cpu: Cpu::new(state, extra, &ram, signal, clock),
            ram,
        };
        for vector in 0..16 {
            bare.put(VECTORS + vector * 0x80, &[STAY]);
        }
        bare.put(CODE, code);
        bare
    }
    pub fn put(&self, at: u64, words: &[u32]) {
        for (i, word) in words.iter().enumerate() {
            self.ram
                .write_obj(*word, GuestAddress(at + 4 * i as u64))
                .unwrap();
        }
    }
    pub fn put64(&self, at: u64, value: u64) {
        self.ram.write_obj(value, GuestAddress(at)).unwrap();
    }
    pub fn get64(&self, at: u64) -> u64 {
        self.ram.read_obj(GuestAddress(at)).unwrap()
    }
    pub fn run(&mut self, budget: u64) -> VmExit {
        self.cpu.run(VmEntry::Run, Some(budget))
    }
    /// Runs `budget` instructions, all of them.
    pub fn steps(&mut self, budget: u64) {
        assert_eq!(self.run(budget), VmExit::Budget);
    }
    /// Goes to EL0.
    pub fn user(&mut self) {
        let s = &mut self.cpu.s;
        s.sp_bank[1] = s.sp();
        s.p.el = 0;
        s.p.sp_sel = false;
        s.p.daif = 0;
    }
    /// The exception that was taken: vector offset, ESR, ELR.
    pub fn taken(&self) -> (u64, u64, u64) {
        let s = &self.cpu.s;
        (s.pc.wrapping_sub(VECTORS), s.sys.esr, s.sys.elr)
    }
}
