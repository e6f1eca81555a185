//! Messages of the vhost-user protocol, in a way that no peer can hold up.
//!
//! The `vhost` crate has the numbers and structures; its own endpoint waits for
//! an answer for as long as it takes, which a guest must not.

use super::PeerError;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vhost::vhost_user::message::{FrontendReq, VhostUserHeaderFlag};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_millis(800);
/// Reads that one answer may take: the whole patience is bounded too.
const MAX_READS: u32 = 4;
/// Version 1 of the protocol, in the low bits of a header's flags.
const VERSION: u32 = 1;
const HEADER: usize = 12;

/// A connection to a back end, seen from the front end.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    /// Every request is answered (`REPLY_ACK`).
    pub acknowledged: bool,
}

impl Wire {
    /// Over `stream`.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            acknowledged: false,
        })
    }
    /// Sets how long one read may take, [`PATIENCE`] otherwise.
    pub fn be_patient(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience.or(Some(PATIENCE)))
    }
    /// The socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
    /// The socket's number.
    pub fn raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
    /// A request that says something, with descriptors for the peer.
    pub fn set(
        &mut self,
        request: FrontendReq,
        body: &[u8],
        fds: &[RawFd],
    ) -> Result<(), PeerError> {
        self.send(request, body, fds, self.acknowledged)?;
        if self.acknowledged {
            let mut result = [0; 8];
            self.answer(request, &mut result)?;
            if u64::from_ne_bytes(result) != 0 {
                return Err(PeerError::Refused(name(request)));
            }
        }
        Ok(())
    }
    /// A request that asks; fills `answer`.
    pub fn get(
        &mut self,
        request: FrontendReq,
        body: &[u8],
        answer: &mut [u8],
    ) -> Result<(), PeerError> {
        self.send(request, body, &[], false)?;
        self.answer(request, answer)
    }
    /// A request that asks for a number.
    pub fn get_u64(&mut self, request: FrontendReq) -> Result<u64, PeerError> {
        let mut answer = [0; 8];
        self.get(request, &[], &mut answer)?;
        Ok(u64::from_ne_bytes(answer))
    }

    fn send(
        &self,
        request: FrontendReq,
        body: &[u8],
        fds: &[RawFd],
        acknowledge: bool,
    ) -> Result<(), PeerError> {
        let mut flags = VERSION;
        if acknowledge {
            flags |= VhostUserHeaderFlag::NEED_REPLY.bits();
        }
        let mut message = Vec::with_capacity(HEADER + body.len());
        for word in [request.into(), flags, body.len() as u32] {
            message.extend_from_slice(&u32::to_ne_bytes(word));
        }
        message.extend_from_slice(body);
        // The socket takes so little in one piece, or the peer does not read.
        let sent = self
            .stream
            .send_with_fds(&[&message[..]], fds)
            .map_err(|error| failed(io::Error::from_raw_os_error(error.errno())))?;
        if sent < message.len() {
            return Err(PeerError::Silent);
        }
        Ok(())
    }
    fn answer(&mut self, request: FrontendReq, body: &mut [u8]) -> Result<(), PeerError> {
        let mut reads = MAX_READS;
        let mut header = [0u8; HEADER];
        self.read(&mut header, &mut reads)?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        let reply = VERSION | VhostUserHeaderFlag::REPLY.bits();
        let mask = VhostUserHeaderFlag::VERSION.bits() | VhostUserHeaderFlag::REPLY.bits();
        if word(0) != u32::from(request)
            || word(4) & mask != reply
            || word(8) as usize != body.len()
        {
            return Err(PeerError::Malformed(name(request)));
        }
        self.read(body, &mut reads)
    }
    fn read(&mut self, mut into: &mut [u8], reads: &mut u32) -> Result<(), PeerError> {
        while !into.is_empty() {
            if *reads == 0 {
                return Err(PeerError::Silent);
            }
            *reads -= 1;
            match self.stream.read(into) {
                Ok(0) => return Err(PeerError::Closed),
                Ok(n) => into = &mut into[n..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> PeerError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => PeerError::Silent,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => PeerError::Closed,
        _ => PeerError::Io(error),
    }
}

/// A request's name in the protocol.
fn name(request: FrontendReq) -> &'static str {
    match request {
        FrontendReq::GET_FEATURES => "GET_FEATURES",
        FrontendReq::SET_FEATURES => "SET_FEATURES",
        FrontendReq::GET_PROTOCOL_FEATURES => "GET_PROTOCOL_FEATURES",
        FrontendReq::SET_PROTOCOL_FEATURES => "SET_PROTOCOL_FEATURES",
        FrontendReq::GET_QUEUE_NUM => "GET_QUEUE_NUM",
        FrontendReq::SET_OWNER => "SET_OWNER",
        FrontendReq::SET_MEM_TABLE => "SET_MEM_TABLE",
        FrontendReq::SET_VRING_NUM => "SET_VRING_NUM",
        FrontendReq::SET_VRING_BASE => "SET_VRING_BASE",
        FrontendReq::SET_VRING_ADDR => "SET_VRING_ADDR",
        FrontendReq::SET_VRING_KICK => "SET_VRING_KICK",
        FrontendReq::SET_VRING_CALL => "SET_VRING_CALL",
        FrontendReq::SET_VRING_ENABLE => "SET_VRING_ENABLE",
        FrontendReq::GET_VRING_BASE => "GET_VRING_BASE",
        FrontendReq::SET_STATUS => "SET_STATUS",
        _ => "a request",
    }
}
