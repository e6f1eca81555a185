//! From a topology to machines.

use super::{console, images, interrupt};
use crate::accel::{Choice, Wish, choose, probe};
use crate::clock;
use crate::machine::build::{Counters, Nic, Platform, StartConfig, Wire, sim_card, switch};
use crate::machine::{Memory, SharedSink, Taps};
use crate::run::{Guest, GuestLink};
use crate::topology::{
    self, CardBackend, CardSpec, DmaProfile, Doorbells, Function, GuestSpec, NicBackend, NicSpec,
    OnFull, TimeMode, TopologySpec, XdmaSpec,
};
use anyhow::{Context, Result, bail};
use bus::SimTime;
use cpu::Clock;
use devices::net::{PcapNg, Switch, VhostUserRole};
use devices::serial::SerialInput;
use devices::virtio::net::NetSpec;
use fpga_sim::card::{DmaSpec, FifoSpec, LinkSpec, Side, SimCard, SimCardSpec, XdmaCard};
use fpga_sim::nodes::{NodesSpec, XdmaNodes};
use fpga_sim::ring::Geometry;
use fpga_sim::timing::Profile;
use guest_images::agent::Client;
use guest_images::{GuestNic, GuestSetup, OverlayEntry, overlay_cpio};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

/// Everything that runs.
pub(super) struct Prepared {
    pub guests: Vec<Guest>,
    pub links: Vec<GuestLink>,
    pub consoles: Vec<SerialInput>,
    pub cards: BTreeMap<String, Arc<SimCard>>,
    /// Real cards by name.
    pub real: BTreeMap<String, Arc<XdmaCard>>,
    /// Each XDMA function, by its card.
    pub xdma: Vec<(String, Counters)>,
    /// Each NIC, by `GUEST.NIC`.
    pub nics: Vec<(String, Nic)>,
    pub capture: Option<PcapNg>,
    pub rams: Vec<Arc<bus::GuestRam>>,
}

/// Builds the machines of `topology`. Console logs go to `out`.
pub(super) fn prepare(
    topology: &TopologySpec,
    out: &Path,
    show: Option<&str>,
    clock_source: &Arc<clock::HostClock>,
    taps: &Taps,
    insist_kvm: bool,
) -> Result<Prepared> {
    let mut choices = Vec::new();
    for (name, guest) in &topology.guests {
        choices.push(
            accelerator(topology, guest, insist_kvm).with_context(|| format!("guest '{name}'"))?,
        );
    }
    // Images before the rest: they may take minutes, and nothing else is wasted
    // then.
    let mut boots = Vec::new();
    for guest in topology.guests.values() {
        boots.push(images::find(guest)?);
        interrupt::check()?;
    }
    let mut platforms = BTreeMap::new();
    for ((name, guest), choice) in topology.guests.iter().zip(choices) {
        eprintln!("{name}: {}: {}", choice.accelerator, choice.why);
        let outside = |nic: &NicSpec| matches!(nic.backend(), NicBackend::VhostUser(_));
        let memory = Memory {
            bytes: guest.memory.0,
            shared: guest.nics.iter().any(outside),
        };
        let platform = Platform::new(images::arch(guest.arch()), memory, choice.accelerator)
            .with_context(|| format!("guest '{name}'"))?;
        platforms.insert(name.as_str(), platform);
    }
    let lockstep = topology.time == TimeMode::Lockstep;
    let mut cards = BTreeMap::new();
    let mut real = BTreeMap::new();
    for (name, card) in &topology.cards {
        supported(name, card)?;
        if let CardBackend::Xdma(spec) = &card.backend {
            let opened = real_card(spec, card).with_context(|| format!("card '{name}'"))?;
            real.insert(name.clone(), opened);
            continue;
        }
        let board = card.board.as_deref().unwrap_or("board");
        let Some(board) = platforms.get(board) else {
            bail!("card '{name}': there is no guest '{board}'")
        };
        let spec = card_spec(card, topology.seed, lockstep);
        cards.insert(
            name.clone(),
            sim_card(spec, board).with_context(|| format!("card '{name}'"))?,
        );
    }
    // In lockstep a frame must not arrive in the quantum in which it was sent.
    let latency = topology
        .quantum
        .filter(|_| lockstep)
        .map_or(SimTime::ZERO, |quantum| quantum.0);
    let mut switches: BTreeMap<&str, Arc<Switch>> = BTreeMap::new();
    for nic in topology.guests.values().flat_map(|guest| &guest.nics) {
        if let NicBackend::Link(name) = nic.backend() {
            switches.entry(name).or_insert_with(|| switch(latency));
        }
    }
    let capture = if topology.capture.is_empty() {
        None
    } else {
        let path = out.join("capture.pcapng");
        let open = || PcapNg::new(Box::new(BufWriter::new(File::create(&path)?)));
        Some(open().with_context(|| format!("cannot write {}", path.display()))?)
    };
    let mut all = Prepared {
        guests: Vec::new(),
        links: Vec::new(),
        consoles: Vec::new(),
        cards,
        real,
        xdma: Vec::new(),
        nics: Vec::new(),
        capture,
        rams: Vec::new(),
    };
    for (index, ((name, spec), boot)) in topology.guests.iter().zip(boots).enumerate() {
        let Some(mut platform) = platforms.remove(name.as_str()) else {
            continue;
        };
        let ram = platform.base().ram().clone();
        for nic in &spec.nics {
            let wire = wire(
                topology,
                name,
                nic,
                Cards {
                    sim: &all.cards,
                    real: &all.real,
                },
                &switches,
            )?;
            let full = format!("{name}.{}", nic.name());
            let capture = all
                .capture
                .as_ref()
                .filter(|_| captured(topology, name, nic));
            let nic = platform
                .add_nic(&full, net_spec(nic), wire, nic.transitional, capture)
                .with_context(|| format!("guest '{name}'"))?;
            all.nics.push((full, nic));
        }
        let functions = connect(&mut platform, topology, name, &all.cards)
            .with_context(|| format!("guest '{name}'"))?;
        all.xdma.extend(functions);
        let log = out.join(format!("console-{name}.log"));
        let console_sink = console::sink(&log, show == Some(name))
            .with_context(|| format!("cannot write {}", log.display()))?;
        let console_input = SerialInput::new(platform.base().wake());
        let agent_output = SharedSink::new(taps.clone());
        let agent_input = SerialInput::new(platform.base().wake());
        let seed = topology
            .seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(index as u64);
        let clock = if lockstep {
            Clock::instructions(spec.instruction_time.0.0)
        } else {
            Clock::Source(clock_source.clone())
        };
        // Only now, so that one guest's images are in memory at a time.
        let (kernel, mut initrd) = boot.read(name)?;
        initrd.resize(initrd.len().next_multiple_of(512), 0);
        initrd.extend(overlay(topology, name, spec)?);
        let config = StartConfig {
            memory: spec.memory.0,
            vcpus: spec.vcpus.try_into().unwrap_or(1),
            ioeventfd: spec.doorbells == Doorbells::Ioeventfd,
            kernel,
            initrd,
            cmdline: cmdline(spec, &boot.cmdline),
            seed,
            // A lockstep run must not see the host's clock.
            epoch: if lockstep {
                1_700_000_000
            } else {
                clock::epoch()
            },
            strict_alignment: spec.strict_alignment,
        };
        let machine = platform
            .start(
                config,
                clock,
                (console_sink, console_input.clone()),
                (Box::new(agent_output.clone()), agent_input.clone()),
            )
            .with_context(|| format!("guest '{name}'"))?;
        all.guests.push(Guest {
            name: name.clone(),
            machine,
        });
        all.links.push(GuestLink::new(
            name.clone(),
            Client::new(seed),
            agent_output,
            agent_input,
        ));
        all.consoles.push(console_input);
        all.rams.push(ram);
    }
    Ok(all)
}

/// What runs a guest's vCPUs, and why.
fn accelerator(topology: &TopologySpec, guest: &GuestSpec, insist: bool) -> Result<Choice> {
    let wish = Wish {
        accel: guest.accel,
        arch: guest.arch(),
        time: topology.time,
        vcpus: guest.vcpus,
        insist,
    };
    Ok(choose(wish, || probe::kvm().clone())?)
}

/// The kernel's command line: what every guest gets (see docs/machines.md for
/// what each word saves), then the user's words.
fn cmdline(guest: &GuestSpec, extra: &str) -> String {
    let base = match guest.arch() {
        topology::Arch::Aarch64 => "console=ttyAMA0 vmm.agent=ttyAMA1 panic=-1 cryptomgr.notests",
        topology::Arch::X86_64 => {
            "console=ttyS0 vmm.agent=ttyS1 panic=-1 cryptomgr.notests tsc=reliable no_timer_check reboot=acpi i8042.nopnp i8042.noaux \
             i8042.nokbd"
        }
    };
    format!("{base} {extra}").trim_end().to_owned()
}

fn overlay(topology: &TopologySpec, name: &str, guest: &GuestSpec) -> Result<Vec<u8>> {
    let nics = guest
        .nics
        .iter()
        .map(|nic| GuestNic {
            mac: nic.mac.map_or([0; 6], |mac| mac.0),
            name: nic.name().to_owned(),
            address: nic.address.map(|address| address.to_string()),
            mtu: nic.mtu,
        })
        .collect();
    let hosts = topology
        .guests
        .iter()
        .filter(|(other, _)| *other != name)
        .filter_map(|(other, _)| Some((topology.route(name, other)?.to_string(), other.clone())))
        .collect();
    let mut entries = GuestSetup {
        hostname: name.to_owned(),
        nics,
        hosts,
    }
    .entries();
    for file in &guest.files {
        let bytes = std::fs::read(&file.from)
            .with_context(|| format!("guest '{name}': cannot read {}", file.from.display()))?;
        entries.push(OverlayEntry::file(file.to.clone(), file.mode.0, bytes));
    }
    overlay_cpio(&entries).with_context(|| format!("guest '{name}': files"))
}

fn net_spec(nic: &NicSpec) -> NetSpec {
    NetSpec {
        mac: nic.mac.map_or([0x52, 0x54, 0, 0, 0, 1], |mac| mac.0),
        mtu: nic.mtu(),
        queue_pairs: nic.queues(),
        queue_size: nic.queue_size(),
        link_up: nic.link_state.is_up(),
        ..NetSpec::default()
    }
}

/// Whether the topology asks for the frames of `guest`'s interface: by its own
/// name, or by that of its card.
fn captured(topology: &TopologySpec, guest: &str, nic: &NicSpec) -> bool {
    let own = format!("{guest}.{}", nic.name());
    topology
        .capture
        .iter()
        .any(|point| *point == own || nic.card.as_ref() == Some(point))
}

/// The cards of a topology, by name.
struct Cards<'a> {
    sim: &'a BTreeMap<String, Arc<SimCard>>,
    real: &'a BTreeMap<String, Arc<XdmaCard>>,
}

fn wire(
    topology: &TopologySpec,
    guest: &str,
    nic: &NicSpec,
    Cards { sim: cards, real }: Cards<'_>,
    switches: &BTreeMap<&str, Arc<Switch>>,
) -> Result<Wire> {
    Ok(match nic.backend() {
        NicBackend::Card(name) => {
            if let Some(card) = real.get(name) {
                let host = topology.cards.get(name).and_then(|c| c.host.as_deref());
                if host != Some(guest) {
                    bail!(
                        "guest '{guest}': the board side of the real card '{name}' is the board \
                         itself; run 'vnet-agent --role board --tap' there"
                    );
                }
                return Ok(Wire::Real(card.clone()));
            }
            let (Some(card), Some(spec)) = (cards.get(name), topology.cards.get(name)) else {
                bail!("guest '{guest}': there is no card '{name}'")
            };
            let side = if spec.board.as_deref() == Some(guest) {
                Side::Board
            } else {
                Side::Host
            };
            Wire::Card(card.clone(), side)
        }
        NicBackend::Link(name) => match switches.get(name) {
            Some(switch) => Wire::Link(switch.clone()),
            None => bail!("guest '{guest}': there is no link '{name}'"),
        },
        NicBackend::Tap(name) => Wire::Tap(name.to_owned()),
        NicBackend::Loopback => Wire::Loopback,
        NicBackend::VhostNet(name) => Wire::VhostNet(name.to_owned()),
        NicBackend::VhostUser(place) => {
            let role = match place.server() {
                true => VhostUserRole::Server,
                false => VhostUserRole::Client,
            };
            Wire::VhostUser(place.socket().to_owned(), role)
        }
    })
}

/// Gives the guest `name` what it sees of its cards besides their NICs; the
/// counters of the functions among it, by card.
fn connect(
    platform: &mut Platform,
    topology: &TopologySpec,
    name: &str,
    cards: &BTreeMap<String, Arc<SimCard>>,
) -> Result<Vec<(String, Counters)>> {
    let mut functions = Vec::new();
    for (card_name, spec) in &topology.cards {
        let Some(card) = cards.get(card_name) else {
            continue;
        };
        if spec.board.as_deref() == Some(name) {
            platform.add_card_logic(card)?;
        }
        if spec.host.as_deref() == Some(name) && spec.expose.contains(&Function::Xdma) {
            let counters = platform.add_xdma(card.clone())?;
            functions.push((card_name.clone(), counters));
        }
    }
    Ok(functions)
}

/// What a topology may ask of a card and this version does not do must not be
/// left out silently: the results would say something else than the topology.
fn supported(name: &str, card: &CardSpec) -> Result<()> {
    if let Some(fault) = card.faults.first() {
        bail!(
            "card '{name}': the fault '{}' cannot be injected yet; remove it from 'faults'",
            fault.kind
        );
    }
    Ok(())
}

/// Opens a real card by its device nodes.
fn real_card(spec: &XdmaSpec, card: &CardSpec) -> Result<Arc<XdmaCard>> {
    let (slots, bytes) = (card.fifo.slots, card.fifo.bytes.0);
    let rings = Geometry::pair(spec.ddr, slots, bytes)?;
    let end = rings[1].base() + rings[1].size();
    if end > spec.ddr.saturating_add(spec.bytes.0) {
        bail!(
            "two FIFOs of {bytes} bytes end at {end:#x}, behind the window of {}; use a smaller \
             'fifo.bytes'",
            spec.bytes
        );
    }
    let nodes = XdmaNodes::open(NodesSpec {
        device: spec.device.clone(),
        ddr: spec.ddr,
        bytes: spec.bytes.0,
        h2c: spec.h2c,
        c2h: spec.c2h,
    })?;
    Ok(XdmaCard::new(nodes, rings))
}

/// The simulated card that a topology asks for.
pub(super) fn card_spec(card: &CardSpec, seed: u64, lockstep: bool) -> SimCardSpec {
    let profile = match card.dma.profile {
        DmaProfile::Ideal => Profile::Ideal,
        DmaProfile::Nfp6000Gen3x8 => Profile::Nfp6000Gen3x8,
        DmaProfile::XdmaGen3x8Irq => Profile::XdmaGen3x8Irq,
        DmaProfile::XdmaGen3x8Poll => Profile::XdmaGen3x8Poll,
        DmaProfile::BadHost => Profile::BadHost,
    };
    SimCardSpec {
        link: LinkSpec {
            generation: card.link.generation,
            lanes: card.link.lanes,
            max_payload: card.link.max_payload,
            max_read_request: card.link.max_read_request,
            latency: card.link.latency.0,
        },
        dma: DmaSpec {
            channels: card.dma.channels,
            profile,
        },
        fifo: FifoSpec {
            slots: card.fifo.slots,
            bytes: card.fifo.bytes.0,
            on_full: match card.fifo.on_full {
                OnFull::Backpressure => fpga_sim::card::OnFull::Backpressure,
                OnFull::DropNew => fpga_sim::card::OnFull::DropNew,
                OnFull::DropOldest => fpga_sim::card::OnFull::DropOldest,
            },
        },
        timed: lockstep || profile != Profile::Ideal,
        seed,
        ..SimCardSpec::default()
    }
}
