//! A machine of 16 MiB with page tables, descriptor tables and halting
//! exception handlers.

use bus::{GuestRam, create_ram};
use cpu::x86_64::{Boot64, Extra, LapicInbox, X86, X86State, boot_state_64};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use iced_x86::code_asm::CodeAssembler;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

pub const PML4: u64 = 0x1000;
pub const PDPT: u64 = 0x2000;
pub const PD: u64 = 0x3000;
/// Page table of the 2 MiB from 0x40_0000 on.
pub const PT: u64 = 0x4000;
pub const GDT: u64 = 0x5000;
pub const IDT: u64 = 0x6000;
pub const TSS: u64 = 0x7000;
/// The handler of vector n is a HLT at `HANDLERS + 16 * n`.
pub const HANDLERS: u64 = 0x8000;
pub const RSP0: u64 = 0xb000;
pub const IST1: u64 = 0xc008;
pub const CODE: u64 = 0x1_0000;
pub const STACK: u64 = 0x2_0000;
pub const DATA: u64 = 0x3_0000;
/// Mapped by 4 KiB pages through [`PT`].
pub const PAGES: u64 = 0x40_0000;

pub const KERNEL_CS: u16 = 0x10;
pub const KERNEL_DS: u16 = 0x18;
pub const USER_DS: u16 = 0x2b;
pub const USER_CS: u16 = 0x33;
const TSS_SELECTOR: u16 = 0x38;

pub struct Machine {
    pub cpu: Cpu<X86>,
    pub ram: GuestRam,
    pub inbox: Arc<LapicInbox>,
}

impl Machine {
    /// A machine whose CPU starts with `code`, assembled at [`CODE`].
    pub fn new(code: impl FnOnce(&mut CodeAssembler)) -> Self {
        let ram = create_ram(&[(0, 16 << 20)]).unwrap();
        let write = |at: u64, v: u64| ram.write_obj(v, GuestAddress(at)).unwrap();
        write(PML4, PDPT | 7);
        write(PDPT, PD | 7);
        for n in 0..8 {
            write(PD + n * 8, n << 21 | 0x87);
        }
        // Device memory of the local APIC.
        write(PDPT + 3 * 8, 0x9000 | 7);
        write(0x9000 + 0x1f7 * 8, 0xfee0_0087);
        // The same memory in the upper half.
        write(PML4 + 0x1ff * 8, PDPT | 7);
        write(PD + 2 * 8, PT | 7);
        for n in 0..512 {
            write(PT + n * 8, (PAGES + n * 4096) | 7);
        }
        let gdt = [
            0,
            0,
            0x00af_9b00_0000_ffff, // 0x10 kernel code
            0x00cf_9300_0000_ffff, // 0x18 kernel data
            0x00cf_fb00_0000_ffff, // 0x20 user 32-bit code
            0x00cf_f300_0000_ffff, // 0x28 user data
            0x00af_fb00_0000_ffff, // 0x30 user code
            TSS << 16 | 0x0000_8900_0000_0067,
            0,
        ];
        for (n, entry) in gdt.iter().enumerate() {
            write(GDT + n as u64 * 8, *entry);
        }
        write(TSS + 4, RSP0);
        write(TSS + 0x24, IST1);
        ram.write_obj(0x68u16, GuestAddress(TSS + 0x66)).unwrap();
        let mut code_at = CodeAssembler::new(64).unwrap();
        code(&mut code_at);
        let bytes = code_at.assemble(CODE).unwrap();
        ram.write_slice(&bytes, GuestAddress(CODE)).unwrap();
        let mut state = boot_state_64(&Boot64 {
            rip: CODE,
            rsi: 0,
            cr3: PML4,
            gdt: GDT,
            gdt_limit: 9 * 8 - 1,
            seed: 1,
        });
        state.idtr.base = IDT;
        state.idtr.limit = 0xfff;
        state.gpr[4] = STACK;
        state.tr.selector = TSS_SELECTOR;
        state.tr.base = TSS;
        state.tr.limit = 0x67;
        let mut machine = Self::with_state(state, ram);
        for v in 0..=255 {
            machine.gate(v, HANDLERS + u64::from(v) * 16, 0, 3, 0xe);
            machine.write8(HANDLERS + u64::from(v) * 16, 0xf4);
        }
        machine
    }
    pub fn with_state(state: X86State, ram: GuestRam) -> Self {
        let signal = Arc::new(Signal::default());
        let inbox = Arc::new(LapicInbox::new(signal.clone()));
        let cpu = Cpu::new(
            state,
            Extra::new(inbox.clone()),
            &ram,
            signal,
            Clock::instructions(1000),
        );
        Self { cpu, ram, inbox }
    }
    pub fn gate(&mut self, v: u8, to: u64, ist: u64, dpl: u64, kind: u64) {
        let low = to & 0xffff
            | u64::from(KERNEL_CS) << 16
            | ist << 32
            | kind << 40
            | dpl << 45
            | 1 << 47
            | (to >> 16 & 0xffff) << 48;
        self.write(IDT + u64::from(v) * 16, low);
        self.write(IDT + u64::from(v) * 16 + 8, to >> 32);
    }
    /// More code, at another place.
    pub fn code_at(&mut self, at: u64, code: impl FnOnce(&mut CodeAssembler)) {
        let mut assembler = CodeAssembler::new(64).unwrap();
        code(&mut assembler);
        let bytes = assembler.assemble(at).unwrap();
        self.ram.write_slice(&bytes, GuestAddress(at)).unwrap();
    }
    pub fn write(&mut self, at: u64, v: u64) {
        self.ram.write_obj(v, GuestAddress(at)).unwrap();
    }
    pub fn write8(&mut self, at: u64, v: u8) {
        self.ram.write_obj(v, GuestAddress(at)).unwrap();
    }
    pub fn read(&self, at: u64) -> u64 {
        self.ram.read_obj(GuestAddress(at)).unwrap()
    }
    pub fn run(&mut self) -> VmExit {
        self.cpu.run(VmEntry::Run, Some(1_000_000))
    }
    /// Runs until a HLT and says which exception handler it was in.
    pub fn run_to_handler(&mut self) -> Option<u8> {
        assert_eq!(self.run(), VmExit::Halt);
        let rip = self.cpu.s.rip.wrapping_sub(HANDLERS + 1);
        (rip < 0x1000).then_some((rip / 16) as u8)
    }
    /// Word `n` from the top of the stack.
    pub fn stack(&self, n: u64) -> u64 {
        // Both halves of the address space map the same memory.
        self.read((self.cpu.s.gpr[4] & 0xff_ffff) + n * 8)
    }
    /// Makes the CPU run at the user level.
    pub fn user(&mut self) -> &mut Self {
        self.cpu.s.cpl = 3;
        self.cpu.s.seg[1].selector = USER_CS;
        self.cpu.s.seg[2].selector = USER_DS;
        self
    }
}
