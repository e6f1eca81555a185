//! The kernel's vhost-net: it moves frames between rings and a TAP interface.

use super::{Peer, PeerError, Vhost};
use crate::net::Offloads;
use crate::net::tap_file::{TapError, TapFile};
use crate::virtio::feature as transport;
use crate::virtio::net::feature;
use crate::virtio::ring::{MAX_QUEUE_SIZE, QueueConfig};
use bus::{GuestRam, ram_regions};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vhost::net::VhostNet;
use vhost::vhost_kern::net::Net;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

/// `VHOST_F_LOG_ALL`, and `VHOST_NET_F_VIRTIO_NET_HDR`, by which the kernel
/// would make headers of its own: the TAP interface has them
/// (linux/vhost_types.h).
const NOT_OURS: u64 = 1 << 26 | 1 << 27;

/// vhost-net that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VhostNetError {
    /// The driver is not there.
    #[error(
        "there is no /dev/vhost-net; load the module with 'modprobe vhost_net', or write 'tap:' \
         instead of 'vhost-net:' to do without"
    )]
    Absent,
    /// No permission.
    #[error(
        "no permission for /dev/vhost-net; join its group (ls -l shows it), run as root, or write \
         'tap:' instead of 'vhost-net:'"
    )]
    Permission,
    /// Anything else that the kernel refuses.
    #[error("vhost-net cannot {0}: {1}")]
    Setup(&'static str, #[source] vhost::Error),
    /// The TAP interface.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// No descriptors left.
    #[error("cannot watch vhost-net: {0}")]
    Watch(#[source] io::Error),
}

/// One queue pair in the kernel.
struct Pair {
    net: Net<Arc<GuestRam>>,
    tap: TapFile,
    attached: bool,
}

struct KernelPeer {
    pairs: Vec<Pair>,
    /// What the rings can, and what frames can.
    rings: u64,
    frames: u64,
}

impl Vhost {
    /// The TAP interface `interface`, whose frames the kernel moves to and from
    /// guest memory `ram` by itself, on `pairs` queue pairs.
    pub fn kernel(interface: &str, pairs: u16, ram: &Arc<GuestRam>) -> Result<Self, VhostNetError> {
        let mut all = Vec::new();
        for tap in TapFile::open(interface, pairs)? {
            let net = Net::new(Arc::clone(ram)).map_err(|error| match error {
                vhost::Error::VhostOpen(error) => match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => VhostNetError::Absent,
                    Some(libc::EPERM | libc::EACCES) => VhostNetError::Permission,
                    _ => VhostNetError::Setup("open", vhost::Error::VhostOpen(error)),
                },
                other => VhostNetError::Setup("open", other),
            })?;
            net.set_owner()
                .map_err(|error| VhostNetError::Setup("start", error))?;
            // The driver starts with one pair.
            let attached = all.is_empty();
            if !attached {
                tap.attach(false).map_err(VhostNetError::Watch)?;
            }
            all.push(Pair { net, tap, attached });
        }
        let first = all.first().ok_or(VhostNetError::Absent)?;
        let rings = first
            .net
            .get_features()
            .map_err(|error| VhostNetError::Setup("tell its features", error))?
            & !NOT_OURS;
        let frames = feature::host_bits(first.tap.offloads())
            | feature::GUEST_OFFLOADS & !feature::guest_bits(!first.tap.offloads());
        let peer = KernelPeer {
            pairs: all,
            rings,
            frames,
        };
        // The kernel does not come and go.
        let never = Box::new(|| Ok(None));
        Vhost::new(interface.to_owned(), pairs, Box::new(peer), never, None)
            .map_err(VhostNetError::Watch)
    }
}

fn call(what: &'static str) -> impl FnOnce(vhost::Error) -> PeerError {
    move |error| PeerError::Call(what, error)
}

impl KernelPeer {
    fn pair(&mut self, index: u16) -> Result<(&mut Pair, usize), PeerError> {
        let pair = self.pairs.get_mut(usize::from(index / 2));
        Ok((pair.ok_or(PeerError::Ring)?, usize::from(index % 2)))
    }
}

impl Peer for KernelPeer {
    fn features(&self) -> u64 {
        self.rings | self.frames | feature::CTRL_GUEST_OFFLOADS
    }
    fn max_pairs(&self) -> u16 {
        self.pairs.len() as u16
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn alive(&self) -> bool {
        true
    }
    fn prepare(&mut self, accepted: u64, ram: &Arc<GuestRam>) -> Result<(), PeerError> {
        let long = accepted & (transport::VERSION_1 | feature::MRG_RXBUF) != 0;
        let header = if long { 12 } else { 10 };
        let regions: Vec<_> = ram_regions(ram)
            .iter()
            .map(|region| VhostUserMemoryRegionInfo {
                guest_phys_addr: region.start,
                memory_size: region.len,
                userspace_addr: region.host as u64,
                mmap_offset: 0,
                mmap_handle: -1,
            })
            .collect();
        // The first queue is always on, and stands for the interface.
        if let Some(pair) = self.pairs.first() {
            pair.tap.set_header_len(header)?;
        }
        for pair in &mut self.pairs {
            pair.net
                .set_features(accepted & self.rings)
                .map_err(call("features"))?;
            pair.net
                .set_mem_table(&regions)
                .map_err(call("memory table"))?;
        }
        Ok(())
    }
    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), PeerError> {
        if let Some(pair) = self.pairs.first() {
            pair.tap.set_offloads(offloads)?;
        }
        Ok(())
    }
    fn start(
        &mut self,
        index: u16,
        ring: &QueueConfig,
        next_available: u16,
        kick: &EventFd,
        event: &EventFd,
    ) -> Result<(), PeerError> {
        let (pair, ring_index) = self.pair(index)?;
        let net = &pair.net;
        net.set_vring_num(ring_index, ring.size)
            .map_err(call("ring size"))?;
        net.set_vring_base(ring_index, next_available)
            .map_err(call("ring base"))?;
        let config = VringConfigData {
            queue_max_size: MAX_QUEUE_SIZE,
            queue_size: ring.size,
            flags: 0,
            desc_table_addr: ring.descriptors,
            used_ring_addr: ring.used,
            avail_ring_addr: ring.available,
            log_addr: None,
        };
        net.set_vring_addr(ring_index, &config)
            .map_err(call("ring address"))?;
        net.set_vring_call(ring_index, event)
            .map_err(call("call event"))?;
        net.set_vring_kick(ring_index, kick)
            .map_err(call("kick event"))
    }
    fn enable(&mut self, index: u16, on: bool) -> Result<(), PeerError> {
        let (pair, ring) = self.pair(index)?;
        // Frames must not wait in a queue that nobody reads.
        if pair.attached != on && ring == 0 && index > 0 {
            if on {
                pair.tap.attach(true)?;
            } else {
                pair.net
                    .set_backend(ring, None)
                    .map_err(call("no interface"))?;
                pair.tap.attach(false)?;
            }
            pair.attached = on;
        }
        let tap = on.then_some(pair.tap.file());
        pair.net.set_backend(ring, tap).map_err(call("interface"))
    }
    fn stop(&mut self, index: u16) -> Result<u16, PeerError> {
        let (pair, ring) = self.pair(index)?;
        pair.net
            .set_backend(ring, None)
            .map_err(call("no interface"))?;
        let base = pair.net.get_vring_base(ring).map_err(call("ring base"))?;
        Ok(base as u16)
    }
}
