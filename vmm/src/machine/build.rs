//! Puts machines together: the only file that names concrete devices.

use super::fds::FdWatch;
use super::{Base, Board, BoardConfig, BoardError, Machine, Memory, Pc, PcConfig, PcError, Runner};
use crate::accel::Accelerator;
use bus::{SimTime, Wake};
use cpu::Clock;
use devices::net::{
    Capture, Card as CardBackend, LinkSpec, Loopback, NetBackend, Null, PcapNg, Switch, Tap,
    TapError, Vhost, VhostNetError, VhostUser, VhostUserError, VhostUserRole,
};
use devices::pci::PciError;
use devices::serial::{SerialInput, SerialSink};
use devices::virtio::VirtioPci;
use devices::virtio::net::{Net, NetSpec};
use devices::xdma::XdmaPci;
use fpga_sim::card::{Card, CardError, Side, SimCard, SimCardSpec, XdmaCard};
use fpga_sim::queue;
use guest_images::Arch;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a NIC is connected to.
#[derive(Debug)]
pub enum Wire {
    /// One side of a card.
    Card(Arc<SimCard>, Side),
    /// The host's side of a real card.
    Real(Arc<XdmaCard>),
    /// A software switch.
    Link(Arc<Switch>),
    /// A TAP interface of this machine.
    Tap(String),
    /// A TAP interface, by the kernel's vhost-net.
    VhostNet(String),
    /// A process that works on the rings, at this socket.
    VhostUser(PathBuf, VhostUserRole),
    /// Everything comes back.
    Loopback,
    /// Everything is dropped.
    Null,
}

/// A machine that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The board.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The PC.
    #[error(transparent)]
    Pc(#[from] PcError),
    /// A PCI function.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// A card.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A TAP interface.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The kernel's vhost-net.
    #[error(transparent)]
    VhostNet(#[from] VhostNetError),
    /// A vhost-user back end.
    #[error(transparent)]
    VhostUser(#[from] VhostUserError),
    /// The system refused something.
    #[error("cannot watch a network interface: {0}")]
    Watch(#[source] std::io::Error),
    /// The capture file.
    #[error("cannot write the capture file: {0}")]
    Capture(#[source] std::io::Error),
    /// A link has no port left.
    #[error("NIC '{0}': its link has 64 ports already")]
    LinkFull(String),
}

/// What every machine is started with.
#[derive(Debug)]
pub struct StartConfig {
    /// Bytes of memory.
    pub memory: u64,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Under KVM: doorbells ring by ioeventfd.
    pub ioeventfd: bool,
    /// Kernel: arm64 `Image` or x86 `vmlinux`.
    pub kernel: Vec<u8>,
    /// Initial RAM file systems.
    pub initrd: Vec<u8>,
    /// Kernel command line.
    pub cmdline: String,
    /// Seed of the guest's randomness.
    pub seed: u64,
    /// Seconds since 1970 at the start.
    pub epoch: u64,
    /// Unaligned accesses to Device memory fault (AArch64).
    pub strict_alignment: bool,
}

/// The two ends of a serial line.
pub type SerialEnds = (Box<dyn SerialSink>, SerialInput);

/// A machine that is being put together.
#[derive(Debug)]
pub enum Platform {
    /// The ARM64 board.
    Board(Board),
    /// The x86-64 host.
    Pc(Pc),
}

/// Reads the counters of a function by name.
pub type Counters = Box<dyn Fn() -> Vec<(String, u64)> + Send>;

/// The cable of a NIC in a machine; any thread may pull it or plug it in.
#[derive(Clone)]
pub struct LinkSwitch(Arc<dyn Fn(bool) + Send + Sync>);

impl LinkSwitch {
    /// Sets the link; `true` is up. The guest's driver is told of a change.
    pub fn set(&self, up: bool) {
        (self.0)(up);
    }
}

impl std::fmt::Debug for LinkSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkSwitch")
    }
}

/// A NIC that was put into a machine.
pub struct Nic {
    link: LinkSwitch,
    counters: Counters,
    _watch: Option<FdWatch>,
}

impl Nic {
    /// Its cable.
    pub fn link(&self) -> LinkSwitch {
        self.link.clone()
    }
    /// Its counters by name.
    pub fn counters(&self) -> Vec<(String, u64)> {
        (self.counters)()
    }
}

impl std::fmt::Debug for Nic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nic")
    }
}

impl Platform {
    /// Memory and buses of a machine.
    ///
    /// A board is always emulated.
    pub fn new(arch: Arch, memory: Memory, accelerator: Accelerator) -> Result<Self, BuildError> {
        Ok(match arch {
            Arch::Aarch64 => Self::Board(Board::new(memory)?),
            Arch::X86_64 => Self::Pc(Pc::new(memory, accelerator)?),
        })
    }
    /// What every machine has: memory, PCI bus, work.
    pub fn base(&self) -> &Base {
        match self {
            Self::Board(board) => board.base(),
            Self::Pc(pc) => pc.base(),
        }
    }
    /// As [`Platform::base`], to add devices.
    pub fn base_mut(&mut self) -> &mut Base {
        match self {
            Self::Board(board) => board.base_mut(),
            Self::Pc(pc) => pc.base_mut(),
        }
    }

    /// Puts a virtio-net function into the next free slot.
    /// `transitional`: legacy drivers can use it too. With `capture` its frames
    /// are written there as interface `name`.
    pub fn add_nic(
        &mut self,
        name: &str,
        spec: NetSpec,
        wire: Wire,
        transitional: bool,
        capture: Option<&PcapNg>,
    ) -> Result<Nic, BuildError> {
        let mut backend: Box<dyn NetBackend> = match wire {
            Wire::Tap(interface) => Box::new(Tap::open(&interface, spec.queue_pairs)?),
            Wire::VhostNet(interface) => {
                let ram = self.base().ram();
                Box::new(Vhost::kernel(&interface, spec.queue_pairs, ram)?)
            }
            Wire::VhostUser(socket, role) => {
                Box::new(vhost_user(name, &socket, role, spec.queue_pairs)?)
            }
            Wire::Card(card, side) => Box::new(CardBackend::new(
                card.clone(),
                side,
                Box::new(card.port(side)),
            )),
            Wire::Real(card) => {
                let port = Box::new(card.port());
                Box::new(CardBackend::new(card, Side::Host, port))
            }
            Wire::Link(switch) => Box::new(
                switch
                    .port()
                    .ok_or_else(|| BuildError::LinkFull(name.to_owned()))?,
            ),
            Wire::Loopback => Box::new(Loopback::new()),
            Wire::Null => Box::new(Null::new()),
        };
        if let Some(file) = capture {
            let interface = file.interface(name).map_err(BuildError::Capture)?;
            backend = Box::new(Capture::new(backend, file.clone(), interface));
        }
        let base = self.base_mut();
        let (bdf, line) = base.next_slot();
        let (root, machine) = (base.root().clone(), base.wake());
        // The machine services only functions that asked for it.
        let device = Wake::from_fn(move || {
            root.request(bdf);
            machine.wake();
        });
        let fds = backend.host_fds().into_iter();
        let fds: Vec<_> = fds
            .map(|fd| fd.try_clone_to_owned())
            .collect::<Result<_, _>>()
            .map_err(BuildError::Watch)?;
        let wake = backend.host_wake(device.clone());
        let net = Box::new(Net::new(spec, backend));
        let dma = base.dma(bdf);
        let function = match transitional {
            true => VirtioPci::transitional(net, dma, line)?,
            false => VirtioPci::new(net, dma, line)?,
        };
        base.root().add(bdf, Box::new(function))?;
        let root = base.root().clone();
        let link = LinkSwitch(Arc::new(move |up| {
            let set = |net: &mut Net| net.set_link(up);
            root.with(bdf, |function| VirtioPci::with_device(function, set));
            device.wake();
        }));
        let root = base.root().clone();
        let watch = match fds.is_empty() {
            true => None,
            false => Some(FdWatch::start(fds, wake).map_err(BuildError::Watch)?),
        };
        let counters = Box::new(move || root.with(bdf, |f| f.counters()).unwrap_or_default());
        Ok(Nic {
            link,
            counters,
            _watch: watch,
        })
    }

    /// Maps the register windows of `card`'s logic into its board.
    pub fn add_card_logic(&mut self, card: &SimCard) -> Result<(), BuildError> {
        for (start, window) in card.board_windows() {
            let mapped = self.base_mut().map(start, queue::WINDOW, window);
            mapped.map_err(BoardError::from)?;
        }
        Ok(())
    }
    /// Puts the XDMA function of `card` into the next free slot of its host.
    pub fn add_xdma(&mut self, card: Arc<SimCard>) -> Result<Counters, BuildError> {
        let base = self.base_mut();
        let (bdf, line) = base.next_slot();
        let function = XdmaPci::new(card, base.dma(bdf), line)?;
        base.root().add(bdf, Box::new(function))?;
        let root = base.root().clone();
        let counters = move || root.with(bdf, |f| f.counters()).unwrap_or_default();
        Ok(Box::new(counters))
    }

    /// Loads the kernel and makes the machine.
    pub fn start(
        self,
        config: StartConfig,
        clock: Clock,
        console: SerialEnds,
        agent: SerialEnds,
    ) -> Result<Runner, BuildError> {
        let StartConfig {
            memory,
            vcpus,
            ioeventfd,
            kernel,
            initrd,
            cmdline,
            seed,
            epoch,
            strict_alignment,
        } = config;
        Ok(match self {
            Self::Board(board) => {
                let config = BoardConfig {
                    memory,
                    kernel,
                    initrd,
                    cmdline,
                    seed,
                    epoch,
                    strict_alignment,
                };
                Runner::Emulated(Box::new(Machine::new(
                    board.start(&config, clock, console, agent)?,
                )))
            }
            Self::Pc(pc) => {
                let config = PcConfig {
                    memory,
                    kernel,
                    initrd,
                    cmdline,
                    seed,
                    epoch,
                    vcpus,
                    ioeventfd,
                };
                pc.start(&config, clock, console, agent)?
            }
        })
    }
}

/// How long to wait for a vhost-user back end, and how often to look.
const BACK_END_WAIT: Duration = Duration::from_secs(10);
const BACK_END_LOOK: Duration = Duration::from_millis(50);

/// The back end at `socket`, which may be started at the same time as this.
fn vhost_user(
    name: &str,
    socket: &Path,
    role: VhostUserRole,
    pairs: u16,
) -> Result<Vhost, BuildError> {
    let mut place = VhostUser::new(socket, role, pairs)?;
    for look in 0..BACK_END_WAIT.as_millis() / BACK_END_LOOK.as_millis() {
        match place.open()? {
            Ok(vhost) => return Ok(vhost),
            Err(again) => place = again,
        }
        if look == 0 {
            tracing::info!(nic = name, socket = %socket.display(), "waiting for its back end");
        }
        std::thread::sleep(BACK_END_LOOK);
    }
    Err(place.absent().into())
}

/// A simulated card between two machines, of which `board` gives the DDR.
pub fn sim_card(spec: SimCardSpec, board: &Platform) -> Result<Arc<SimCard>, BuildError> {
    Ok(SimCard::new(spec, board.base().ram().clone())?)
}

/// Largest lockstep quantum that a card allows; `None` when it has no latency.
pub fn lookahead(card: &SimCard) -> Option<SimTime> {
    card.lookahead()
}

/// What was counted on a card so far.
pub fn card_counters(card: &dyn Card) -> fpga_sim::card::CardCounters {
    card.counters()
}

/// A software switch whose frames take `latency` from sender to receiver.
pub fn switch(latency: SimTime) -> Arc<Switch> {
    Switch::new(LinkSpec {
        latency,
        ..LinkSpec::default()
    })
}
