//! A machine of 16 MiB with page tables, descriptor tables, and handlers that
//! report every exception, on either accelerator.

use bus::{GuestRam, MsiMessage, MsiSink, create_ram};
use cpu::x86_64::{Boot64, Extra, LapicInbox, X86, boot_state_64};
use cpu::{Clock, Cpu, Signal};
use iced_x86::code_asm::*;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};
use vmm::accel::kvm::{BootState, KvmIrqs, KvmVcpu, KvmVm};
use vmm::accel::{Vcpu, VmEntry, VmExit};

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const PT: u64 = 0x4000;
const GDT: u64 = 0x5000;
const IDT: u64 = 0x6000;
const TSS: u64 = 0x7000;
const RSP0: u64 = 0xb000;
const IST1: u64 = 0xc000;
const POINTER: u64 = 0xd000;
const STUBS: u64 = 0xe000;
const REPORT: u64 = 0xf800;
pub const CODE: u64 = 0x1_0000;
pub const STACK: u64 = 0x2_0000;
/// Mapped by 4 KiB pages: see [`page`].
const PAGES: u64 = 0x40_0000;
/// Vector whose handler runs on IST 1.
pub const ON_IST: u64 = 6;

pub const USER_DS: u64 = 0x2b;
pub const USER_CS: u64 = 0x33;

/// A word for the report is written here.
pub const OUT: u32 = 0x10;
/// The payload is done.
const END: u32 = 0x11;
/// The machine sends the MSI with vector 0x51.
pub const SEND_MSI: u32 = 0x12;

/// Kinds of 4 KiB pages.
#[derive(Clone, Copy)]
pub enum Kind {
    Absent,
    ReadOnly,
    NoExecute,
    ReservedBit,
    Supervisor,
}

/// Address of a page of a kind.
pub fn page(kind: Kind) -> u64 {
    PAGES + kind as u64 * 4096
}

pub type Code = fn(&mut CodeAssembler);

fn memory(code: Code) -> GuestRam {
    let ram = create_ram(&[(0, 16 << 20)]).unwrap();
    let write = |at: u64, v: u64| ram.write_obj(v, GuestAddress(at)).unwrap();
    write(PML4, PDPT | 7);
    write(PDPT, PD | 7);
    for n in 0..8 {
        write(PD + n * 8, n << 21 | 0x87);
    }
    write(PD + 2 * 8, PT | 7);
    for (kind, bits) in [
        (Kind::Absent, 6),
        (Kind::ReadOnly, 5),
        (Kind::NoExecute, 7 | 1 << 63),
        (Kind::ReservedBit, 7 | 1 << 51),
        (Kind::Supervisor, 3),
    ] {
        write(PT + kind as u64 * 8, page(kind) | bits);
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
    ram.write_obj(0xfffu16, GuestAddress(POINTER)).unwrap();
    write(POINTER + 2, IDT);
    for v in 0..256u64 {
        let at = STUBS + v * 16;
        let ist = u64::from(v == ON_IST);
        write(
            IDT + v * 16,
            at & 0xffff | 0x10 << 16 | ist << 32 | 0xee << 40 | (at >> 16 & 0xffff) << 48,
        );
        assemble(&ram, at, |a| {
            // Vectors with an error code (SDM volume 3, table 7-1).
            if !matches!(v, 8 | 10..=14 | 17 | 21) {
                a.push(0).unwrap();
            }
            a.push(v as i32).unwrap();
            a.jmp(REPORT).unwrap();
        });
    }
    assemble(&ram, REPORT, report);
    assemble(&ram, CODE, |a| {
        a.lidt(ptr(POINTER)).unwrap();
        a.mov(eax, 0x38).unwrap();
        a.ltr(ax).unwrap();
        a.mov(rsp, STACK).unwrap();
        code(a);
        a.mov(edx, END).unwrap();
        a.out(dx, eax).unwrap();
    });
    ram
}

fn assemble(ram: &GuestRam, at: u64, code: impl FnOnce(&mut CodeAssembler)) {
    let mut a = CodeAssembler::new(64).unwrap();
    code(&mut a);
    ram.write_slice(&a.assemble(at).unwrap(), GuestAddress(at))
        .unwrap();
}

/// Reports vector, error code, RIP, CS, stack pointer, and CR2 of a page fault
/// or DR6 of a debug trap. Faults go on at R15, traps and interrupts where they
/// came.
fn report(a: &mut CodeAssembler) {
    let (mut no_fault, mut trap, mut interrupt, mut done) = (
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
    );
    a.push(rax).unwrap();
    a.push(rdx).unwrap();
    a.mov(edx, OUT).unwrap();
    for offset in [16, 24, 32, 40] {
        a.mov(eax, dword_ptr(rsp + offset)).unwrap();
        a.out(dx, eax).unwrap();
    }
    a.mov(eax, esp).unwrap();
    a.out(dx, eax).unwrap();
    a.cmp(dword_ptr(rsp + 16), 14).unwrap();
    a.jne(no_fault).unwrap();
    a.mov(rax, cr2).unwrap();
    a.out(dx, eax).unwrap();
    a.set_label(&mut no_fault).unwrap();
    a.cmp(dword_ptr(rsp + 16), 1).unwrap();
    a.je(trap).unwrap();
    a.cmp(dword_ptr(rsp + 16), 3).unwrap();
    a.je(done).unwrap();
    a.cmp(dword_ptr(rsp + 16), 32).unwrap();
    a.jae(interrupt).unwrap();
    a.mov(qword_ptr(rsp + 32), r15).unwrap();
    a.jmp(done).unwrap();
    a.set_label(&mut trap).unwrap();
    a.mov(rax, dr6).unwrap();
    a.out(dx, eax).unwrap();
    a.jmp(done).unwrap();
    a.set_label(&mut interrupt).unwrap();
    a.cmp(dword_ptr(rsp + 16), 0x80).unwrap();
    a.jae(done).unwrap();
    // End of interrupt, by x2APIC.
    a.push(rcx).unwrap();
    a.mov(ecx, 0x80b).unwrap();
    a.xor(eax, eax).unwrap();
    a.xor(edx, edx).unwrap();
    a.wrmsr().unwrap();
    a.pop(rcx).unwrap();
    a.set_label(&mut done).unwrap();
    a.pop(rdx).unwrap();
    a.pop(rax).unwrap();
    a.add(rsp, 16).unwrap();
    a.iretq().unwrap();
}

/// What a run reports: words in hexadecimal, then how it ended.
fn collect(mut run: impl FnMut(VmEntry) -> VmExit, mut send: impl FnMut()) -> Vec<String> {
    let mut words = Vec::new();
    let mut entry = VmEntry::Run;
    while words.len() < 1000 {
        let exit = run(entry);
        entry = VmEntry::Done;
        match exit {
            VmExit::IoWrite { port, data, .. } if u32::from(port) == OUT => {
                words.push(format!("{data:x}"))
            }
            VmExit::IoWrite { port, .. } if u32::from(port) == SEND_MSI => send(),
            VmExit::IoWrite { port, .. } if u32::from(port) == END => {
                words.push("end".to_owned());
                break;
            }
            VmExit::Attention | VmExit::Eoi(_) => entry = VmEntry::Run,
            other => {
                words.push(format!("{other:?}"));
                break;
            }
        }
    }
    words
}

const MSI: MsiMessage = MsiMessage {
    address: 0xfee0_0000,
    data: 0x51,
};

/// Runs a payload on the emulated CPU.
pub fn emulated(code: Code) -> Vec<String> {
    let ram = memory(code);
    let signal = Arc::new(Signal::default());
    let inbox = Arc::new(LapicInbox::new(signal.clone()));
    let boot = Boot64 {
        rip: CODE,
        rsi: 0,
        cr3: PML4,
        gdt: GDT,
        gdt_limit: 71,
        seed: 1,
    };
    let extra = Extra::new(inbox.clone());
    let mut cpu = Cpu::<X86>::new(
        boot_state_64(&boot),
        extra,
        &ram,
        signal,
        Clock::instructions(1000),
    );
    let run = |mut entry| {
        loop {
            match Vcpu::run(&mut cpu, entry, Some(10_000_000)) {
                // The next thing that can happen is the timer.
                VmExit::Halt => {
                    if !Vcpu::wakes(&cpu) {
                        let timer = Vcpu::next_timer(&cpu);
                        Vcpu::advance(&mut cpu, timer);
                    }
                    entry = VmEntry::Run;
                }
                exit => return exit,
            }
        }
    };
    collect(run, || inbox.deliver_msi(MSI.address, MSI.data))
}

/// Runs a payload under KVM.
pub fn kvm(code: Code) -> Vec<String> {
    let vm = KvmVm::new(Arc::new(memory(code)), true).unwrap();
    let irqs = KvmIrqs::new(vm.clone()).unwrap();
    let mut vcpu = KvmVcpu::new(&vm, 0, 1, true).unwrap();
    let boot = BootState {
        rip: CODE,
        rsi: 0,
        cr3: PML4,
        gdt: GDT,
        gdt_limit: 71,
        sse: false,
    };
    vcpu.boot(&boot).unwrap();
    collect(|entry| vcpu.run(entry), || irqs.send(MSI))
}
