//! What a build tells while it works.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

/// Receives the steps of a build. Calls come from the building thread.
pub trait Progress {
    /// A new step begins, such as "resolving packages".
    fn step(&self, what: &str);
    /// Download progress: bytes and packages.
    fn download(&self, state: DownloadState);
    /// The build is over (also after an error).
    fn done(&self);
}

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadState {
    /// Bytes fetched.
    pub bytes: u64,
    /// Bytes of all packages.
    pub total_bytes: u64,
    /// Packages fetched.
    pub packages: u64,
    /// All packages of this step.
    pub total_packages: u64,
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str) {}
    fn download(&self, _state: DownloadState) {}
    fn done(&self) {}
}

/// Progress bars on standard error; plain silence when that is no terminal.
#[derive(Debug, Default)]
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn replace(&self, new: Option<ProgressBar>) {
        let mut bar = self.bar.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(old) = bar.take() {
            old.finish_and_clear();
        }
        *bar = new;
    }

    fn style(template: &str) -> ProgressStyle {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }
}

impl Progress for Bars {
    fn step(&self, what: &str) {
        let bar = ProgressBar::new_spinner()
            .with_style(Self::style("{spinner} {msg}"))
            .with_message(what.to_string());
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        self.replace(Some(bar));
    }

    fn download(&self, state: DownloadState) {
        let mut guard = self.bar.lock().unwrap_or_else(|e| e.into_inner());
        let is_download = guard.as_ref().and_then(|b| b.length()) == Some(state.total_bytes);
        if !is_download {
            if let Some(old) = guard.take() {
                old.finish_and_clear();
            }
            *guard = Some(ProgressBar::new(state.total_bytes).with_style(Self::style(
                "downloading [{bar:30}] {bytes}/{total_bytes} {msg}",
            )));
        }
        if let Some(bar) = guard.as_ref() {
            bar.set_position(state.bytes);
            bar.set_message(format!(
                "package {} of {}",
                state.packages, state.total_packages
            ));
        }
    }

    fn done(&self) {
        self.replace(None);
    }
}
