//! Budgets, self-modifying code, page crossings.

use crate::machine::*;
use cpu::{VmEntry, VmExit};
use iced_x86::code_asm::*;

fn program(a: &mut CodeAssembler) {
    let mut top = a.create_label();
    let mut sub = a.create_label();
    a.mov(ecx, 50).unwrap();
    a.set_label(&mut top).unwrap();
    a.add(rax, rcx).unwrap();
    a.call(sub).unwrap();
    a.imul_3(rbx, rax, 7).unwrap();
    a.rol(rbx, 3).unwrap();
    a.mov(ptr(rsi + rcx * 8), rbx).unwrap();
    a.adc(rdx, ptr(rsi + rcx * 8)).unwrap();
    a.dec(ecx).unwrap();
    a.jne(top).unwrap();
    a.hlt().unwrap();
    a.set_label(&mut sub).unwrap();
    a.push(rax).unwrap();
    a.popcnt(rax, rax).unwrap();
    a.add(r8, rax).unwrap();
    a.pop(rax).unwrap();
    a.ret().unwrap();
}

#[test]
fn budgets_are_exact() {
    let machine = || {
        let mut m = Machine::new(program);
        m.cpu.s.gpr[6] = DATA;
        m
    };
    let mut whole = machine();
    assert_eq!(whole.run(), VmExit::Halt);
    let total = whole.cpu.icount();
    assert_eq!(total, 1 + 50 * 13 + 1);
    let mut one = machine();
    for n in 1..total {
        assert_eq!(one.cpu.run(VmEntry::Run, Some(1)), VmExit::Budget);
        assert_eq!(one.cpu.icount(), n);
    }
    assert_eq!(one.cpu.run(VmEntry::Run, Some(1)), VmExit::Halt);
    assert_eq!(one.cpu.s.gpr, whole.cpu.s.gpr);
    assert_eq!(one.cpu.s.cc, whole.cpu.s.cc);
    for budget in [2, 3, 7, 13, 100] {
        let mut m = machine();
        let mut runs = 0;
        while m.cpu.run(VmEntry::Run, Some(budget)) == VmExit::Budget {
            runs += 1;
            assert_eq!(m.cpu.icount(), runs * budget);
        }
        assert_eq!(m.cpu.icount(), total);
        assert_eq!(m.cpu.s.gpr, whole.cpu.s.gpr);
    }
}

#[test]
fn a_store_into_its_own_block() {
    // The immediate of the MOV behind it is changed by the instruction before.
    let mut m = Machine::new(|a| {
        let mut patched = a.create_label();
        a.lea(rdi, ptr(patched)).unwrap();
        a.mov(byte_ptr(rdi + 1), 0x42).unwrap();
        a.set_label(&mut patched).unwrap();
        a.mov(eax, 0x11).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.gpr[0], 0x42);
    assert_eq!(m.cpu.icount(), 4);
}

#[test]
fn a_loop_that_rewrites_itself() {
    let mut m = Machine::new(|a| {
        let mut top = a.create_label();
        let mut patched = a.create_label();
        a.mov(ecx, 200).unwrap();
        a.lea(rdi, ptr(patched)).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(byte_ptr(rdi + 3), cl).unwrap();
        a.set_label(&mut patched).unwrap();
        a.db(&[0x48, 0x83, 0xc0, 0x11]).unwrap(); // ADD RAX, 0x11
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), None);
    // Immediates are sign-extended bytes.
    let sum: i64 = (1..=200).map(|n| i64::from(n as u8 as i8)).sum();
    assert_eq!(m.cpu.s.gpr[0], sum as u64);
    assert_eq!(m.cpu.icount(), 2 + 200 * 4 + 1);
}

#[test]
fn copied_code_runs() {
    // REP MOVSB over code that was run before.
    let mut m = Machine::new(|a| {
        let mut again = a.create_label();
        a.mov(r15d, 2).unwrap();
        a.set_label(&mut again).unwrap();
        a.mov(rax, 0x1_1000u64).unwrap();
        a.call(rax).unwrap();
        a.mov(rdi, 0x1_1000u64).unwrap();
        a.mov(rsi, 0x1_2000u64).unwrap();
        a.mov(ecx, 16).unwrap();
        a.rep().movsb().unwrap();
        a.dec(r15d).unwrap();
        a.jne(again).unwrap();
        a.hlt().unwrap();
    });
    m.code_at(0x1_1000, |a| {
        a.add(rbx, 1).unwrap();
        a.ret().unwrap();
    });
    m.code_at(0x1_2000, |a| {
        a.add(rbx, 100).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.gpr[3], 101);
}

#[test]
fn instructions_that_cross_a_page() {
    // A ten-byte MOV with 1 to 9 bytes in the first page; the second page is
    // another physical page than the one that follows.
    for first in 1..10 {
        let mut m = Machine::new(|a| {
            a.jmp(rax).unwrap();
        });
        m.write(PT + 8, (PAGES + 0x5000) | 7);
        let bytes: [u8; 11] = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf4];
        for (n, byte) in bytes.iter().enumerate() {
            let at = if n < first {
                PAGES + 0x1000 - first as u64 + n as u64
            } else {
                PAGES + 0x5000 + (n - first) as u64
            };
            m.write8(at, *byte);
        }
        let start = PAGES + 0x1000 - first as u64;
        m.cpu.s.gpr[0] = start;
        assert_eq!(m.run(), VmExit::Halt);
        assert_eq!(m.cpu.s.gpr[0], 0x0807_0605_0403_0201);
        assert_eq!(m.cpu.s.rip, PAGES + 0x1000 - first as u64 + 11);
        // Without the second page: #PF there, at the instruction.
        m.write(PT + 8, 0);
        m.cpu.flush_tlb();
        m.cpu.s.rip = start;
        assert_eq!(m.run_to_handler(), Some(14));
        assert_eq!((m.stack(0), m.stack(1)), (16, start));
        assert_eq!(m.cpu.s.cr2, PAGES + 0x1000);
    }
}

#[test]
fn crossing_code_changes_behind_the_page() {
    // As above, called in a loop that stores to the second part, and now and then
    // maps another page there.
    for first in 1..10u64 {
        let start = PAGES + 0x1000 - first;
        let mut m = Machine::new(|a| {
            let mut top = a.create_label();
            let mut same = a.create_label();
            a.mov(ecx, 300).unwrap();
            a.xor(ebx, ebx).unwrap();
            a.mov(rsi, start).unwrap();
            a.set_label(&mut top).unwrap();
            a.call(rsi).unwrap();
            // The last byte of the immediate.
            a.mov(byte_ptr(PAGES + 0x5000 + 9 - first), cl).unwrap();
            a.test(cl, 15).unwrap();
            a.jne(same).unwrap();
            a.xor(word_ptr(PT + 8), 0x3000).unwrap();
            a.invlpg(ptr(PAGES + 0x1000)).unwrap();
            a.set_label(&mut same).unwrap();
            a.dec(ecx).unwrap();
            a.jne(top).unwrap();
            a.hlt().unwrap();
        });
        m.write(PT + 8, (PAGES + 0x5000) | 7);
        for page in [5, 6] {
            // MOV RAX, imm64; ADD RBX, RAX; RET
            let bytes = [
                0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, page, 0x48, 0x01, 0xc3, 0xc3,
            ];
            for (n, byte) in (0..).zip(bytes) {
                let at = match n < first {
                    true => PAGES + 0x1000 - first + n,
                    false => PAGES + 0x1000 * u64::from(page) + (n - first),
                };
                m.write8(at, byte);
            }
        }
        assert_eq!(m.run(), VmExit::Halt);
        let (mut last, mut mapped, mut sum) = ([5u64, 6], 0, 0u64);
        for n in (1..=300u64).rev() {
            sum = sum.wrapping_add(0x07_0605_0403_0201 | last[mapped] << 56);
            last[0] = n & 0xff;
            mapped ^= usize::from(n & 15 == 0);
        }
        assert_eq!(m.cpu.s.gpr[3], sum, "{first} bytes in the first page");
        let swaps = 300 / 16;
        assert_eq!(m.cpu.icount(), 3 + 300 * (1 + 3 + 5) + 2 * swaps + 1);
    }
}

#[test]
fn undefined_bytes() {
    // LOCK NOP, a hidden VEX instruction, an undefined opcode, MOV CS.
    for bytes in [
        &[0xf0u8, 0x90][..],
        &[0xc5, 0xf8, 0x77],
        &[0x0f, 0xff, 0xc0],
        &[0x8e, 0xc8],
        &[0x06],
        &[0x0f, 0x01, 0xd0],
    ] {
        let mut m = Machine::new(|a| a.nop().unwrap());
        for (n, byte) in bytes.iter().enumerate() {
            m.write8(CODE + n as u64, *byte);
        }
        assert_eq!(m.run_to_handler(), Some(6), "{bytes:02x?}");
        assert_eq!(m.stack(0), CODE);
    }
}
