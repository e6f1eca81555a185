//! What a user writes: network interfaces.

use super::units::{Cidr, Mac};
use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A network interface of a guest, and the one thing it is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NicSpec {
    /// Name in the guest. Default: `eth0`, `eth1` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// A software switch between guests; all interfaces with the same name are
    /// on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A TAP device of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// A TAP device of this machine, served by the kernel's vhost-net.
    #[serde(rename = "vhost-net", skip_serializing_if = "Option::is_none")]
    pub vhost_net: Option<String>,
    /// A process that works on the interface's rings: a vhost-user back end.
    #[serde(rename = "vhost-user", skip_serializing_if = "Option::is_none")]
    pub vhost_user: Option<VhostUserSpec>,
    /// Gives every frame back to the guest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loopback: bool,
    /// Address that the guest gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Cidr>,
    /// Ethernet address. Default: one of its own, from the guest's and the
    /// interface's place in the topology.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Largest packet in bytes. Default: 1500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Pairs of receive and transmit queues, 1 to 16. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<u16>,
    /// Descriptors of a queue: a power of two, 16 to 1024. Default: 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_size: Option<u16>,
    /// Whether the cable is plugged in at the start; a `set` check changes it.
    #[serde(skip_serializing_if = "LinkState::is_up")]
    pub link_state: LinkState,
    /// Legacy drivers can use it too: a transitional device (1AF4:1000) with an
    /// I/O BAR.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transitional: bool,
}

/// Whether an interface has a carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Frames pass.
    #[default]
    Up,
    /// As if the cable was pulled: no carrier, and no frame passes.
    Down,
}

impl LinkState {
    /// Whether frames pass.
    pub fn is_up(&self) -> bool {
        *self == Self::Up
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_up() { "up" } else { "down" })
    }
}

/// Where a vhost-user back end is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum VhostUserSpec {
    /// The socket at which it listens.
    Path(PathBuf),
    /// A socket, and which end this is.
    Socket(VhostUserSocket),
}

/// A vhost-user socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VhostUserSocket {
    /// The socket's path.
    pub socket: PathBuf,
    /// Make the socket and let the back end connect to it, instead of
    /// connecting to one that listens.
    #[serde(default)]
    pub server: bool,
}

impl VhostUserSpec {
    /// The socket's path.
    pub fn socket(&self) -> &std::path::Path {
        match self {
            Self::Path(path) => path,
            Self::Socket(socket) => &socket.socket,
        }
    }
    /// As [`VhostUserSpec::socket`].
    pub fn socket_mut(&mut self) -> &mut PathBuf {
        match self {
            Self::Path(path) => path,
            Self::Socket(socket) => &mut socket.socket,
        }
    }
    /// Whether the back end connects to this process.
    pub fn server(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.server)
    }
}

impl<'de> Deserialize<'de> for VhostUserSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Place;
        impl<'de> Visitor<'de> for Place {
            type Value = VhostUserSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a socket's path or { socket: PATH, server: true }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<VhostUserSpec, E> {
                Ok(VhostUserSpec::Path(text.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VhostUserSpec, A::Error> {
                VhostUserSocket::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(VhostUserSpec::Socket)
            }
        }
        d.deserialize_any(Place)
    }
}

/// What a network interface is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicBackend<'a> {
    /// The card of this name.
    Card(&'a str),
    /// The software switch of this name.
    Link(&'a str),
    /// The TAP device of this name.
    Tap(&'a str),
    /// The TAP device of this name, through vhost-net.
    VhostNet(&'a str),
    /// The vhost-user back end at this place.
    VhostUser(&'a VhostUserSpec),
    /// Itself.
    Loopback,
}

impl NicSpec {
    /// Everything that this interface is connected to; exactly one in a loaded
    /// topology.
    pub fn backends(&self) -> Vec<NicBackend<'_>> {
        let mut all = Vec::new();
        all.extend(self.card.as_deref().map(NicBackend::Card));
        all.extend(self.link.as_deref().map(NicBackend::Link));
        all.extend(self.tap.as_deref().map(NicBackend::Tap));
        all.extend(self.vhost_net.as_deref().map(NicBackend::VhostNet));
        all.extend(self.vhost_user.as_ref().map(NicBackend::VhostUser));
        all.extend(self.loopback.then_some(NicBackend::Loopback));
        all
    }
    /// What this interface is connected to.
    pub fn backend(&self) -> NicBackend<'_> {
        self.backends()
            .first()
            .copied()
            .unwrap_or(NicBackend::Loopback)
    }
    /// Its name; a loaded topology has every default filled in.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("eth0")
    }
    /// Its queue pairs.
    pub fn queues(&self) -> u16 {
        self.queues.unwrap_or(1)
    }
    /// Descriptors of each of its queues.
    pub fn queue_size(&self) -> u16 {
        self.queue_size.unwrap_or(256)
    }
    /// Its MTU in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(1500)
    }
}
