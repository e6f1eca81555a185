//! Ctrl-C: a flag that the run looks at.

// Installing a signal handler is a system call edge.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by SIGINT and SIGTERM.
pub(super) static STOP: AtomicBool = AtomicBool::new(false);

/// What a shell reports for a process that SIGINT has ended.
const INTERRUPTED: libc::c_int = 130;

extern "C" fn on_signal(_: libc::c_int) {
    if STOP.swap(true, Ordering::AcqRel) {
        // Nobody has looked at the last one: something takes long.
        // SAFETY: `_exit` may be called in a signal handler.
        unsafe { libc::_exit(INTERRUPTED) };
    }
}

/// Makes SIGINT and SIGTERM set [`STOP`]; one that finds it set ends the
/// process.
pub(super) fn install() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only uses an atomic and `_exit`, which are safe in
        // a signal handler, and has the signature that `signal` asks for.
        unsafe {
            libc::signal(
                signal,
                on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t,
            )
        };
    }
}

/// Fails if somebody wishes to stop.
pub(super) fn check() -> anyhow::Result<()> {
    if STOP.load(Ordering::Acquire) {
        anyhow::bail!("interrupted before the guests were started");
    }
    Ok(())
}
