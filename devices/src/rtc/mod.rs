//! Real-time clocks: the PL031 of ARM boards and the CMOS clock of PCs.
//!
//! Devices read no host clock: the machine hands each clock a [`NowSource`] and
//! the seconds since 1970 at which its run began.

pub mod cmos;
pub mod pl031;

pub use cmos::Cmos;
pub use pl031::Pl031;

use bus::SimTime;
use std::sync::Arc;

/// Gives the virtual time of the machine at the moment of a register access.
pub type NowSource = Arc<dyn Fn() -> SimTime + Send + Sync>;

/// Picoseconds in a second.
const SECOND: u64 = 1_000_000_000_000;
