//! What a user writes: checks.

use super::nic::LinkState;
use super::units::{Duration, OneOrMany, Percent, Rate};
use bus::SimTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A check. The run passes when all of them do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSpec {
    /// Echo requests from one guest to another.
    Ping(PingSpec),
    /// A throughput measurement between two guests.
    Iperf3(Iperf3Spec),
    /// A command in a guest.
    Run(RunSpec),
    /// No check but an action: something is changed while the guests run.
    Set(SetSpec),
}

impl CheckSpec {
    /// The word it is written under.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Iperf3(_) => "iperf3",
            Self::Run(_) => "run",
            Self::Set(_) => "set",
        }
    }
}

/// Echo requests from one guest to another. A list of sizes makes one row each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PingSpec {
    /// The guest that asks.
    pub from: String,
    /// The guest that answers.
    pub to: String,
    /// Payload in bytes.
    #[serde(default = "ping_size")]
    pub size: OneOrMany,
    /// Requests for each size.
    #[serde(default = "ping_count")]
    pub count: u32,
    /// Time between two requests.
    #[serde(default = "ping_interval")]
    pub interval: Duration,
    /// Requests that are sent without waiting for answers to the ones before
    /// them. With an interval of `0ms` this many are kept under way: a flood.
    #[serde(default = "ping_preload")]
    pub preload: u32,
    /// Most requests that may stay without an answer.
    #[serde(default)]
    pub max_loss: Percent,
}

fn ping_preload() -> u32 {
    1
}
fn ping_size() -> OneOrMany {
    OneOrMany::One(56)
}
fn ping_count() -> u32 {
    10
}
fn ping_interval() -> Duration {
    Duration(SimTime::from_ms(10))
}

/// A throughput measurement between two guests. A list of sizes makes one row
/// each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Iperf3Spec {
    /// The guest that sends.
    pub from: String,
    /// The guest that receives.
    pub to: String,
    /// Transport.
    #[serde(default)]
    pub protocol: Protocol,
    /// How long.
    #[serde(default = "iperf3_seconds")]
    pub seconds: u32,
    /// Bytes of one write. Default: iperf3's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<OneOrMany>,
    /// Bits per second to send. Default: as many as go through for TCP, iperf3's
    /// own for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Parallel connections.
    #[serde(default = "iperf3_streams")]
    pub streams: u32,
    /// UDP: most datagrams that may get lost. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_loss: Option<Percent>,
    /// Least bits per second that must arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rate: Option<Rate>,
}

fn iperf3_seconds() -> u32 {
    3
}
fn iperf3_streams() -> u32 {
    1
}

/// Transport of a throughput measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A command in a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The guest.
    pub guest: String,
    /// The command, for the guest's shell.
    pub command: String,
    /// Exit code that it must end with.
    #[serde(default)]
    pub expect_exit: u8,
    /// Text that its output (stdout and stderr) must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_output: Option<String>,
    /// How long it may take, in host time.
    #[serde(default = "run_timeout")]
    pub timeout: Duration,
}

fn run_timeout() -> Duration {
    Duration(SimTime::from_secs(60))
}

/// A change of an interface at run time. It is done before the next check starts;
/// a guest's driver hears of it by an interrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSpec {
    /// The interface: `GUEST.NIC`.
    pub nic: String,
    /// Pulls its cable, or plugs it in.
    pub link: LinkState,
}
