//! Page faults, accessed and dirty bits (SDM volume 3, sections 4.6 to 4.8).

use crate::machine::{CODE, Machine, PAGES, PD, PDPT, PML4, PT, STACK};
use iced_x86::code_asm::*;

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const NX: u64 = 1 << 63;

#[derive(Clone, Copy, Debug)]
enum Do {
    Read,
    Write,
    Fetch,
}
use Do::{Fetch, Read, Write};

fn payload(what: Do) -> impl Fn(&mut CodeAssembler) {
    move |a| {
        match what {
            Read => a.mov(eax, ptr(rax)),
            Write => a.mov(ptr(rax), eax),
            Fetch => a.jmp(rax),
        }
        .unwrap();
        a.hlt().unwrap();
    }
}

fn machine(what: Do, user: bool, pte: u64) -> Machine {
    let mut m = Machine::new(payload(what));
    m.write(PT, PAGES | pte);
    m.write8(PAGES, 0xf4);
    m.cpu.s.gpr[0] = PAGES;
    if user {
        m.user();
    }
    m
}

#[test]
fn error_codes() {
    // Access, user, entry, CR0.WP; the error code, or none for success. Bit 0
    // present, 1 write, 2 user, 3 reserved bit, 4 fetch.
    let cases: &[(Do, bool, u64, bool, Option<u64>)] = &[
        (Read, false, 0, true, Some(0)),
        (Write, false, 0, true, Some(2)),
        (Fetch, false, 0, true, Some(16)),
        (Read, true, 0, true, Some(4)),
        (Write, true, 0, true, Some(6)),
        (Fetch, true, 0, true, Some(20)),
        (Read, false, P, true, None),
        (Write, false, P, true, Some(3)),
        (Write, false, P, false, None),
        (Write, false, P | W, true, None),
        (Read, true, P | W, true, Some(5)),
        (Write, true, P | W, true, Some(7)),
        (Write, true, P | U, true, Some(7)),
        (Write, true, P | U, false, Some(7)),
        (Read, true, P | U, true, None),
        (Fetch, true, P, true, Some(21)),
        (Fetch, true, P | U | NX, true, Some(21)),
        (Fetch, false, P | W | NX, true, Some(17)),
        (Read, false, P | W | NX, true, None),
        // No SMEP: supervisor code runs from user pages.
        (Fetch, false, P | W | U, true, None),
        // Bit 50 lies over the physical address width.
        (Read, false, P | W | 1 << 50, true, Some(9)),
        (Write, true, P | W | U | 1 << 50, true, Some(15)),
    ];
    for &(what, user, pte, wp, expected) in cases {
        let mut m = machine(what, user, pte);
        if !wp {
            m.cpu.s.cr0 &= !(1 << 16);
        }
        let vector = m.run_to_handler();
        let name = format!("{what:?} user {user} pte {pte:#x} wp {wp}");
        match expected {
            None if user => {
                // HLT is not for users: the access went through.
                assert_eq!(vector, Some(13), "{name}");
            }
            None => assert_eq!(vector, None, "{name}"),
            Some(code) => {
                assert_eq!(vector, Some(14), "{name}");
                assert_eq!(m.stack(0), code, "{name}");
                assert_eq!(m.cpu.s.cr2, PAGES, "{name}");
                let rip = if matches!(what, Fetch) { PAGES } else { CODE };
                assert_eq!(m.stack(1), rip, "{name}");
            }
        }
    }
}

#[test]
fn rights_of_all_levels_count() {
    for (at, n) in [(PML4, 0), (PD, 2)] {
        let mut m = machine(Write, false, P | W | U);
        let entry = m.read(at + n * 8);
        m.write(at + n * 8, entry & !W);
        // A stack in the upper half, which has its own top entry.
        m.cpu.s.gpr[4] = 0xffff_ff80_0000_0000 + STACK;
        assert_eq!(m.run_to_handler(), Some(14));
        assert_eq!(m.stack(0), 3);
    }
}

#[test]
fn without_nxe_the_bit_is_reserved() {
    let mut m = machine(Read, false, P | W | NX);
    m.cpu.s.msr.efer &= !(1 << 11);
    assert_eq!(m.run_to_handler(), Some(14));
    assert_eq!(m.stack(0), 9);
}

#[test]
fn accessed_and_dirty() {
    let mut m = machine(Read, false, P | W);
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.read(PT) & 0x60, 0x20);
    assert_eq!(m.read(PD + 16) & 0x20, 0x20);
    assert_eq!(m.read(PDPT) & 0x20, 0x20);
    assert_eq!(m.read(PML4) & 0x20, 0x20);
    // A write after a read still sets the dirty bit.
    let mut m = Machine::new(|a| {
        a.mov(eax, ptr(rax)).unwrap();
        a.mov(rax, PAGES).unwrap();
        a.mov(ptr(rax), eax).unwrap();
        a.hlt().unwrap();
    });
    m.cpu.s.gpr[0] = PAGES;
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.read(PT) & 0x60, 0x60);
    // A fault sets no dirty bit.
    let mut m = machine(Write, false, P);
    assert_eq!(m.run_to_handler(), Some(14));
    assert_eq!(m.read(PT) & 0x40, 0);
}

#[test]
fn non_canonical_addresses() {
    for at in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 0x7fff_ffff_fffe] {
        let mut m = machine(Read, false, P | W);
        m.cpu.s.gpr[0] = at;
        // The last one begins in the lower half and crosses into the hole; its
        // first page is not mapped, which comes first.
        let expected = if at < 0x8000_0000_0000 { 14 } else { 13 };
        assert_eq!(m.run_to_handler(), Some(expected), "{at:#x}");
        assert_eq!(m.stack(0), 0);
    }
    let mut m = machine(Fetch, false, P | W);
    m.cpu.s.gpr[0] = 0x8000_0000_0000;
    assert_eq!(m.run_to_handler(), Some(13));
    assert_eq!(m.stack(1), CODE, "a jump to a hole faults at the jump");
}

/// What is pushed from here is not canonical either.
const HOLE: u64 = 0x8000_0000_1000;

/// Vector of the exception that user code raises when it uses a hole of the
/// address space by RSP, RBP and RBX.
fn in_a_hole(code: fn(&mut CodeAssembler)) -> Option<u8> {
    let mut m = Machine::new(code);
    m.user();
    // OSFXSR.
    m.cpu.s.cr4 |= 1 << 9;
    for register in [3, 4, 5] {
        m.cpu.s.gpr[register] = HOLE;
    }
    let vector = m.run_to_handler();
    assert_eq!(m.stack(0), 0, "error code");
    assert_eq!(m.stack(1), CODE, "at the instruction");
    assert_eq!(m.stack(4), HOLE, "RSP as it was");
    vector
}

#[test]
fn stack_faults() {
    // SDM volume 3, 6.15, vector 12: accesses through SS, by their encoding.
    let stack: [fn(&mut CodeAssembler); 16] = [
        |a| a.push(rax).unwrap(),
        |a| a.push(1).unwrap(),
        |a| a.pop(rax).unwrap(),
        |a| a.pushfq().unwrap(),
        |a| a.popfq().unwrap(),
        |a| a.call(CODE).unwrap(),
        |a| a.ret().unwrap(),
        |a| a.retf().unwrap(),
        |a| a.iretq().unwrap(),
        |a| a.enter(8, 0).unwrap(),
        |a| a.leave().unwrap(),
        |a| a.mov(rax, qword_ptr(rsp + 8)).unwrap(),
        |a| a.add(dword_ptr(rbp + 8), eax).unwrap(),
        |a| a.bts(qword_ptr(rbp), rax).unwrap(),
        |a| a.movups(xmm0, xmmword_ptr(rsp)).unwrap(),
        // DS is ignored in 64-bit mode.
        |a| a.mov(eax, dword_ptr(rbp).ds()).unwrap(),
    ];
    for (n, code) in stack.into_iter().enumerate() {
        assert_eq!(in_a_hole(code), Some(12), "{n}");
    }
    let others: [fn(&mut CodeAssembler); 6] = [
        |a| a.mov(rax, qword_ptr(rbx)).unwrap(),
        |a| a.push(qword_ptr(rbx)).unwrap(),
        |a| a.call(qword_ptr(rbx)).unwrap(),
        |a| a.mov(rax, qword_ptr(rbx + rbp)).unwrap(),
        |a| a.mov(rax, qword_ptr(rbp).fs()).unwrap(),
        |a| a.mov(rax, qword_ptr(rsp).gs()).unwrap(),
    ];
    for (n, code) in others.into_iter().enumerate() {
        assert_eq!(in_a_hole(code), Some(13), "{n}");
    }
    // A pop into a hole: the stack is right, the operand is not.
    let mut m = Machine::new(|a| a.pop(qword_ptr(rbp)).unwrap());
    m.cpu.s.gpr[5] = HOLE;
    assert_eq!(m.run_to_handler(), Some(12));
    assert_eq!(m.stack(0), 0);
}

#[test]
fn large_pages() {
    // 1 GiB page at 1 GiB, and a 2 MiB page with an offset.
    let mut m = machine(Read, false, P);
    m.write(PDPT + 8, 0x83);
    m.write(DATA_PA, 0x1234_5678);
    m.cpu.s.gpr[0] = 0x4000_0000 + DATA_PA;
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.gpr[0], 0x1234_5678);
    assert_eq!(m.read(PDPT + 8) & 0x60, 0x20);
    // Bits 13 to 29 of its entry are reserved.
    let mut m = machine(Read, false, P);
    m.write(PDPT + 8, 0x83 | 1 << 13);
    m.cpu.s.gpr[0] = 0x4000_0000;
    assert_eq!(m.run_to_handler(), Some(14));
    assert_eq!(m.stack(0), 9);
}
const DATA_PA: u64 = 0x3_0128;

#[test]
fn invlpg_and_cr3_make_changes_seen() {
    use iced_x86::code_asm::{cr3, rbx, rcx};
    for whole in [false, true] {
        let mut m = Machine::new(|a| {
            a.mov(rbx, ptr(rax)).unwrap();
            a.mov(ptr(rcx), rbx).unwrap();
            a.mov(rbx, PT).unwrap();
            a.mov(rcx, (PAGES + 0x2000) | P | W).unwrap();
            a.mov(ptr(rbx), rcx).unwrap();
            if whole {
                a.mov(rcx, cr3).unwrap();
                a.mov(cr3, rcx).unwrap();
            } else {
                a.invlpg(ptr(rax)).unwrap();
            }
            a.mov(rax, ptr(rax)).unwrap();
            a.hlt().unwrap();
        });
        m.cpu.s.gpr[0] = PAGES;
        m.cpu.s.gpr[1] = PAGES + 0x1000;
        m.write(PAGES, 11);
        m.write(PAGES + 0x2000, 22);
        assert_eq!(m.run_to_handler(), None);
        assert_eq!(m.cpu.s.gpr[0], 22);
    }
}
