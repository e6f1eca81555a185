//! The IDT: frames, stacks, nested faults (SDM volume 3, chapter 6).

use crate::machine::*;
use cpu::VmExit;
use iced_x86::code_asm::*;

#[test]
fn frame_of_an_exception() {
    let mut m = Machine::new(|a| {
        a.stc().unwrap();
        a.ud2().unwrap();
    });
    m.cpu.s.gpr[4] = STACK + 4;
    m.cpu.s.rflags |= 1 << 9;
    assert_eq!(m.run_to_handler(), Some(6));
    // The frame is aligned to 16 bytes: five words under 0x20000.
    assert_eq!(m.cpu.s.gpr[4], STACK - 40);
    assert_eq!(m.stack(0), CODE + 1);
    assert_eq!(m.stack(1), u64::from(KERNEL_CS));
    assert_eq!(
        m.stack(2),
        1 << 16 | 1 << 9 | 2 | 1,
        "RF is set in the image"
    );
    assert_eq!(m.stack(3), STACK + 4);
    assert_eq!(m.stack(4), u64::from(KERNEL_DS));
    assert_eq!(m.cpu.s.rflags() & 1 << 9, 0, "an interrupt gate clears IF");
}

#[test]
fn stacks() {
    // From the user level to RSP0, and to an IST stack from anywhere.
    let mut m = Machine::new(|a| a.ud2().unwrap());
    m.user();
    assert_eq!(m.run_to_handler(), Some(6));
    assert_eq!(m.cpu.s.gpr[4], RSP0 - 40);
    assert_eq!(m.cpu.s.seg[2].selector, 0);
    assert_eq!(
        (m.stack(1), m.stack(4)),
        (u64::from(USER_CS), u64::from(USER_DS))
    );
    for user in [false, true] {
        let mut m = Machine::new(|a| a.ud2().unwrap());
        m.gate(6, HANDLERS + 6 * 16, 1, 3, 0xf);
        if user {
            m.user();
        }
        m.cpu.s.rflags |= 1 << 9;
        assert_eq!(m.run_to_handler(), Some(6));
        assert_eq!(m.cpu.s.gpr[4], (IST1 & !15) - 40);
        assert_ne!(m.cpu.s.rflags() & 1 << 9, 0, "a trap gate keeps IF");
    }
}

#[test]
fn software_interrupts() {
    let mut m = Machine::new(|a| a.int(0x80).unwrap());
    m.user();
    assert_eq!(m.run_to_handler(), Some(0x80));
    assert_eq!(m.stack(0), CODE + 2, "the address behind it");
    let mut m = Machine::new(|a| a.int3().unwrap());
    m.user();
    assert_eq!(m.run_to_handler(), Some(3));
    assert_eq!(m.stack(0), CODE + 1);
    // A gate of the kernel refuses the user: #GP with the IDT bit, EXT clear.
    let mut m = Machine::new(|a| a.int(0x80).unwrap());
    m.gate(0x80, HANDLERS, 0, 0, 0xe);
    m.user();
    assert_eq!(m.run_to_handler(), Some(13));
    assert_eq!(m.stack(0), 0x80 * 8 + 2);
    assert_eq!(m.stack(1), CODE);
}

#[test]
fn division_and_privilege() {
    let mut m = Machine::new(|a| a.div(ecx).unwrap());
    assert_eq!(m.run_to_handler(), Some(0));
    let mut m = Machine::new(|a| {
        a.mov(eax, 1u32 << 31).unwrap();
        a.cdq().unwrap();
        a.mov(ecx, -1).unwrap();
        a.idiv(ecx).unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(0));
    type Code = fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>;
    let refused: [Code; 14] = [
        |a| a.hlt(),
        |a| a.cli(),
        |a| a.sti(),
        |a| a.in_(al, dx),
        |a| a.out(dx, al),
        |a| a.rdmsr(),
        |a| a.wrmsr(),
        |a| a.mov(rax, cr0),
        |a| a.mov(cr3, rax),
        |a| a.mov(dr7, rax),
        |a| a.swapgs(),
        |a| a.lgdt(ptr(rax)),
        |a| a.invlpg(ptr(rax)),
        |a| a.wbinvd(),
    ];
    for code in refused {
        let mut m = Machine::new(|a| code(a).unwrap());
        m.user();
        m.cpu.s.gpr[0] = DATA;
        assert_eq!(m.run_to_handler(), Some(13));
        assert_eq!((m.stack(0), m.stack(1)), (0, CODE));
    }
}

#[test]
fn io_permission_bitmap() {
    let mut m = Machine::new(|a| {
        a.in_(al, 0x60).unwrap();
        a.in_(al, 0x61).unwrap();
    });
    m.user();
    m.cpu.s.tr.limit = 0x67 + 64;
    m.write(TSS + 0x68 + 8, 0);
    m.write(TSS + 0x68 + 0x60 / 8, 2); // port 0x61 is closed
    assert_eq!(
        m.run(),
        VmExit::IoRead {
            port: 0x60,
            size: 1
        }
    );
    assert_eq!(
        m.cpu.run(cpu::VmEntry::Value(0x55), Some(100)),
        VmExit::Halt
    );
    assert_eq!(m.cpu.s.gpr[0] & 0xff, 0x55);
    assert_eq!(m.cpu.s.rip, HANDLERS + 13 * 16 + 1);
}

#[test]
fn double_and_triple_faults() {
    // A page fault whose gate is not present: #NP while delivering #PF is #DF.
    let mut m = Machine::new(|a| a.mov(rax, qword_ptr(0x7000_0000)).unwrap());
    let low = m.read(IDT + 14 * 16);
    m.write(IDT + 14 * 16, low & !(1 << 47));
    assert_eq!(m.run_to_handler(), Some(8));
    assert_eq!((m.stack(0), m.stack(1)), (0, CODE));
    assert_eq!(m.cpu.s.cr2, 0x7000_0000);
    // #UD is benign: the #NP is then handled for itself.
    let mut m = Machine::new(|a| a.ud2().unwrap());
    let low = m.read(IDT + 6 * 16);
    m.write(IDT + 6 * 16, low & !(1 << 47));
    assert_eq!(m.run_to_handler(), Some(11));
    assert_eq!(m.stack(0), 6 * 8 + 2 + 1);
    // No IDT at all.
    let mut m = Machine::new(|a| a.ud2().unwrap());
    m.cpu.s.idtr.limit = 0;
    assert_eq!(m.run(), VmExit::Reset);
    // No stack: #PF, then #DF on the same bad stack.
    let mut m = Machine::new(|a| a.push(rax).unwrap());
    m.cpu.s.gpr[4] = 0x7000_0000;
    assert_eq!(m.run(), VmExit::Reset);
}

#[test]
fn single_step() {
    // POPF sets TF; the trap comes after the instruction that follows.
    let mut m = Machine::new(|a| {
        a.pushfq().unwrap();
        a.or(qword_ptr(rsp), 0x100).unwrap();
        a.popfq().unwrap();
        a.inc(rax).unwrap();
        a.inc(rax).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(1));
    assert_eq!(m.cpu.s.gpr[0], 1);
    assert_ne!(m.cpu.s.dr[6] & 1 << 14, 0);
    assert_eq!(m.stack(2) & 0x100, 0x100);
    assert_eq!(m.cpu.s.rflags() & 0x100, 0);
    // A handler that returns steps through a jump and a user program.
    let mut m = Machine::new(|a| {
        let mut over = a.create_label();
        a.nop().unwrap();
        a.jmp(over).unwrap();
        a.ud2().unwrap();
        a.set_label(&mut over).unwrap();
        a.inc(rbx).unwrap();
        a.int3().unwrap();
    });
    m.user();
    m.cpu.s.rflags |= 0x100;
    m.code_at(0x9800, |a| {
        a.inc(r15).unwrap();
        a.iretq().unwrap();
    });
    m.gate(1, 0x9800, 0, 0, 0xe);
    assert_eq!(m.run_to_handler(), Some(3));
    assert_eq!((m.cpu.s.gpr[15], m.cpu.s.gpr[3]), (3, 1));
}

#[test]
fn device_not_available() {
    let mut m = Machine::new(|a| {
        a.clts().unwrap();
        a.mov(rax, cr0).unwrap();
        a.or(eax, 8).unwrap();
        a.mov(cr0, rax).unwrap();
        a.mov(rbx, cr0).unwrap();
        a.fninit().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(7));
    assert_ne!(m.cpu.s.gpr[3] & 8, 0);
    // The handler's CLTS lets the instruction run.
    m.code_at(0x9800, |a| {
        a.clts().unwrap();
        a.iretq().unwrap();
    });
    m.cpu.s.rip = 0x9800;
    m.run();
    assert_eq!(m.cpu.s.cr0 & 8, 0);
}
