//! More code than the cache of decoded blocks holds.

use crate::machine::*;
use cpu::engine::jit::JitConfig;
use cpu::{VmEntry, VmExit};
use iced_x86::code_asm::*;
use vm_memory::{Bytes, GuestAddress};

/// So many times `inc rax` and a jump to the next, in 8 bytes each.
const UNITS: u64 = 1 << 19;
const UNIT: [u8; 8] = [0x48, 0xff, 0xc0, 0xeb, 0x03, 0xcc, 0xcc, 0xcc];
const FIELD: u64 = 0x60_0000;
const END: u64 = FIELD + UNITS * 8;
const ROUNDS: u64 = 4;
const WARM: u64 = 5000;

#[test]
fn seldom_blocks_make_room_for_others() {
    let mut m = Machine::new(|a| {
        let mut round = a.create_label();
        let mut warm = a.create_label();
        a.mov(ebx, ROUNDS as i32).unwrap();
        a.set_label(&mut round).unwrap();
        a.mov(ecx, WARM as i32).unwrap();
        a.set_label(&mut warm).unwrap();
        a.add(rdx, rcx).unwrap();
        a.dec(ecx).unwrap();
        a.jne(warm).unwrap();
        a.jmp(FIELD).unwrap();
    });
    for unit in 0..UNITS {
        let at = GuestAddress(FIELD + unit * 8);
        m.ram.write_slice(&UNIT, at).unwrap();
    }
    m.code_at(END, |a| {
        // From the second round on the first and the last INC are DECs.
        let mut on = a.create_label();
        a.cmp(ebx, ROUNDS as i32).unwrap();
        a.jne(on).unwrap();
        a.mov(byte_ptr(FIELD + 2), 0xc8).unwrap();
        a.mov(byte_ptr(END - 6), 0xc8).unwrap();
        a.set_label(&mut on).unwrap();
        a.dec(ebx).unwrap();
        a.jne(CODE + 5).unwrap();
        a.hlt().unwrap();
    });
    m.cpu.set_jit(JitConfig {
        threshold: Some(100),
        code_bytes: 1 << 20,
        background: true,
    });
    assert_eq!(m.cpu.run(VmEntry::Run, None), VmExit::Halt);
    assert_eq!(m.cpu.s.gpr[0], ROUNDS * UNITS - 4 * (ROUNDS - 1));
    assert_eq!(m.cpu.s.gpr[2], ROUNDS * WARM * (WARM + 1) / 2);
    let round = 1 + 3 * WARM + 1 + 2 * UNITS + 4;
    assert_eq!(m.cpu.icount(), 1 + ROUNDS * round + 2 + 1);
    let stats = m.cpu.stats();
    assert!(stats.blocks_cached < UNITS / 3, "{stats:?}");
    assert!(stats.blocks_decoded > 2 * UNITS, "{stats:?}");
}

/// A block that stays links to one that goes, and whose place another one takes.
#[test]
fn a_link_to_a_block_that_went_leads_to_no_other() {
    const FAR: u64 = 0x1_4000;
    let mut m = Machine::new(|a| {
        let [mut first, mut often, mut again, mut on, mut last] =
            [(); 5].map(|()| a.create_label());
        // RSI is where to go on. With the link taken, a few times,
        a.mov(ebx, 3).unwrap();
        a.set_label(&mut first).unwrap();
        a.lea(rsi, ptr(again)).unwrap();
        a.mov(ecx, 1).unwrap();
        a.jmp(often).unwrap();
        a.set_label(&mut often).unwrap();
        a.dec(ecx).unwrap();
        a.je(FAR).unwrap();
        a.jmp(rsi).unwrap();
        // then often without,
        a.set_label(&mut again).unwrap();
        a.dec(ebx).unwrap();
        a.jne(first).unwrap();
        a.mov(ebx, 20).unwrap();
        a.set_label(&mut on).unwrap();
        a.mov(ecx, 5).unwrap();
        a.lea(rsi, ptr(last)).unwrap();
        a.jmp(often).unwrap();
        a.set_label(&mut last).unwrap();
        a.dec(ebx).unwrap();
        a.jne(on).unwrap();
        // then with it again, behind more blocks than there is room for.
        a.lea(rsi, ptr(FAR + 0x100)).unwrap();
        a.mov(ecx, 1).unwrap();
        a.lea(rdi, ptr(often)).unwrap();
        a.jmp(FIELD).unwrap();
    });
    m.code_at(FAR, |a| {
        a.inc(r9).unwrap();
        a.jmp(rsi).unwrap();
    });
    m.code_at(FAR + 0x100, |a| a.hlt().unwrap());
    for unit in 0..UNITS {
        let at = GuestAddress(FIELD + unit * 8);
        m.ram.write_slice(&UNIT, at).unwrap();
    }
    m.code_at(END, |a| a.jmp(rdi).unwrap());
    m.cpu.set_jit(JitConfig {
        threshold: Some(1 << 30),
        code_bytes: 1 << 20,
        background: true,
    });
    assert_eq!(m.cpu.run(VmEntry::Run, None), VmExit::Halt);
    assert_eq!((m.cpu.s.gpr[0], m.cpu.s.gpr[9]), (UNITS, 4));
    assert_eq!(
        m.cpu.icount(),
        1 + 3 * 9 + 1 + 20 * 8 + 4 + 2 * UNITS + 5 + 1
    );
}
