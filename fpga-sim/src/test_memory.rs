//! Host memory for tests of what reaches it by DMA.

use bus::{Bdf, DmaTarget, NoMsi, create_ram};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

/// Memory at `ranges` (start, length), with bus mastering on.
pub fn host(ranges: &[(u64, u64)]) -> DmaTarget {
    let ram = Arc::new(create_ram(ranges).unwrap());
    let host = DmaTarget::new(Bdf::new(0, 3, 0), ram, Arc::new(NoMsi));
    host.set_bus_master(true);
    host
}

/// Stores `bytes` at `at`.
pub fn put(host: &DmaTarget, at: u64, bytes: &[u8]) {
    let memory = host.raw_memory();
    memory.write_slice(bytes, GuestAddress(at)).unwrap();
}

/// Loads `len` bytes from `at`.
pub fn get(host: &DmaTarget, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let memory = host.raw_memory();
    memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    bytes
}
