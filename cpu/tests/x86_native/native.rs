//! Runs cases on the host CPU, in a forked child.
//!
//! The child needs no assembly: every case ends in a signal (the `int3` behind
//! the code, or the instruction's own exception); the handler saves what the
//! signal frame holds, writes the next case's registers into the frame and
//! returns into it.

// Signal frames, fork and an executable mapping.
#![allow(unsafe_code)]

use crate::case::*;
use std::mem::{size_of, zeroed};
use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Cases of one child.
pub const BATCH: usize = 4096;

#[repr(C)]
struct Shared {
    count: usize,
    done: usize,
    cases: [Case; BATCH],
    answers: [Answer; BATCH],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(null_mut());
static NEXT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The shared memory and the two mappings that cases use.
pub struct Native {
    shared: *mut Shared,
}

const GREGS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Flags that a signal return may set.
const SETTABLE: u64 = 0x0cd5;

fn map(at: u64, len: u64, prot: i32, flags: i32) -> *mut u8 {
    // SAFETY: a new mapping; a fixed one refuses to replace another.
    let p = unsafe {
        libc::mmap(
            at as *mut _,
            len as usize,
            prot,
            flags | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(p, libc::MAP_FAILED, "mapping {at:#x} failed");
    p.cast()
}

#[allow(clippy::new_without_default)]
impl Native {
    pub fn new() -> Self {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let fixed = libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE;
        map(CODE, CODE_LEN, rw | libc::PROT_EXEC, fixed);
        map(SCRATCH, 0x1000, rw, fixed);
        let len = size_of::<Shared>() as u64;
        Self {
            shared: map(0, len, rw, libc::MAP_SHARED).cast(),
        }
    }

    /// Runs all `cases` (at most [`BATCH`]).
    pub fn run(&mut self, cases: &[Case]) -> Vec<Answer> {
        assert!(cases.len() <= BATCH);
        // SAFETY: no child runs; the mapping is ours.
        let shared = unsafe { &mut *self.shared };
        shared.count = cases.len();
        shared.done = 0;
        shared.cases[..cases.len()].copy_from_slice(cases);
        SHARED.store(self.shared, Ordering::SeqCst);
        // SAFETY: the child only makes async-signal-safe calls and never
        // returns from here.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            // SAFETY: in the child.
            unsafe { child() }
        }
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        // SAFETY: the child is gone.
        let shared = unsafe { &*self.shared };
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "the child died with status {status:#x} in case {} ({:02x?})",
            shared.done,
            &shared.cases[shared.done.min(BATCH - 1)].code,
        );
        shared.answers[..cases.len()].to_vec()
    }
}

unsafe fn child() -> ! {
    const STACK: u64 = 1 << 18;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let stack = libc::stack_t {
        ss_sp: map(0, STACK, rw, libc::MAP_PRIVATE).cast(),
        ss_flags: 0,
        ss_size: STACK as usize,
    };
    // SAFETY: plain system calls on our own memory.
    unsafe {
        libc::alarm(60);
        libc::sigaltstack(&stack, null_mut());
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [
            libc::SIGTRAP,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGUSR1,
        ] {
            libc::sigaction(signal, &action, null_mut());
        }
        std::ptr::write_bytes(CODE as *mut u8, 0xcc, CODE_LEN as usize);
        NEXT.store(usize::MAX, Ordering::SeqCst);
        libc::raise(libc::SIGUSR1);
        libc::_exit(9)
    }
}

extern "C" fn on_signal(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands us a valid frame; `SHARED` is set before fork.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let shared = &mut *SHARED.load(Ordering::Relaxed);
        let now = NEXT.load(Ordering::Relaxed);
        if now != usize::MAX {
            save(context, &mut shared.answers[now]);
        }
        let next = now.wrapping_add(1);
        if next >= shared.count {
            libc::_exit(0);
        }
        shared.done = next;
        NEXT.store(next, Ordering::Relaxed);
        let case = &shared.cases[next];
        if now == usize::MAX || shared.cases[now].which != case.which {
            let code = ENTRY as *mut u8;
            std::ptr::write_bytes(code, 0xcc, 32);
            copy_nonoverlapping(case.code.as_ptr(), code, case.len.into());
        }
        load(context, &case.input);
    }
}

unsafe fn load(context: &mut libc::ucontext_t, machine: &Machine) {
    let regs = &mut context.uc_mcontext.gregs;
    for (reg, value) in GREGS.iter().zip(machine.gpr) {
        regs[*reg as usize] = value as i64;
    }
    regs[libc::REG_RIP as usize] = machine.rip as i64;
    regs[libc::REG_EFL as usize] = (machine.rflags & SETTABLE | 0x202) as i64;
    let fp = context.uc_mcontext.fpregs.cast::<u8>();
    // SAFETY: the frame holds an FXSAVE area and an XSAVE header behind it.
    unsafe {
        fp.cast::<u16>().write(machine.fcw);
        fp.add(2).cast::<u16>().write(machine.fsw);
        fp.add(4).write(machine.ftw);
        fp.add(6).cast::<u16>().write(0);
        fp.add(8).cast::<u64>().write(0);
        fp.add(16).cast::<u64>().write(0);
        fp.add(24).cast::<u32>().write(machine.mxcsr);
        copy_nonoverlapping(machine.st.as_ptr().cast(), fp.add(32), 128);
        copy_nonoverlapping(machine.xmm.as_ptr().cast(), fp.add(160), 256);
        let present = fp.add(512).cast::<u64>();
        present.write(present.read() | 3);
        std::ptr::write_bytes(SCRATCH as *mut u8, 0, (WINDOW_VA - SCRATCH) as usize);
        copy_nonoverlapping(machine.mem.as_ptr(), WINDOW_VA as *mut u8, WINDOW);
    }
}

unsafe fn save(context: &libc::ucontext_t, answer: &mut Answer) {
    let regs = &context.uc_mcontext.gregs;
    let machine = &mut answer.machine;
    for (reg, value) in GREGS.iter().zip(&mut machine.gpr) {
        *value = regs[*reg as usize] as u64;
    }
    machine.rip = regs[libc::REG_RIP as usize] as u64;
    machine.rflags = regs[libc::REG_EFL as usize] as u64;
    answer.outcome = Outcome {
        vector: regs[libc::REG_TRAPNO as usize] as u64,
        error: regs[libc::REG_ERR as usize] as u64,
        cr2: regs[libc::REG_CR2 as usize] as u64,
    };
    let fp = context.uc_mcontext.fpregs.cast::<u8>();
    // SAFETY: as in `load`. A component that is in its initial state may be
    // left out of the frame.
    unsafe {
        let present = fp.add(512).cast::<u64>().read();
        machine.mxcsr = fp.add(24).cast::<u32>().read();
        if present & 1 != 0 {
            machine.fcw = fp.cast::<u16>().read();
            machine.fsw = fp.add(2).cast::<u16>().read();
            machine.ftw = fp.add(4).read();
            copy_nonoverlapping(fp.add(32), machine.st.as_mut_ptr().cast(), 128);
        } else {
            (machine.fcw, machine.fsw, machine.ftw) = (0x37f, 0, 0);
            machine.st = [0; 8];
        }
        if present & 2 != 0 {
            copy_nonoverlapping(fp.add(160), machine.xmm.as_mut_ptr().cast(), 256);
        } else {
            machine.xmm = [0; 16];
        }
        for st in &mut machine.st {
            *st &= (1 << 80) - 1;
        }
        copy_nonoverlapping(WINDOW_VA as *const u8, machine.mem.as_mut_ptr(), WINDOW);
    }
}
