//! Instruction cases from text files: `bytes ; inputs => what changes`.

// Helpers of tests fail the test.
#![allow(clippy::unwrap_used)]

use bus::vm_memory::{Bytes, GuestAddress};
use bus::{IrqLine, create_ram};
use cpu::aarch64::{Aarch64, Aarch64State, Extra, boot_state};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use std::sync::Arc;

const CODE: u64 = 0x1000;

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// Sets `name=value` words in a state.
fn apply(state: &mut Aarch64State, words: &str) {
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let value = number(value);
        match name {
            "nzcv" => state.set_nzcv((value as u32) << 28),
            "sp" => state.set_sp(value),
            _ => state.set_x(name.strip_prefix('x').unwrap().parse().unwrap(), value),
        }
    }
}

/// Runs every case of a file.
fn cases(text: &str) {
    let ram = create_ram(&[(0, 0x10000)]).unwrap();
    let mut start = boot_state(CODE, 0xa0a0_a0a0_a0a0_a0a0);
    start.set_nzcv(0);
    let mut cpu = Cpu::<Aarch64>::new(
        start.clone(),
        Extra::new(IrqLine::null(), IrqLine::null()),
        &ram,
        Arc::new(Signal::default()),
        Clock::instructions(1000),
    );
    let mut count = 0;
    let mut failed = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (bytes, rest) = line.split_once(';').unwrap();
        let (inputs, outputs) = rest.split_once("=>").unwrap();
        let bytes: Vec<u8> = bytes
            .split_whitespace()
            .map(|b| u8::from_str_radix(b, 16).unwrap())
            .collect();
        ram.write_slice(&bytes, GuestAddress(CODE)).unwrap();
        cpu.flush_blocks();
        cpu.s = start.clone();
        apply(&mut cpu.s, inputs);
        let mut expected = cpu.s.clone();
        apply(&mut expected, outputs);
        expected.pc += bytes.len() as u64;
        let exit = cpu.run(VmEntry::Run, Some(bytes.len() as u64 / 4));
        let same = exit == VmExit::Budget
            && cpu.s.r == expected.r
            && cpu.s.nzcv() == expected.nzcv()
            && cpu.s.pc == expected.pc;
        if !same {
            let (x, nzcv) = (cpu.s.x(0), cpu.s.nzcv() >> 28);
            failed.push(format!(
                "line {}: {line}\n  x0={x:#x} nzcv={nzcv:#x}",
                i + 1
            ));
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 0);
}

macro_rules! files {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            cases(include_str!(concat!("aarch64/", stringify!($name), ".txt")));
        }
    )*};
}
files!(
    add_sub,
    bitfield,
    bits,
    conditional,
    logical,
    moves,
    multiply_divide
);
