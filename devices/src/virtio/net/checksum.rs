//! Finishing a partial checksum for a guest that does not take one
//! (virtio 1.2, section 5.1.6.4; sum by RFC 1071).

use crate::net::{FrameRef, Header};
use bus::Segment;

/// Computes the checksum that `frame`'s header asks for and stores it in the
/// frame. `None` when the header points outside.
pub(super) fn finish(frame: &FrameRef<'_>) -> Option<()> {
    let mut bytes = vec![0; frame.len as usize];
    if !frame.copy_to(&mut bytes) {
        return None;
    }
    let Header {
        csum_start,
        csum_offset,
        ..
    } = *frame.header;
    let start = usize::from(csum_start);
    let at = start + usize::from(csum_offset);
    // The field holds the sum of the pseudo header, and so is part of it.
    bytes.get(at..at + 2)?;
    let sum = !fold(sum(bytes.get(start..)?));
    // Zero means "none" in UDP; in others both zeros are the same.
    let sum = if sum == 0 { 0xffff } else { sum };
    for (i, byte) in sum.to_be_bytes().into_iter().enumerate() {
        let address = place(frame.segments, (at + i) as u64)?;
        if !frame.memory.write(address, &[byte]) {
            return None;
        }
    }
    Some(())
}

/// Sum of the 16-bit words of `bytes`, an odd byte being the high one of the
/// last.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words
        .iter()
        .map(|w| u64::from(u16::from_be_bytes(*w)))
        .sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

/// A sum as one word, carries included.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn place(segments: &[Segment], mut offset: u64) -> Option<u64> {
    for segment in segments {
        if offset < u64::from(segment.len) {
            return Some(segment.address + offset);
        }
        offset -= u64::from(segment.len);
    }
    None
}
