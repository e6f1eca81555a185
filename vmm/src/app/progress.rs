//! What a run shows while it runs.

use crate::run::{Controller, Event};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A line at the bottom of the terminal; nothing where there is none.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For a run of `jobs` checks. With `quiet` (a console is on the terminal)
    /// nothing is drawn.
    pub fn new(jobs: usize, quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(jobs as u64)
        };
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {elapsed} [{bar:24}] {pos}/{len} {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("booting");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }
    /// Shows what happened.
    pub fn event(&self, controller: &Controller, event: &Event) {
        match event {
            Event::Ready { guest, at } => {
                let name = &controller.links()[*guest].name;
                self.bar.println(format!(
                    "{name}: agent ready after {:.2} s",
                    at.as_secs_f64()
                ));
                let waiting: Vec<_> = controller
                    .links()
                    .iter()
                    .filter(|l| l.ready().is_none())
                    .map(|l| l.name.as_str())
                    .collect();
                self.bar
                    .set_message(format!("booting {}", waiting.join(", ")));
            }
            Event::JobStarted(job) => self.bar.set_message(controller.jobs()[*job].title.clone()),
            Event::JobDone(_) => self.bar.inc(1),
            Event::ShuttingDown => self.bar.set_message("shutting down"),
        }
    }
    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
