//! Bringing a vCPU back from guest code.

// Signals, and a byte that is shared with the kernel.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// A vCPU that is inside its run loop.
#[derive(Clone, Copy)]
struct Target {
    thread: libc::pthread_t,
    /// `immediate_exit` of the vCPU's shared page.
    immediate_exit: *const AtomicU8,
}

// SAFETY: the pointer is followed only under the lock of `Kicker`, and is taken
// out of it before the page goes away.
unsafe impl Send for Target {}

/// Makes one vCPU leave guest code soon, from any thread.
#[derive(Clone, Default)]
pub struct Kicker(Arc<Mutex<Option<Target>>>);

impl Kicker {
    /// Brings the vCPU back if it runs; a vCPU that is about to enter guest
    /// code comes back at once.
    pub fn kick(&self) {
        let target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = *target {
            // SAFETY: the page is mapped as long as the target is set.
            unsafe { &*target.immediate_exit }.store(1, Ordering::SeqCst);
            // SAFETY: the thread takes itself out before it ends, which needs
            // the lock that is held here.
            unsafe { libc::pthread_kill(target.thread, signal()) };
        }
    }
    /// Declares the calling thread the vCPU's, until the result is dropped.
    ///
    /// # Safety
    /// `immediate_exit` must stay valid until then.
    pub(super) unsafe fn enter(&self, immediate_exit: *const AtomicU8) -> Entered {
        install();
        // SAFETY: always succeeds.
        let thread = unsafe { libc::pthread_self() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Target {
            thread,
            immediate_exit,
        });
        Entered(self.clone())
    }
}

/// The vCPU's thread is in its run loop.
pub(super) struct Entered(Kicker);

impl Drop for Entered {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 1
}

extern "C" fn nothing(_: libc::c_int) {}

/// Installs a handler that does nothing: the signal is there to interrupt the
/// system call.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeroes is a valid `sigaction`: no flags, so system calls
        // are not restarted, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler has the right signature and does nothing.
        unsafe { libc::sigaction(signal(), &action, std::ptr::null_mut()) };
    });
}

impl fmt::Debug for Kicker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kicker")
    }
}
