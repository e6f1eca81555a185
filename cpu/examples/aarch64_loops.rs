//! Speed of the AArch64 interpreter on small bare-metal loops, MMU off and on.
//!
//! `cargo run --release -p cpu --example aarch64_loops`

use bus::vm_memory::{Bytes, GuestAddress};
use bus::{IrqLine, create_ram};
use cpu::aarch64::{Aarch64, Extra, boot_state};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use std::sync::Arc;

// add, eor, ubfx, cmp, csel, add, and, orr, subs, b.ne
const INTEGER: &[u32] = &[
    0x8b020c21, 0xca010063, 0xd3454064, 0xf101909f, 0x9a838025, 0x0b0500c6, 0x92781cc7, 0xaa0400e8,
    0xf1000400, 0x54fffee1, 0xd4000002,
];
// and, add, ldr, add, str, ldp, stp, ldrb, subs, b.ne
const MEMORY: &[u32] = &[
    0x927d2009, 0x8b09014b, 0xf9400161, 0x91000421, 0xf9000161, 0xa9410d62, 0xa9020963, 0x38696944,
    0xf1000400, 0x54fffee1, 0xd4000002,
];
// A recursive function five deep.
const CALLS: &[u32] = &[
    0xaa0003f4, 0x9100015f, 0xd28000a0, 0x94000004, 0xf1000694, 0x54ffffa1, 0xd4000002, 0xa9be7bfd,
    0x910003fd, 0xf9000bf3, 0xaa0003f3, 0xb4000073, 0xd1000660, 0x97fffffa, 0xf9400bf3, 0xa8c27bfd,
    0xd65f03c0,
];

fn main() {
    for (name, words, times) in [
        ("integer", INTEGER, 20_000_000),
        ("memory", MEMORY, 20_000_000),
        ("calls", CALLS, 2_000_000),
    ] {
        run(name, words, times);
    }
}

#[allow(clippy::disallowed_methods)] // A benchmark measures host time.
fn run(name: &str, words: &[u32], times: u64) {
    let ram = create_ram(&[(0, 16 << 20)]).expect("16 MiB of memory");
    for (i, word) in words.iter().enumerate() {
        ram.write_obj(*word, GuestAddress(0x1000 + 4 * i as u64))
            .expect("code fits");
    }
    let mut cpu = Cpu::<Aarch64>::new(
        boot_state(0x1000, times),
        Extra::new(IrqLine::null(), IrqLine::null()),
        &ram,
        Arc::new(Signal::default()),
        Clock::instructions(1000),
    );
    cpu.s.set_x(10, 0x10_0000);
    let start = std::time::Instant::now();
    let exit = cpu.run(VmEntry::Run, None);
    let seconds = start.elapsed().as_secs_f64();
    assert!(matches!(exit, VmExit::Hypercall { .. }), "{exit:?}");
    println!(
        "{name:<8} {:>12} instructions {seconds:.3} s {:>7.0} M/s",
        cpu.icount(),
        cpu.icount() as f64 / seconds / 1e6
    );
}
