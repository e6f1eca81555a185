//! A TUN or TAP interface.

// Interfaces are made and set up by ioctls.
#![allow(unsafe_code)]

use anyhow::{Context, Result, bail};
use fpga_sim::ring::META_LEN;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;

/// Memory for packets that wait in the interface while the ring is full. Linux
/// never stops the queue of a TUN device, nor lets the socket feel it: what the
/// queue does not hold is lost. More of it only makes the wait longer.
const QUEUE_BYTES: u32 = 8 << 20;
/// What the kernel needs for a packet besides its bytes, about.
const PACKET_EXTRA: u32 = 600;

/// An address and its prefix length.
#[derive(Clone, Copy, Debug)]
pub struct Address(Ipv4Addr, u8);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
            Some(Self(address.parse().ok()?, prefix))
        };
        parse().ok_or_else(|| format!("'{text}' is no address; write 10.10.10.1/24"))
    }
}

/// What an interface is to be.
#[derive(Clone, Debug)]
pub struct InterfaceSpec {
    /// Name.
    pub name: String,
    /// TAP, else TUN.
    pub tap: bool,
    /// Largest packet.
    pub mtu: u32,
    /// Address, if it gets one.
    pub address: Option<Address>,
}

/// An interface that is up. Each frame carries a virtio-net header, which is
/// the metadata of the ring's frames.
#[derive(Debug)]
pub struct Interface(File);

impl Interface {
    /// Makes the interface and brings it up.
    pub fn open(spec: &InterfaceSpec) -> Result<Self> {
        let node = "/dev/net/tun";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(node)
            .with_context(|| {
                format!("cannot open {node}: run as root, and load the tun module (modprobe tun)")
            })?;
        let kind = if spec.tap {
            libc::IFF_TAP
        } else {
            libc::IFF_TUN
        };
        let flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        let mut request = request(&spec.name)?;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        let fd = file.as_raw_fd();
        ioctl(fd, libc::TUNSETIFF as _, &mut request)
            .with_context(|| format!("cannot make interface {}", spec.name))?;
        let mut size = META_LEN as libc::c_int;
        ioctl(fd, libc::TUNSETVNETHDRSZ as _, &mut size).context("virtio-net headers")?;
        set_up(spec).with_context(|| format!("cannot set up interface {}", spec.name))?;
        Ok(Self(file))
    }
    /// A descriptor that is readable while packets wait.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
    /// Reads one packet behind its header into `buffer`; 0 when none waits.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                read => return read,
            }
        }
    }
    /// Writes one packet with its header. `false`: the kernel refused it, as it
    /// does with packets that are none.
    pub fn write(&self, packet: &[u8]) -> bool {
        loop {
            match (&self.0).write(packet) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written.is_ok(),
            }
        }
    }
}

fn request(name: &str) -> Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0', ' ']) {
        bail!("'{name}' cannot be an interface name: use 1 to 15 letters and digits");
    }
    // SAFETY: all zeroes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn ioctl<T>(fd: RawFd, number: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller passes the argument type that the request reads or
    // writes, and the reference outlives the call.
    let done = unsafe { libc::ioctl(fd, number as _, std::ptr::from_mut(argument)) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set_up(spec: &InterfaceSpec) -> Result<()> {
    // SAFETY: makes a descriptor, which is owned from here on.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error()).context("socket");
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let fd = socket.as_raw_fd();
    let mut mtu = request(&spec.name)?;
    mtu.ifr_ifru.ifru_mtu = spec.mtu as libc::c_int;
    ioctl(fd, libc::SIOCSIFMTU as _, &mut mtu).context("MTU")?;
    let mut queue = request(&spec.name)?;
    // An `int` at the start of the union, as the MTU is.
    queue.ifr_ifru.ifru_mtu = (QUEUE_BYTES / (spec.mtu + PACKET_EXTRA)) as libc::c_int;
    ioctl(fd, libc::SIOCSIFTXQLEN as _, &mut queue).context("queue length")?;
    if let Some(Address(address, prefix)) = spec.address {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        for (number, value) in [
            (libc::SIOCSIFADDR, u32::from(address)),
            (libc::SIOCSIFNETMASK, mask),
        ] {
            let mut request = request(&spec.name)?;
            // A socket address: family, port, address in network order.
            let mut data = [0; 14];
            data[2..6].copy_from_slice(&value.to_be_bytes().map(|b| b as libc::c_char));
            request.ifr_ifru.ifru_addr = libc::sockaddr {
                sa_family: libc::AF_INET as _,
                sa_data: data,
            };
            ioctl(fd, number as _, &mut request).context("address")?;
        }
    }
    let mut flags = request(&spec.name)?;
    flags.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ioctl(fd, libc::SIOCSIFFLAGS as _, &mut flags).context("up")
}
