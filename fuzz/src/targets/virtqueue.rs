//! Descriptor tables and rings of the network device's queues.
//!
//! Input: accepted features, then steps: what a hostile driver writes into the
//! rings, and notifications. Afterwards the device must work again.

use super::Target;
use super::nic::{DATA, Nic, RAM, SIZE};
use crate::Input;
use bus::vm_memory::{Bytes, GuestAddress};
use devices::virtio::driver::Buffer;

pub const TARGET: Target = Target {
    name: "virtqueue",
    about: "virtio-net: descriptor chains, rings, indirect tables",
    run,
    max_len: 2048,
    rounds: 60_000,
    words: &[],
};

/// An address near `DATA`, the end of memory, the rings, or anywhere.
fn address(input: &mut Input<'_>) -> u64 {
    let place = input.u8();
    let offset = u64::from(input.u16());
    match place & 7 {
        0..=3 => DATA + u64::from(place >> 3) * 0x1_0000 + offset,
        4 => RAM - (offset & 0xfff),
        5 => 0x10_0000 + u64::from(place >> 3) * 0x1000 + (offset & 0xfff),
        6 => 0u64.wrapping_sub(offset),
        _ => input.u64(),
    }
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let features = input.u64();
    let mut nic = Nic::new(1, features);
    while !input.is_empty() {
        let step = input.u8();
        let which = usize::from(step >> 4) % 2;
        let queue = &mut nic.queues[which];
        match step & 15 {
            // A descriptor as it comes.
            0 | 1 => {
                let (index, flags) = (u16::from(input.u8()), input.u8());
                let (at, len, next) = (address(&mut input), input.u32(), input.u8());
                let len = if flags & 0x80 == 0 { len & 0xffff } else { len };
                let flags = u16::from(flags & 0x1f);
                queue.set_descriptor(index % SIZE, at, len, flags, next.into());
            }
            // An entry of an indirect table.
            2 => {
                let (table, index, flags) = (input.u8(), input.u8(), input.u8());
                let (at, len) = (address(&mut input), input.u16());
                let place = DATA + u64::from(table) * 64 + u64::from(index) * 16;
                let next = u16::from(input.u8());
                queue.write_descriptor(place, at, len.into(), u16::from(flags & 7), next);
            }
            // Bytes anywhere: rings, tables, headers, frames.
            3 => {
                let at = address(&mut input);
                let len = input.u8() & 63;
                let bytes = input.bytes(len.into());
                let _ = nic.m.ram.write_slice(bytes, GuestAddress(at));
            }
            4 => queue.offer(input.u8().into()),
            5 => queue.offer(input.u16()),
            6 => queue.set_available_index(input.u16()),
            // A good chain.
            7 | 8 => {
                let count = input.u8() % 4 + 1;
                let mut chain = Vec::new();
                for _ in 0..count {
                    let (offset, len) = (input.u16(), input.u16() & 0x1fff);
                    chain.push(Buffer {
                        address: DATA + u64::from(offset) * 8,
                        len: len.into(),
                        writable: which == 0,
                    });
                }
                let _ = queue.add(&chain);
            }
            9 => {
                queue.publish();
                nic.notify(which);
            }
            10 => nic.m.service(),
            11 => queue.set_interrupts(step & 0x20 != 0),
            12 if input.u8() & 7 == 0 => nic.restart(features),
            // Registers of the device itself.
            13 => {
                let (offset, value) = (input.u8() & 0x3f, input.u16());
                let at = nic.driver.common + u64::from(offset);
                nic.m.write(at, &value.to_le_bytes());
            }
            _ => {
                let _ = nic.driver.kick(&mut nic.m, queue);
            }
        }
    }
    nic.still_works();
}
