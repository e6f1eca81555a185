//! `vmm`: a virtual machine monitor and full-system emulator that runs two
//! stock Linux guests, a host and the processor side of an FPGA card, joined by
//! that card.

pub mod accel;
pub mod app;
pub mod checks;
pub mod clock;
pub mod doctor;
pub mod hash;
pub mod machine;
pub mod results;
pub mod run;
pub mod topology;
