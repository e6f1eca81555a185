//! String instructions: pages, devices, directions (SDM volume 2).

use crate::machine::*;
use cpu::{VmEntry, VmExit};
use iced_x86::code_asm::*;
use vm_memory::{Bytes, GuestAddress};

fn copy_machine(backward: bool, size: u64) -> Machine {
    Machine::new(|a| {
        if backward {
            a.std().unwrap();
        }
        let a = a.rep();
        match size {
            1 => a.movsb(),
            2 => a.movsw(),
            4 => a.movsd(),
            _ => a.movsq(),
        }
        .unwrap();
        a.hlt().unwrap();
    })
}

#[test]
fn rep_movs_is_a_loop() {
    // Expected: what a plain loop over the elements does to a copy of memory.
    let mut seed = 1u64;
    let mut random = |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    for round in 0..300 {
        let size = 1 << random(4);
        let backward = random(2) == 1;
        let count = random(if round % 10 == 0 { 20_000 } else { 300 });
        let from = PAGES + 0x40000 + random(0x3000);
        let to = match random(3) {
            0 => from + random(40),
            1 => from - random(40),
            _ => PAGES + 0x80000 + random(0x3000),
        };
        let mut m = copy_machine(backward, size);
        let len = 0x10_0000;
        let mut memory: Vec<u8> = (0..len).map(|_| random(256) as u8).collect();
        m.ram.write_slice(&memory, GuestAddress(PAGES)).unwrap();
        (m.cpu.s.gpr[6], m.cpu.s.gpr[7], m.cpu.s.gpr[1]) = (from, to, count);
        assert_eq!(m.run(), VmExit::Halt);
        let step = if backward {
            -(size as i64)
        } else {
            size as i64
        };
        let (mut f, mut t) = ((from - PAGES) as i64, (to - PAGES) as i64);
        for _ in 0..count {
            for i in 0..size as i64 {
                // An element is read whole before it is written.
                if i == 0 {
                    let element: Vec<u8> = memory[f as usize..f as usize + size as usize].to_vec();
                    memory[t as usize..t as usize + size as usize].copy_from_slice(&element);
                }
            }
            f += step;
            t += step;
        }
        let mut after = vec![0; len];
        m.ram.read_slice(&mut after, GuestAddress(PAGES)).unwrap();
        assert!(after == memory, "round {round}");
        assert_eq!(m.cpu.s.gpr[1], 0);
        assert_eq!(m.cpu.s.gpr[6], (PAGES as i64 + f) as u64);
        assert_eq!(m.cpu.s.gpr[7], (PAGES as i64 + t) as u64);
    }
}

#[test]
fn a_fault_leaves_exact_registers() {
    let mut m = copy_machine(false, 4);
    m.write(PT + 3 * 8, 0);
    (m.cpu.s.gpr[6], m.cpu.s.gpr[7], m.cpu.s.gpr[1]) = (DATA, PAGES + 0x1ff2, 5000);
    assert_eq!(m.run_to_handler(), Some(14));
    // The element that crosses into the missing page faults there.
    let done = (0x3000 - 0x1ff2) / 4;
    assert_eq!(m.cpu.s.cr2, PAGES + 0x3000);
    assert_eq!(m.cpu.s.gpr[1], 5000 - done);
    assert_eq!(m.cpu.s.gpr[6], DATA + 4 * done);
    assert_eq!(m.cpu.s.gpr[7], PAGES + 0x1ff2 + 4 * done);
    assert_eq!(m.stack(1), CODE);
    // With the page there, the instruction goes on.
    m.write(PT + 3 * 8, (PAGES + 0x3000) | 7);
    m.cpu.s.rip = CODE;
    m.cpu.s.gpr[4] = STACK;
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.gpr[1], 0);
}

#[test]
fn devices_see_each_element_once() {
    let mut m = copy_machine(false, 4);
    m.write(PT + 8, 0x5000_0000 | 7);
    // Two words of RAM, then two words of the device.
    (m.cpu.s.gpr[6], m.cpu.s.gpr[7], m.cpu.s.gpr[1]) = (DATA, PAGES + 0xff8, 4);
    m.write(DATA, 0x2222_2222_1111_1111);
    m.write(DATA + 8, 0x4444_4444_3333_3333);
    let mut exit = m.run();
    for (n, data) in [(0, 0x3333_3333), (4, 0x4444_4444)] {
        let expected = VmExit::MmioWrite {
            address: 0x5000_0000 + n,
            size: 4,
            data,
        };
        assert_eq!(exit, expected);
        exit = m.cpu.run(VmEntry::Done, Some(1000));
    }
    assert_eq!(exit, VmExit::Halt);
    assert_eq!(m.read(PAGES + 0xff8), 0x2222_2222_1111_1111);
    // Device to device: a read and a write for each element.
    let mut m = copy_machine(false, 8);
    m.write(PT + 8, 0x5000_0000 | 7);
    m.write(PT + 16, 0x6000_0000 | 7);
    (m.cpu.s.gpr[6], m.cpu.s.gpr[7], m.cpu.s.gpr[1]) = (PAGES + 0x1000, PAGES + 0x2000, 2);
    let mut exit = m.run();
    for n in 0..2 {
        let address = 0x5000_0000 + 8 * n;
        assert_eq!(exit, VmExit::MmioRead { address, size: 8 });
        exit = m.cpu.run(VmEntry::Value(77 + n), Some(1000));
        let address = 0x6000_0000 + 8 * n;
        let data = 77 + n;
        assert_eq!(
            exit,
            VmExit::MmioWrite {
                address,
                size: 8,
                data
            }
        );
        exit = m.cpu.run(VmEntry::Done, Some(1000));
    }
    assert_eq!(exit, VmExit::Halt);
}

#[test]
fn scans_and_compares() {
    let mut m = Machine::new(|a| {
        a.repne().scasb().unwrap();
        a.mov(r8, rcx).unwrap();
        a.mov(rdi, DATA + 0x40).unwrap();
        a.mov(rsi, DATA).unwrap();
        a.mov(ecx, 16).unwrap();
        a.repe().cmpsb().unwrap();
        a.seta(r9b).unwrap();
        a.hlt().unwrap();
    });
    m.ram
        .write_slice(b"strlen of this\0", GuestAddress(DATA))
        .unwrap();
    m.ram
        .write_slice(b"strlen if this\0", GuestAddress(DATA + 0x40))
        .unwrap();
    (m.cpu.s.gpr[7], m.cpu.s.gpr[1]) = (DATA, u64::MAX);
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(!m.cpu.s.gpr[8] - 1, 14);
    assert_eq!(m.cpu.s.gpr[9] & 0xff, 1, "o is above i");
    assert_eq!(m.cpu.s.gpr[1], 16 - 8);
    // No element, no change of flags.
    let mut m = Machine::new(|a| {
        a.stc().unwrap();
        a.repe().cmpsb().unwrap();
        a.setc(al).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(m.run_to_handler(), None);
    assert_eq!(m.cpu.s.gpr[0] & 0xff, 1);
}

#[test]
fn ports() {
    let mut m = Machine::new(|a| {
        a.rep().insb().unwrap();
        a.mov(rsi, rdi).unwrap();
        a.mov(ecx, 1).unwrap();
        a.std().unwrap();
        a.rep().outsw().unwrap();
        a.hlt().unwrap();
    });
    (m.cpu.s.gpr[7], m.cpu.s.gpr[1], m.cpu.s.gpr[2]) = (DATA, 2, 0x3f8);
    m.write(DATA, 0x1234_0000);
    let mut exit = m.run();
    for n in 0..2 {
        assert_eq!(
            exit,
            VmExit::IoRead {
                port: 0x3f8,
                size: 1
            }
        );
        exit = m.cpu.run(VmEntry::Value(0x30 + n), Some(100));
    }
    let (port, size, data) = (0x3f8, 2, 0x1234);
    assert_eq!(exit, VmExit::IoWrite { port, size, data });
    assert_eq!(m.cpu.run(VmEntry::Done, Some(100)), VmExit::Halt);
    assert_eq!(m.read(DATA), 0x1234_3130);
    assert_eq!(m.cpu.s.gpr[6], DATA);
}
