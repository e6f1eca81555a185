//! What the run against qemu-user does not show: traps, and operations that
//! cross pages or reach devices. Expected values follow the Arm ARM.

use super::super::{Aarch64, Aarch64State, Extra, boot_state};
use crate::{Clock, Cpu, Signal, VmEntry, VmExit};
use bus::vm_memory::{Bytes, GuestAddress};
use bus::{IrqLine, create_ram};
use std::sync::Arc;

const CODE: u64 = 0x1000;

fn cpu(code: &[u32], change: impl FnOnce(&mut Aarch64State)) -> Cpu<Aarch64> {
    let ram = create_ram(&[(0, 0x8000)]).unwrap();
    for (i, insn) in code.iter().enumerate() {
        let at = GuestAddress(CODE + i as u64 * 4);
        ram.write_slice(&insn.to_le_bytes(), at).unwrap();
    }
    let mut state = boot_state(CODE, 0);
    state.sys.cpacr = 3 << 20;
    change(&mut state);
    let extra = Extra::new(IrqLine::null(), IrqLine::null());
    let signal = Arc::new(Signal::default());
    Cpu::new(state, extra, &ram, signal, Clock::instructions(1000))
}

/// FADD D0, D1, D2; LDR Q0, [X1]; DUP V0.16B, W1; LD1 {V0.16B}, [X1];
/// FCMP D0, D1; SCVTF D0, X1; FMOV X0, D0.
const SAMPLES: &[u32] = &[
    0x1e62_2820,
    0x3dc0_0020,
    0x4e01_0c20,
    0x4c40_7020,
    0x1e61_2000,
    0x9e62_0020,
    0x9e66_0000,
];

#[test]
fn access_trap() {
    for &insn in SAMPLES {
        // CPACR_EL1.FPEN, exception level, whether it traps.
        let table = [
            (0u64, 0u8, true),
            (0, 1, true),
            (1, 0, true),
            (1, 1, false),
            (2, 1, true),
            (3, 0, false),
            (3, 1, false),
        ];
        for (fpen, el, traps) in table {
            let mut cpu = cpu(&[insn], |s| {
                s.sys.cpacr = fpen << 20;
                s.p.el = el;
                s.p.sp_sel = el == 1;
                s.sys.vbar = 0x4000;
            });
            assert_eq!(cpu.run(VmEntry::Run, Some(1)), VmExit::Budget);
            if traps {
                let vector = if el == 1 { 0x200 } else { 0x400 };
                assert_eq!(cpu.s.pc, 0x4000 + vector, "{insn:#x} {fpen} {el}");
                assert_eq!(cpu.s.sys.elr, CODE);
                // EC 0x07, IL, CV, COND 0b1110.
                assert_eq!(cpu.s.sys.esr, 0x1fe0_0000);
            } else {
                assert_eq!(cpu.s.pc, CODE + 4, "{insn:#x} {fpen} {el}");
            }
        }
    }
}

#[test]
fn a_pair_from_a_device_is_read_once() {
    // LDP Q0, Q1, [X1], #32 outside RAM.
    let mut cpu = cpu(&[0xacc1_0420], |s| s.r.set(1, 0x1_0000));
    let mut entry = VmEntry::Run;
    for i in 0..4u64 {
        let exit = cpu.run(entry, Some(1));
        let address = 0x1_0000 + i * 8;
        assert_eq!(exit, VmExit::MmioRead { address, size: 8 });
        entry = VmEntry::Value(i + 1);
    }
    cpu.run(entry, Some(0));
    assert_eq!(cpu.s.v[0], 1 | 2 << 64);
    assert_eq!(cpu.s.v[1], 3 | 4 << 64);
    assert_eq!(cpu.s.r.get(1), 0x1_0020);
    assert_eq!(cpu.s.pc, CODE + 4);
}

#[test]
fn accesses_cross_pages() {
    // STR Q0, [X1]; LDR Q1, [X1].
    let mut cpu = cpu(&[0x3d80_0020, 0x3dc0_0021], |s| {
        s.r.set(1, 0x2ff9);
        s.v[0] = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;
    });
    cpu.run(VmEntry::Run, Some(2));
    assert_eq!(cpu.s.v[1], cpu.s.v[0]);
}
