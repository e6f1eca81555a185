//! Commands as the guest's shell can read them.

/// Longest encoded command that goes as a line: the shell reads lines a byte
/// at a time, one system call each; longer ones are worth a process.
const MAX_LINE: usize = 1024;

/// A command for `printf %b`: one line of printable ASCII.
fn escape(command: &str) -> String {
    let mut out = String::with_capacity(command.len() + 16);
    for byte in command.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            0x20..=0x7e => out.push(char::from(byte)),
            other => out.push_str(&format!("\\0{other:03o}")),
        }
    }
    out
}

/// The bytes of a run request.
pub(super) fn run(id: u64, token: u64, blocks: u64, command: &str) -> Vec<u8> {
    let line = escape(command);
    if line.len() <= MAX_LINE {
        return format!("\n@vmm X {id} {token:016x} {blocks}\n{line}\n").into_bytes();
    }
    let length = command.len();
    format!("\n@vmm B {id} {token:016x} {blocks} {length}\n{command}").into_bytes()
}
