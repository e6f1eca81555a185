//! The `vmm` command.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use vmm::app::{self, exit};
use vmm::topology::{self, LoadOptions, Override};

/// Runs stock Linux guests joined by a simulated FPGA card, and measures the
/// data path between them.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boots the guests of a topology, runs its checks, prints the table and
    /// shuts down. Without checks it stays up, with a console.
    Run(RunArgs),
    /// Validates a topology and prints it with every default filled in.
    Check(TopologyArgs),
    /// Predicts what the link and the DMA engine of each card should reach:
    /// size against Gb/s and microseconds. Boots nothing.
    Model(ModelArgs),
    /// Guest images. A run builds what it needs by itself.
    Images {
        #[command(subcommand)]
        command: ImagesCommand,
    },
    /// Tells what this machine can do, what would be used, and what to do
    /// about the rest.
    Doctor,
}

#[derive(Debug, Args)]
struct TopologyArgs {
    /// Topology file (YAML); see docs/topology.md.
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// Changes a value of the topology, such as guests.host.memory=512M.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Run mode: free or lockstep.
    #[arg(long, value_name = "MODE")]
    time: Option<String>,
    /// What runs the guests' processors: auto, kvm or emulated.
    #[arg(long, value_name = "KIND")]
    accel: Option<String>,
    /// Seed of everything that is random in the run.
    #[arg(long, value_name = "N")]
    seed: Option<String>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    topology: TopologyArgs,
    /// Directory of the results [default: runs/<time>-<id>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shows this guest's console on the terminal and sends it what is typed.
    #[arg(long, value_name = "GUEST")]
    console: Option<String>,
    /// Takes a KVM that interprets guest code in software for 'accel: kvm'.
    #[arg(long)]
    insist_kvm: bool,
}

#[derive(Debug, Args)]
struct ModelArgs {
    #[command(flatten)]
    topology: TopologyArgs,
    /// Draws the curves into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ImagesCommand {
    /// Builds the default images, or those of a topology.
    Build {
        /// Topology whose images to build.
        #[arg(long, value_name = "FILE")]
        topology: Option<PathBuf>,
    },
    /// Lists the images in the cache.
    List,
    /// Removes all images.
    Clean,
}

impl TopologyArgs {
    fn load(&self) -> Result<topology::TopologySpec, topology::TopologyError> {
        let mut overrides: Vec<Override> = self.set.iter().map(|set| Override::set(set)).collect();
        overrides.extend(self.time.as_deref().map(Override::time));
        overrides.extend(self.accel.as_deref().map(Override::accel));
        overrides.extend(self.seed.as_deref().map(Override::seed));
        topology::load(
            &self.topology,
            &LoadOptions {
                overrides,
                ..LoadOptions::default()
            },
        )
    }
}

fn main() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("VMM_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    ExitCode::from(dispatch(Cli::parse().command))
}

fn dispatch(command: Command) -> u8 {
    match command {
        Command::Check(args) => match args.load() {
            Ok(topology) => {
                app::say(&topology.to_yaml());
                exit::PASSED
            }
            Err(error) => bad_input(&error),
        },
        Command::Run(args) => match args.topology.load() {
            Ok(topology) => app::run(
                &topology,
                &app::RunOptions {
                    out: args.out,
                    console: args.console,
                    insist_kvm: args.insist_kvm,
                },
            ),
            Err(error) => bad_input(&error),
        },
        Command::Model(args) => match args.topology.load() {
            Ok(topology) => app::model(&topology, args.svg.as_deref()),
            Err(error) => bad_input(&error),
        },
        Command::Images { command } => images(command),
        Command::Doctor => app::doctor(),
    }
}

fn images(command: ImagesCommand) -> u8 {
    let result = match command {
        ImagesCommand::List => app::list(),
        ImagesCommand::Clean => app::clean(),
        ImagesCommand::Build { topology: None } => app::build(&[]),
        ImagesCommand::Build {
            topology: Some(path),
        } => match topology::load(&path, &LoadOptions::default()) {
            Ok(topology) => app::build(&topology.guests.values().collect::<Vec<_>>()),
            Err(error) => return bad_input(&error),
        },
    };
    match result {
        Ok(()) => exit::PASSED,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::INFRASTRUCTURE
        }
    }
}

fn bad_input(error: &topology::TopologyError) -> u8 {
    eprintln!("{error}");
    exit::INPUT
}
