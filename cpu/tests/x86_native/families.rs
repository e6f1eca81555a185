//! The tests, by instruction family.

use crate::case::*;
use crate::compare::differences;
use crate::generate::{self, Test};
use crate::guest::Guest;
use crate::native::{BATCH, Native};
use crate::random::Random;
use iced_x86::{Code, CpuidFeature as F};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Encodings of each form, and states for each encoding.
const ENCODINGS: u64 = 14;
const STATES: u64 = 20;

static NATIVE: LazyLock<Mutex<NativeBox>> = LazyLock::new(|| Mutex::new(NativeBox(Native::new())));

struct NativeBox(Native);
// SAFETY: the pointer in it leads to a mapping that only the holder of the lock
// uses.
#[allow(unsafe_code)]
unsafe impl Send for NativeBox {}

fn native(cases: &[Case]) -> Vec<Answer> {
    let mut native = NATIVE.lock().unwrap_or_else(PoisonError::into_inner);
    native.0.run(cases)
}

#[derive(Default)]
struct Tally {
    cases: u64,
    failed: u64,
    missing: u64,
}

struct Run {
    tests: Vec<Test>,
    cases: Vec<Case>,
    guest: Guest,
    tally: BTreeMap<String, Tally>,
    reports: Vec<String>,
}

impl Run {
    fn flush(&mut self) {
        let answers = native(&self.cases);
        for (case, host) in self.cases.iter().zip(&answers) {
            let test = &self.tests[case.which as usize];
            let name = format!("{:?}", test.instruction.mnemonic()).to_lowercase();
            let tally = self.tally.entry(name).or_default();
            tally.cases += 1;
            match self.guest.run(case) {
                Ok(engine) if engine.outcome.vector == 6 && host.outcome.vector != 6 => {
                    tally.missing += 1;
                }
                Ok(engine) => {
                    if differences(test, case, host, &engine).is_empty() {
                        continue;
                    }
                    tally.failed += 1;
                    if tally.failed == 1 && self.reports.len() < 40 {
                        let report = minimal(&mut self.guest, test, case);
                        self.reports.push(report);
                    }
                }
                Err(exit) => {
                    tally.failed += 1;
                    if tally.failed == 1 {
                        self.reports
                            .push(format!("{}: exit {exit:?}", describe(test)));
                    }
                }
            }
        }
        self.cases.clear();
    }
}

fn describe(test: &Test) -> String {
    let mut text = String::new();
    use iced_x86::Formatter;
    iced_x86::IntelFormatter::new().format(&test.instruction, &mut text);
    let bytes: String = test.bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{text} ({bytes}, {:?})", test.instruction.code())
}

fn fails(guest: &mut Guest, test: &Test, case: &Case) -> Vec<String> {
    let host = native(std::slice::from_ref(case))[0];
    match guest.run(case) {
        Ok(engine) if engine.outcome.vector == 6 && host.outcome.vector != 6 => Vec::new(),
        Ok(engine) => differences(test, case, &host, &engine),
        Err(_) => Vec::new(),
    }
}

/// Clears as much of the state as can be cleared, and reports what is left.
fn minimal(guest: &mut Guest, test: &Test, case: &Case) -> String {
    let mut case = *case;
    let mut attempt = |change: &dyn Fn(&mut Machine)| {
        let mut next = case;
        change(&mut next.input);
        if !fails(guest, test, &next).is_empty() {
            case = next;
        }
    };
    attempt(&|m| m.mem = [0; WINDOW]);
    for at in (0..WINDOW).step_by(64) {
        attempt(&|m| m.mem[at..at + 64].fill(0));
    }
    attempt(&|m| m.xmm = [0; 16]);
    attempt(&|m| m.st = [0; 8]);
    attempt(&|m| m.mxcsr = 0x1f80);
    attempt(&|m| m.mxcsr &= !0x3f);
    attempt(&|m| m.fcw = 0x37f);
    attempt(&|m| m.fsw = 0);
    attempt(&|m| m.fsw &= 0x3800);
    attempt(&|m| m.ftw = 0xff);
    attempt(&|m| m.rflags = 0);
    for r in 0..16 {
        attempt(&|m| m.gpr[r] = 0);
        attempt(&|m| m.xmm[r] = 0);
        attempt(&|m| m.xmm[r] = m.xmm[r] as u64 as u128);
    }
    for r in 0..8 {
        attempt(&|m| m.st[r] = 0);
    }
    let found = fails(guest, test, &case);
    let m = &case.input;
    let mut text = format!("{}\n", describe(test));
    for difference in found {
        text += &format!("    {difference}\n");
    }
    text += &format!(
        "    from flags {:#x} mxcsr {:#x} fcw {:#x} fsw {:#x} ftw {:#x}",
        m.rflags, m.mxcsr, m.fcw, m.fsw, m.ftw
    );
    for (r, value) in m.gpr.iter().enumerate().filter(|(_, v)| **v != 0) {
        text += &format!(" gpr{r} {value:#x}");
    }
    for (r, value) in m.xmm.iter().enumerate().filter(|(_, v)| **v != 0) {
        text += &format!(" xmm{r} {value:#034x}");
    }
    for (r, value) in m.st.iter().enumerate().filter(|(_, v)| **v != 0) {
        text += &format!(" st{r} {value:#022x}");
    }
    if let Some(at) = generate::operand_address(&test.instruction, m) {
        let from = at.wrapping_sub(WINDOW_VA) as usize;
        if from < WINDOW {
            let to = (from + test.instruction.memory_size().size().min(32)).min(WINDOW);
            text += &format!(" memory at {at:#x}: {:02x?}", &m.mem[from..to]);
        }
    }
    text
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Runs all forms that `wanted` picks; `missing` are mnemonics that the engine
/// need not know.
fn family(name: &str, weight: u64, missing: &[&str], wanted: impl Fn(Code) -> bool) {
    let only = std::env::var("X86_NATIVE_ONLY").ok();
    let scale = setting("X86_NATIVE_SCALE", 1);
    let mut random = Random(setting("X86_NATIVE_SEED", 1));
    let mut run = Run {
        tests: Vec::new(),
        cases: Vec::new(),
        guest: Guest::new(),
        tally: BTreeMap::new(),
        reports: Vec::new(),
    };
    for code in generate::forms().into_iter().filter(|code| wanted(*code)) {
        let mnemonic = format!("{:?}", code.mnemonic()).to_lowercase();
        if only
            .as_ref()
            .is_some_and(|only| !only.split(',').any(|o| o == mnemonic))
        {
            continue;
        }
        let mut made = 0;
        for _ in 0..10 * ENCODINGS * scale {
            let Some(test) = generate::instruction(code, &mut random) else {
                continue;
            };
            let which = run.tests.len() as u32;
            for _ in 0..STATES * weight {
                run.cases.push(generate::state(&test, which, &mut random));
                if run.cases.len() == BATCH {
                    run.tests.push(test.clone());
                    run.flush();
                    run.tests.pop();
                }
            }
            run.tests.push(test);
            made += 1;
            if made == ENCODINGS * scale {
                break;
            }
        }
        if made == 0 {
            println!("no encoding of {code:?}");
        }
    }
    run.flush();
    let cases: u64 = run.tally.values().map(|t| t.cases).sum();
    let failed: u64 = run.tally.values().map(|t| t.failed).sum();
    println!(
        "{name}: {cases} cases, {} mnemonics, {failed} failed",
        run.tally.len()
    );
    let list = |pick: &dyn Fn(&Tally) -> bool| -> Vec<String> {
        run.tally
            .iter()
            .filter(|(_, t)| pick(t))
            .map(|(name, t)| format!("{name}={}", t.cases))
            .collect()
    };
    println!("covered: {}", list(&|t| t.missing < t.cases).join(" "));
    println!(
        "not implemented: {}",
        list(&|t| t.missing == t.cases).join(" ")
    );
    for report in run.reports.iter().take(60) {
        println!("{report}");
    }
    for (name, t) in run.tally.iter().filter(|(_, t)| t.failed > 0) {
        println!("FAILED {name}: {} of {}", t.failed, t.cases);
    }
    let surprising: Vec<_> = run
        .tally
        .iter()
        .filter(|(name, t)| t.missing > 0 && !missing.contains(&name.as_str()))
        .map(|(name, t)| format!("{name} ({} of {})", t.missing, t.cases))
        .collect();
    assert!(surprising.is_empty(), "{name}: raised #UD: {surprising:?}");
    assert_eq!(failed, 0, "{name}");
}

fn has(code: Code, features: &[F]) -> bool {
    code.cpuid_features().iter().any(|f| features.contains(f))
}

const X87: &[F] = &[F::FPU, F::FPU287, F::FPU387];
const LATER: &[F] = &[F::SSE3, F::SSSE3, F::SSE4_1, F::SSE4_2];
const VECTOR: &[F] = &[
    F::MMX,
    F::SSE,
    F::SSE2,
    F::SSE3,
    F::SSSE3,
    F::SSE4_1,
    F::SSE4_2,
    F::FXSR,
];

fn mmx(code: Code) -> bool {
    let info = code.op_code();
    use iced_x86::OpCodeOperandKind as K;
    (0..info.op_count()).any(|n| matches!(info.op_kind(n), K::mm_reg | K::mm_rm | K::mm_or_mem))
        || has(code, &[F::MMX])
}

#[test]
fn integer() {
    family("integer", 1, &[], |c| !has(c, X87) && !has(c, VECTOR));
}
#[test]
fn sse() {
    family("sse", 1, &[], |c| {
        has(c, &[F::SSE, F::FXSR]) && !mmx(c) && !has(c, X87)
    });
}
#[test]
fn sse2() {
    family("sse2", 1, &[], |c| has(c, &[F::SSE2]) && !mmx(c));
}
#[test]
fn sse3_to_sse4_2() {
    family("sse3 to sse4.2", 1, &[], |c| {
        has(c, LATER) && !mmx(c) && !has(c, X87)
    });
}
#[test]
fn mmx_registers() {
    family("mmx", 1, &[], mmx);
}
#[test]
fn x87() {
    family("x87", 2, &[], |c| has(c, X87));
}
