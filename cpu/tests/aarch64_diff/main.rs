//! Runs random AArch64 instructions on the engine and on qemu-user, from the
//! same bytes and the same state, and compares registers and memory after.
//!
//! qemu-user is an independent implementation; the tests are skipped where it
//! is not installed. Seeds are fixed. `AARCH64_DIFF_SEED` and
//! `AARCH64_DIFF_CASES` try others.

#![allow(clippy::unwrap_used)]

mod elf;
mod generate;
mod record;

use bus::{IrqLine, create_ram};
use cpu::aarch64::{Aarch64, Extra, boot_state};
use cpu::{Clock, Cpu, Signal, VmEntry, VmExit};
use generate::{Case, Family, Random};
use record::{RECORD, Record};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const BATCH: usize = 1024;

fn qemu() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["qemu-aarch64-static", "qemu-aarch64"];
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file())
}

/// The states that qemu-user leaves, or what went wrong.
fn run_qemu(model: &str, code: &elf::Code, records: &[Record]) -> Result<Vec<Record>, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("aarch64-diff-{}-{number}", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(&file)
        .and_then(|mut f| f.write_all(&elf::elf(code, records)))
        .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let output = Command::new(qemu().ok_or("no qemu-user")?)
        .args(["-cpu", model])
        .arg(&file)
        .stdin(Stdio::null())
        .output();
    let _ = std::fs::remove_file(&file);
    let output = output.map_err(|e| e.to_string())?;
    if output.stdout.len() != records.len() * RECORD {
        return Err(format!(
            "qemu-user left {} of {} bytes: {} {}",
            output.stdout.len(),
            records.len() * RECORD,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let (chunks, _) = output.stdout.as_chunks::<RECORD>();
    Ok(chunks.iter().map(|c| Record(*c)).collect())
}

/// The states that the engine leaves. An exit other than the end of the
/// budget is told in words.
fn run_engine(
    code: &elf::Code,
    cases: &[Vec<u32>],
    records: &[Record],
) -> Vec<Result<Record, String>> {
    let text: Vec<u8> = code.words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let code_len = (text.len() as u64).next_multiple_of(0x1000);
    let data_len = ((records.len() * RECORD) as u64).next_multiple_of(0x1000);
    let ram = create_ram(&[(0, 0x1000), (elf::CODE, code_len), (elf::DATA, data_len)]).unwrap();
    let write = |at: u64, bytes: &[u8]| {
        use bus::vm_memory::{Bytes, GuestAddress};
        ram.write_slice(bytes, GuestAddress(at)).unwrap();
    };
    write(elf::CODE, &text);
    // Cases end in a loop, and so do exceptions.
    let stay = 0x1400_0000u32.to_le_bytes();
    write(elf::CODE + elf::SAVE, &stay);
    write(0x400, &stay);
    for (i, record) in records.iter().enumerate() {
        write(elf::DATA + (i * RECORD) as u64, &record.0);
    }
    let mut start = boot_state(elf::CODE, 0);
    start.p.el = 0;
    start.p.sp_sel = false;
    start.sys.cpacr = 3 << 20;
    let mut cpu = Cpu::<Aarch64>::new(
        start.clone(),
        Extra::new(IrqLine::null(), IrqLine::null()),
        &ram,
        Arc::new(Signal::default()),
        Clock::instructions(1000),
    );
    let mut out = Vec::new();
    for (i, record) in records.iter().enumerate() {
        cpu.s = start.clone();
        record.load(&mut cpu.s);
        cpu.s.pc = code.starts[i];
        let mut faults = 0u64;
        let mut left = cases[i].len() as u64;
        loop {
            let exit = cpu.run(VmEntry::Run, Some(left));
            if exit != VmExit::Budget {
                out.push(Err(format!("{exit:?}\n{:?}", cpu.s)));
                return out;
            }
            if cpu.s.p.el == 0 {
                break;
            }
            // Go on behind the undefined instruction.
            let position = (cpu.s.sys.elr - code.starts[i]) / 4;
            if cpu.s.sys.esr >> 26 != 0 || position >= 62 {
                out.push(Err(format!("exception\n{:?}", cpu.s)));
                return out;
            }
            faults |= 2 << position;
            cpu.s.p.el = 0;
            cpu.s.p.sp_sel = false;
            // As the exception return would have done.
            cpu.s.exclusive = Default::default();
            let (sp, nzcv) = (cpu.s.sp_bank[0], cpu.s.sys.spsr as u32);
            cpu.s.set_sp(sp);
            cpu.s.set_nzcv(nzcv);
            cpu.s.pc = cpu.s.sys.elr + 4;
            left = (cases[i].len() as u64).saturating_sub(position + 1);
            if left == 0 {
                break;
            }
        }
        let mut after = record.clone();
        let at = elf::DATA + (i * RECORD) as u64;
        cpu.phys.copy_out(at, &mut after.0);
        after.save(&cpu.s, faults);
        out.push(Ok(after));
    }
    out
}

fn disassemble(code: &[u32]) -> String {
    let dir = std::env::temp_dir();
    let file = dir.join(format!("aarch64-diff-dis-{}", std::process::id()));
    let bytes: Vec<u8> = code.iter().flat_map(|w| w.to_le_bytes()).collect();
    if std::fs::write(&file, bytes).is_err() {
        return String::new();
    }
    let output = Command::new("aarch64-linux-gnu-objdump")
        .args(["-D", "-b", "binary", "-m", "aarch64"])
        .arg(&file)
        .output();
    let _ = std::fs::remove_file(&file);
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let text = text.unwrap_or_default();
    let lines = text.lines().filter(|l| l.starts_with("  "));
    lines.map(|l| format!("{l}\n")).collect()
}

/// Runs cases on both: how many instructions were undefined. `Err` holds the number of the first one that differs.
fn compare(model: &str, cases: &[Case]) -> Result<u64, (usize, String)> {
    let mut records: Vec<_> = cases.iter().map(|c| c.record.clone()).collect();
    let code: Vec<_> = cases.iter().map(|c| c.code.clone()).collect();
    let laid_out = elf::code(&code, &mut records);
    let theirs = run_qemu(model, &laid_out, &records).map_err(|e| (usize::MAX, e))?;
    let ours = run_engine(&laid_out, &code, &records);
    let undefined = theirs.iter().map(|r| u64::from(r.faults().count_ones()));
    let undefined = undefined.sum();
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        match ours {
            Ok(ours) if ours == theirs => {}
            Ok(ours) => return Err((i, ours.diff("engine", theirs, "qemu"))),
            Err(exit) => return Err((i, exit.clone())),
        }
    }
    Ok(undefined)
}

/// The shortest start of a case that differs, in words.
fn explain(model: &str, case: &Case) -> String {
    // The address of the record is in the registers: keep it.
    for length in 1..=case.code.len() {
        let short = Case {
            code: case.code[..length].to_vec(),
            record: case.record.clone(),
        };
        let address = case.record.x(28);
        let index = (address - elf::DATA) as usize / RECORD;
        let filler = |i: usize| Case {
            code: vec![0xd503_201f],
            record: {
                let mut r = case.record.clone();
                r.set_x(28, elf::DATA + (i * RECORD) as u64);
                r
            },
        };
        let mut cases: Vec<_> = (0..index).map(filler).collect();
        cases.push(short);
        if let Err((at, what)) = compare(model, &cases) {
            if at != index {
                return what;
            }
            let insn = case.code[length - 1];
            return format!(
                "after {length} instructions; the last is {insn:#010x}\n{}initial state:\n{}{what}",
                disassemble(&case.code[..length]),
                case.record.inputs(insn),
            );
        }
    }
    "differs only with the cases before it".into()
}

/// Defined encodings of a family: most random words of some groups are not.
fn defined(random: &mut Random, family: Family, model: &str) -> Result<Vec<u32>, String> {
    let cases: Vec<_> = (0..BATCH)
        .map(|i| generate::case(random, family, i, 40, &[]))
        .collect();
    let mut records: Vec<_> = cases.iter().map(|c| c.record.clone()).collect();
    let code: Vec<_> = cases.iter().map(|c| c.code.clone()).collect();
    let laid_out = elf::code(&code, &mut records);
    let after = run_qemu(model, &laid_out, &records)?;
    let words = code.iter().zip(&after).flat_map(|(code, record)| {
        let faults = record.faults() >> 1;
        let defined = move |i: &usize| faults >> i & 1 == 0;
        (0..code.len()).filter(defined).map(|i| code[i])
    });
    Ok(words.collect())
}

fn run(family: Family, model: &str, instructions: usize) {
    if qemu().is_none() {
        println!("SKIP: qemu-user for AArch64 is not installed (Debian: qemu-user-static)");
        return;
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("AARCH64_DIFF_SEED").unwrap_or(1);
    let length = 6;
    let cases = number("AARCH64_DIFF_CASES").unwrap_or((instructions / length) as u64);
    let mut random = Random::new(seed * 1000 + family as u64);
    let mut failures = Vec::new();
    let sparse = matches!(family, Family::Float | Family::Vector | Family::VectorFloat);
    let pool = if sparse {
        defined(&mut random, family, model).unwrap()
    } else {
        Vec::new()
    };
    let (mut done, mut undefined) = (0, 0);
    while done < cases {
        let batch: Vec<_> = (0..BATCH)
            .map(|i| generate::case(&mut random, family, i, length, &pool))
            .collect();
        done += BATCH as u64;
        match compare(model, &batch) {
            Ok(count) => undefined += count,
            Err((at, what)) => failures.push(match batch.get(at) {
                Some(case) => explain(model, case),
                None => what,
            }),
        }
        if failures.len() >= 8 {
            break;
        }
    }
    assert!(
        failures.is_empty(),
        "{family:?}: {} of {} batches differ\n{}",
        failures.len(),
        done / BATCH as u64,
        failures.join("\n")
    );
    let total = done * length as u64;
    println!("{family:?}: {total} instructions agree, {undefined} of them undefined");
}

/// v8.0 with the crypto and CRC extensions, which the generator avoids.
const V8_0: &str = "cortex-a53";

#[test]
fn integer() {
    run(Family::Integer, V8_0, 40_000);
}

#[test]
fn memory() {
    run(Family::Memory, V8_0, 30_000);
}

#[test]
fn atomic() {
    run(Family::Atomic, "max", 12_000);
}

#[test]
fn float() {
    run(Family::Float, V8_0, 40_000);
}

#[test]
fn vector() {
    run(Family::Vector, V8_0, 60_000);
}

#[test]
fn vector_float() {
    run(Family::VectorFloat, V8_0, 40_000);
}

#[test]
fn vector_memory() {
    run(Family::VectorMemory, V8_0, 30_000);
}
