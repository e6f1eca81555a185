//! Signals: stop, and show the counters.

// Signal handlers are a system interface without a safe form.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static SHOW: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}
extern "C" fn on_show(_: libc::c_int) {
    SHOW.store(true, Ordering::Relaxed);
}

/// SIGINT and SIGTERM stop, SIGUSR1 shows the counters, SIGPIPE is nothing.
pub fn install() {
    let handlers: [(libc::c_int, libc::sighandler_t); 4] = [
        (libc::SIGINT, on_stop as *const () as libc::sighandler_t),
        (libc::SIGTERM, on_stop as *const () as libc::sighandler_t),
        (libc::SIGUSR1, on_show as *const () as libc::sighandler_t),
        (libc::SIGPIPE, libc::SIG_IGN),
    ];
    for (signal, handler) in handlers {
        // SAFETY: the handlers only store to atomics, which is allowed in a
        // signal handler, and they live for ever.
        unsafe { libc::signal(signal, handler) };
    }
}
/// Whether somebody asked for the end.
pub fn stop() -> bool {
    STOP.load(Ordering::Relaxed)
}
/// Whether somebody asked for the counters since the last call.
pub fn show() -> bool {
    SHOW.swap(false, Ordering::Relaxed)
}
