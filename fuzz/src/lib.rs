//! Fuzz targets, their corpus and a runner that needs stable Rust alone.
//!
//! A [`Target`] is a plain function of bytes that must neither panic nor take
//! long. Its seeds are the files in `corpus/NAME`. [`Campaign`] runs the seeds
//! as they are, then mutations of them ([`Mutator`]), always the same ones for
//! the same seed. `docs/fuzzing.md` says how to run it and how to add a target.

mod campaign;
mod coverage;
mod input;
mod minimise;
mod mutate;
pub mod targets;
mod trial;
mod watchdog;

pub use campaign::{Campaign, Failure, Limit, Report};
pub use input::Input;
pub use minimise::minimise;
pub use mutate::Mutator;
pub use targets::{TARGETS, Target};
pub use trial::{Crash, attempt};

use std::io;
use std::path::PathBuf;

impl Target {
    /// Where the seeds are.
    pub fn corpus_dir(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "corpus", self.name]
            .iter()
            .collect()
    }
    /// The seeds with their names, ordered by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn corpus(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut seeds = Vec::new();
        for entry in std::fs::read_dir(self.corpus_dir())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            seeds.push((name.into_owned(), std::fs::read(&path)?));
        }
        seeds.sort();
        Ok(seeds)
    }
    /// The target of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}
