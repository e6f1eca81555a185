//! Local APIC, interrupts, HLT (SDM volume 3, chapter 11).

use crate::machine::*;
use bus::SimTime;
use cpu::{VmEntry, VmExit};
use iced_x86::code_asm::*;

fn wrmsr(a: &mut CodeAssembler, n: u32, v: u64) {
    a.mov(ecx, n).unwrap();
    a.mov(eax, v as u32).unwrap();
    a.mov(edx, (v >> 32) as u32).unwrap();
    a.wrmsr().unwrap();
}
/// Enters x2APIC mode and enables the APIC: 8 instructions.
fn x2apic(a: &mut CodeAssembler) {
    wrmsr(a, 0x1b, 0xfee0_0d00);
    wrmsr(a, 0x80f, 0x1ff);
}

#[test]
fn tsc_deadline_fires_at_its_instruction() {
    let mut m = Machine::new(|a| {
        x2apic(a);
        wrmsr(a, 0x832, 2 << 17 | 0x40);
        wrmsr(a, 0x6e0, 1000); // one instruction is one tick
        a.sti().unwrap();
        let mut forever = a.create_label();
        a.set_label(&mut forever).unwrap();
        a.inc(rbx).unwrap();
        a.jmp(forever).unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(0x40));
    // 17 instructions in front of the loop, and the HLT of the handler.
    assert_eq!(m.cpu.icount(), 1001);
    assert_eq!(m.cpu.s.gpr[3], (1000 - 17u64).div_ceil(2));
    assert_eq!(m.cpu.s.apic.deadline, 0);
    assert!(m.cpu.s.apic.isr.contains(0x40));
}

#[test]
fn one_shot_and_periodic() {
    // Divide by 16 (value 3), 10 counts: 160 ns are 160 instructions.
    for (mode, interrupts) in [(0u64, 1), (1, 6)] {
        let mut m = Machine::new(|a| {
            x2apic(a);
            wrmsr(a, 0x83e, 3);
            wrmsr(a, 0x832, mode << 17 | 0x41);
            wrmsr(a, 0x838, 10);
            a.sti().unwrap();
            let mut forever = a.create_label();
            a.set_label(&mut forever).unwrap();
            a.jmp(forever).unwrap();
        });
        m.code_at(0x9800, |a| {
            a.inc(r15).unwrap();
            wrmsr(a, 0x80b, 0);
            a.iretq().unwrap();
        });
        m.gate(0x41, 0x9800, 0, 0, 0xe);
        assert_eq!(
            m.cpu.run(VmEntry::Run, Some(20 + 160 * 6 + 80)),
            VmExit::Budget
        );
        assert_eq!(m.cpu.s.gpr[15], interrupts);
        assert!(m.cpu.s.apic.isr.highest().is_none());
    }
}

#[test]
fn messages_priorities_and_eoi() {
    let mut m = Machine::new(|a| {
        x2apic(a);
        a.sti().unwrap();
        a.nop().unwrap();
        let mut forever = a.create_label();
        a.set_label(&mut forever).unwrap();
        a.jmp(forever).unwrap();
    });
    assert_eq!(m.cpu.run(VmEntry::Run, Some(100)), VmExit::Budget);
    m.inbox.deliver_msi(0xfee0_0000, 0x51);
    m.inbox.deliver_msi(0xfee0_0000, 0x8062); // level-triggered
    m.inbox.deliver_msi(0xfee0_0000, 0x55);
    assert_eq!(m.run_to_handler(), Some(0x62), "the highest first");
    assert_eq!(m.cpu.s.apic.ppr(), 0x62 & 0xf0);
    // Interrupts are on in the handler: nothing lower gets in before EOI.
    m.code_at(0x9000, |a| {
        a.sti().unwrap();
        a.nop().unwrap();
        a.nop().unwrap();
        wrmsr(a, 0x80b, 0);
        a.inc(r15).unwrap();
        a.hlt().unwrap();
    });
    m.cpu.s.rip = 0x9000;
    assert_eq!(m.run(), VmExit::Eoi(0x62));
    assert_eq!(m.cpu.s.gpr[15], 0);
    assert_eq!(m.run_to_handler(), Some(0x55));
    assert!(m.cpu.s.apic.irr.contains(0x51), "same class waits");
}

#[test]
fn xapic_page() {
    let mut m = Machine::new(|a| {
        a.mov(ebx, 0xfee0_0000u32).unwrap();
        a.mov(dword_ptr(rbx + 0xf0), 0x1ff).unwrap();
        a.mov(eax, dword_ptr(rbx + 0x30)).unwrap();
        a.mov(ecx, dword_ptr(rbx + 0x20)).unwrap();
        // To itself, by shorthand.
        a.mov(dword_ptr(rbx + 0x300), 0x4_0077).unwrap();
        a.sti().unwrap();
        a.nop().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(0x77));
    assert_eq!(m.cpu.s.gpr[0], 0x0005_0014);
    assert_eq!(m.cpu.s.gpr[1], 0);
    // In x2APIC mode the page is gone.
    let mut m = Machine::new(|a| {
        x2apic(a);
        a.mov(ebx, 0xfee0_0000u32).unwrap();
        a.mov(eax, dword_ptr(rbx + 0x30)).unwrap();
    });
    let exit = m.run();
    assert!(
        matches!(
            exit,
            VmExit::MmioRead {
                address: 0xfee0_0030,
                size: 4
            }
        ),
        "{exit:?}"
    );
}

#[test]
fn sti_shadow_and_halt() {
    // STI; HLT with an interrupt that waits already: HLT runs, then wakes.
    let mut m = Machine::new(|a| {
        x2apic(a);
        a.sti().unwrap();
        a.hlt().unwrap();
        a.inc(r15).unwrap();
        a.hlt().unwrap();
    });
    m.code_at(0x9800, |a| {
        a.mov(r14, rsp).unwrap();
        wrmsr(a, 0x80b, 0);
        a.iretq().unwrap();
    });
    m.gate(0x51, 0x9800, 0, 0, 0xe);
    m.cpu.run(VmEntry::Run, Some(8));
    m.inbox.deliver(0x51, false);
    // Whatever the budgets are, nothing gets between STI and HLT.
    let mut exit = VmExit::Budget;
    while exit == VmExit::Budget {
        exit = m.cpu.run(VmEntry::Run, Some(1));
    }
    assert_eq!(exit, VmExit::Halt);
    assert_eq!(m.cpu.s.gpr[14], 0, "not taken before HLT");
    assert!(m.cpu.wakes());
    assert_eq!(m.run(), VmExit::Halt);
    assert_eq!(m.cpu.s.gpr[15], 1);
    assert_eq!(m.cpu.s.gpr[14], STACK - 40);
    assert!(!m.cpu.wakes());
    // A timer wakes it when the clock gets there.
    m.cpu.s.apic.lvt[0] = 2 << 17 | 0x51;
    m.cpu.s.apic.deadline = 10_000;
    m.cpu.s.apic.fires = SimTime::from_ns(10_000);
    assert_eq!(m.cpu.next_timer(), SimTime::from_ns(10_000));
    m.cpu.advance(SimTime::from_ns(10_000));
    assert!(m.cpu.wakes());
}

#[test]
fn non_maskable_interrupt() {
    let mut m = Machine::new(|a| {
        let mut forever = a.create_label();
        a.set_label(&mut forever).unwrap();
        a.jmp(forever).unwrap();
    });
    m.cpu.run(VmEntry::Run, Some(10));
    m.inbox.deliver_nmi();
    assert_eq!(m.run_to_handler(), Some(2));
    m.inbox.deliver_nmi();
    m.code_at(0x9000, |a| {
        a.inc(rbx).unwrap();
        a.iretq().unwrap();
    });
    m.cpu.s.rip = 0x9000;
    assert_eq!(m.run_to_handler(), Some(2), "the second after IRET");
    assert_eq!(m.cpu.s.gpr[3], 1);
}
