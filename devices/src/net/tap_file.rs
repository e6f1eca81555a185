//! One queue of a Linux TAP interface: the TUN driver's calls.

// System calls on the TUN driver, with raw guest memory in iovecs.
#![allow(unsafe_code)]

use super::{FrameRef, Header, Offloads};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// Most pieces of one frame in a system call (the kernel's limit).
const MAX_PIECES: usize = 1024;

// linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
const TUNSETQUEUE: libc::c_ulong = 0x4004_54d9;
const TUNSETVNETLE: libc::c_ulong = 0x4004_54dc;
const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_TSO_ECN: libc::c_ulong = 0x08;
const TUN_F_USO: libc::c_ulong = 0x60;

/// A TAP interface that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The name is empty or longer than 15 bytes.
    #[error("'{0}' is no interface name; use 1 to 15 characters")]
    Name(String),
    /// The TUN driver is not there.
    #[error("cannot open /dev/net/tun: {0}; load the module with 'modprobe tun'")]
    Open(#[source] io::Error),
    /// No permission.
    #[error(
        "no permission to use interface '{0}'; run as root, or let its owner create it with \
         'ip tuntap add mode tap vnet_hdr{multi} user USER name {0}'",
        multi = if *.1 { " multi_queue" } else { "" }
    )]
    Permission(String, bool),
    /// Something else has it.
    #[error("interface '{0}' is in use by another program")]
    Busy(String),
    /// It has one queue, or several, and the topology wants the other.
    #[error(
        "interface '{0}' was not made for {1} queue pairs; remove it with 'ip link del {0}', \
         or make it {how} 'multi_queue'",
        how = if *.1 > 1 { "with" } else { "without" }
    )]
    Queues(String, u16),
    /// Anything else.
    #[error("cannot set up interface '{0}': {1}")]
    Setup(String, #[source] io::Error),
}

/// One queue of a TAP interface, whose frames have virtio network headers.
#[derive(Debug)]
pub(super) struct TapFile {
    file: File,
    name: String,
    uso: bool,
}

impl TapFile {
    /// `queues` queues of interface `name`, which is created when it does not
    /// exist (then it goes away with the last of these).
    pub fn open(name: &str, queues: u16) -> Result<Vec<Self>, TapError> {
        let mut all = Vec::new();
        let mut name = name.to_owned();
        for _ in 0..queues.max(1) {
            let queue = Self::queue(&name, queues)?;
            // A pattern such as tap%d has become a name.
            name.clone_from(&queue.name);
            all.push(queue);
        }
        Ok(all)
    }
    fn queue(name: &str, queues: u16) -> Result<Self, TapError> {
        let multi = queues > 1;
        let mut request = [0u8; 40];
        let Some(to) = request
            .get_mut(..name.len())
            .filter(|to| (1..16).contains(&to.len()))
        else {
            return Err(TapError::Name(name.to_owned()));
        };
        to.copy_from_slice(name.as_bytes());
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if multi {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        request[16..18].copy_from_slice(&(flags as u16).to_le_bytes());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(TapError::Open)?;
        let fail = |error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TapError::Permission(name.to_owned(), multi),
            Some(libc::EBUSY) => TapError::Busy(name.to_owned()),
            // linux: tun_set_iff and tun_attach
            Some(libc::EINVAL | libc::E2BIG) => TapError::Queues(name.to_owned(), queues),
            _ => TapError::Setup(name.to_owned(), error),
        };
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq` (40 bytes).
        check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) })
            .map_err(fail)?;
        let end = request[..16].iter().position(|b| *b == 0).unwrap_or(15);
        let mut tap = Self {
            file,
            name: String::from_utf8_lossy(&request[..end]).into_owned(),
            uso: false,
        };
        tap.set(TUNSETVNETHDRSZ, Header::LEN as libc::c_int)
            .map_err(fail)?;
        tap.set(TUNSETVNETLE, 1).map_err(fail)?;
        // Kernels before 6.2 know no USO.
        tap.uso = tap
            .set_flags(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO)
            .is_ok();
        tap.set_flags(0).map_err(fail)?;
        Ok(tap)
    }
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its descriptor, which does not block.
    pub fn file(&self) -> &File {
        &self.file
    }
    /// Bytes of the header before each frame: 12, or 10 of legacy drivers.
    pub fn set_header_len(&self, len: u32) -> io::Result<()> {
        self.set(TUNSETVNETHDRSZ, len as libc::c_int)
    }
    /// What it takes from the guest.
    pub fn offloads(&self) -> Offloads {
        Offloads {
            uso: self.uso,
            ufo: false,
            ..Offloads::ALL
        }
    }
    /// What it may give to the guest.
    pub fn set_offloads(&self, offloads: Offloads) -> io::Result<()> {
        let mut flags = 0;
        for (on, bits) in [
            (offloads.csum, TUN_F_CSUM),
            (offloads.tso4, TUN_F_TSO4),
            (offloads.tso6, TUN_F_TSO6),
            (offloads.ecn, TUN_F_TSO_ECN),
            (offloads.uso && self.uso, TUN_F_USO),
        ] {
            flags |= if on { bits } else { 0 };
        }
        self.set_flags(flags)
    }
    /// Whether the kernel puts frames into this queue; of an interface with
    /// several.
    pub fn attach(&self, on: bool) -> io::Result<()> {
        let what = if on {
            libc::IFF_ATTACH_QUEUE
        } else {
            libc::IFF_DETACH_QUEUE
        };
        let mut request = [0u8; 40];
        request[16..18].copy_from_slice(&(what as u16).to_le_bytes());
        // SAFETY: TUNSETQUEUE reads one `struct ifreq` (40 bytes).
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETQUEUE, request.as_ptr()) })
    }
    /// Sends one frame, straight out of guest memory.
    pub fn write(&self, frame: &FrameRef<'_>) -> io::Result<()> {
        let header = frame.header.to_bytes();
        let mut pieces = [const {
            libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            }
        }; MAX_PIECES];
        pieces[0] = libc::iovec {
            iov_base: header.as_ptr().cast_mut().cast(),
            iov_len: header.len(),
        };
        let mut count = 1;
        for segment in frame.segments {
            let piece = pieces.get_mut(count).ok_or(ErrorKind::InvalidInput)?;
            let slice = frame
                .memory
                .ram()
                .get_slice(GuestAddress(segment.address), segment.len as usize)
                .map_err(|_| ErrorKind::InvalidInput)?;
            *piece = libc::iovec {
                iov_base: slice.ptr_guard().as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            };
            count += 1;
        }
        // SAFETY: every piece lies in `header` or in guest memory, which
        // `frame.memory` keeps mapped; the kernel only reads from them.
        let n =
            unsafe { libc::writev(self.file.as_raw_fd(), pieces.as_ptr(), count as libc::c_int) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
    fn set(&self, code: libc::c_ulong, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the calls that this is used for read one int.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), code, &value) })
    }
    fn set_flags(&self, flags: libc::c_ulong) -> io::Result<()> {
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETOFFLOAD, flags) })
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
