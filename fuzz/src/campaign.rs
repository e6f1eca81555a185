//! Runs a target on its corpus and on mutations of it.

use crate::watchdog::Watchdog;
use crate::{Crash, Mutator, Target, attempt, coverage, minimise};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use vmm::clock;

/// One input may take this long. A busy machine makes a sound one 100 times
/// slower at most; the slowest take some milliseconds.
const HANG: Duration = Duration::from_secs(30);

/// When a campaign ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so many mutated inputs.
    Iterations(u64),
    /// After so many seconds.
    Seconds(u64),
}

/// A run of one target.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// What is run.
    pub target: &'static Target,
    /// Of the mutations.
    pub seed: u64,
    /// When it ends.
    pub limit: Limit,
    /// Where a failing input is saved.
    pub crashes: PathBuf,
    /// Where inputs that reach new code are saved; needs an instrumented build.
    pub keep: Option<PathBuf>,
}

/// What a campaign did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Inputs of the corpus.
    pub seeds: usize,
    /// Mutated inputs.
    pub iterations: u64,
    /// Time of the slowest input, and which it was.
    pub slowest: (Duration, Vec<u8>),
    /// Inputs that reached new code, when the build is instrumented.
    pub found: usize,
}

/// Why a campaign failed.
#[derive(Debug)]
pub struct Failure {
    /// The panic.
    pub crash: Crash,
    /// Which input: a file of the corpus or an iteration.
    pub input: String,
    /// The smallest input with the same crash.
    pub bytes: Vec<u8>,
    /// Where it was saved.
    pub saved: std::io::Result<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.crash.place, self.crash.message)?;
        writeln!(
            f,
            "input: {}, {} bytes minimised",
            self.input,
            self.bytes.len()
        )?;
        match &self.saved {
            Ok(path) => write!(f, "saved as {}", path.display()),
            Err(error) => write!(f, "not saved: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Campaign {
    /// Runs it to its end.
    ///
    /// # Errors
    /// The first input that makes the target panic, minimised and saved.
    ///
    /// # Panics
    /// When the corpus cannot be read.
    pub fn run(&self) -> Result<Report, Box<Failure>> {
        let target = self.target;
        let file = |what: &str| self.crashes.join(format!("{}-{what}", target.name));
        let watchdog = Watchdog::new(HANG, target.name, file("hang"));
        let mut report = Report {
            seeds: 0,
            iterations: 0,
            slowest: (Duration::ZERO, Vec::new()),
            found: 0,
        };
        let try_one = |report: &mut Report, input: &[u8], name: &dyn Fn() -> String| {
            watchdog.begin(input);
            let start = clock::now();
            let result = attempt(target, input);
            let took = start.elapsed();
            if took > report.slowest.0 {
                report.slowest = (took, input.to_vec());
            }
            result.map_err(|crash| {
                let bytes = minimise(target, input);
                let path = file(&format!("{:016x}", hash(&bytes)));
                Box::new(Failure {
                    crash,
                    input: name(),
                    saved: std::fs::write(&path, &bytes).map(|()| path),
                    bytes,
                })
            })
        };
        let mut pool = Vec::new();
        for (name, bytes) in target.corpus().expect("the corpus can be read") {
            try_one(&mut report, &bytes, &|| format!("corpus file {name}"))?;
            coverage::is_new();
            pool.push(bytes);
        }
        report.seeds = pool.len();
        let mut mutator = Mutator::new(target, self.seed);
        let start = clock::now();
        while match self.limit {
            Limit::Iterations(n) => report.iterations < n,
            Limit::Seconds(n) => start.elapsed() < Duration::from_secs(n),
        } {
            let input = mutator.input(&pool);
            let number = report.iterations;
            try_one(&mut report, &input, &|| {
                format!("iteration {number} of seed {}", self.seed)
            })?;
            report.iterations += 1;
            if coverage::is_new() {
                report.found += 1;
                if let Some(dir) = &self.keep {
                    let name = format!("found-{:016x}", hash(&input));
                    // A corpus that cannot be written is only smaller.
                    let _ = std::fs::write(dir.join(name), &input);
                }
                pool.push(input);
            }
        }
        Ok(report)
    }
}

/// A name for contents.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = vmm::hash::Fnv::default();
    hash.add(bytes);
    hash.value()
}
