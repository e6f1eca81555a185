//! The targets, one file each.

mod aarch64;
mod agent;
mod boot;
mod cpu_run;
mod deb;
mod devices;
mod dma_engine;
mod frame_ring;
mod kernel;
mod nic;
mod pci;
mod topology;
mod vhost_user;
mod virtio_control;
mod virtqueue;
mod x86_64;

/// Something to fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name, which is also that of its corpus directory.
    pub name: &'static str,
    /// What is tested, in a line.
    pub about: &'static str,
    /// Takes an input: it must return soon, and not panic.
    pub run: fn(&[u8]),
    /// Longest input in bytes.
    pub max_len: usize,
    /// Mutated inputs of a short run: a few seconds of one core.
    pub rounds: u64,
    /// Words that mutations put into inputs.
    pub words: &'static [&'static [u8]],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    aarch64::TARGET,
    x86_64::TARGET,
    devices::TARGET,
    pci::TARGET,
    virtqueue::TARGET,
    virtio_control::TARGET,
    vhost_user::TARGET,
    frame_ring::TARGET,
    dma_engine::TARGET,
    topology::TARGET,
    deb::TARGET,
    kernel::TARGET,
    boot::PC,
    boot::BOARD,
    agent::TARGET,
];
