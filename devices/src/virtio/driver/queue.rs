//! A split virtqueue from the driver's side.

use crate::virtio::feature;
use bus::GuestRam;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use vm_memory::{Bytes, GuestAddress};

/// One buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// The device writes it.
    pub writable: bool,
}

impl Buffer {
    /// A buffer that the device reads.
    pub fn readable(address: u64, len: u32) -> Self {
        Self {
            address,
            len,
            writable: false,
        }
    }
    /// A buffer that the device writes.
    pub fn writable(address: u64, len: u32) -> Self {
        Self {
            address,
            len,
            writable: true,
        }
    }
}

/// A split virtqueue in guest memory, as a driver uses it.
#[derive(Debug)]
pub struct GuestQueue {
    /// Which queue.
    pub index: u16,
    /// Number of descriptors.
    pub size: u16,
    ram: Arc<GuestRam>,
    descriptors: u64,
    available: u64,
    used: u64,
    event_idx: bool,
    free: Vec<u16>,
    chains: Vec<Vec<u16>>,
    next_available: u16,
    published: u16,
    seen_used: u16,
}

impl GuestQueue {
    /// A zeroed queue at `at` (page aligned; takes `32 * size` bytes and two
    /// pages at most).
    pub fn new(ram: &Arc<GuestRam>, index: u16, size: u16, at: u64, features: u64) -> Self {
        let descriptors = at;
        let available = at + 16 * u64::from(size);
        let used = (available + 6 + 2 * u64::from(size)).next_multiple_of(4096);
        let end = used + 6 + 8 * u64::from(size);
        ram.write_slice(&vec![0; (end - at) as usize], GuestAddress(at))
            .expect("ring in RAM");
        Self {
            index,
            size,
            ram: Arc::clone(ram),
            descriptors,
            available,
            used,
            event_idx: features & feature::EVENT_IDX != 0,
            free: (0..size).rev().collect(),
            chains: vec![Vec::new(); usize::from(size)],
            next_available: 0,
            published: 0,
            seen_used: 0,
        }
    }
    /// Descriptor table, available ring, used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [self.descriptors, self.available, self.used]
    }
    /// Writes a descriptor as it is.
    pub fn set_descriptor(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        self.write_descriptor(
            self.descriptors + 16 * u64::from(index),
            address,
            len,
            flags,
            next,
        );
    }
    /// Writes a descriptor anywhere (an indirect table).
    pub fn write_descriptor(&self, at: u64, address: u64, len: u32, flags: u16, next: u16) {
        let mut raw = [0u8; 16];
        raw[..8].copy_from_slice(&address.to_le_bytes());
        raw[8..12].copy_from_slice(&len.to_le_bytes());
        raw[12..14].copy_from_slice(&flags.to_le_bytes());
        raw[14..].copy_from_slice(&next.to_le_bytes());
        self.ram
            .write_slice(&raw, GuestAddress(at))
            .expect("table in RAM");
    }
    /// Adds a chain. `None` when the table has no room.
    pub fn add(&mut self, buffers: &[Buffer]) -> Option<u16> {
        if self.free.len() < buffers.len() || buffers.is_empty() {
            return None;
        }
        let mut ids = std::mem::take(self.chains.get_mut(usize::from(*self.free.last()?))?);
        ids.clear();
        ids.extend(self.free.drain(self.free.len() - buffers.len()..).rev());
        for (i, buffer) in buffers.iter().enumerate() {
            let next = ids.get(i + 1);
            let flags = u16::from(next.is_some()) | u16::from(buffer.writable) << 1;
            let next = next.copied().unwrap_or(0);
            self.set_descriptor(ids[i], buffer.address, buffer.len, flags, next);
        }
        let head = ids[0];
        self.chains[usize::from(head)] = ids;
        self.offer(head);
        Some(head)
    }
    /// Adds a chain by an indirect table at `table`.
    pub fn add_indirect(&mut self, table: u64, buffers: &[Buffer]) -> Option<u16> {
        let head = self.free.pop()?;
        for (i, buffer) in buffers.iter().enumerate() {
            let last = i + 1 == buffers.len();
            let flags = u16::from(!last) | u16::from(buffer.writable) << 1;
            let at = table + 16 * i as u64;
            self.write_descriptor(at, buffer.address, buffer.len, flags, i as u16 + 1);
        }
        self.set_descriptor(head, table, 16 * buffers.len() as u32, 4, 0);
        self.chains[usize::from(head)] = vec![head];
        self.offer(head);
        Some(head)
    }
    /// The head that the next chain will have.
    pub fn next_head(&self) -> Option<u16> {
        self.free.last().copied()
    }
    /// Takes a descriptor for a chain made by hand.
    pub fn take_free(&mut self) -> Option<u16> {
        self.free.pop()
    }
    /// Puts `head` on the available ring; the device sees it after
    /// [`GuestQueue::publish`].
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.next_available % self.size);
        self.store16(self.available + 4 + 2 * slot, head);
        self.next_available = self.next_available.wrapping_add(1);
    }
    /// Lets the device see what was offered. Whether it wants a notification.
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_available);
        self.set_available_index(new);
        self.published = new;
        fence(Ordering::SeqCst);
        if old == new {
            return false;
        }
        if !self.event_idx {
            return self.load16(self.used) & 1 == 0;
        }
        let event = self.load16(self.used + 4 + 8 * u64::from(self.size));
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
    }
    /// Writes the available index as it is.
    pub fn set_available_index(&self, index: u16) {
        self.ram
            .store(index, GuestAddress(self.available + 2), Ordering::Release)
            .expect("ring in RAM");
    }
    /// Takes a chain from the used ring: its head and the bytes written.
    pub fn pop(&mut self) -> Option<(u16, u32)> {
        let index: u16 = self
            .ram
            .load(GuestAddress(self.used + 2), Ordering::Acquire)
            .expect("ring in RAM");
        if index == self.seen_used {
            return None;
        }
        let slot = u64::from(self.seen_used % self.size);
        let mut raw = [0u8; 8];
        self.ram
            .read_slice(&mut raw, GuestAddress(self.used + 4 + 8 * slot))
            .expect("ring in RAM");
        self.seen_used = self.seen_used.wrapping_add(1);
        let head = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as u16;
        let len = u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
        let chain = &mut self.chains[usize::from(head)];
        self.free.extend(chain.drain(..).rev());
        Some((head, len))
    }
    /// Asks for an interrupt on the next used chain, or for none.
    pub fn set_interrupts(&self, on: bool) {
        if self.event_idx {
            let event = if on {
                self.seen_used
            } else {
                self.seen_used.wrapping_sub(1)
            };
            self.store16(self.available + 4 + 2 * u64::from(self.size), event);
        } else {
            self.store16(self.available, u16::from(!on));
        }
    }
    /// Number of free descriptors.
    pub fn free(&self) -> usize {
        self.free.len()
    }
    fn load16(&self, at: u64) -> u16 {
        self.ram
            .load(GuestAddress(at), Ordering::Relaxed)
            .expect("ring in RAM")
    }
    fn store16(&self, at: u64, value: u16) {
        self.ram
            .store(value, GuestAddress(at), Ordering::Relaxed)
            .expect("ring in RAM");
    }
}
