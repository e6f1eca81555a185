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
    Interpreted {
        /// CPU time of the loop, if it came to its end.
        took: Option<Duration>,
        /// What the SSE instruction did instead of working.
        sse: Option<String>,
    },
    /// There is none.
    Absent,
    /// It is there, and this user may not use it.
    NoPermission,
    /// It is there and cannot be used.
    Broken(String),
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
            Self::Interpreted { .. } => {
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
            Self::Interpreted { took, sse } => {
                f.write_str("interpreted (kvm_pvm or similar; ring 0: ")?;
                match sse {
                    Some(how) => write!(f, "SSE does not work: {how}")?,
                    None => f.write_str("SSE works")?,
                }
                match took {
                    Some(took) => {
                        write!(f, "; {LOOP} loops in {}, limit {})", ms(took), ms(&LIMIT))
                    }
                    None => write!(f, "; {LOOP} loops did not end)"),
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
    let measured = || -> Result<_, KvmError> { Ok((run(SSE)?, measure()?)) };
    match measured() {
        Ok((sse, took)) => judge(sse, took),
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

fn judge(sse: Outcome, took: Option<Duration>) -> KvmState {
    let sse = match sse {
        Outcome::Value(SSE_RESULT, _) => None,
        Outcome::Value(other, _) => Some(format!("it gave {other:#x}, not {SSE_RESULT:#x}")),
        Outcome::Other(how) => Some(how),
    };
    match took {
        Some(took) if sse.is_none() && took < LIMIT => KvmState::Native { took },
        took => KvmState::Interpreted { took, sse },
    }
}

/// The shortest time of the loop; `None` when it did not end.
fn measure() -> Result<Option<Duration>, KvmError> {
    let mut best = None;
    for _ in 0..TRIES {
        let Outcome::Value(LOOP_RESULT, took) = run(COUNT)? else {
            return Ok(None);
        };
        best = Some(best.map_or(took, |best: Duration| best.min(took)));
        if took < LIMIT {
            break;
        }
    }
    Ok(best)
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

    #[test]
    fn judgement() {
        let ms = Duration::from_millis;
        let good = || Outcome::Value(SSE_RESULT, ms(0));
        assert!(judge(good(), Some(ms(14))).is_native());
        assert!(!judge(good(), Some(ms(137))).is_native());
        assert!(!judge(good(), None).is_native());
        assert!(!judge(Outcome::Value(1, ms(0)), Some(ms(2))).is_native());
        let state = judge(Outcome::Other("KVM internal error 1".into()), Some(ms(137)));
        let text = state.to_string();
        for word in ["interpreted", "KVM internal error 1", "137.0 ms", "50.0 ms"] {
            assert!(text.contains(word), "{text}");
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
