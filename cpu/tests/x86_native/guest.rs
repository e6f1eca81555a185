//! Runs cases on the engine: user mode, four-level paging, one page of code and
//! one page of scratch memory as they lie natively.

use crate::case::*;
use bus::create_ram;
use cpu::x86_64::{Extra, LapicInbox, Segment, TableRegister, X86, X86State};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use std::sync::Arc;

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const LOW: u64 = 0x4000;
const MIDDLE: u64 = 0x5000;
const IDT: u64 = 0x6000;
const GDT: u64 = 0x7000;
const TSS: u64 = 0x7800;
const STACK_TOP: u64 = 0x9000;
const HANDLERS: u64 = 0xa000;

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const ACCESSED: u64 = 0x20;
const DIRTY: u64 = 0x40;
const NO_EXECUTE: u64 = 1 << 63;

/// A vCPU with tables and memory set up.
pub struct Guest {
    cpu: Cpu<X86>,
    user: X86State,
    which: Option<u32>,
}

fn segment(selector: u16, rights: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: 0xffff_ffff,
        rights,
    }
}

impl Guest {
    pub fn new() -> Self {
        let ram = create_ram(&[(0, 16 << 20)]).expect("guest memory");
        let mut state = X86State {
            cr0: 0x8005_0033,
            cr3: PML4,
            cr4: 0x620,
            cpl: 3,
            ..X86State::default()
        };
        state.msr.efer = 0xd01;
        state.idtr = TableRegister {
            base: IDT,
            limit: 0xfff,
        };
        state.gdtr = TableRegister {
            base: GDT,
            limit: 0x3f,
        };
        state.tr = Segment {
            selector: 0x30,
            base: TSS,
            limit: 0x67,
            rights: 0x8b,
        };
        state.seg = [segment(0x23, 0xc0f3); 6];
        state.seg[1] = segment(0x2b, 0xa0fb);
        let signal = Arc::new(Signal::default());
        let clock = Clock::instructions(1000);
        let extra = Extra::new(Arc::new(LapicInbox::new(signal.clone())));
        let mut cpu = Cpu::new(state.clone(), extra, &ram, signal, clock);
        cpu.set_mode(1);
        let guest = Self {
            cpu,
            user: state,
            which: None,
        };
        guest.tables();
        guest
    }

    fn put(&self, at: u64, value: u64) {
        assert!(self.cpu.phys.write(at, value));
    }

    fn tables(&self) {
        let table = PRESENT | WRITE | USER | ACCESSED;
        let page = PRESENT | WRITE | ACCESSED | DIRTY;
        self.put(PML4, PDPT | table);
        self.put(PDPT, DIRECTORY | table);
        self.put(DIRECTORY, LOW | table);
        self.put(DIRECTORY + 16, MIDDLE | table);
        for n in 1..0x20 {
            self.put(LOW + 8 * n, n << 12 | page);
        }
        let slot = |at: u64| MIDDLE + (at >> 12 & 0x1ff) * 8;
        self.put(slot(CODE), CODE | page | USER);
        self.put(slot(SCRATCH), SCRATCH | page | USER | NO_EXECUTE);
        for vector in 0..32 {
            let handler = HANDLERS + vector * 16;
            let privilege: u64 = if vector == 3 { 3 } else { 0 };
            self.put(
                IDT + vector * 16,
                handler & 0xffff
                    | 8 << 16
                    | (0x8e00 | privilege << 13) << 32
                    | (handler >> 16) << 48,
            );
            self.put(IDT + vector * 16 + 8, 0);
        }
        self.put(GDT + 8, 0x00af_9b00_0000_ffff);
        self.put(GDT + 16, 0x00cf_9300_0000_ffff);
        self.put(GDT + 0x20, 0x00cf_f300_0000_ffff);
        self.put(GDT + 0x28, 0x00af_fb00_0000_ffff);
        self.put(TSS + 4, STACK_TOP);
    }

    fn copy_in(&self, at: u64, bytes: &[u8]) {
        for (i, chunk) in bytes.chunks(16).enumerate() {
            let to = at + 16 * i as u64;
            match chunk.try_into() {
                Ok(chunk) => assert!(self.cpu.phys.write(to, u128::from_le_bytes(chunk))),
                Err(_) => {
                    for (j, byte) in chunk.iter().enumerate() {
                        assert!(self.cpu.phys.write(to + j as u64, *byte));
                    }
                }
            }
        }
    }

    fn get(&self, at: u64) -> u64 {
        self.cpu.phys.read(at).expect("kernel stack")
    }

    /// Runs one instruction.
    pub fn run(&mut self, case: &Case) -> Result<Answer, VmExit> {
        if self.which != Some(case.which) {
            self.which = Some(case.which);
            self.copy_in(ENTRY, &[0xcc; 32]);
            self.copy_in(ENTRY, &case.code[..case.len.into()]);
            self.cpu.flush_blocks();
        }
        let input = &case.input;
        self.copy_in(SCRATCH, &[0; (WINDOW_VA - SCRATCH) as usize]);
        self.copy_in(WINDOW_VA, &input.mem);
        let s = &mut self.cpu.s;
        s.clone_from(&self.user);
        s.gpr = input.gpr;
        s.rip = ENTRY;
        s.set_rflags(input.rflags & 0xcd5 | 0x202);
        s.xmm = input.xmm;
        s.mxcsr = input.mxcsr;
        s.fcw = input.fcw;
        s.fsw = input.fsw;
        s.ftw_empty = !input.ftw;
        let top = usize::from(input.fsw >> 11 & 7);
        for i in 0..8 {
            s.st[(top + i) & 7] = input.st[i];
        }
        self.cpu.set_mode(1);
        // A repeated string instruction may take several turns.
        for _ in 0..4096 {
            match self.cpu.run(VmEntry::Run, Some(1)) {
                VmExit::Budget if self.cpu.s.rip != ENTRY => break,
                VmExit::Budget => {}
                exit => return Err(exit),
            }
        }
        if self.cpu.mode() == 1 && !(CODE..CODE + CODE_LEN).contains(&self.cpu.s.rip) {
            // A branch to where no code is: the host has seen the fault too.
            match self.cpu.run(VmEntry::Run, Some(1)) {
                VmExit::Budget => {}
                exit => return Err(exit),
            }
        }
        let s = &self.cpu.s;
        let mut machine = Machine {
            gpr: s.gpr,
            rip: s.rip.wrapping_add(1),
            rflags: s.rflags(),
            xmm: s.xmm,
            mxcsr: s.mxcsr,
            fcw: s.fcw,
            fsw: s.fsw,
            ftw: !s.ftw_empty,
            st: [0; 8],
            mem: [0; WINDOW],
        };
        let top = usize::from(s.fsw >> 11 & 7);
        for i in 0..8 {
            machine.st[i] = s.st[(top + i) & 7];
        }
        self.cpu.phys.copy_out(WINDOW_VA, &mut machine.mem);
        let mut outcome = Outcome {
            vector: 3,
            error: 0,
            cr2: 0,
        };
        if (HANDLERS..HANDLERS + 512).contains(&s.rip) {
            // An exception was delivered: its frame lies on the kernel stack.
            outcome.vector = (s.rip - HANDLERS) / 16;
            let frame = s.gpr[4];
            let coded = matches!(outcome.vector, 8 | 10..=14 | 17);
            let at = frame + if coded { 8 } else { 0 };
            if coded {
                outcome.error = self.get(frame);
            }
            if outcome.vector == 14 {
                outcome.cr2 = s.cr2;
            }
            machine.rip = self.get(at);
            machine.rflags = self.get(at + 16);
            machine.gpr[4] = self.get(at + 24);
        }
        Ok(Answer { machine, outcome })
    }
}
