//! SYSCALL, SYSRET, IRET, MSRs, segments (SDM volume 2 and 3).

use crate::machine::*;
use iced_x86::code_asm::*;

const STAR: u64 = 0xc000_0081;
const LSTAR: u64 = 0xc000_0082;
const FMASK: u64 = 0xc000_0084;

fn wrmsr(a: &mut CodeAssembler, n: u64, v: u64) {
    a.mov(ecx, n as u32).unwrap();
    a.mov(eax, v as u32).unwrap();
    a.mov(edx, (v >> 32) as u32).unwrap();
    a.wrmsr().unwrap();
}

#[test]
fn syscall_and_back() {
    let mut m = Machine::new(|a| {
        wrmsr(a, STAR, 0x23 << 48 | 0x10 << 32);
        wrmsr(a, LSTAR, 0x1_2000);
        wrmsr(a, FMASK, 0x700);
        // To the user by IRETQ.
        a.push(u32::from(USER_DS) as i32).unwrap();
        a.push(0x2_8000).unwrap();
        a.push(0x202).unwrap();
        a.push(u32::from(USER_CS) as i32).unwrap();
        a.push(0x1_1000).unwrap();
        a.iretq().unwrap();
    });
    m.code_at(0x1_1000, |a| {
        a.stc().unwrap();
        a.syscall().unwrap();
        a.mov(r14, rsp).unwrap();
        a.hlt().unwrap();
    });
    m.code_at(0x1_2000, |a| {
        a.mov(r8, rcx).unwrap();
        a.mov(r9, r11).unwrap();
        a.swapgs().unwrap();
        a.pushfq().unwrap();
        a.pop(r10).unwrap();
        a.mov(r12w, cs).unwrap();
        a.mov(r13w, ss).unwrap();
        a.sysretq().unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(13), "HLT at the user level");
    let r = m.cpu.s.gpr;
    assert_eq!(r[8], 0x1_1003, "RCX is the return address");
    assert_eq!(r[9] & 0x203, 0x203, "R11 is RFLAGS");
    assert_eq!(r[10] & 0x300, 0, "masked by FMASK");
    assert_eq!((r[12] & 0xffff, r[13] & 0xffff), (0x10, 0x18));
    assert_eq!(r[14], 0x2_8000);
    // The frame of the fault shows the user's selectors.
    assert_eq!(m.stack(2), u64::from(USER_CS));
    assert_eq!(m.stack(5), u64::from(USER_DS));
    assert_eq!(m.stack(3) & 0x201, 0x201);
}

#[test]
fn unknown_msrs_fault() {
    for (write, n, v) in [
        (false, 0x1234_5678, 0),
        (true, 0x1234_5678, 0),
        // x2APIC registers while the APIC is in xAPIC mode.
        (false, 0x802, 0),
        // Non-canonical addresses.
        (true, LSTAR, 0x8000_0000_0000),
        (true, 0xc000_0100, 0xffff_7fff_0000_0000),
        // A reserved bit of EFER; a bad memory type in the PAT.
        (true, 0xc000_0080, 0xd01 | 1 << 20),
        (true, 0x277, 2),
    ] {
        let mut m = Machine::new(|a| if write { a.wrmsr() } else { a.rdmsr() }.unwrap());
        m.cpu.s.gpr[1] = n;
        m.cpu.s.gpr[0] = v & 0xffff_ffff;
        m.cpu.s.gpr[2] = v >> 32;
        assert_eq!(m.run_to_handler(), Some(13), "{n:#x}");
        assert_eq!((m.stack(0), m.stack(1)), (0, CODE));
    }
}

#[test]
fn bases() {
    let mut m = Machine::new(|a| {
        wrmsr(a, 0xc000_0101, DATA);
        wrmsr(a, 0xc000_0102, DATA + 0x100);
        a.mov(rbx, qword_ptr(0x10).gs()).unwrap();
        a.swapgs().unwrap();
        a.mov(rcx, qword_ptr(0x10).gs()).unwrap();
        a.lea(rdx, qword_ptr(rbx + 0x10).gs()).unwrap();
        a.mov(rax, cr4).unwrap();
        a.or(eax, 1 << 16).unwrap();
        a.mov(cr4, rax).unwrap();
        a.mov(esi, 0x1000).unwrap();
        a.wrfsbase(rsi).unwrap();
        a.rdgsbase(rdi).unwrap();
        a.hlt().unwrap();
    });
    m.write(DATA + 0x10, 1);
    m.write(DATA + 0x110, 2);
    assert_eq!(m.run_to_handler(), None);
    let r = m.cpu.s.gpr;
    assert_eq!((r[3], r[1], r[2]), (1, 2, 0x11));
    assert_eq!((r[7], m.cpu.s.seg[4].base), (DATA + 0x100, 0x1000));
    // Without CR4.FSGSBASE they are undefined.
    let mut m = Machine::new(|a| a.rdfsbase(rax).unwrap());
    assert_eq!(m.run_to_handler(), Some(6));
}

#[test]
fn segment_loads() {
    let mut m = Machine::new(|a| {
        a.mov(eax, u32::from(KERNEL_DS)).unwrap();
        a.mov(ss, eax).unwrap();
        a.mov(ds, eax).unwrap();
        a.mov(eax, 0).unwrap();
        a.mov(es, eax).unwrap();
        a.mov(fs, eax).unwrap();
        a.mov(eax, 0x48).unwrap();
        a.mov(ds, eax).unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(13));
    assert_eq!(m.stack(0), 0x48, "outside the table");
    assert_eq!(m.cpu.s.seg[3].selector, KERNEL_DS);
    // LTR marks the TSS busy, and refuses a busy one.
    let mut m = Machine::new(|a| {
        a.mov(eax, 0x38).unwrap();
        a.ltr(ax).unwrap();
        a.ltr(ax).unwrap();
    });
    assert_eq!(m.run_to_handler(), Some(13));
    assert_eq!(m.stack(0), 0x38);
    assert_eq!(m.read(GDT + 0x38) >> 40 & 0x1f, 11);
    assert_eq!(m.cpu.s.tr.base, TSS);
    // A far return to a 64-bit segment, and the refusal of a 32-bit one.
    let mut m = Machine::new(|a| {
        a.push(u32::from(KERNEL_CS) as i32).unwrap();
        a.push(0x1_1000).unwrap();
        a.db(&[0x48, 0xcb]).unwrap(); // RETFQ
    });
    m.code_at(0x1_1000, |a| a.hlt().unwrap());
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.rip, 0x1_1001);
}

#[test]
fn control_register_checks() {
    type Code = fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>;
    let cases: [(u64, Code); 5] = [
        (0x11, |a| a.mov(cr0, rax)), // paging off
        (0x8000_0011 | 1 << 40, |a| a.mov(cr0, rax)),
        (0, |a| a.mov(cr4, rax)),              // PAE off
        (0x20 | 1 << 18, |a| a.mov(cr4, rax)), // OSXSAVE is not there
        (1 << 60, |a| a.mov(cr3, rax)),
    ];
    for (v, code) in cases {
        let mut m = Machine::new(|a| code(a).unwrap());
        m.cpu.s.gpr[0] = v;
        assert_eq!(m.run_to_handler(), Some(13), "{v:#x}");
        assert_eq!(m.stack(1), CODE);
    }
}
