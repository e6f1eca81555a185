//! Commands on the network device's control queue.
//!
//! Input: accepted features, then for each command the length of its readable
//! part, how it is cut, the room for the answer, and its bytes.

use super::Target;
use super::nic::{DATA, Nic};
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use devices::virtio::driver::Buffer;
use devices::virtio::net::feature;

pub const TARGET: Target = Target {
    name: "virtio_control",
    about: "virtio-net: control commands, cut in any way",
    run,
    max_len: 2048,
    rounds: 40_000,
    // Class and command with usual data: modes, tables, VLANs, pairs, offloads.
    words: &[
        b"\x00\x00\x01",
        b"\x01\x00\x01\0\0\0",
        b"\x01\x01",
        b"\x02\x00",
        b"\x02\x01",
        b"\x03\x00",
        b"\x04\x00\x02\0",
        b"\x05\x00",
        b"\x06\x00",
        b"\x06\x02",
        b"\x06\x03",
    ],
};

/// Where the answer goes.
const ANSWER: u64 = DATA + 0x1_0000;
const CONTROL: usize = 2;

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let features = input.u64();
    let mut nic = Nic::new(4, features);
    let has_control = nic.driver.features & feature::CTRL_VQ != 0;
    while !input.is_empty() {
        let (len, cut, room) = (input.u16() & 0x7ff, input.u8(), input.u8() & 31);
        let command = input.bytes(len.into());
        let ram = nic.m.ram.clone();
        ram.write_slice(command, GuestAddress(DATA))
            .expect("in RAM");
        ram.write_slice(&[0xee; 40], GuestAddress(ANSWER))
            .expect("in RAM");
        let len = command.len() as u32;
        let first = u32::from(cut & 0x3f).min(len);
        let mut chain: Vec<_> = [(0, first), (first, len - first)]
            .into_iter()
            .filter(|piece| piece.1 > 0)
            .map(|(at, len)| Buffer::readable(DATA + u64::from(at), len))
            .collect();
        if room > 0 {
            chain.push(Buffer::writable(ANSWER, room.into()));
        }
        if cut & 0x80 != 0 {
            chain.reverse();
        }
        let queue = &mut nic.queues[CONTROL];
        if queue.add(&chain).is_none() {
            continue;
        }
        nic.driver.kick(&mut nic.m, queue);
        let used = nic.queues[CONTROL].pop();
        if !has_control {
            continue;
        }
        let written = used.expect("every chain comes back").1 as usize;
        let mut answer = [0; 40];
        ram.read_slice(&mut answer, GuestAddress(ANSWER))
            .expect("in RAM");
        assert!(written <= usize::from(room), "{written} bytes in {room}");
        assert_eq!(answer[written..], [0xee; 40][written..], "past the answer");
        assert!(written == 0 || answer[0] <= 1, "status {}", answer[0]);
    }
    nic.still_works();
}
