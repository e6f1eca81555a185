//! A received frame that is not in the guest's buffers yet, though the back end
//! is done with it: it has to be cut, or goes to another queue than its first
//! buffers were of.

use super::segment::Segmenter;
use crate::net::Header;

/// What waits. While it does no other frame is taken.
#[derive(Debug)]
pub(super) struct Pending {
    header: Header,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Empty when it is delivered.
    Whole(Vec<u8>),
    Segments(Segmenter),
}

impl Pending {
    /// A frame as it is.
    pub fn whole(header: Header, frame: Vec<u8>) -> Self {
        Self {
            header,
            what: What::Whole(frame),
        }
    }
    /// A frame in segments, for a driver that trusts verified checksums if
    /// `trusts`. `None` when it cannot be cut.
    pub fn segments(header: &Header, frame: Vec<u8>, trusts: bool) -> Option<Self> {
        let what = What::Segments(Segmenter::new(header, frame)?);
        let flags = if trusts { Header::DATA_VALID } else { 0 };
        Some(Self {
            header: Header {
                flags,
                ..Header::default()
            },
            what,
        })
    }
    /// Its header, and a whole frame's bytes or the next segment's; `None` at
    /// the end.
    pub fn next(&self) -> Option<(Header, Vec<u8>)> {
        let frame = match &self.what {
            What::Whole(frame) if frame.is_empty() => None,
            What::Whole(frame) => Some(frame.clone()),
            What::Segments(segmenter) => segmenter.segment(),
        };
        Some((self.header, frame?))
    }
    /// What `next` gave was delivered, or dropped.
    pub fn advance(&mut self) {
        match &mut self.what {
            What::Whole(frame) => frame.clear(),
            What::Segments(segmenter) => segmenter.advance(),
        }
    }
}
