//! The payloads. A report of a fault is: vector, error code, RIP, CS, stack
//! pointer, then CR2 for a page fault; the expected error codes are those of
//! the Intel SDM, volume 3, chapters 5 and 7.

use crate::machine::*;
use iced_x86::code_asm::*;

pub struct Payload {
    pub name: &'static str,
    pub code: Code,
    /// Words of the report that are known beforehand.
    pub expected: &'static [(usize, &'static str)],
    /// What the processor of qemu's TCG does instead; KVM is not asked on it.
    pub not_on_tcg: Option<&'static str>,
}

pub const PAYLOADS: &[Payload] = &[
    Payload {
        name: "page fault: read of an absent page",
        code: read_absent,
        expected: &[(0, "e"), (1, "0"), (5, "400000")],
        not_on_tcg: None,
    },
    Payload {
        name: "page fault: write to a read-only page",
        code: write_read_only,
        expected: &[(0, "e"), (1, "3"), (5, "401008")],
        not_on_tcg: None,
    },
    Payload {
        name: "page fault: execution",
        code: execute,
        expected: &[(0, "e"), (1, "11"), (5, "402000")],
        not_on_tcg: None,
    },
    Payload {
        name: "page fault: reserved bit",
        code: reserved,
        expected: &[(0, "e"), (1, "9"), (5, "403000")],
        not_on_tcg: Some("leaves P out of the error code"),
    },
    Payload {
        name: "page fault: user level",
        code: user_access,
        expected: &[(0, "e"), (1, "5"), (3, "33"), (5, "404000")],
        not_on_tcg: None,
    },
    Payload {
        name: "stack of an IST",
        code: undefined,
        expected: &[(0, "6"), (4, "bfb8")],
        not_on_tcg: None,
    },
    Payload {
        name: "divide error",
        code: divide,
        expected: &[(0, "0"), (1, "0")],
        not_on_tcg: None,
    },
    Payload {
        name: "non-canonical address",
        code: non_canonical,
        expected: &[(0, "d"), (1, "0")],
        not_on_tcg: None,
    },
    Payload {
        name: "stack address that is not canonical",
        code: non_canonical_stack,
        expected: &[(0, "c"), (1, "0")],
        not_on_tcg: Some("raises #GP"),
    },
    Payload {
        name: "bad selector",
        code: bad_selector,
        expected: &[(0, "d"), (1, "78")],
        not_on_tcg: None,
    },
    Payload {
        name: "MSRs",
        code: msrs,
        expected: &[(0, "d"), (1, "0"), (5, "d")],
        not_on_tcg: None,
    },
    Payload {
        name: "base that is not canonical",
        code: msr_base,
        expected: &[(0, "d"), (1, "0")],
        not_on_tcg: Some("takes it"),
    },
    Payload {
        name: "control registers",
        code: control,
        expected: &[(0, "d"), (5, "d")],
        not_on_tcg: None,
    },
    Payload {
        name: "breakpoint and software interrupt",
        code: software,
        expected: &[(0, "3"), (5, "80")],
        not_on_tcg: None,
    },
    Payload {
        name: "system call and return",
        code: syscall,
        expected: &[
            (0, "3402"),
            (1, "10"),
            (2, "3002"),
            (3, "33"),
            (4, "2b"),
            (5, "80"),
        ],
        not_on_tcg: None,
    },
    Payload {
        name: "single step",
        code: single_step,
        expected: &[(0, "1"), (5, "ffff4ff0")],
        not_on_tcg: None,
    },
    Payload {
        name: "code that changes itself",
        code: self_modifying,
        expected: &[(0, "1111"), (1, "2222"), (2, "3333")],
        not_on_tcg: None,
    },
    Payload {
        name: "local timer",
        code: timer,
        expected: &[(0, "41"), (5, "7777")],
        not_on_tcg: None,
    },
    Payload {
        name: "message-signalled interrupt",
        code: msi,
        expected: &[(0, "51"), (5, "7777")],
        not_on_tcg: None,
    },
    Payload {
        name: "task priority holds an interrupt back",
        code: priority,
        expected: &[(0, "1234"), (1, "51")],
        not_on_tcg: None,
    },
];

/// Runs `body`, which faults, and goes on behind it.
fn faulting(a: &mut CodeAssembler, body: impl FnOnce(&mut CodeAssembler)) {
    let mut behind = a.create_label();
    a.lea(r15, ptr(behind)).unwrap();
    body(a);
    // Not reached: it would show in the report.
    a.mov(edx, OUT).unwrap();
    a.mov(eax, 0xdead).unwrap();
    a.out(dx, eax).unwrap();
    a.set_label(&mut behind).unwrap();
    a.zero_bytes().unwrap();
}

fn out(a: &mut CodeAssembler) {
    a.mov(edx, OUT).unwrap();
    a.out(dx, eax).unwrap();
}

fn wrmsr(a: &mut CodeAssembler, n: u32, v: u64) {
    a.mov(ecx, n).unwrap();
    a.mov(eax, v as u32).unwrap();
    a.mov(edx, (v >> 32) as u32).unwrap();
    a.wrmsr().unwrap();
}

fn read_absent(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbx, page(Kind::Absent)).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
    });
}

fn write_read_only(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbx, page(Kind::ReadOnly)).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
        a.add(dword_ptr(rbx + 8), 1).unwrap();
    });
}

fn execute(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbx, page(Kind::NoExecute)).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
        a.jmp(rbx).unwrap();
    });
}

fn reserved(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbx, page(Kind::ReservedBit)).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
    });
}

/// Goes to `body` at the user level.
fn user(a: &mut CodeAssembler, body: impl FnOnce(&mut CodeAssembler)) {
    let mut there = a.create_label();
    a.push(USER_DS as i32).unwrap();
    a.push(STACK as i32 - 0x1000).unwrap();
    // IOPL 3, so that the payload can report.
    a.push(0x3002).unwrap();
    a.push(USER_CS as i32).unwrap();
    a.lea(rax, ptr(there)).unwrap();
    a.push(rax).unwrap();
    a.iretq().unwrap();
    a.set_label(&mut there).unwrap();
    body(a);
}

fn user_access(a: &mut CodeAssembler) {
    user(a, |a| {
        faulting(a, |a| {
            a.mov(rbx, page(Kind::Supervisor)).unwrap();
            a.mov(eax, dword_ptr(rbx)).unwrap();
        });
        // Privileged at the user level.
        faulting(a, |a| a.hlt().unwrap());
        faulting(a, |a| a.mov(rax, cr0).unwrap());
    });
}

fn undefined(a: &mut CodeAssembler) {
    faulting(a, |a| a.ud2().unwrap());
}

fn divide(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.xor(ebx, ebx).unwrap();
        a.mov(eax, 5).unwrap();
        a.cdq().unwrap();
        a.idiv(ebx).unwrap();
    });
    faulting(a, |a| {
        a.mov(eax, i32::MIN).unwrap();
        a.cdq().unwrap();
        a.mov(ebx, -1).unwrap();
        a.idiv(ebx).unwrap();
    });
}

fn non_canonical(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbx, 0x0000_8000_0000_0000u64).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
    });
}

fn non_canonical_stack(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(rbp, 0x0000_8000_0000_0000u64).unwrap();
        a.mov(eax, dword_ptr(rbp)).unwrap();
    });
}

fn bad_selector(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(eax, 0x78).unwrap();
        a.mov(ds, eax).unwrap();
    });
    faulting(a, |a| {
        a.mov(eax, 0x10).unwrap();
        a.mov(ss, eax).unwrap();
    });
}

fn msrs(a: &mut CodeAssembler) {
    faulting(a, |a| {
        a.mov(ecx, 0xdead_0000u32).unwrap();
        a.rdmsr().unwrap();
    });
    // A reserved bit of EFER.
    faulting(a, |a| wrmsr(a, 0xc000_0080, 0xd01 | 1 << 2));
    wrmsr(a, 0xc000_0100, 0xffff_8000_1234_5678);
    a.mov(ecx, 0xc000_0100u32).unwrap();
    a.rdmsr().unwrap();
    out(a);
}

fn msr_base(a: &mut CodeAssembler) {
    faulting(a, |a| wrmsr(a, 0xc000_0100, 0x0000_8000_0000_0000));
}

fn control(a: &mut CodeAssembler) {
    // A reserved bit of CR4; paging off in long mode.
    faulting(a, |a| {
        a.mov(rax, cr4).unwrap();
        a.bts(rax, 31).unwrap();
        a.mov(cr4, rax).unwrap();
    });
    faulting(a, |a| {
        a.mov(rax, cr0).unwrap();
        a.and(eax, 0x7fff_ffff).unwrap();
        a.mov(cr0, rax).unwrap();
    });
}

fn software(a: &mut CodeAssembler) {
    a.int3().unwrap();
    a.int(0x80).unwrap();
}

fn syscall(a: &mut CodeAssembler) {
    let mut entry = a.create_label();
    let mut over = a.create_label();
    // STAR: kernel 0x10, user 0x20; LSTAR; SFMASK: IF and DF.
    wrmsr(a, 0xc000_0081, 0x0020_0010 << 32);
    a.lea(rax, ptr(entry)).unwrap();
    a.mov(ecx, 0xc000_0082u32).unwrap();
    a.xor(edx, edx).unwrap();
    a.wrmsr().unwrap();
    wrmsr(a, 0xc000_0084, 0x600);
    a.jmp(over).unwrap();
    a.set_label(&mut entry).unwrap();
    // RCX is the return address, R11 the flags.
    a.mov(eax, r11d).unwrap();
    out(a);
    a.mov(eax, cs).unwrap();
    out(a);
    a.pushfq().unwrap();
    a.pop(rax).unwrap();
    out(a);
    a.sysretq().unwrap();
    a.set_label(&mut over).unwrap();
    user(a, |a| {
        a.std().unwrap();
        a.syscall().unwrap();
        a.cld().unwrap();
        a.mov(eax, cs).unwrap();
        out(a);
        a.mov(eax, ss).unwrap();
        out(a);
        a.int(0x80).unwrap();
    });
}

fn single_step(a: &mut CodeAssembler) {
    a.pushfq().unwrap();
    a.or(dword_ptr(rsp), 0x100).unwrap();
    a.popfq().unwrap();
    a.nop().unwrap();
    a.mov(ebx, 5).unwrap();
    a.add(ebx, 1).unwrap();
    a.pushfq().unwrap();
    a.and(dword_ptr(rsp), !0x100).unwrap();
    a.popfq().unwrap();
}

fn self_modifying(a: &mut CodeAssembler) {
    let mut again = a.create_label();
    a.mov(ebx, 3).unwrap();
    a.set_label(&mut again).unwrap();
    // mov eax, 0x1111, whose number grows by 0x1111 each time.
    a.mov(eax, 0x1111).unwrap();
    out(a);
    a.lea(rcx, ptr(again)).unwrap();
    a.add(dword_ptr(rcx + 1), 0x1111).unwrap();
    a.dec(ebx).unwrap();
    a.jnz(again).unwrap();
}

/// Enters x2APIC mode and enables the APIC.
fn x2apic(a: &mut CodeAssembler) {
    wrmsr(a, 0x1b, 0xfee0_0d00);
    wrmsr(a, 0x80f, 0x1ff);
}

/// STI, HLT, then a mark.
fn wait(a: &mut CodeAssembler) {
    a.sti().unwrap();
    a.hlt().unwrap();
    a.cli().unwrap();
    a.mov(eax, 0x7777).unwrap();
    out(a);
}

fn timer(a: &mut CodeAssembler) {
    x2apic(a);
    // Divide by 16, one shot, vector 0x41.
    wrmsr(a, 0x83e, 3);
    wrmsr(a, 0x832, 0x41);
    wrmsr(a, 0x838, 100_000);
    wait(a);
}

fn msi(a: &mut CodeAssembler) {
    x2apic(a);
    a.mov(edx, SEND_MSI).unwrap();
    a.out(dx, eax).unwrap();
    wait(a);
}

fn priority(a: &mut CodeAssembler) {
    x2apic(a);
    // Class 5 is held back, so vector 0x51 comes only when the priority falls.
    wrmsr(a, 0x808, 0x50);
    a.mov(edx, SEND_MSI).unwrap();
    a.out(dx, eax).unwrap();
    a.sti().unwrap();
    a.nop().unwrap();
    a.nop().unwrap();
    a.mov(eax, 0x1234).unwrap();
    out(a);
    wrmsr(a, 0x808, 0);
    a.nop().unwrap();
    a.cli().unwrap();
}
