//! `vnet-agent`: a network interface on one side, the card's frame rings on the
//! other. One program for both ends of a card, real or simulated.

mod interface;
mod relay;
mod signals;
mod window;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use fpga_sim::nodes::{NodesSpec, XdmaNodes};
use fpga_sim::ring::{Batched, Geometry};
use interface::{Interface, InterfaceSpec};
use std::path::PathBuf;
use window::{Window, WindowSpec};

/// Joins a TUN or TAP interface to the frame rings of an FPGA card. Run it on
/// both sides of the card with the same ring options.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Which side of the card this is.
    #[arg(long, value_enum)]
    role: Role,
    /// Interface name.
    #[arg(long, default_value = "vnet0")]
    name: String,
    /// IPv4 address and prefix, such as 10.10.10.1/24.
    #[arg(long)]
    address: Option<interface::Address>,
    /// Largest packet, 68 to 65535 (the default for TUN; for TAP it is 1500).
    #[arg(long, value_parser = clap::value_parser!(u32).range(68..=65_535))]
    mtu: Option<u32>,
    /// A TAP interface (Ethernet) instead of TUN (IP): what a virtio-net on the
    /// other side needs.
    #[arg(long)]
    tap: bool,
    /// Host: device node of Xilinx's driver without its suffix.
    #[arg(long, default_value = "/dev/xdma0")]
    device: PathBuf,
    /// Host: H2C channel.
    #[arg(long, default_value_t = 0)]
    h2c: u8,
    /// Host: C2H channel.
    #[arg(long, default_value_t = 0)]
    c2h: u8,
    /// Board: /dev/mem, or a UIO node whose first map is the window.
    #[arg(long, default_value = "/dev/mem")]
    memory: PathBuf,
    /// Card address of the shared window.
    #[arg(long, default_value = "0x3000000", value_parser = number)]
    ddr: u64,
    /// Bytes of the shared window.
    #[arg(long, default_value = "0x1000000", value_parser = number)]
    bytes: u64,
    /// Most frames in a ring.
    #[arg(long, default_value_t = 1024)]
    slots: u32,
    /// Bytes of a ring.
    #[arg(long, default_value = "0x400000", value_parser = number)]
    fifo: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// The machine with the card in a PCIe slot.
    Host,
    /// The card's own processor.
    Board,
}

/// A number, in hexadecimal behind 0x.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("'{text}' is no number; write 16777216 or 0x1000000"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    signals::install();
    let [h2c, c2h] = Geometry::pair(args.ddr, args.slots, args.fifo).context("rings")?;
    let end = c2h.base() + c2h.size();
    anyhow::ensure!(
        end <= args.ddr.saturating_add(args.bytes),
        "two rings of {} bytes end at {end:#x}, behind the window; use a smaller --fifo",
        args.fifo
    );
    let interface = Interface::open(&InterfaceSpec {
        name: args.name.clone(),
        tap: args.tap,
        // The ring carries any packet; what is behind a bridge may not.
        mtu: args.mtu.unwrap_or(if args.tap { 1500 } else { 65_535 }),
        address: args.address,
    })?;
    eprintln!("vnet-agent: {} is up", args.name);
    match args.role {
        Role::Host => {
            let spec = NodesSpec {
                device: args.device,
                ddr: args.ddr,
                bytes: args.bytes,
                h2c: args.h2c,
                c2h: args.c2h,
            };
            // A card may come later, or come back.
            relay::run(&interface, h2c, c2h, || {
                XdmaNodes::open(spec.clone()).map(Batched::new)
            })
        }
        Role::Board => {
            let spec = WindowSpec {
                path: args.memory,
                ddr: args.ddr,
                bytes: args.bytes,
            };
            relay::run(&interface, c2h, h2c, || Window::open(&spec))
        }
    }
    Ok(())
}
