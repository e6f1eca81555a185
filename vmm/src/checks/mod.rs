//! Checks: the command that each runs in a guest, and what its output says.
//! Everything here is pure: running the commands is the run's affair.

mod iperf3;
mod ping;
mod run;
mod stats;

pub use iperf3::{
    Iperf3Error, Iperf3Report, iperf3_client_command, iperf3_result, iperf3_server_command,
    parse_iperf3,
};
pub use ping::{PingError, PingReport, parse_ping, ping_command, ping_result};
pub use run::run_result;
pub use stats::{Interval, loss_bound, percentile, wilson};
