//! The FPGA card: DMA engine, DDR, hard queues, frame ring, link timing.
//!
//! * [`ring`]: the frame ring in card memory, one piece of code for all sides.
//! * [`card`]: the card as its two machines and their NICs see it.
//! * [`dma`]: the DMA engine, whoever programs it.
//! * [`events`]: user interrupts of the card's logic.
//! * [`nodes`]: a real card, by the device nodes of its driver.
//! * [`queue`]: the hard queues.
//! * [`user_bar`]: what the host sees of the card's logic.
//! * [`xdma`]: the DMA engine's registers, as real drivers program them.
//! * [`timing`]: how long things take.

pub mod card;
pub mod dma;
pub mod events;
pub mod nodes;
pub mod queue;
pub mod ring;
#[cfg(test)]
mod test_memory;
pub mod timing;
pub mod user_bar;
pub mod xdma;
