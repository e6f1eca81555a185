//! What a user writes: cards.

use super::units::{Duration, Percent, Size};
use bus::SimTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A card that joins a host guest and a board guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CardSpec {
    /// What the card is.
    pub backend: CardBackend,
    /// The guest that has the card in a PCIe slot. Default: `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The guest that is the card's ARM64 side. Default: `board`; a real card
    /// may have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// PCI functions that the host guest sees.
    pub expose: Vec<Function>,
    /// The PCIe link.
    pub link: LinkSpec,
    /// The DMA engine.
    pub dma: DmaSpec,
    /// The shared FIFO, one for each direction.
    pub fifo: FifoSpec,
    /// What goes wrong, and when.
    pub faults: Vec<FaultSpec>,
}

impl Default for CardSpec {
    fn default() -> Self {
        Self {
            backend: CardBackend::Sim,
            host: None,
            board: None,
            expose: vec![Function::VirtioNet, Function::Xdma],
            link: LinkSpec::default(),
            dma: DmaSpec::default(),
            fifo: FifoSpec::default(),
            faults: Vec::new(),
        }
    }
}

/// What a card is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CardBackend {
    /// The simulated card.
    #[default]
    Sim,
    /// A real card behind the XDMA driver of this machine.
    Xdma(XdmaSpec),
}

/// A real card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdmaSpec {
    /// Device node without its channel suffix.
    #[serde(default = "xdma0")]
    pub device: PathBuf,
    /// Card address of the shared DDR window: change it here when the block
    /// design has it elsewhere.
    #[serde(default = "window")]
    pub ddr: u64,
    /// Bytes of the window.
    #[serde(default = "window_bytes")]
    pub bytes: Size,
    /// H2C channel, 0 to 3.
    #[serde(default)]
    pub h2c: u8,
    /// C2H channel, 0 to 3.
    #[serde(default)]
    pub c2h: u8,
}

fn window() -> u64 {
    0x0300_0000
}
fn window_bytes() -> Size {
    Size::mib(16)
}

fn xdma0() -> PathBuf {
    "/dev/xdma0".into()
}

/// A PCI function of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    /// A virtio network interface.
    VirtioNet,
    /// The XDMA register file and its DMA engine.
    Xdma,
}

/// A PCIe link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinkSpec {
    /// PCIe generation, 1 to 5.
    #[serde(rename = "gen")]
    pub generation: u8,
    /// Lanes: 1, 2, 4, 8 or 16.
    pub lanes: u8,
    /// Max_Payload_Size in bytes: 128, 256 or 512.
    pub max_payload: u16,
    /// Max_Read_Request_Size in bytes: 128 to 4096, a power of two.
    pub max_read_request: u16,
    /// One-way latency.
    pub latency: Duration,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            generation: 3,
            lanes: 8,
            max_payload: 256,
            max_read_request: 512,
            latency: Duration(SimTime::from_ns(500)),
        }
    }
}

/// A DMA engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DmaSpec {
    /// Channels in each direction, 1 to 4.
    pub channels: u8,
    /// How long its transfers take.
    pub profile: DmaProfile,
}

impl Default for DmaSpec {
    fn default() -> Self {
        Self {
            channels: 4,
            profile: DmaProfile::Ideal,
        }
    }
}

/// A measured device's timing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DmaProfile {
    /// Transfers take no time.
    #[default]
    Ideal,
    /// A network processor on a Gen3 x8 link.
    #[serde(rename = "nfp6000-gen3x8")]
    Nfp6000Gen3x8,
    /// XDMA on a Gen3 x8 link, driver by interrupts.
    #[serde(rename = "xdma-gen3x8-irq")]
    XdmaGen3x8Irq,
    /// XDMA on a Gen3 x8 link, driver by polling.
    #[serde(rename = "xdma-gen3x8-poll")]
    XdmaGen3x8Poll,
    /// A host with a long latency tail.
    BadHost,
}

/// A shared FIFO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FifoSpec {
    /// Most frames.
    pub slots: u32,
    /// Most bytes.
    pub bytes: Size,
    /// What happens when it is full.
    pub on_full: OnFull,
}

impl Default for FifoSpec {
    fn default() -> Self {
        Self {
            slots: 1024,
            bytes: Size::mib(4),
            on_full: OnFull::Backpressure,
        }
    }
}

/// What a full FIFO does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// It stops the producer and loses nothing.
    #[default]
    Backpressure,
    /// It drops the new frame.
    DropNew,
    /// It drops the oldest frame.
    DropOldest,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What: `drop`, `duplicate`, `corrupt`, `delay` and so on.
    pub kind: String,
    /// At which part of the card, such as `h2c`, `c2h` or `link`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// When. Default: always.
    #[serde(default)]
    pub when: WhenSpec,
    /// How much, for a kind that takes an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
    /// How long, for a kind that takes a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// When a fault fires: all given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WhenSpec {
    /// At this event, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// At every so many events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// From this virtual time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Duration>,
    /// With this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<Percent>,
    /// For frames or transfers of at least so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u32>,
    /// For frames or transfers of at most so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
    /// On this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u16>,
    /// At most so many times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}
