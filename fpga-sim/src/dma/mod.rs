//! The DMA engine, whoever programs it: a register file, a NIC, or a test.
//!
//! [`Engine`] has 1 to 4 channels each way, which run chains of [`Descriptor`]s
//! in host memory by the rules of PG195 ("DMA/Bridge Subsystem for PCI
//! Express"). The other side of each transfer is the card's AXI address space,
//! [`Axi`]. Everything is done in bounded slices by [`Engine::service`].

mod axi;
mod channel;
mod copy;
mod descriptor;
mod engine;
#[cfg(test)]
mod tests;

pub use axi::{Axi, Decoded};
pub use channel::{Channel, Serviced, control, status};
pub use copy::{CopyFault, copy, total};
pub use descriptor::{BadMagic, Descriptor, LENGTH_MAX, SIZE};
pub use engine::Engine;
