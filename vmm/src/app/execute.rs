//! `vmm run`.

use super::interrupt::{self, STOP};
use super::jobs::{self, Row};
use super::prepare::{Prepared, prepare};
use super::progress::Progress;
use super::{console, exit};
use crate::clock::HostClock;
use crate::machine::Taps;
use crate::run::{Controller, Finished, free, lockstep};
use crate::topology::{TimeMode, TopologySpec};
use anyhow::{Context, Result};
use bus::SimTime;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `vmm run` that are not part of the topology.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Directory of the results.
    pub out: Option<PathBuf>,
    /// Guest whose console is shown.
    pub console: Option<String>,
    /// `accel: kvm` takes a KVM that interprets guest code.
    pub insist_kvm: bool,
}

/// What a run leaves for the report.
pub(super) struct Ran {
    pub controller: Controller,
    pub rows: Vec<Row>,
    pub finished: Vec<Finished>,
    pub resident_kib: Vec<u64>,
    pub cards: Vec<(String, Arc<fpga_sim::card::SimCard>)>,
    /// Real cards.
    pub real: Vec<(String, Arc<fpga_sim::card::XdmaCard>)>,
    /// Counters of the cards' XDMA functions.
    pub xdma: Vec<(String, Vec<(String, u64)>)>,
    pub nics: Vec<(String, Vec<(String, u64)>)>,
    pub id: String,
    /// A file of the results that could not be written.
    pub unwritten: Option<String>,
}

/// Runs a topology and reports; the exit code.
pub fn run(topology: &TopologySpec, options: &RunOptions) -> u8 {
    let id = super::report::run_id();
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&id));
    interrupt::install();
    if let Err(error) = make_results(topology, &out) {
        eprintln!("error: {error:#}");
        return exit::INFRASTRUCTURE;
    }
    let ran = execute(topology, options, &out, id.clone());
    let ran = ran.unwrap_or_else(|error| not_started(topology, id, &error));
    super::report::report(topology, &ran, &out)
}

fn make_results(topology: &TopologySpec, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the results directory {}", out.display()))?;
    std::fs::write(out.join("topology.yaml"), topology.to_yaml())
        .with_context(|| format!("cannot write to {}", out.display()))
}

/// What a run leaves whose guests could not be started.
fn not_started(topology: &TopologySpec, id: String, error: &anyhow::Error) -> Ran {
    let (jobs, rows) = jobs::jobs(topology);
    Ran {
        controller: Controller::not_started(jobs, format!("{error:#}")),
        rows,
        finished: Vec::new(),
        resident_kib: Vec::new(),
        cards: Vec::new(),
        real: Vec::new(),
        xdma: Vec::new(),
        nics: Vec::new(),
        id,
        unwritten: None,
    }
}

fn execute(topology: &TopologySpec, options: &RunOptions, out: &Path, id: String) -> Result<Ran> {
    let (jobs, rows) = jobs::jobs(topology);
    // With nothing to check the guests stay up, and somebody should see one.
    let stay = jobs.is_empty();
    let show = options.console.clone().or_else(|| {
        stay.then(|| topology.guests.keys().next().cloned())
            .flatten()
    });
    let taps = Taps::default();
    let clock = Arc::new(HostClock::start());
    let Prepared {
        guests,
        links,
        consoles,
        cards,
        real,
        xdma,
        nics,
        capture,
        rams,
    } = prepare(
        topology,
        out,
        show.as_deref(),
        &clock,
        &taps,
        options.insist_kvm,
    )?;
    super::resident::trim();
    interrupt::check()?;
    let position = show
        .as_ref()
        .and_then(|name| topology.guests.keys().position(|key| key == name));
    let raw = position
        .and_then(|at| consoles.get(at))
        .map(|input| console::attach(input.clone()));
    let progress = Progress::new(jobs.len(), show.is_some());
    let boot_limit = topology
        .guests
        .values()
        .map(|guest| guest.boot_timeout.0)
        .max()
        .unwrap_or(SimTime::from_secs(120));
    // The limit counts from now, whatever it took to get here.
    let boot_limit = match topology.time {
        TimeMode::Free => cpu::TimeSource::now(&*clock) + boot_limit,
        TimeMode::Lockstep => boot_limit,
    };
    let switches = nics.iter().map(|(name, nic)| (name.clone(), nic.link()));
    let mut controller = Controller::new(links, jobs, boot_limit, stay)
        .settling(topology.guests.len() > 1)
        .switching(switches.collect());
    let show_event = |controller: &Controller, event| progress.event(controller, &event);
    let finished = match topology.time {
        TimeMode::Free => free::run(guests, &mut controller, &*clock, &taps, &STOP, show_event),
        TimeMode::Lockstep => {
            let quantum = topology
                .quantum
                .map_or(SimTime::from_us(100), |quantum| quantum.0);
            lockstep::run(guests, &mut controller, quantum, &STOP, show_event)
        }
    };
    progress.finish();
    drop(raw);
    let resident_kib = rams.iter().map(|ram| super::resident::kib(ram)).collect();
    let nics = nics
        .into_iter()
        .map(|(name, nic)| (name, nic.counters()))
        .collect();
    let xdma = xdma
        .into_iter()
        .map(|(card, counters)| (card, counters()))
        .collect();
    let unwritten = capture.and_then(|capture| capture.flush().err());
    let unwritten = unwritten.map(|error| {
        format!(
            "cannot write {}: {error}",
            out.join("capture.pcapng").display()
        )
    });
    Ok(Ran {
        controller,
        rows,
        finished,
        resident_kib,
        cards: cards.into_iter().collect(),
        real: real.into_iter().collect(),
        xdma,
        nics,
        id,
        unwritten,
    })
}
