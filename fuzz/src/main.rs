//! `fuzz`: runs fuzz targets for longer than the tests do.

use anyhow::{Context, Result, bail};
use clap::Parser;
use fuzz::{Campaign, Limit, TARGETS, Target, attempt};
use std::path::PathBuf;

/// Runs one fuzz target, or all of them.
#[derive(Debug, Parser)]
struct Options {
    /// Which target; `all` for every one, `list` to list them.
    target: String,
    /// Files to run once, instead of a campaign.
    files: Vec<PathBuf>,
    /// Mutated inputs for each target.
    #[arg(long, conflicts_with = "seconds")]
    iterations: Option<u64>,
    /// Seconds for each target (the default is 10).
    #[arg(long)]
    seconds: Option<u64>,
    /// Seed of the mutations.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where failing inputs are saved.
    #[arg(long, default_value = ".")]
    crashes: PathBuf,
    /// A file for the input that took longest.
    #[arg(long)]
    slowest: Option<PathBuf>,
    /// Where inputs that reach new code are saved (an instrumented build only).
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.target == "list" {
        for target in TARGETS {
            println!("{:<16} {}", target.name, target.about);
        }
        return Ok(());
    }
    let targets: Vec<&'static Target> = if options.target == "all" {
        TARGETS.iter().collect()
    } else {
        let found = Target::find(&options.target);
        vec![found.with_context(|| format!("no target '{}'; try 'list'", options.target))?]
    };
    let mut failed = false;
    for target in targets {
        if options.files.is_empty() {
            failed |= !campaign(target, &options);
            continue;
        }
        for file in &options.files {
            let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
            match attempt(target, &bytes) {
                Ok(()) => println!("{}: {}: passed", target.name, file.display()),
                Err(crash) => {
                    failed = true;
                    println!("{}: {}: {}", file.display(), crash.place, crash.message);
                }
            }
        }
    }
    if failed {
        bail!("a target failed");
    }
    Ok(())
}

fn campaign(target: &'static Target, options: &Options) -> bool {
    let limit = match (options.iterations, options.seconds) {
        (Some(n), _) => Limit::Iterations(n),
        (None, seconds) => Limit::Seconds(seconds.unwrap_or(10)),
    };
    let campaign = Campaign {
        target,
        seed: options.seed,
        limit,
        crashes: options.crashes.clone(),
        keep: options.keep.clone(),
    };
    let start = vmm::clock::now();
    match campaign.run() {
        Ok(report) => {
            let took = start.elapsed().as_secs_f64();
            println!(
                "{:<16} {} seeds, {} iterations in {took:.1} s, slowest {:.1} ms, {} found",
                target.name,
                report.seeds,
                report.iterations,
                report.slowest.0.as_secs_f64() * 1e3,
                report.found,
            );
            if let Some(file) = &options.slowest {
                // Only a help for whoever asked for it.
                let _ = std::fs::write(file, &report.slowest.1);
            }
            true
        }
        Err(failure) => {
            println!("{:<16} FAILED\n{failure}", target.name);
            false
        }
    }
}
