//! What a user may choose about a simulated card.

use crate::timing::Profile;
use bus::SimTime;
use serde::{Deserialize, Serialize};

/// The card's PCIe link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkSpec {
    /// PCIe generation, 1 to 5.
    #[serde(rename = "gen")]
    pub generation: u8,
    /// Lanes: 1, 2, 4, 8 or 16.
    pub lanes: u8,
    /// Max_Payload_Size in bytes: 128, 256 or 512.
    pub max_payload: u16,
    /// Max_Read_Request_Size in bytes: 128 to 4096.
    pub max_read_request: u16,
    /// One-way latency between the machines.
    pub latency: SimTime,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            generation: 3,
            lanes: 8,
            max_payload: 256,
            max_read_request: 512,
            latency: SimTime::from_ns(500),
        }
    }
}

/// The card's DMA engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DmaSpec {
    /// H2C channels, and as many C2H channels: 1 to 4.
    pub channels: u8,
    /// How long transfers take.
    pub profile: Profile,
}

impl Default for DmaSpec {
    fn default() -> Self {
        Self {
            channels: 4,
            profile: Profile::Ideal,
        }
    }
}

/// What happens to a frame that finds the FIFO full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// The producer stops until there is room. Nothing is lost.
    #[default]
    Backpressure,
    /// The new frame is dropped and counted.
    DropNew,
    /// The oldest frames in the FIFO are dropped and counted.
    DropOldest,
}

/// The shared FIFO, one for each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FifoSpec {
    /// Most frames in one direction.
    pub slots: u32,
    /// Most bytes in one direction, with 24 bytes and padding for each frame.
    pub bytes: u64,
    /// What happens when it is full.
    pub on_full: OnFull,
}

impl Default for FifoSpec {
    fn default() -> Self {
        Self {
            slots: 1024,
            bytes: 4 << 20,
            on_full: OnFull::Backpressure,
        }
    }
}

/// A simulated card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimCardSpec {
    /// The PCIe link.
    pub link: LinkSpec,
    /// The DMA engine.
    pub dma: DmaSpec,
    /// The FIFO.
    pub fifo: FifoSpec,
    /// Card address of the shared DDR window, which is also its physical
    /// address on the board (VNet-Card's identity rule).
    pub window_base: u64,
    /// Bytes of the shared DDR window.
    pub window_size: u64,
    /// First AXI address at which the DMA engine reaches DDR, up to the end of
    /// the window; as far as the board has RAM there.
    pub axi_base: u64,
    /// Card address of the first ring; the second follows on the next 4 KiB
    /// boundary. Both lie in the window.
    pub ring_base: u64,
    /// Whether frames and credits become visible only after the link's latency
    /// and the profile's delays. Without, they are visible at once, and `link`
    /// and `dma.profile` have no effect. A lockstep run needs it on.
    pub timed: bool,
    /// Seed of the profile's jitter.
    pub seed: u64,
}

impl Default for SimCardSpec {
    fn default() -> Self {
        Self {
            link: LinkSpec::default(),
            dma: DmaSpec::default(),
            fifo: FifoSpec::default(),
            window_base: 0x0300_0000,
            window_size: 0x0100_0000,
            axi_base: 0,
            ring_base: 0x0300_0000,
            timed: false,
            seed: 1,
        }
    }
}

/// A card that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The FIFO's limits make no ring.
    #[error(transparent)]
    Fifo(#[from] crate::ring::GeometryError),
    /// The two rings do not fit the window.
    #[error(
        "two FIFOs of {bytes} bytes from {ring_base:#x} end at {end:#x}, behind the card's DDR \
         window ({start:#x}..{limit:#x}); use a smaller 'fifo.bytes'"
    )]
    Window {
        /// Bytes of one FIFO.
        bytes: u64,
        /// Where the first ring starts.
        ring_base: u64,
        /// Where the second ring ends.
        end: u64,
        /// Start of the window.
        start: u64,
        /// End of the window.
        limit: u64,
    },
    /// The window is not RAM of the board.
    #[error("the card's DDR window {0:#x}..{1:#x} is not memory of the board guest")]
    NoDdr(u64, u64),
    /// A link that does not exist.
    #[error(transparent)]
    Link(#[from] crate::timing::LinkError),
    /// Too many or no channels.
    #[error("a DMA engine has 1 to 4 channels each way, not {0}")]
    Channels(u8),
}
