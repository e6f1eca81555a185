//! Copies from one guest's memory to another's without a buffer between.

use bus::{GuestRam, Segment};
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// A piece of a copy is not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// The source at this address.
    #[error("no memory to read at {0:#x}")]
    Source(u64),
    /// The destination at this address.
    #[error("no memory to write at {0:#x}")]
    Destination(u64),
}

/// Bytes of `segments` in all.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| u64::from(s.len)).sum()
}

/// Copies bytes from the pieces `(address, bytes)` of `from` to the pieces of
/// `to`, in order, until one side ends. Returns the bytes copied. Where the
/// two memories are the same one and pieces overlap, each piece is copied as
/// by `memmove`.
///
/// On a fault, bytes before the faulting piece have been copied.
pub fn copy(
    from: &GuestRam,
    source: impl IntoIterator<Item = (u64, u32)>,
    to: &GuestRam,
    destination: impl IntoIterator<Item = (u64, u32)>,
) -> Result<u64, CopyFault> {
    let mut source = source.into_iter().filter(|piece| piece.1 > 0);
    let mut destination = destination.into_iter().filter(|piece| piece.1 > 0);
    let (mut src, mut dst) = ((0u64, 0u32), (0u64, 0u32));
    let mut copied = 0;
    loop {
        if src.1 == 0 {
            let Some(next) = source.next() else { break };
            src = next;
        }
        if dst.1 == 0 {
            let Some(next) = destination.next() else {
                break;
            };
            dst = next;
        }
        let n = src.1.min(dst.1);
        piece(from, src.0, to, dst.0, n)?;
        src = (src.0.wrapping_add(u64::from(n)), src.1 - n);
        dst = (dst.0.wrapping_add(u64::from(n)), dst.1 - n);
        copied += u64::from(n);
    }
    Ok(copied)
}

/// Copies `len` bytes that may cross memory regions on either side.
fn piece(
    from: &GuestRam,
    mut source: u64,
    to: &GuestRam,
    mut destination: u64,
    len: u32,
) -> Result<(), CopyFault> {
    let mut left = len as usize;
    while left > 0 {
        let src = run(from, source, left).ok_or(CopyFault::Source(source))?;
        let dst = run(to, destination, src.len()).ok_or(CopyFault::Destination(destination))?;
        let n = dst.len();
        match src.subslice(0, n) {
            Ok(src) => src.copy_to_volatile_slice(dst),
            Err(_) => return Err(CopyFault::Source(source)),
        }
        left -= n;
        source = source.wrapping_add(n as u64);
        destination = destination.wrapping_add(n as u64);
    }
    Ok(())
}

type Slice<'a> = vm_memory::VolatileSlice<'a, vm_memory::bitmap::MS<'a, GuestRam>>;

/// The longest run of at most `len` bytes at `at` that lies in one region.
fn run(ram: &GuestRam, at: u64, len: usize) -> Option<Slice<'_>> {
    // Nearly always all of it.
    if let Ok(slice) = ram.get_slice(GuestAddress(at), len) {
        return Some(slice);
    }
    ram.get_slices(GuestAddress(at), len).next()?.ok()
}
