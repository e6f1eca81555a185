//! What the host's KVM really is.
//!
//! A `/dev/kvm` can accept every call and still interpret guest code in
//! software: that runs a kernel far slower than the emulator here does, and ends
//! at instructions that the interpreter lacks. So a small payload is run at
//! ring 0 in long mode before KVM is trusted: one SSE instruction must work, and
//! a loop must run at the speed of a processor. Ring 3 shows nothing, since such
//! a KVM may run it natively.

// Reads this thread's CPU time.
#![allow(unsafe_code)]

use super::kvm::{BootState, KvmError, KvmVcpu, KvmVm};
use super::{VmEntry, VmExit};
use bus::create_ram;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

/// Iterations of the loop.
pub const LOOP: u32 = 200_000;
/// Thread CPU time that the loop may take. Interpreted it takes 137 ms; 2 to
/// 15 ms otherwise, the longer ones on a processor that is itself emulated.
pub const LIMIT: Duration = Duration::from_millis(50);
/// Tries of the loop: other load on the machine can only make it slower.
const TRIES: u32 = 3;

/// The host's KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmState {
    /// Guest code runs on the processor.
    Native {
        /// CPU time of the loop.
        took: Duration,
    },
    /// Guest code is interpreted in software.
    Interpreted(Proof),
    /// There is none.
    Absent,
    /// It is there, and this user may not use it.
    NoPermission,
    /// It is there and cannot be used.
    Broken(String),
}

/// What shows that guest code is interpreted. One proof is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// What the SSE instruction did instead of working.
    Sse(String),
    /// CPU time of the loop.
    Slow(Duration),
    /// What the loop did instead of ending.
    Loop(String),
}

impl KvmState {
    /// Whether guests should run on it.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native { .. })
    }
    /// What to do to have KVM.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Native { .. } => None,
            Self::Interpreted(_) => {
                Some("use a machine with hardware virtualisation (vmx or svm in /proc/cpuinfo)".to_owned())
            }
            Self::Absent => Some(
                "load the module (modprobe kvm_intel or kvm_amd); if that fails, switch virtualisation on in the \
                 firmware, or nested virtualisation if this is a virtual machine"
                    .to_owned(),
            ),
            Self::NoPermission => Some("join group kvm: sudo usermod -aG kvm $USER, then log in again".to_owned()),
            Self::Broken(_) => Some("see the kernel's log (dmesg) for what KVM says".to_owned()),
        }
    }
}

impl fmt::Display for KvmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        match self {
            Self::Native { took } => {
                write!(
                    f,
                    "native (ring 0: SSE works, {LOOP} loops in {}, limit {})",
                    ms(took),
                    ms(&LIMIT)
                )
            }
            Self::Interpreted(proof) => {
                f.write_str("interpreted (kvm_pvm or similar; ring 0: ")?;
                match proof {
                    Proof::Sse(how) => write!(f, "SSE does not work: {how})"),
                    Proof::Slow(took) => {
                        write!(f, "{LOOP} loops in {}, limit {})", ms(took), ms(&LIMIT))
                    }
                    Proof::Loop(how) => write!(f, "{LOOP} loops did not end: {how})"),
                }
            }
            Self::Absent => f.write_str("absent (there is no /dev/kvm)"),
            Self::NoPermission => f.write_str("no permission (join group kvm)"),
            Self::Broken(why) => write!(f, "unusable ({why})"),
        }
    }
}

/// The host's KVM, probed once.
pub fn kvm() -> &'static KvmState {
    static STATE: OnceLock<KvmState> = OnceLock::new();
    STATE.get_or_init(probe)
}

fn probe() -> KvmState {
    if !Path::new("/dev/kvm").exists() {
        return KvmState::Absent;
    }
    match examine(run) {
        Ok(state) => state,
        Err(KvmError::Open(error)) if matches!(error.errno(), libc::EACCES | libc::EPERM) => {
            KvmState::NoPermission
        }
        Err(KvmError::Open(error))
            if matches!(error.errno(), libc::ENODEV | libc::ENXIO | libc::ENOENT) =>
        {
            KvmState::Absent
        }
        Err(error) => KvmState::Broken(error.to_string()),
    }
}

/// Judges by what `run` does with the payloads. The SSE instruction comes first:
/// where it does not work, the loop would take a second and change nothing.
fn examine(mut run: impl FnMut(&[u8]) -> Result<Outcome, KvmError>) -> Result<KvmState, KvmError> {
    let wrong = match run(SSE)? {
        Outcome::Value(SSE_RESULT, _) => None,
        Outcome::Value(other, _) => Some(format!("it gave {other:#x}, not {SSE_RESULT:#x}")),
        Outcome::Other(how) => Some(how),
    };
    if let Some(how) = wrong {
        return Ok(KvmState::Interpreted(Proof::Sse(how)));
    }
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let took = match run(COUNT)? {
            Outcome::Value(LOOP_RESULT, took) => took,
            Outcome::Value(other, _) => {
                let how = format!("it gave {other:#x}, not {LOOP_RESULT:#x}");
                return Ok(KvmState::Interpreted(Proof::Loop(how)));
            }
            Outcome::Other(how) => return Ok(KvmState::Interpreted(Proof::Loop(how))),
        };
        if took < LIMIT {
            return Ok(KvmState::Native { took });
        }
        best = best.min(took);
    }
    Ok(KvmState::Interpreted(Proof::Slow(best)))
}

/// How a payload ended.
#[derive(Debug)]
enum Outcome {
    /// It wrote this to the result port, after so much CPU time.
    Value(u32, Duration),
    /// Something else happened.
    Other(String),
}

const RESULT_PORT: u16 = 0x10;
const SSE_RESULT: u32 = 0x2468_acf0;
/// mov eax, 0x12345678; movq xmm0, rax; paddq xmm0, xmm0; movq rax, xmm0;
/// out 0x10, eax
const SSE: &[u8] = &[
    0xb8, 0x78, 0x56, 0x34, 0x12, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xd4, 0xc0, 0x66, 0x48,
    0x0f, 0x7e, 0xc0, 0xe7, 0x10,
];
const LOOP_RESULT: u32 = 0;
/// mov eax, LOOP; 1: dec eax; jnz 1b; out 0x10, eax
const COUNT: &[u8] = &[
    0xb8,
    LOOP as u8,
    (LOOP >> 8) as u8,
    (LOOP >> 16) as u8,
    0,
    0xff,
    0xc8,
    0x75,
    0xfc,
    0xe7,
    0x10,
];

/// Runs `payload` at ring 0 in long mode until it writes to the result port.
fn run(payload: &[u8]) -> Result<Outcome, KvmError> {
    const CODE: u64 = 0x8000;
    const GDT: u64 = 0x500;
    let memory = |what| KvmError::Call {
        what,
        why: kvm_ioctls::Error::new(libc::ENOMEM),
    };
    let ram = Arc::new(create_ram(&[(0, 2 << 20)]).map_err(|_| memory("make guest memory"))?);
    // PML4, PDPT and a page directory with one 2 MiB page.
    let words = [
        (0x1000, 0x2003u64),
        (0x2000, 0x3003),
        (0x3000, 0x83),
        (GDT + 16, 0x00af_9b00_0000_ffff),
        (GDT + 24, 0x00cf_9300_0000_ffff),
    ];
    for (at, word) in words {
        ram.write_slice(&word.to_le_bytes(), GuestAddress(at))
            .map_err(|_| memory("write guest memory"))?;
    }
    ram.write_slice(payload, GuestAddress(CODE))
        .map_err(|_| memory("write guest memory"))?;
    let vm = KvmVm::new(ram, false)?;
    let mut vcpu = KvmVcpu::new(&vm, 0, 1, false)?;
    vcpu.boot(&BootState {
        rip: CODE,
        cr3: 0x1000,
        gdt: GDT,
        gdt_limit: 31,
        sse: true,
        ..BootState::default()
    })?;
    let start = cpu_time();
    Ok(loop {
        match vcpu.run(VmEntry::Run) {
            VmExit::IoWrite {
                port: RESULT_PORT,
                size: 4,
                data,
            } => {
                break Outcome::Value(data, cpu_time().saturating_sub(start));
            }
            VmExit::Crash(report) => break Outcome::Other(first_words(&report.reason)),
            VmExit::Attention => {}
            other => break Outcome::Other(format!("{other:?}")),
        }
    })
}

/// A reason without the numbers behind it.
fn first_words(reason: &str) -> String {
    reason.split(" 0x").next().unwrap_or(reason).to_owned()
}

/// CPU time of this thread, which includes that of its guest code.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The verdict on a KVM that does `sse` and then `loops` with the payloads,
    /// all of which must be asked for.
    fn verdict(sse: Outcome, loops: Vec<Outcome>) -> KvmState {
        let mut sse = Some(sse);
        let mut loops = loops.into_iter();
        let state = examine(|payload| {
            Ok(match payload == SSE {
                true => sse.take().unwrap(),
                false => loops.next().unwrap(),
            })
        });
        assert!(sse.is_none() && loops.next().is_none());
        state.unwrap()
    }

    #[test]
    fn judgement() {
        let good = || Outcome::Value(SSE_RESULT, MS(0));
        let took = |ms| Outcome::Value(LOOP_RESULT, MS(ms));
        let stopped = || Outcome::Other("KVM internal error 1".into());
        for (loops, best) in [(vec![took(14)], 14), (vec![took(80), took(49)], 49)] {
            assert_eq!(verdict(good(), loops), KvmState::Native { took: MS(best) });
        }
        let slow = vec![took(140), took(137), took(290)];
        for (sse, loops, words) in [
            (good(), slow, "200000 loops in 137.0 ms, limit 50.0 ms"),
            (good(), vec![stopped()], "did not end: KVM internal error 1"),
            (
                good(),
                vec![Outcome::Value(1, MS(2))],
                "did not end: it gave 0x1",
            ),
            (stopped(), vec![], "SSE does not work: KVM internal error 1"),
            (
                Outcome::Value(1, MS(0)),
                vec![],
                "SSE does not work: it gave 0x1",
            ),
        ] {
            let state = verdict(sse, loops);
            assert!(!state.is_native());
            let text = state.to_string();
            assert!(
                text.starts_with("interpreted (") && text.contains(words),
                "{text}"
            );
        }
    }

    /// A processor that has no virtualisation cannot run guest code natively.
    #[test]
    fn agrees_with_the_processor() {
        let state = kvm();
        println!("KVM: {state}");
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let virtualisation = flags
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm");
        if !virtualisation {
            assert!(!state.is_native(), "{state}");
        }
        if *state == KvmState::Absent {
            println!("SKIP: there is no /dev/kvm");
        }
    }
}
