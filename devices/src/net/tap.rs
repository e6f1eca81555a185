//! A Linux TAP interface.

// System calls on the TUN driver, with raw guest memory in iovecs.
#![allow(unsafe_code)]

use super::{
    FrameRef, FrameSink, Header, MAX_FRAME, NetBackend, Offloads, ReadBytes, RxStatus, TxStatus,
    deliver,
};
use bus::SimTime;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// Most pieces of one frame in a system call (the kernel's limit).
const MAX_PIECES: usize = 1024;

// linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
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
         'ip tuntap add mode tap vnet_hdr user USER name {0}'"
    )]
    Permission(String),
    /// Something else has it.
    #[error("interface '{0}' is in use by another program")]
    Busy(String),
    /// Anything else.
    #[error("cannot set up interface '{0}': {1}")]
    Setup(String, #[source] io::Error),
}

/// A TAP interface as a back end, with offloads.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    /// A frame that was read and not delivered yet: header and bytes.
    held: Vec<u8>,
    held_len: usize,
    uso: bool,
    errors: u64,
}

impl Tap {
    /// Attaches to interface `name`, which is created when it does not exist
    /// (then it goes away with this).
    pub fn open(name: &str) -> Result<Self, TapError> {
        let mut request = [0u8; 40];
        let Some(to) = request
            .get_mut(..name.len())
            .filter(|to| (1..16).contains(&to.len()))
        else {
            return Err(TapError::Name(name.to_owned()));
        };
        to.copy_from_slice(name.as_bytes());
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request[16..18].copy_from_slice(&(flags as u16).to_le_bytes());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(TapError::Open)?;
        let fail = |error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TapError::Permission(name.to_owned()),
            Some(libc::EBUSY) => TapError::Busy(name.to_owned()),
            _ => TapError::Setup(name.to_owned(), error),
        };
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq` (40 bytes).
        check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) })
            .map_err(fail)?;
        for (code, value) in [
            (TUNSETVNETHDRSZ, Header::LEN as libc::c_int),
            (TUNSETVNETLE, 1),
        ] {
            // SAFETY: both read one int.
            check(unsafe { libc::ioctl(file.as_raw_fd(), code, &value) }).map_err(fail)?;
        }
        let end = request[..16].iter().position(|b| *b == 0).unwrap_or(15);
        let mut tap = Self {
            file,
            name: String::from_utf8_lossy(&request[..end]).into_owned(),
            held: vec![0; Header::LEN + MAX_FRAME as usize],
            held_len: 0,
            uso: false,
            errors: 0,
        };
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
    fn set_flags(&self, flags: libc::c_ulong) -> io::Result<()> {
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), TUNSETOFFLOAD, flags) })
    }
    fn write(&self, frame: &FrameRef<'_>) -> io::Result<()> {
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
}

impl NetBackend for Tap {
    fn transmit(&mut self, _now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        match self.write(&frame) {
            // The interface is readable again, or its queue drains, when the
            // descriptor becomes writable.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return TxStatus::Full,
            Err(_) => self.errors += 1,
            Ok(()) => {}
        }
        TxStatus::Sent
    }
    fn receive(&mut self, _now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        // The sink bounds the work of one call.
        loop {
            if self.held_len == 0 {
                match self.file.read(&mut self.held) {
                    Ok(n) => self.held_len = n,
                    Err(error) => {
                        self.errors += u64::from(error.kind() != ErrorKind::WouldBlock);
                        return RxStatus::Idle;
                    }
                }
            }
            let frame = self.held.get(..self.held_len).unwrap_or_default();
            if let Some((header, bytes)) = frame.split_first_chunk::<{ Header::LEN }>()
                && !deliver(sink, &Header::from_bytes(header), ReadBytes(bytes, &[]))
            {
                return RxStatus::Blocked;
            }
            self.held_len = 0;
        }
    }
    fn offloads(&self) -> Offloads {
        Offloads {
            uso: self.uso,
            ufo: false,
            ..Offloads::ALL
        }
    }
    fn set_offloads(&mut self, offloads: Offloads) {
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
        self.errors += u64::from(self.set_flags(flags).is_err());
    }
    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
    fn reset(&mut self) {
        self.held_len = 0;
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("tap_errors", self.errors)]
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
