//! Translation and its faults.

use crate::machine::*;

// Tables, each a page.
const L0: u64 = 0x10_0000;
const L1: u64 = 0x10_1000;
const L2: u64 = 0x10_2000;
const L3: u64 = 0x10_3000;
/// A page that the tests map in many ways; code in it returns.
const PAGE: u64 = 0x20_0000;
/// The virtual address of entry 5 of `L3`.
const VA: u64 = 2 << 39 | 3 << 30 | 4 << 21 | 5 << 12;

const AF: u64 = 1 << 10;
const NG: u64 = 1 << 11;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;

const TTBR0: (u32, u32, u32, u32, u32) = (3, 0, 2, 0, 0);

/// 48 bits in both halves, 16-bit ASIDs, 48-bit physical addresses.
const TCR: u64 = 16 | 16 << 16 | 2 << 30 | 5 << 32 | 1 << 36;

/// Virtual address 0 is a block of the first 2 MiB, for code of both levels
/// (EL1 only: executable by EL0 code through a second mapping at 1 GiB).
fn mapped(code: &[u32], entry: u64) -> Bare {
    let bare = Bare::new(code);
    bare.put64(L0, 0x10_4000 | 3);
    bare.put64(0x10_4000, 0x10_5000 | 3);
    bare.put64(0x10_5000, AF | 1);
    bare.put64(0x10_4008, 0x10_6000 | 3);
    bare.put64(0x10_6000, AF | USER | READ_ONLY | 1);
    bare.put64(L0 + 2 * 8, L1 | 3);
    bare.put64(L1 + 3 * 8, L2 | 3);
    bare.put64(L2 + 4 * 8, L3 | 3);
    bare.put64(L3 + 5 * 8, entry);
    bare.put(PAGE, &[0xd65f_03c0, NOP]);
    let mut bare = bare;
    let sys = &mut bare.cpu.s.sys;
    sys.ttbr = [L0, 0x11_0000];
    sys.tcr = TCR;
    sys.mair = 0xff00;
    sys.sctlr |= 1;
    bare
}

/// User code runs in the second mapping.
fn to_user(bare: &mut Bare) {
    bare.user();
    bare.cpu.s.pc = CODE + (1 << 30);
}

/// Runs one instruction that touches `VA` in X0; ESR of the fault, or none.
fn touch(bare: &mut Bare, user: bool) -> Option<u64> {
    bare.cpu.s.set_x(0, VA);
    bare.cpu
        .s
        .set_x(30, CODE + 8 + if user { 1 << 30 } else { 0 });
    if user {
        to_user(bare);
    }
    bare.steps(2);
    let (vector, esr, _) = bare.taken();
    (vector == 0x200 || vector == 0x400).then_some(esr)
}

const LOAD: u32 = ldr(1, 0);
const STORE: u32 = str(1, 0);
const JUMP: u32 = br(0);
const DATA: u64 = 0x24 << 26 | 1 << 25;
const FETCH: u64 = 0x20 << 26 | 1 << 25;
const FROM_EL1: u64 = 1 << 26;
const WNR: u64 = 1 << 6;

#[test]
fn permissions() {
    let page = PAGE | AF | 3;
    let ok = None;
    let fault = |class: u64, status: u64| Some(class | status);
    for (name, entry, insn, user, expected) in [
        ("kernel reads its page", page, LOAD, false, ok),
        ("kernel writes its page", page, STORE, false, ok),
        ("kernel runs its page", page, JUMP, false, ok),
        (
            "user reads a kernel page",
            page,
            LOAD,
            true,
            fault(DATA, 0xf),
        ),
        (
            "user writes a kernel page",
            page,
            STORE,
            true,
            fault(DATA, 0xf | WNR),
        ),
        ("user runs a kernel page", page, JUMP, true, ok),
        (
            "user runs a UXN page",
            page | UXN,
            JUMP,
            true,
            fault(FETCH, 0xf),
        ),
        ("user reads its page", page | USER, LOAD, true, ok),
        ("user writes its page", page | USER, STORE, true, ok),
        (
            "user writes a read-only page",
            page | USER | READ_ONLY,
            STORE,
            true,
            fault(DATA, 0xf | WNR),
        ),
        (
            "kernel writes a read-only page",
            page | READ_ONLY,
            STORE,
            false,
            fault(DATA + FROM_EL1, 0xf | WNR),
        ),
        ("kernel reads a user page", page | USER, LOAD, false, ok),
        (
            "kernel runs a PXN page",
            page | PXN,
            JUMP,
            false,
            fault(FETCH + FROM_EL1, 0xf),
        ),
        (
            "kernel runs a user-writable page",
            page | USER,
            JUMP,
            false,
            fault(FETCH + FROM_EL1, 0xf),
        ),
        (
            "kernel runs a user-readable page",
            page | USER | READ_ONLY,
            JUMP,
            false,
            ok,
        ),
        (
            "no access flag",
            PAGE | 3,
            LOAD,
            false,
            fault(DATA + FROM_EL1, 0xb),
        ),
        (
            "not valid",
            PAGE | AF | 2,
            LOAD,
            false,
            fault(DATA + FROM_EL1, 7),
        ),
        (
            "a block entry at the page level",
            PAGE | AF | 1,
            STORE,
            false,
            fault(DATA + FROM_EL1, 7 | WNR),
        ),
        (
            "a table outside memory",
            0,
            LOAD,
            false,
            fault(DATA + FROM_EL1, 7),
        ),
        // Unprivileged accesses from EL1: LDTR and STTR.
        (
            "ldtr of a kernel page",
            page,
            0xf840_0801,
            false,
            fault(DATA + FROM_EL1, 0xf),
        ),
        ("sttr to a user page", page | USER, 0xf800_0801, false, ok),
        (
            "sttr to a read-only page",
            page | USER | READ_ONLY,
            0xf800_0801,
            false,
            fault(DATA + FROM_EL1, 0xf | WNR),
        ),
        // An atomic is a write only where it could read: LDADD, then CAS.
        (
            "atomic on a read-only page",
            page | USER | READ_ONLY,
            0xf821_0001,
            true,
            fault(DATA, 0xf | WNR),
        ),
        (
            "atomic on a kernel page",
            page,
            0xf821_0001,
            true,
            fault(DATA, 0xf),
        ),
        ("cas without a page", 0, 0xc8a1_7c01, true, fault(DATA, 7)),
        // Cache maintenance says so: DC CIVAC.
        (
            "clean without a page",
            0,
            0xd50b_7e20,
            false,
            fault(DATA + FROM_EL1, 7 | WNR | 1 << 8),
        ),
    ] {
        let mut bare = mapped(&[insn, STAY, STAY], entry);
        bare.cpu.s.sys.sctlr |= 1 << 26;
        assert_eq!(touch(&mut bare, user), expected, "{name}");
        if expected.is_some() {
            assert_eq!(bare.cpu.s.sys.far, VA, "{name}");
        }
    }
}

#[test]
fn levels() {
    let at = |table: u64, entry: u64, value: u64| {
        let mut bare = mapped(&[LOAD, STAY, STAY], PAGE | AF | 3);
        bare.put64(table + entry * 8, value);
        touch(&mut bare, false).map(|esr| esr & 0x3f)
    };
    assert_eq!(at(L0, 2, 0), Some(4));
    // There are no blocks at level 0.
    assert_eq!(at(L0, 2, AF | 1), Some(4));
    assert_eq!(at(L1, 3, 0), Some(5));
    assert_eq!(at(L2, 4, 0), Some(6));
    assert_eq!(at(L3, 5, 0), Some(7));
    // Blocks without access flag, and with it.
    assert_eq!(at(L1, 3, 1), Some(9));
    assert_eq!(at(L2, 4, 1), Some(0xa));
    assert_eq!(at(L2, 4, 0x20_0000 | AF | 1), None);
    // Table attributes: no writes at all, no access from EL0, below this level.
    assert_eq!(at(L2, 4, L3 | 3 | 1 << 62), None);
    let mut bare = mapped(&[STORE, STAY, STAY], PAGE | AF | 3);
    bare.put64(L1 + 3 * 8, L2 | 3 | 1 << 62);
    assert_eq!(touch(&mut bare, false), Some((DATA + FROM_EL1) | WNR | 0xf));
    let mut bare = mapped(&[LOAD, STAY, STAY], PAGE | AF | USER | 3);
    bare.put64(L1 + 3 * 8, L2 | 3 | 1 << 61);
    assert_eq!(touch(&mut bare, true), Some(DATA | 0xf));
    // A table that is not memory: external abort on the walk.
    assert_eq!(at(L2, 4, 0x7000_0000 | 3), Some(0x17));
    // An output address beyond IPS.
    let mut bare = mapped(&[LOAD, STAY, STAY], 1 << 40 | AF | 3);
    bare.cpu.s.sys.tcr = TCR & !(7 << 32) | 2 << 32;
    assert_eq!(touch(&mut bare, false), Some((DATA + FROM_EL1) | 3));
}

#[test]
fn the_second_page_of_an_access_faults_there() {
    let mut bare = mapped(&[STORE, STAY], PAGE | AF | 3);
    bare.cpu.s.set_x(0, VA + 0xffc);
    bare.cpu.s.set_x(1, u64::MAX);
    bare.steps(1);
    assert_eq!(bare.cpu.s.sys.far, VA + 0x1000);
    assert_eq!(bare.get64(PAGE + 0xff8), 0, "nothing was written");
}

#[test]
fn addresses_with_tags() {
    let tagged = VA | 0x5a << 56;
    for (tcr, faults) in [(TCR, true), (TCR | 1 << 37, false)] {
        let mut bare = mapped(&[LOAD, STAY], PAGE | AF | 3);
        bare.cpu.s.sys.tcr = tcr;
        bare.cpu.s.set_x(0, tagged);
        bare.steps(1);
        assert_eq!(bare.cpu.s.pc != CODE + 4, faults);
    }
}

#[test]
fn a_table_walk_can_be_off() {
    let mut bare = mapped(&[LOAD, STAY], PAGE | AF | 3);
    bare.cpu.s.set_x(0, 0xffff_0000_0000_0000);
    bare.cpu.s.sys.tcr |= 1 << 23;
    bare.steps(1);
    assert_eq!(bare.cpu.s.sys.esr & 0x3f, 4);
}

#[test]
fn invalidation_by_address() {
    // ldr x1, [x0]; str x5, [x4]; tlbi vae1, x6; ldr x2, [x0]
    let mut bare = mapped(
        &[LOAD, str(5, 4), 0xd508_8726, ldr(2, 0), STAY],
        PAGE | AF | 3,
    );
    // The tables are reached through the block at 0.
    bare.put64(PAGE, 1);
    bare.put64(PAGE + 0x1000, 2);
    bare.cpu.s.set_x(0, VA);
    bare.cpu.s.set_x(4, L3 + 5 * 8);
    bare.cpu.s.set_x(5, (PAGE + 0x1000) | AF | 3);
    bare.cpu.s.set_x(6, VA >> 12);
    bare.steps(4);
    assert_eq!((bare.cpu.s.x(1), bare.cpu.s.x(2)), (1, 2));
}

#[test]
fn invalidation_of_a_block_by_one_address() {
    let mut bare = mapped(&[LOAD, str(5, 4), 0xd508_8726, ldr(2, 0), STAY], 0);
    bare.put64(L2 + 4 * 8, 0x20_0000 | AF | 1);
    bare.put64(PAGE + 0x7000, 1);
    bare.put64(PAGE + 0x20_7000, 2);
    bare.cpu.s.set_x(0, (VA & !0x1f_ffff) + 0x7000);
    bare.cpu.s.set_x(4, L2 + 4 * 8);
    bare.cpu.s.set_x(5, 0x40_0000 | AF | 1);
    // Another page of the block.
    bare.cpu.s.set_x(6, VA >> 12);
    bare.steps(4);
    assert_eq!((bare.cpu.s.x(1), bare.cpu.s.x(2)), (1, 2));
}

#[test]
fn address_spaces() {
    // User code reads VA; EL1 switches tables and returns.
    let mut bare = mapped(&[0; 1], PAGE | AF | USER | NG | 3);
    bare.put(CODE, &[LOAD, 0xd400_0001, ldr(2, 0), 0xd400_0001]);
    bare.put(VECTORS + 0x400, &[msr(TTBR0, 7), ISB, ERET]);
    // The second space differs in the last level only.
    let other = 0x30_0000;
    for i in 0..512 {
        for (from, to) in [(L0, 0), (L1, 0x1000), (L2, 0x2000), (L3, 0x3000)] {
            bare.put64(other + to + i * 8, bare.get64(from + i * 8));
        }
    }
    bare.put64(other + 2 * 8, (other + 0x1000) | 3);
    bare.put64(other + 0x1000 + 3 * 8, (other + 0x2000) | 3);
    bare.put64(other + 0x2000 + 4 * 8, (other + 0x3000) | 3);
    bare.put64(other + 0x3000 + 5 * 8, (PAGE + 0x1000) | AF | USER | NG | 3);
    bare.put64(PAGE, 1);
    bare.put64(PAGE + 0x1000, 2);
    to_user(&mut bare);
    bare.cpu.s.set_x(0, VA);
    bare.cpu.s.set_x(7, other | 1 << 48);
    bare.steps(6);
    assert_eq!((bare.cpu.s.x(1), bare.cpu.s.x(2)), (1, 2));
}

#[test]
fn device_memory_and_alignment() {
    // Attribute 0 is Device, attribute 1 normal memory.
    for (strict, attribute, offset, expected) in [
        (false, 0, 1, None),
        (true, 0, 1, Some((DATA + FROM_EL1) | 0x21)),
        (true, 0, 8, None),
        (true, 1 << 2, 1, None),
    ] {
        let mut bare = mapped(&[LOAD, STAY, STAY], PAGE | AF | attribute | 3);
        bare.cpu.extra.set_strict_alignment(strict);
        bare.cpu.s.set_x(0, VA + offset);
        bare.steps(1);
        let faulted = bare.cpu.s.pc != CODE + 4;
        assert_eq!(faulted.then_some(bare.cpu.s.sys.esr), expected);
    }
    // Ordered and exclusive accesses are always checked: LDAR.
    let mut bare = mapped(&[0xc8df_fc01, STAY], PAGE | AF | 1 << 2 | 3);
    bare.cpu.s.set_x(0, VA + 4);
    bare.steps(1);
    assert_eq!(bare.cpu.s.sys.esr, (DATA + FROM_EL1) | 0x21);
}

#[test]
fn translation_instructions() {
    // at s1e1r, x0; mrs x1, par_el1; at s1e0w, x0; mrs x2, par_el1
    const PAR: (u32, u32, u32, u32, u32) = (3, 0, 7, 4, 0);
    let code = [0xd508_7800, mrs(PAR, 1), 0xd508_7860, mrs(PAR, 2), STAY];
    let mut bare = mapped(&code, PAGE | AF | 3);
    bare.cpu.s.set_x(0, VA + 0x123);
    bare.steps(4);
    assert_eq!(bare.cpu.s.x(1) & 0x0000_ffff_ffff_f001, PAGE);
    // F, and the fault status in bits 6 to 1: permission, level 3.
    assert_eq!(bare.cpu.s.x(2) & 0x7f, 0xf << 1 | 1);
}

#[test]
fn zeroing_a_line() {
    let mut bare = mapped(&[0xd50b_7420, STAY], PAGE | AF | 3);
    for i in 0..16 {
        bare.put64(PAGE + 0x40 + i * 8, u64::MAX);
    }
    bare.cpu.s.set_x(0, VA + 0x51);
    bare.steps(1);
    for i in 0..16 {
        let expected = if i < 8 { 0 } else { u64::MAX };
        assert_eq!(bare.get64(PAGE + 0x40 + i * 8), expected, "{i}");
    }
}

#[test]
fn user_code_can_be_kept_out_of_a_half() {
    // TCR_EL1.E0PD1; the high half has the tables of the low one.
    for (tcr, user, expected) in [
        (TCR, true, None),
        (TCR | 1 << 56, true, Some(DATA | 4)),
        (TCR | 1 << 56, false, None),
    ] {
        let mut bare = mapped(&[LOAD, STAY, STAY], PAGE | AF | USER | 3);
        bare.cpu.s.sys.ttbr[1] = L0;
        bare.cpu.s.sys.tcr = tcr;
        bare.cpu.s.set_x(0, 0xffff << 48 | VA);
        if user {
            to_user(&mut bare);
        }
        bare.steps(1);
        let (vector, esr, _) = bare.taken();
        let fault = (vector == 0x200 || vector == 0x400).then_some(esr);
        assert_eq!(fault, expected, "tcr {tcr:x}, user {user}");
    }
}

/// MSR PAN, #0 and #1.
const PAN_OFF: u32 = 0xd500_409f;
const PAN_ON: u32 = 0xd500_419f;

#[test]
fn privileged_access_never() {
    let barred = |write| Some((DATA + FROM_EL1) | 0xf | write);
    for (name, entry, code, expected) in [
        (
            "a load that hit before",
            USER,
            [LOAD, PAN_ON, LOAD],
            barred(0),
        ),
        ("a store", USER, [STORE, PAN_ON, STORE], barred(WNR)),
        ("off again", USER, [PAN_ON, PAN_OFF, STORE], None),
        ("a kernel page", 0, [LOAD, PAN_ON, STORE], None),
        ("ldtr", USER, [LOAD, PAN_ON, 0xf840_0801], None),
        ("dc cvau", USER, [NOP, PAN_ON, 0xd50b_7b20], None),
        ("dc zva", USER, [NOP, PAN_ON, 0xd50b_7420], barred(WNR)),
        // As the register: msr s3_0_c4_c2_3, x3.
        ("by register", USER, [LOAD, 0xd518_4263, LOAD], barred(0)),
        (
            "a page of one space",
            USER | NG,
            [LOAD, PAN_ON, LOAD],
            barred(0),
        ),
    ] {
        let mut bare = mapped(&code, PAGE | AF | entry | 3);
        bare.put(CODE + 12, &[STAY]);
        bare.cpu.s.set_x(0, VA);
        bare.cpu.s.set_x(3, 1 << 22);
        bare.steps(3);
        let (vector, esr, back) = bare.taken();
        let fault = (vector == 0x200).then_some(esr);
        assert_eq!(fault, expected, "{name}");
        if expected.is_some() {
            assert_eq!(back, CODE + 8, "{name}");
            assert_eq!(bare.cpu.s.sys.spsr >> 22 & 1, 1, "{name}");
        }
    }
}

#[test]
fn translation_by_instruction_is_not_barred() {
    // at s1e1r, x0; mrs x1, par_el1
    let code = [PAN_ON, 0xd508_7800, mrs((3, 0, 7, 4, 0), 1)];
    let mut bare = mapped(&code, PAGE | AF | USER | 3);
    bare.cpu.s.set_x(0, VA);
    bare.steps(3);
    assert_eq!(bare.cpu.s.x(1) & 0x0000_ffff_ffff_f001, PAGE);
}

#[test]
fn exceptions_set_pan_and_returns_restore_it() {
    const SPAN: u64 = 1 << 23;
    const PAN: (u32, u32, u32, u32, u32) = (3, 0, 4, 2, 3);
    for (sctlr, inside) in [(0, 1 << 22), (SPAN, 0)] {
        // svc; then mrs x2, pan
        let mut bare = mapped(&[0xd400_0001, mrs(PAN, 2), STAY], PAGE | AF | 3);
        bare.put(VECTORS + 0x200, &[mrs(PAN, 1), ERET]);
        let sys = &mut bare.cpu.s.sys;
        sys.sctlr = sys.sctlr & !SPAN | sctlr;
        bare.cpu.s.set_x(2, 1);
        bare.steps(4);
        assert_eq!((bare.cpu.s.x(1), bare.cpu.s.x(2)), (inside, 0));
    }
}
