//! What a user writes: the run and its guests.

use super::card::CardSpec;
use super::check::CheckSpec;
use super::nic::NicSpec;
use super::units::{Duration, Mode, Size};
use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A run: guests, the cards that join them, and what to check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopologySpec {
    /// Version of this format.
    #[serde(default = "one")]
    pub version: u32,
    /// Seed of everything that is random in the run.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// How time passes.
    #[serde(default)]
    pub time: TimeMode,
    /// Lockstep only: how long each guest runs in turn. At most the smallest
    /// link latency, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantum: Option<Duration>,
    /// The guests by name.
    pub guests: BTreeMap<String, GuestSpec>,
    /// The cards by name.
    #[serde(default)]
    pub cards: BTreeMap<String, CardSpec>,
    /// Where packets are captured: `GUEST.NIC` or a card's name.
    #[serde(default)]
    pub capture: Vec<String>,
    /// What to check, in this order. Without any, the guests stay up.
    #[serde(default)]
    pub checks: Vec<CheckSpec>,
}

fn one() -> u32 {
    1
}
fn one_u64() -> u64 {
    1
}

/// How time passes in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeMode {
    /// Guests run freely, each on its own thread; time follows the host's clock.
    #[default]
    Free,
    /// Emulated guests take turns in virtual time; the same topology and seed
    /// give the same run.
    Lockstep,
}

/// A guest's processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit x86: a PC.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM: the processor side of an FPGA board.
    Aarch64,
}

impl Arch {
    /// The name as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
    /// The least memory that a stock kernel and its initramfs start with.
    pub const fn min_memory(self) -> Size {
        match self {
            Self::X86_64 => Size::mib(128),
            // The first 64 MiB are the card's, not Linux's.
            Self::Aarch64 => Size::mib(192),
        }
    }
}

/// What runs a guest's processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// KVM where it is native and fits, else the built-in emulator.
    #[default]
    Auto,
    /// The host's KVM.
    Kvm,
    /// The built-in emulator.
    Emulated,
}

/// How a guest's queue notifications reach its devices under KVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Doorbells {
    /// The processor stops at one, and its thread does the device's work.
    #[default]
    Exit,
    /// The processor runs on, and a thread that waits for them does the work.
    Ioeventfd,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuestSpec {
    /// Architecture. Default: `aarch64` on a card's board side, else `x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// What runs its processors.
    pub accel: Accel,
    /// RAM.
    pub memory: Size,
    /// Processors.
    pub vcpus: u32,
    /// Under KVM only: how queue notifications reach the devices.
    pub doorbells: Doorbells,
    /// Emulated only: virtual time that one instruction takes.
    pub instruction_time: Duration,
    /// ARM64 only: unaligned accesses to device memory fault, as on real
    /// processors. Programs that `memcpy` on `/dev/mem` then die of SIGBUS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict_alignment: bool,
    /// How long it may take to boot, in host time.
    pub boot_timeout: Duration,
    /// What it boots.
    pub image: ImageSpec,
    /// Extra Debian packages, with their dependencies.
    pub packages: Vec<String>,
    /// Files to put into it.
    pub files: Vec<FileSpec>,
    /// Network interfaces.
    pub nics: Vec<NicSpec>,
}

impl Default for GuestSpec {
    fn default() -> Self {
        Self {
            arch: None,
            accel: Accel::Auto,
            memory: Size::mib(256),
            vcpus: 1,
            doorbells: Doorbells::Exit,
            instruction_time: Duration(bus::SimTime::from_ps(1000)),
            strict_alignment: false,
            boot_timeout: Duration(bus::SimTime::from_secs(120)),
            image: ImageSpec::Debian,
            packages: Vec::new(),
            files: Vec::new(),
            nics: Vec::new(),
        }
    }
}

impl GuestSpec {
    /// The architecture; a loaded topology has every default filled in.
    pub fn arch(&self) -> Arch {
        self.arch.unwrap_or(Arch::X86_64)
    }
}

/// What a guest boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(untagged)]
pub enum ImageSpec {
    /// Debian's cloud kernel and an initramfs made from Debian's packages.
    #[default]
    #[schemars(with = "Debian")]
    Debian,
    /// A kernel and an initramfs of your own.
    #[serde(untagged)]
    Files(ImageFiles),
}

/// The word `debian`, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
enum Debian {
    Debian,
}

/// A kernel, an initramfs or kernel words of the user's own. What is left out is
/// Debian's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFiles {
    /// Kernel: an Image, gzipped Image, bzImage or vmlinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<PathBuf>,
    /// Kernel package of Debian, such as linux-image-arm64, instead of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Initial RAM file system. Default: the one made from Debian's packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// Words to add to the kernel's command line.
    #[serde(default)]
    pub cmdline: String,
}

impl<'de> Deserialize<'de> for ImageSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Image;
        impl<'de> Visitor<'de> for Image {
            type Value = ImageSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("'debian' or { kernel: PATH, initrd: PATH, cmdline: WORDS }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ImageSpec, E> {
                match text {
                    "debian" => Ok(ImageSpec::Debian),
                    _ => Err(E::custom(format!(
                        "'{text}' is no image; write 'debian', {{ kernel: PATH, initrd: PATH }} or {{ package: NAME }}"
                    ))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImageSpec, A::Error> {
                ImageFiles::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(ImageSpec::Files)
            }
        }
        d.deserialize_any(Image)
    }
}

/// A file to put into a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Path on this machine, relative to the topology file.
    pub from: PathBuf,
    /// Absolute path in the guest.
    pub to: String,
    /// Permission bits.
    #[serde(default)]
    pub mode: Mode,
}
