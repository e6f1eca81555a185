//! The receive filter that the control queue sets up
//! (virtio 1.2, sections 5.1.6.5.1 to 5.1.6.5.3).

use serde::{Deserialize, Serialize};

/// Most addresses of one table. A longer one makes the device take them all.
const MAX_TABLE: usize = 64;
/// Number of VLAN ids, as words of 64 bits.
const VLAN_WORDS: usize = 64;

/// Which frames the guest receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The device's own address.
    pub mac: [u8; 6],
    /// Everything.
    pub promiscuous: bool,
    /// Every multicast frame.
    pub all_multicast: bool,
    /// Every unicast frame.
    pub all_unicast: bool,
    /// No multicast frame.
    pub no_multicast: bool,
    /// No unicast frame.
    pub no_unicast: bool,
    /// No broadcast frame.
    pub no_broadcast: bool,
    /// Other unicast addresses.
    unicast: Vec<[u8; 6]>,
    /// Multicast addresses.
    multicast: Vec<[u8; 6]>,
    /// A table was too long: take what it stands for.
    unicast_overflow: bool,
    multicast_overflow: bool,
    /// VLAN ids that pass, a bit each; only when the driver filters VLANs.
    vlans: Option<Vec<u64>>,
}

impl Filter {
    /// Takes everything, as a device must for a driver that has no control
    /// queue.
    pub fn open(mac: [u8; 6]) -> Self {
        Self {
            mac,
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            unicast: Vec::new(),
            multicast: Vec::new(),
            unicast_overflow: false,
            multicast_overflow: false,
            vlans: None,
        }
    }
    /// Starts filtering VLANs; none passes yet.
    pub fn filter_vlans(&mut self) {
        self.vlans = Some(vec![0; VLAN_WORDS]);
    }
    /// Lets a VLAN through, or stops it. `false` for an id above 4095.
    pub fn set_vlan(&mut self, id: u16, pass: bool) -> bool {
        let Some(vlans) = &mut self.vlans else {
            return false;
        };
        let Some(word) = vlans.get_mut(usize::from(id / 64)) else {
            return false;
        };
        let bit = 1 << (id % 64);
        *word = if pass { *word | bit } else { *word & !bit };
        true
    }
    /// Replaces both address tables. Each list of 6-byte addresses may be as
    /// long as the guest likes.
    pub fn set_tables(&mut self, unicast: &[u8], multicast: &[u8]) {
        let table = |raw: &[u8]| -> (Vec<[u8; 6]>, bool) {
            let (addresses, _) = raw.as_chunks::<6>();
            let overflow = addresses.len() > MAX_TABLE;
            let kept = if overflow { &[] } else { addresses };
            (kept.to_vec(), overflow)
        };
        (self.unicast, self.unicast_overflow) = table(unicast);
        (self.multicast, self.multicast_overflow) = table(multicast);
    }
    /// Whether a frame that starts with `head` (14 bytes, or 18 for its VLAN
    /// tag) is for the guest. A shorter start passes.
    pub fn passes(&self, head: &[u8]) -> bool {
        let Some(to) = head.first_chunk::<6>() else {
            return true;
        };
        self.address_passes(to) && self.vlan_passes(head)
    }
    /// Whether every frame passes.
    pub fn is_open(&self) -> bool {
        self.promiscuous && self.vlans.is_none()
    }
    fn address_passes(&self, to: &[u8; 6]) -> bool {
        if self.promiscuous {
            return true;
        }
        if *to == [0xff; 6] {
            return !self.no_broadcast;
        }
        if to[0] & 1 != 0 {
            let listed = self.multicast_overflow || self.multicast.contains(to);
            return !self.no_multicast && (self.all_multicast || listed);
        }
        let listed = self.unicast_overflow || self.unicast.contains(to);
        !self.no_unicast && (self.all_unicast || *to == self.mac || listed)
    }
    fn vlan_passes(&self, head: &[u8]) -> bool {
        let (Some(vlans), Some(tag)) = (&self.vlans, head.get(12..16)) else {
            return true;
        };
        if tag[..2] != [0x81, 0x00] {
            return true;
        }
        let id = u16::from_be_bytes([tag[2], tag[3]]) & 0xfff;
        // Priority tags (id 0) are no VLAN.
        let word = vlans.get(usize::from(id / 64)).copied().unwrap_or(0);
        id == 0 || word >> (id % 64) & 1 != 0
    }
}
