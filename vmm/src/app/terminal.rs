//! The terminal in raw mode, for a guest's console.

// termios calls.
#![allow(unsafe_code)]

use std::io::IsTerminal;

/// Puts standard input into raw mode until it is dropped.
#[derive(Debug)]
pub(super) struct RawMode(Option<libc::termios>);

impl RawMode {
    /// Does nothing where standard input is no terminal.
    pub fn enter() -> Self {
        if !std::io::stdin().is_terminal() {
            return Self(None);
        }
        // SAFETY: an all-zero termios is a valid value to be overwritten.
        let mut old: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: file descriptor 0 and a valid pointer.
        if unsafe { libc::tcgetattr(0, &mut old) } != 0 {
            return Self(None);
        }
        let mut raw = old;
        // SAFETY: a valid pointer to a termios.
        unsafe { libc::cfmakeraw(&mut raw) };
        // Output keeps its newline translation for the monitor's own lines.
        raw.c_oflag = old.c_oflag;
        // SAFETY: as above.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw) };
        Self(Some(old))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(old) = &self.0 {
            // SAFETY: as above.
            unsafe { libc::tcsetattr(0, libc::TCSANOW, old) };
        }
    }
}
