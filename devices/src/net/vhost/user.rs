//! A vhost-user back end that is connected (the vhost-user protocol, "Message
//! types").

use super::wire::Wire;
use super::{Peer, PeerError};
use crate::virtio::feature;
use crate::virtio::ring::QueueConfig;
use bus::{GuestRam, RamRegion, ram_regions};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use vhost::VhostUserMemoryRegionInfo;
use vhost::vhost_user::message::{
    FrontendReq, VhostUserMemory, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
    VhostUserVringAddr, VhostUserVringAddrFlags, VhostUserVringState,
};
use vm_memory::{ByteValued, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

/// Most memory regions of a message.
const MAX_REGIONS: usize = 8;
/// Device status (virtio 1.2, section 2.1): acknowledged, driver, features and
/// driver fine.
const RUNNING: u64 = 15;

/// A connected process.
pub(super) struct UserPeer {
    wire: Wire,
    features: u64,
    protocol: VhostUserProtocolFeatures,
    pairs: u16,
    regions: Vec<RamRegion>,
}

impl UserPeer {
    /// Gets acquainted over `stream`; the first answer may take `patience`, or
    /// as long as any other.
    pub fn new(stream: UnixStream, patience: Option<Duration>) -> Result<Self, PeerError> {
        let mut wire = Wire::new(stream)?;
        wire.be_patient(patience)?;
        let features = wire.get_u64(FrontendReq::GET_FEATURES)?;
        wire.be_patient(None)?;
        let mut protocol = VhostUserProtocolFeatures::empty();
        let mut pairs = 1;
        if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0 {
            let offered = wire.get_u64(FrontendReq::GET_PROTOCOL_FEATURES)?;
            protocol = VhostUserProtocolFeatures::from_bits_truncate(offered)
                & (VhostUserProtocolFeatures::MQ
                    | VhostUserProtocolFeatures::REPLY_ACK
                    | VhostUserProtocolFeatures::STATUS);
            let bits = protocol.bits().to_ne_bytes();
            wire.set(FrontendReq::SET_PROTOCOL_FEATURES, &bits, &[])?;
            wire.acknowledged = protocol.contains(VhostUserProtocolFeatures::REPLY_ACK);
            if protocol.contains(VhostUserProtocolFeatures::MQ) {
                // Of network devices this is the number of pairs.
                let most = wire.get_u64(FrontendReq::GET_QUEUE_NUM)?;
                pairs = most.clamp(1, 64) as u16;
            }
        }
        if features & feature::VERSION_1 == 0 {
            return Err(PeerError::Features(feature::VERSION_1));
        }
        wire.set(FrontendReq::SET_OWNER, &[], &[])?;
        Ok(Self {
            wire,
            features,
            protocol,
            pairs,
            regions: Vec::new(),
        })
    }
    fn vring(&mut self, request: FrontendReq, index: u16, num: u32) -> Result<(), PeerError> {
        let state = VhostUserVringState::new(index.into(), num);
        self.wire.set(request, state.as_slice(), &[])
    }
    fn vring_fd(
        &mut self,
        request: FrontendReq,
        index: u16,
        event: &EventFd,
    ) -> Result<(), PeerError> {
        let index = u64::from(index).to_ne_bytes();
        self.wire.set(request, &index, &[event.as_raw_fd()])
    }
    /// Address in this process of `len` bytes of guest memory.
    fn host(&self, address: u64, len: u64) -> Result<u64, PeerError> {
        self.regions
            .iter()
            .find_map(|region| {
                let offset = address.checked_sub(region.start)?;
                let fits = offset.checked_add(len)? <= region.len;
                fits.then(|| region.host as u64 + offset)
            })
            .ok_or(PeerError::Ring)
    }
    fn has_protocol_features(&self) -> bool {
        self.features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0
    }
    fn set_status(&mut self, status: u64) -> Result<(), PeerError> {
        if self.protocol.contains(VhostUserProtocolFeatures::STATUS) {
            let status = status.to_ne_bytes();
            self.wire.set(FrontendReq::SET_STATUS, &status, &[])?;
        }
        Ok(())
    }
}

impl Peer for UserPeer {
    fn features(&self) -> u64 {
        self.features
    }
    fn max_pairs(&self) -> u16 {
        self.pairs
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wire.fd())
    }
    fn alive(&self) -> bool {
        super::socket::idle(self.wire.raw_fd())
    }
    fn prepare(&mut self, accepted: u64, ram: &Arc<GuestRam>) -> Result<(), PeerError> {
        let protocol = self.features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let features = (accepted | protocol).to_ne_bytes();
        self.wire.set(FrontendReq::SET_FEATURES, &features, &[])?;
        let mut fds: Vec<RawFd> = Vec::new();
        let mut table = Vec::new();
        for region in ram.iter().take(MAX_REGIONS) {
            let info = VhostUserMemoryRegionInfo::from_guest_region(region)
                .map_err(|error| PeerError::Call("guest memory is not shared", error))?;
            fds.push(info.mmap_handle);
            table.extend_from_slice(info.to_region().as_slice());
        }
        let mut body = VhostUserMemory::new(fds.len() as u32).as_slice().to_vec();
        body.extend(table);
        self.wire.set(FrontendReq::SET_MEM_TABLE, &body, &fds)?;
        self.regions = ram_regions(ram);
        Ok(())
    }
    fn start(
        &mut self,
        index: u16,
        ring: &QueueConfig,
        next_available: u16,
        kick: &EventFd,
        call: &EventFd,
    ) -> Result<(), PeerError> {
        let size = u64::from(ring.size);
        let address = VhostUserVringAddr::new(
            index.into(),
            VhostUserVringAddrFlags::empty(),
            self.host(ring.descriptors, 16 * size)?,
            self.host(ring.used, 6 + 8 * size)?,
            self.host(ring.available, 6 + 2 * size)?,
            0,
        );
        self.vring(FrontendReq::SET_VRING_NUM, index, ring.size.into())?;
        self.vring(FrontendReq::SET_VRING_BASE, index, next_available.into())?;
        self.wire
            .set(FrontendReq::SET_VRING_ADDR, address.as_slice(), &[])?;
        self.vring_fd(FrontendReq::SET_VRING_CALL, index, call)?;
        self.vring_fd(FrontendReq::SET_VRING_KICK, index, kick)
    }
    fn enable(&mut self, index: u16, on: bool) -> Result<(), PeerError> {
        // Without protocol features a ring is on once it is kicked.
        if !self.has_protocol_features() {
            return Ok(());
        }
        self.vring(FrontendReq::SET_VRING_ENABLE, index, on.into())
    }
    fn ready(&mut self) -> Result<(), PeerError> {
        self.set_status(RUNNING)
    }
    fn stop(&mut self, index: u16) -> Result<u16, PeerError> {
        self.enable(index, false)?;
        let asked = VhostUserVringState::new(index.into(), 0);
        let mut answer = VhostUserVringState::default();
        self.wire.get(
            FrontendReq::GET_VRING_BASE,
            asked.as_slice(),
            answer.as_mut_slice(),
        )?;
        if answer.index != u32::from(index) {
            return Err(PeerError::Malformed("GET_VRING_BASE"));
        }
        Ok(answer.num as u16)
    }
    fn reset(&mut self) -> Result<(), PeerError> {
        self.set_status(0)
    }
}
