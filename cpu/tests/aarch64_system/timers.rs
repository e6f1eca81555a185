//! Generic timers, interrupts and waiting for them.

use crate::machine::*;
use bus::{IrqLine, SimTime};
use cpu::{Signal, VmExit};

const CNTV_CTL: (u32, u32, u32, u32, u32) = (3, 3, 14, 3, 1);
const CNTV_CVAL: (u32, u32, u32, u32, u32) = (3, 3, 14, 3, 2);
const CNTV_TVAL: (u32, u32, u32, u32, u32) = (3, 3, 14, 3, 0);
const CNTP_CTL: (u32, u32, u32, u32, u32) = (3, 3, 14, 2, 1);
const CNTP_CVAL: (u32, u32, u32, u32, u32) = (3, 3, 14, 2, 2);
const CNTVCT: (u32, u32, u32, u32, u32) = (3, 3, 14, 0, 2);

fn wired(code: &[u32]) -> Bare {
    Bare::with_lines(code, |signal| {
        [(); 2].map(|()| {
            let signal = signal.clone();
            IrqLine::from_fn(move |level| {
                if level {
                    signal.raise(Signal::IRQ)
                } else {
                    signal.clear(Signal::IRQ)
                }
            })
        })
    })
}

#[test]
fn the_timer_fires_on_its_instruction() {
    // 62.5 MHz is 16 ns a tick; an instruction takes 1 ns.
    for (ctl, cval) in [(CNTV_CTL, CNTV_CVAL), (CNTP_CTL, CNTP_CVAL)] {
        let mut bare = wired(&[msr(cval, 1), msr(ctl, 2), STAY]);
        bare.cpu.s.p.daif = 0;
        bare.cpu.s.set_x(1, 10);
        bare.cpu.s.set_x(2, 1);
        bare.steps(159);
        assert_eq!(bare.cpu.s.pc, CODE + 8);
        // The interrupt is taken when tick 10 is reached, after 160 ns.
        bare.steps(1);
        let s = &bare.cpu.s;
        assert_eq!((s.pc, s.sys.elr), (VECTORS + 0x280, CODE + 8));
        assert_eq!(s.p.daif, 15);
    }
}

#[test]
fn a_masked_interrupt_waits() {
    let mut bare = wired(&[
        msr(CNTV_CVAL, 1),
        msr(CNTV_CTL, 2),
        NOP,
        0xd503_42ff,
        NOP,
        STAY,
    ]);
    bare.cpu.s.set_x(2, 1);
    bare.steps(3);
    assert_eq!(bare.cpu.s.pc, CODE + 12);
    // MSR DAIFClr, #2: taken before the next instruction.
    bare.steps(2);
    assert_eq!(bare.cpu.s.sys.elr, CODE + 16);
    assert_eq!(bare.cpu.s.pc, VECTORS + 0x280);
}

#[test]
fn imask_and_status() {
    let mut bare = wired(&[
        msr(CNTV_CVAL, 1),
        msr(CNTV_CTL, 2),
        mrs(CNTV_CTL, 3),
        WFI,
        STAY,
    ]);
    bare.cpu.s.set_x(2, 3);
    assert_eq!(bare.run(10), VmExit::Halt);
    // ISTATUS with ENABLE and IMASK; no interrupt, none to come.
    assert_eq!(bare.cpu.s.x(3), 7);
    assert!(!bare.cpu.wakes());
    assert_eq!(bare.cpu.next_timer(), SimTime::MAX);
}

#[test]
fn waiting_ends_at_the_timer() {
    let mut bare = wired(&[
        msr(CNTV_TVAL, 1),
        msr(CNTV_CTL, 2),
        WFI,
        mrs(CNTVCT, 4),
        STAY,
    ]);
    bare.cpu.s.set_x(1, 1000);
    bare.cpu.s.set_x(2, 1);
    assert_eq!(bare.run(100), VmExit::Halt);
    assert_eq!(bare.cpu.s.pc, CODE + 12);
    assert_eq!(bare.cpu.next_timer(), SimTime::from_ns(16_000));
    assert!(!bare.cpu.wakes());
    bare.cpu.advance(SimTime::from_ns(16_000));
    bare.steps(1);
    assert!(bare.cpu.wakes(), "masked or not");
    assert_eq!(bare.cpu.s.x(4), 1000);
}

#[test]
fn wfi_returns_at_once_when_something_pends() {
    let mut bare = Bare::new(&[WFI, STAY]);
    bare.cpu.signal.raise(Signal::IRQ);
    bare.steps(1);
    assert_eq!(bare.cpu.s.pc, CODE + 4);
}

#[test]
fn counters_are_exact_within_a_block() {
    let mut code = vec![NOP; 40];
    code[5] = mrs(CNTVCT, 1);
    code[31] = mrs(CNTVCT, 2);
    code[32] = mrs(CNTVCT, 3);
    let mut bare = Bare::new(&code);
    bare.steps(40);
    // Time counts the instructions before: 5, 31 and 32 ns.
    let s = &bare.cpu.s;
    assert_eq!([s.x(1), s.x(2), s.x(3)], [0, 1, 2]);
}
