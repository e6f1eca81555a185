//! Consoles: a log file for each guest, and one of them on the terminal.

use super::interrupt::STOP;
use super::terminal::RawMode;
use devices::serial::{LineSink, SerialInput, SerialSink};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Ctrl-]: ends the run.
const ESCAPE: u8 = 0x1d;

/// Opens the log of a guest's console; with `show` its output goes to the
/// terminal as well.
pub(super) fn sink(log: &Path, show: bool) -> io::Result<Box<dyn SerialSink>> {
    let file = LineSink::new(File::create(log)?);
    Ok(if show {
        Box::new((file, Screen))
    } else {
        Box::new(file)
    })
}

/// The terminal, byte by byte: an echo must not wait for the end of a line.
struct Screen;

impl SerialSink for Screen {
    fn write(&mut self, bytes: &[u8]) {
        let mut out = io::stdout();
        // A closed terminal must not stop a guest.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

/// Sends what is typed to the guest until Ctrl-]. The terminal is in raw mode
/// as long as the result lives.
pub(super) fn attach(input: SerialInput) -> RawMode {
    let raw = RawMode::enter();
    eprint!("console attached; Ctrl-] shuts the guests down\r\n");
    // The thread ends with the process: a read of the terminal cannot be
    // interrupted in a portable way.
    std::thread::spawn(move || {
        let mut bytes = [0u8; 256];
        while let Ok(n @ 1..) = io::stdin().read(&mut bytes) {
            let typed = &bytes[..n];
            let end = typed.iter().position(|&byte| byte == ESCAPE);
            input.push(&typed[..end.unwrap_or(n)]);
            if end.is_some() {
                STOP.store(true, Ordering::Release);
                return;
            }
        }
    });
    raw
}
