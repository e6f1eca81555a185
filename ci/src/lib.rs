//! End-to-end tests: they run the `vmm` command as a user would.

mod namespace;
mod program;

pub use namespace::{Background, Namespace};
pub use program::program;

pub mod qemu;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The release build of the command, built now if it is not there.
///
/// # Panics
/// When it cannot be built.
pub fn vmm() -> PathBuf {
    static BUILD: Once = Once::new();
    BUILD.call_once(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "-p", "vmm"])
            .current_dir(root())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cannot build vmm"
        );
    });
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/vmm")
}

/// Most memory that a process had so far, in MiB; `None` when it has ended.
pub fn peak_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// pair.yaml with other checks, a YAML list.
///
/// # Panics
/// When pair.yaml cannot be read.
pub fn pair(checks: &str) -> String {
    let pair = std::fs::read_to_string(root().join("pair.yaml")).expect("pair.yaml");
    let head = pair.split_once("\nchecks:").map_or("", |(head, _)| head);
    format!("{head}\nchecks:\n{checks}")
}

/// A run of the command on a topology of its own, in a directory of its own.
#[derive(Debug)]
pub struct Run {
    dir: tempfile::TempDir,
    /// Arguments behind `run --topology F --out DIR`.
    args: Vec<String>,
    /// A command and its arguments in front of it all.
    prefix: Vec<String>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// `result.json`, or null.
    pub result: Value,
    /// Holds the results.
    pub dir: tempfile::TempDir,
}

impl Run {
    /// Of `yaml`.
    ///
    /// # Panics
    /// When the temporary directory cannot be used.
    pub fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("topology.yaml"), yaml).expect("a topology file");
        Self {
            dir,
            args: Vec::new(),
            prefix: Vec::new(),
        }
    }
    /// Of a topology at the root of the workspace.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn of(name: &str) -> Self {
        Self::new(&std::fs::read_to_string(root().join(name)).expect(name))
    }
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
    /// Changes a value of the topology.
    #[must_use]
    pub fn set(self, change: impl Into<String>) -> Self {
        self.arg("--set").arg(change)
    }
    /// Runs it by another command, such as `nsenter`.
    #[must_use]
    pub fn under(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|word| (*word).to_owned()).collect();
        self
    }
    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// Builds the images of its guests, for a run that reaches no network.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn with_images(self) -> Self {
        let built = Command::new(vmm())
            .args(["images", "build", "--topology"])
            .arg(self.dir.path().join("topology.yaml"))
            .stdout(Stdio::null())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cannot build images"
        );
        self
    }
    /// Puts a file beside the topology.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.dir.path().join(name), bytes).expect(name);
        self
    }
    /// Starts it.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn start(self) -> Started {
        let out = self.dir.path().join("out");
        let mut words = self.prefix.iter().map(PathBuf::from).chain([vmm()]);
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .args(["run", "--topology"])
            .arg(self.dir.path().join("topology.yaml"))
            .arg("--out")
            .arg(&out)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vmm starts");
        Started {
            child: Background(child),
            dir: self.dir,
        }
    }
    /// Runs it to its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Started {
    child: Background,
    dir: tempfile::TempDir,
}

impl Started {
    /// Process number.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }
    /// Directory of its results.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
    /// Waits until a console log contains `text`, at most a minute.
    pub fn wait_for(&self, guest: &str, text: &str) -> bool {
        let log = self.dir.path().join(format!("out/console-{guest}.log"));
        for _ in 0..600 {
            if String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).contains(text) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        false
    }
    /// Waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn end(mut self) -> Ended {
        let (out, err) = (self.child.0.stdout.take(), self.child.0.stderr.take());
        // Both are read at once, or a full pipe would stop it.
        let err = std::thread::spawn(move || text(err));
        let out = text(out);
        let status = self.child.0.wait().expect("vmm ends");
        let result = std::fs::read(self.dir.path().join("out/result.json")).unwrap_or_default();
        Ended {
            code: status.code().unwrap_or(-1),
            out,
            err: err.join().unwrap_or_default(),
            result: serde_json::from_slice(&result).unwrap_or(Value::Null),
            dir: self.dir,
        }
    }
}

fn text(from: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sums of one direction of a card: all drops, whatever the cause.
fn dropped(direction: &Value) -> u64 {
    let causes = direction["dropped"].as_object();
    causes.map_or(0, |causes| causes.values().filter_map(Value::as_u64).sum())
}

impl Ended {
    /// The rows of one kind of check.
    pub fn rows(&self, kind: &str) -> Vec<&Value> {
        let rows = self.result["checks"].as_array();
        let rows = rows.map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter(|row| row["kind"] == kind).collect()
    }
    /// The counters of a direction of `fpga0`: `h2c` or `c2h`.
    pub fn way(&self, way: &str) -> &Value {
        &self.result["cards"]["fpga0"][way]
    }
    /// Frames that `fpga0` dropped, in both directions.
    pub fn dropped(&self) -> u64 {
        dropped(self.way("h2c")) + dropped(self.way("c2h"))
    }
    /// Fails unless sent = delivered + dropped by cause + in flight, in both
    /// directions of `fpga0`.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn conserved(&self) {
        for way in ["h2c", "c2h"] {
            let c = self.way(way);
            let n = |key: &str| c[key].as_u64().unwrap_or(u64::MAX);
            let out = n("delivered") + dropped(c) + n("in_flight");
            assert_eq!(n("sent"), out, "{way}: {c}");
        }
    }
    /// Fails the test, with everything that helps, unless the exit code is `code`.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }
    /// A file of the results.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(
            &std::fs::read(self.dir.path().join("out").join(name)).unwrap_or_default(),
        )
        .into_owned()
    }
}
