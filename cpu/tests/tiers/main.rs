//! Tier against tier: random programs of 1 to 200 instructions with branches,
//! faults and code that rewrites itself, run by the interpreter and by compiled
//! code, in runs of random budgets, and all of the state compared after each.
//!
//! The compiler compiles at the first entry, into 1 MiB of code memory, which
//! is dropped again and again. `TIER_PROGRAMS=100000` runs as many programs for
//! each instruction set, `TIER_SEED=n` other ones.

#![cfg(feature = "jit")]
#![allow(clippy::unwrap_used, clippy::precedence)]

mod arm;
mod noise;
mod x86;
mod x86_code;

use cpu::engine::jit::JitConfig;
use cpu::{Cpu, Isa, VmEntry, VmExit};
use noise::Noise;
use std::fmt::Debug;
use std::time::Duration;

/// Instructions of one program at most, loops included.
const STEPS: u64 = 300;

/// A machine that runs programs one after the other.
trait Rig {
    type Isa: Isa;
    /// What is compared after every run.
    type Seen: PartialEq + Debug;
    fn new() -> Self;
    fn cpu(&mut self) -> &mut Cpu<Self::Isa>;
    /// Puts a program and its data in place.
    fn load(&mut self, program: &Program);
    /// Puts its registers and data in place again.
    fn again(&mut self, program: &Program);
    fn seen(&mut self) -> Self::Seen;
    /// Raises an interrupt, which ends the program when it is taken.
    fn interrupt(&mut self);
    /// Whether it was.
    fn was_interrupted(&mut self) -> bool;
    /// All memory that a program may reach.
    fn memory(&self) -> Vec<u8>;
    /// Makes a program of `n` instructions.
    fn program(noise: &mut Noise, n: usize) -> Program;
}

/// Code, and what registers and data are made from.
struct Program {
    code: Vec<u8>,
    registers: [u64; 32],
    data: Vec<u8>,
    /// Runs at the user level.
    user: bool,
}

/// What vector register `n` starts with: a double that is small and whole, a
/// number at some border, or one of any kind, and the like above it.
fn vector(program: &Program, n: usize) -> u128 {
    let (low, high) = (program.registers[n], program.registers[31 - n]);
    let border = |bits: u64| {
        // Around zero, the least normal number, one, the largest, infinity, NaNs.
        let at = bits as usize;
        let double = [0, 1, 0x3fe, 0x3ff, 0x7fe, 0x7ff, 2, 1][at >> 4 & 7];
        let single = [0, 1, 0x7e, 0x7f, 0xfe, 0xff, 2, 1][at >> 4 & 7];
        let fraction = [
            0,
            0,
            1,
            u64::MAX,
            u64::MAX - 1,
            1 << 51 | 1 << 22,
            bits,
            high,
        ][at & 7];
        let sign = bits >> 3 & 1;
        if bits & 0x80 == 0 {
            sign << 63 | double << 52 | fraction & 0xf_ffff_ffff_ffff
        } else {
            let one = sign << 31 | single << 23 | fraction & 0x7f_ffff;
            one << 32 | one
        }
    };
    let all = program.registers[17] & 1 != 0;
    let low = match n % 4 {
        _ if all => border(low),
        0 => low,
        1 => u64::from((low as f32).to_bits()),
        2 => border(low),
        _ => (low as i32 as f64).to_bits(),
    };
    let high = match n % 3 {
        0 => border(high),
        _ => high,
    };
    u128::from(low) | u128::from(high) << 64
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn length(noise: &mut Noise) -> usize {
    // Short programs find most, and cost least.
    let most = [8, 8, 8, 24, 24, 60, 200][noise.below(7) as usize];
    1 + noise.below(most) as usize
}

fn compare<R: Rig>(default: u64) {
    compare_to::<R>(default, 1, false);
}

fn compare_to<R: Rig>(default: u64, threshold: u32, background: bool) {
    compare_with::<R>(default, threshold, background, false);
}

fn compare_with<R: Rig>(default: u64, threshold: u32, background: bool, interrupts: bool) {
    let (mut one, mut two) = (R::new(), R::new());
    one.cpu().set_jit(JitConfig {
        threshold: None,
        code_bytes: 0,
        background: false,
    });
    two.cpu().set_jit(JitConfig {
        threshold: Some(threshold),
        code_bytes: 1 << 20,
        background,
    });
    let seed = number("TIER_SEED", 1);
    let (mut ran, mut taken) = (0, 0);
    for n in 0..number("TIER_PROGRAMS", default) {
        let mut noise = Noise::new(seed << 32 | n);
        let length = length(&mut noise);
        let program = R::program(&mut noise, length);
        one.load(&program);
        two.load(&program);
        // In the background code comes in the middle of a program, or too late.
        let wait = Duration::from_micros(if background { 100 } else { 0 });
        for _ in 0..threshold {
            if interrupts {
                // Masked at the start, mostly: some op of the program lets it in.
                one.interrupt();
                two.interrupt();
            }
            ran += run(&mut one, &mut two, &mut noise, wait, &|| {
                format!("program {n} of seed {seed}: {:02x?}", program.code)
            });
            assert!(one.memory() == two.memory(), "memory after program {n}");
            taken += u64::from(one.was_interrupted());
            one.again(&program);
            two.again(&program);
        }
    }
    let (compiled, dropped, _) = two.cpu().jit_stats();
    assert!(compiled > 0, "this host has no compiler");
    assert_eq!(taken > 0, interrupts, "{taken} interrupts were taken");
    println!(
        "{taken} interrupts taken; {ran} instructions; {compiled} regions compiled, all dropped {dropped} times"
    );
}

fn run<R: Rig>(
    one: &mut R,
    two: &mut R,
    noise: &mut Noise,
    wait: Duration,
    what: &dyn Fn() -> String,
) -> u64 {
    let start = one.cpu().icount();
    assert_eq!(start, two.cpu().icount());
    let short = noise.below(3) == 0;
    let mut entry = VmEntry::Run;
    let mut trace = Vec::new();
    while one.cpu().icount() - start < STEPS {
        let budget = 1 + noise.below(if short { 3 } else { 80 });
        trace.push(budget);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let exits = [
            one.cpu().run(entry, Some(budget)),
            two.cpu().run(entry, Some(budget)),
        ];
        assert_eq!(exits[0], exits[1], "{} budgets {trace:?}", what());
        assert_eq!(one.seen(), two.seen(), "{} budgets {trace:?}", what());
        entry = match &exits[0] {
            VmExit::Budget | VmExit::Attention => VmEntry::Run,
            VmExit::MmioRead { .. } | VmExit::IoRead { .. } => VmEntry::Value(noise.next()),
            VmExit::MmioWrite { .. } | VmExit::IoWrite { .. } => VmEntry::Done,
            _ => break,
        };
    }
    if std::env::var("TIER_SHOW").is_ok() {
        println!(
            "{} {:?} {:?}",
            one.cpu().icount() - start,
            one.seen(),
            what()
        );
    }
    one.cpu().icount() - start
}

#[test]
fn x86_64() {
    compare::<x86::Pc>(2_000);
}

#[test]
fn aarch64() {
    compare::<arm::Board>(2_000);
}

/// Blocks compiled together: at a first entry no block has followed yet.
#[test]
fn x86_64_regions() {
    for threshold in 2..5 {
        compare_to::<x86::Pc>(1_000, threshold, false);
    }
}

#[test]
fn aarch64_regions() {
    for threshold in 2..5 {
        compare_to::<arm::Board>(1_000, threshold, false);
    }
}

/// An interrupt that waits until an op in the middle of compiled code unmasks it.
#[test]
fn x86_64_interrupted() {
    for threshold in 1..4 {
        compare_with::<x86::Pc>(2_000, threshold, false, true);
    }
}

#[test]
fn aarch64_interrupted() {
    for threshold in 1..4 {
        compare_with::<arm::Board>(2_000, threshold, false, true);
    }
}

/// Code that is finished at any time, and for blocks that are gone by then.
#[test]
fn x86_64_in_background() {
    compare_to::<x86::Pc>(1_000, 2, true);
}

#[test]
fn aarch64_in_background() {
    compare_to::<arm::Board>(1_000, 2, true);
}

#[test]
fn x86_64_slow() {
    compare::<x86::Pc>(50_000);
    compare_to::<x86::Pc>(25_000, 2, false);
}

#[test]
fn aarch64_slow() {
    compare::<arm::Board>(50_000);
    compare_to::<arm::Board>(25_000, 2, false);
}
