//! A network namespace for one test.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace that goes away, with everything in it, when this is
/// dropped.
#[derive(Debug)]
pub struct Namespace {
    /// A process that does nothing but be in it.
    holder: Background,
}

impl Namespace {
    /// A new one with `lo` up, or why there is none.
    ///
    /// # Errors
    /// A line for a test's SKIP.
    pub fn new() -> Result<Self, String> {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "900"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("no 'unshare' command: {error}"))?;
        let mut this = Self {
            holder: Background(holder),
        };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        let path = format!("/proc/{}/ns/net", this.holder.0.id());
        let ready = wait(100, || {
            let gone = !matches!(this.holder.0.try_wait(), Ok(None));
            gone || std::fs::read_link(&path).is_ok_and(|link| link != own)
        });
        if !ready || !matches!(this.holder.0.try_wait(), Ok(None)) {
            return Err("no permission to make a network namespace (run as root)".into());
        }
        let up = this.run(&["ip", "link", "set", "lo", "up"]);
        if up.is_ok_and(|output| output.status.success()) {
            Ok(this)
        } else {
            Err("'nsenter' or 'ip' does not work in a network namespace".into())
        }
    }
    /// Words before a command that is to run in it.
    pub fn prefix(&self) -> Vec<String> {
        let target = self.holder.0.id().to_string();
        ["nsenter", "--net", "--target", &target]
            .map(str::to_owned)
            .into()
    }
    /// A command in it.
    pub fn command(&self, words: &[&str]) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command
            .args(&prefix[1..])
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
    /// Starts a command in it that ends with the test at the latest.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, words: &[&str]) -> Background {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Background(command.spawn().expect("a command starts"))
    }
    /// Runs a command in it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, words: &[&str]) -> std::io::Result<Output> {
        self.command(words).output()
    }
    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn out(&self, words: &[&str]) -> String {
        let output = self.run(words).expect("a command starts");
        let error = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{error}");
        text
    }
    /// Runs a command again and again until it succeeds, for half a minute or
    /// more; its
    /// standard output.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn until(&self, words: &[&str]) -> String {
        let mut last = String::new();
        let done = wait(600, || match self.run(words) {
            Ok(output) => {
                last = String::from_utf8_lossy(&output.stdout).into_owned();
                output.status.success()
            }
            Err(_) => false,
        });
        assert!(done, "{words:?} did not succeed: {last}");
        last
    }
}

/// Tries until `done`, a twentieth of a second apart.
fn wait(tries: u32, mut done: impl FnMut() -> bool) -> bool {
    (0..tries).any(|_| {
        let done = done();
        if !done {
            std::thread::sleep(Duration::from_millis(50));
        }
        done
    })
}
