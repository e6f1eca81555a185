//! The monitor's end of the command channel, fed by a guest.
//!
//! Input: length of the pieces in which the rest arrives.

use super::Target;
use crate::Input;
use guest_images::agent::{AgentEvent, Client};

pub const TARGET: Target = Target {
    name: "agent",
    about: "what a guest writes to the agent's serial line",
    run,
    max_len: 4096,
    rounds: 250_000,
    words: &[
        b"\n@vmm R 1 3.25\n",
        b"\n@vmm S 1\n",
        b"\n@vmm O 1 ",
        b"\n@vmm E 1 ",
        b"\n@vmm P\n",
        b"@vmm ",
        b"\n",
    ],
};

/// The guest has started.
const READY: &[u8] = b"\n@vmm R 1 3.25\n";

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let piece = usize::from(input.u8()) + 1;
    let mut client = Client::new(1);
    client.feed(READY);
    client.set_output_limit(1 << 16);
    client.request(1, "true").expect("it is idle");
    for piece in input.rest().chunks(piece) {
        for event in client.feed(piece) {
            if let AgentEvent::Started { id } = event {
                assert_eq!(id, 1, "a command that nobody asked for");
            }
        }
    }
    client.abandon();
    let events = client.feed(READY);
    assert!(events.contains(&AgentEvent::Ready { uptime: 3.25 }));
}
