//! Exact budgets, and code that changes while it runs.

use crate::machine::*;

/// Loads, stores, branches, a system register and an exception.
const MIX: &[u32] = &[
    0xd280_0141, // mov x1, #10
    0x1000_0182, // adr x2, +48 (the words behind the loop)
    0xf940_0043, // 1: ldr x3, [x2]
    0x8b01_0063, // add x3, x3, x1
    0xf900_0043, // str x3, [x2]
    0xd53b_4204, // mrs x4, nzcv
    0xf100_0421, // subs x1, x1, #1
    0x54ff_ff61, // b.ne 1b (-20)
    0xd400_0001, // svc #0
    STAY,
    NOP,
    NOP,
    0,
    NOP,
];

#[test]
fn stops_after_exactly_the_budget() {
    let mut whole = Bare::new(MIX);
    for count in 1..=80 {
        whole.steps(1);
        let mut at_once = Bare::new(MIX);
        at_once.steps(count);
        let (a, b) = (&whole.cpu, &at_once.cpu);
        assert_eq!(a.icount(), count);
        assert_eq!(b.icount(), count);
        assert_eq!(a.s.pc, b.s.pc, "after {count}");
        assert_eq!(a.s.r, b.s.r, "after {count}");
        assert_eq!(a.s.nzcv(), b.s.nzcv(), "after {count}");
        assert_eq!(a.s.sys.elr, b.s.sys.elr, "after {count}");
    }
    // 2 + 10 * 6 + 1 instructions, then the vector's loop.
    assert_eq!(whole.cpu.s.x(1), 0);
    assert_eq!(whole.taken(), (0x200, 0x5600_0000, CODE + 9 * 4));
}

#[test]
fn code_written_in_its_own_block_is_run() {
    let mut bare = Bare::new(&[
        0xb900_0041, // str w1, [x2]
        NOP,
        NOP, // becomes mov x5, #7
        STAY,
    ]);
    bare.cpu.s.set_x(1, 0xd280_00e5);
    bare.cpu.s.set_x(2, CODE + 8);
    bare.steps(3);
    assert_eq!(bare.cpu.s.x(5), 7);
    assert_eq!(bare.cpu.s.pc, CODE + 12);
}

#[test]
fn code_written_behind_a_loop_is_run() {
    // A routine is called, rewritten, and called again.
    let mut bare = Bare::new(&[
        0x9400_0005, // bl +20
        0xb900_0041, // str w1, [x2]
        0x9400_0003, // bl +12
        STAY,
        NOP,
        0xd280_0065, // mov x5, #3
        0x8b05_00c6, // add x6, x6, x5
        0xd65f_03c0, // ret
    ]);
    bare.cpu.s.set_x(1, 0xd280_00e5);
    bare.cpu.s.set_x(2, CODE + 20);
    bare.steps(12);
    assert_eq!(bare.cpu.s.x(6), 3 + 7);
}
