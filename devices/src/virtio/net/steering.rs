//! Which receive queue a frame goes to when there are several
//! (virtio 1.2, section 5.1.6.5.6): the one whose pair sent last on that flow.

const SLOTS: usize = 1024;

/// Flows by a hash of their addresses, and the pair each was sent on.
#[derive(Debug, Default)]
pub(super) struct Table {
    pairs: Vec<u16>,
}

impl Table {
    /// The guest sent a frame that starts with `head` on `pair`.
    pub fn learn(&mut self, head: &[u8], pair: u16) {
        if self.pairs.is_empty() {
            self.pairs = vec![u16::MAX; SLOTS];
        }
        if let Some(slot) = self.pairs.get_mut(flow(head)) {
            *slot = pair;
        }
    }
    /// The pair for a received frame, of `active` pairs.
    pub fn find(&self, head: &[u8], active: usize) -> usize {
        let flow = flow(head);
        match self.pairs.get(flow) {
            Some(&pair) if usize::from(pair) < active => usize::from(pair),
            _ => flow % active.max(1),
        }
    }
}

/// A number below `SLOTS`, the same in both directions of a flow.
fn flow(head: &[u8]) -> usize {
    let word = |at: usize| {
        head.get(at..at + 4)
            .and_then(|b| b.first_chunk::<4>())
            .map_or(0, |b| u32::from_le_bytes(*b))
    };
    let mut at = 12;
    while matches!(head.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    // Sums are the same whichever end is the source.
    let sum = match head.get(at..at + 2) {
        Some([0x08, 0x00]) => {
            let ip = at + 2;
            let length = usize::from(head.get(ip).copied().unwrap_or(0x45) & 15) * 4;
            let fragment = word(ip + 4) & 0xff3f_0000 != 0;
            let ports = if fragment { 0 } else { word(ip + length) };
            let ports = (ports >> 16).wrapping_add(ports & 0xffff);
            word(ip + 12)
                .wrapping_add(word(ip + 16))
                .wrapping_add(ports << 8)
        }
        Some([0x86, 0xdd]) => {
            let ip = at + 2;
            let addresses = (8..40).step_by(4).map(|i| word(ip + i));
            let ports = word(ip + 40);
            let ports = (ports >> 16).wrapping_add(ports & 0xffff);
            addresses.fold(ports << 8, u32::wrapping_add)
        }
        _ => return 0,
    };
    (sum.wrapping_mul(0x9e37_79b1) >> 22) as usize % SLOTS
}
