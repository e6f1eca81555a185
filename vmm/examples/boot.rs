//! Boots one kernel and initrd on the board and prints its console: a tool for
//! work on the engine.
//!
//! `cargo run --release -p vmm --example boot -- KERNEL INITRD "cmdline" [free|lockstep] [seconds]`

use bus::SimTime;
use cpu::Clock;
use devices::serial::{LineSink, SerialInput};
use std::sync::Arc;
use vmm::clock::HostClock;
use vmm::machine::{Board, BoardConfig, Machine, Pause};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let config = BoardConfig {
        memory: 256 << 20,
        kernel: std::fs::read(&args[1])?,
        initrd: std::fs::read(&args[2])?,
        cmdline: args[3].clone(),
        seed: 1,
        epoch: 1_700_000_000,
        strict_alignment: false,
    };
    let lockstep = args.get(4).is_some_and(|m| m == "lockstep");
    let limit = args.get(5).map_or(Ok(60), |s| s.parse())?;
    let clock = if lockstep {
        Clock::instructions(1000)
    } else {
        Clock::Source(Arc::new(HostClock::start()))
    };
    let board = Board::new(config.memory)?;
    let console = (
        Box::new(LineSink::new(std::io::stdout())) as _,
        SerialInput::new(board.base().wake()),
    );
    let agent = (
        Box::new(LineSink::new(std::io::stderr())) as _,
        SerialInput::new(board.base().wake()),
    );
    let mut machine = Machine::new(board.start(&config, clock, console, agent)?);
    let start = vmm::clock::now();
    let end = loop {
        let at = machine.now() + SimTime::from_ms(100);
        match machine.run(at) {
            Pause::Deadline => {}
            Pause::Idle(until) => {
                if lockstep {
                    machine.advance(until.min(at));
                } else {
                    let wait = vmm::clock::span(until.min(at) - machine.now());
                    machine.signal().wait(wait);
                }
            }
            other => break format!("{other:?}"),
        }
        if start.elapsed().as_secs() >= limit {
            break "time is up".into();
        }
    };
    let stats = machine.vcpu().stats();
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{end}\n{}\n{stats:?} {} exits {} unmapped",
        machine.vcpu().dump(),
        machine.exits(),
        machine.unmapped()
    );
    eprintln!(
        "{:.2} s, {:.1} M instr/s",
        seconds,
        stats.instructions as f64 / seconds / 1e6
    );
    Ok(())
}
