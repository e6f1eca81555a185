//! A vhost-user back end that says what it likes, when it likes, with any
//! number of descriptors, at either end of the socket.
//!
//! Input: which end the device is, the number of steps of its guest, a byte for
//! each, then a script of what the back end answers to each message. At the end
//! of the script it is gone.

use super::Target;
use crate::Input;
use bus::{Bdf, SimTime, Wake};
use devices::net::{NetBackend, Vhost, VhostUser, VhostUserRole};
use devices::virtio::VirtioPci;
use devices::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use devices::virtio::net::{Net, NetSpec};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

pub const TARGET: Target = Target {
    name: "vhost_user",
    about: "vhost-user messages, in both roles",
    run,
    max_len: 1024,
    rounds: 6_000,
    words: &[],
};

const SLOT: u8 = 3;
const RX_DATA: u64 = 0x20_0000;
const TX_DATA: u64 = 0x30_0000;
/// Longest message of the protocol that this device has reason to send.
const LONGEST: u32 = 512;
/// What a good back end offers: merged buffers, event indexes, indirect
/// descriptors, protocol features, VERSION_1.
const FEATURES: u64 = 1 << 15 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32;
/// Requests with an answer of their own: features, protocol features, number of
/// queues, ring base (the vhost-user protocol, "Message types").
const ASKS: [u32; 4] = [1, 15, 17, 11];

/// The back end: its script, and how far it is.
struct Peer {
    script: Vec<u8>,
    at: usize,
}

impl Peer {
    /// Serves a connection to its end.
    fn talk(&mut self, mut stream: UnixStream) {
        loop {
            let mut header = [0; 12];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let word = |at: usize| {
                let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
                u32::from_ne_bytes(bytes)
            };
            let (request, flags, size) = (word(0), word(4), word(8));
            assert_eq!(flags & 7, 1, "version 1 and no answer");
            assert!(size <= LONGEST, "a message of {size} bytes");
            let mut body = vec![0; size as usize];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            let expects = ASKS.contains(&request) || flags & 8 != 0;
            if self.at >= self.script.len() {
                return;
            }
            let mut input = Input::new(self.script.get(self.at..).unwrap_or_default());
            let step = input.u8();
            let (bytes, open) = answer(step, &mut input, request, &body, expects);
            self.at += self.script.len() - self.at - input.rest().len();
            let fds = vec![stream.as_raw_fd(); usize::from(step >> 3 & 3)];
            let sent = match bytes.is_empty() {
                true => true,
                false if fds.is_empty() => stream.write_all(&bytes).is_ok(),
                false => stream.send_with_fds(&[&bytes[..]], &fds).is_ok(),
            };
            if !sent || !open {
                return;
            }
        }
    }
}

/// What the back end says to `request`, and whether it stays. It never leaves
/// anybody waiting for an answer: it goes away instead.
fn answer(
    step: u8,
    input: &mut Input<'_>,
    request: u32,
    body: &[u8],
    expects: bool,
) -> (Vec<u8>, bool) {
    let value: u64 = match request {
        1 => FEATURES,
        // MQ, REPLY_ACK and STATUS as the script wants.
        15 => 1 | u64::from(step >> 6) << 3 | 1 << 16,
        17 => 2,
        11 => body
            .first_chunk()
            .map_or(0, |index| u64::from_ne_bytes(*index)),
        _ => 0,
    };
    let message = |request: u32, flags: u32, size: u32, body: &[u8]| {
        let mut all = Vec::new();
        for word in [request, flags, size] {
            all.extend(u32::to_ne_bytes(word));
        }
        all.extend(body);
        all
    };
    let mut right = match expects {
        true => message(request, 5, 8, &value.to_ne_bytes()),
        false => Vec::new(),
    };
    match step & 7 {
        // Something changed in it.
        3 => {
            let (at, bits) = (usize::from(input.u8()) % 20, input.u8());
            if let Some(byte) = right.get_mut(at) {
                *byte ^= bits;
            }
            // Who is asked for more than comes waits.
            (right, !expects || at >= 12)
        }
        // Another number.
        4 => {
            let other = input.u64().to_ne_bytes();
            right.truncate(12);
            right.extend(if expects { &other[..] } else { &[] });
            (right, true)
        }
        // Any message.
        5 => {
            let (request, flags, size) = (input.u8(), input.u8(), input.u16());
            let len = input.u8();
            let body = input.bytes(len.into());
            (
                message(request.into(), flags.into(), size.into(), body),
                false,
            )
        }
        // A part of it.
        6 => {
            right.truncate(usize::from(input.u8()) % 20);
            (right, false)
        }
        // More than it.
        7 => {
            let len = input.u8() & 63;
            right.extend(input.bytes(len.into()));
            (right, true)
        }
        _ => (right, true),
    }
}

/// A socket's path of its own.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmm-fuzz-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The back end's thread, and how it is told to end.
struct BackEnd {
    thread: JoinHandle<()>,
    over: Arc<AtomicBool>,
}

impl BackEnd {
    /// Listens at `path`.
    fn listens(path: &Path, mut peer: Peer) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        Self::start(move |over| {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                peer.talk(stream);
            }
        })
    }
    /// Connects to `path`, again and again until its script has ended.
    fn connects(path: &Path, mut peer: Peer) -> Self {
        let path = path.to_owned();
        let first = UnixStream::connect(&path);
        Self::start(move |over| {
            let mut next = first;
            while let Ok(stream) = next {
                peer.talk(stream);
                if over.load(Ordering::Acquire) || peer.at >= peer.script.len() {
                    return;
                }
                next = UnixStream::connect(&path);
            }
        })
    }
    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || work(&told));
        Self { thread, over }
    }
    /// After the device is gone: what the thread found is this one's.
    fn end(self, path: &Path) {
        self.over.store(true, Ordering::Release);
        drop(UnixStream::connect(path));
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A guest whose rings the back end works on.
struct Guest {
    m: Machine,
    driver: Driver,
    tx: Option<GuestQueue>,
    outside: Wake,
    up: bool,
}

impl Guest {
    fn new(vhost: Vhost) -> Self {
        let mut m = Machine::shared(4 << 20);
        m.advances = 0;
        let outside = vhost.host_wake(Wake::null());
        let net = Box::new(Net::new(NetSpec::default(), Box::new(vhost)));
        let function = VirtioPci::new(net, m.dma(SLOT), m.line()).expect("a function");
        m.add(SLOT, Box::new(function));
        let driver = Driver::probe(&mut m, SLOT);
        Self {
            m,
            driver,
            tx: None,
            outside,
            up: true,
        }
    }
    fn start(&mut self) {
        if !self.driver.negotiate(&mut self.m, u64::MAX) {
            return;
        }
        let mut rx = self.driver.queue(&mut self.m, 0, 16, 0x10_0000);
        let tx = self.driver.queue(&mut self.m, 1, 16, 0x12_0000);
        self.driver.start(&mut self.m);
        for i in 0..8 {
            rx.add(&[Buffer::writable(RX_DATA + i * 4096, 2048)]);
        }
        self.driver.kick(&mut self.m, &mut rx);
        self.tx = Some(tx);
    }
    fn turn(&mut self, time: SimTime) {
        let now = self.m.now + time;
        self.m.now = now;
        self.m.root.request(Bdf::new(0, SLOT, 0));
        let _ = self.m.root.service(now);
    }
    fn step(&mut self, step: u8) {
        match step & 7 {
            0 => self.start(),
            1 => self.turn(SimTime::from_ms(60)),
            2 => {
                self.outside.wake();
                self.turn(SimTime::from_ms(1));
            }
            3 => {
                if let Some(tx) = &mut self.tx {
                    tx.add(&[Buffer::readable(TX_DATA, 76)]);
                    self.driver.kick(&mut self.m, tx);
                }
            }
            // Bus master off or on.
            4 => {
                let command = if step & 8 == 0 { 2u16 } else { 6 };
                self.m
                    .write(Machine::config(SLOT, 4), &command.to_le_bytes());
                self.turn(SimTime::ZERO);
            }
            5 => {
                self.up = !self.up;
                let up = self.up;
                self.m.root.with(Bdf::new(0, SLOT, 0), |function| {
                    VirtioPci::with_device(function, |net: &mut Net| net.set_link(up))
                });
                self.turn(SimTime::ZERO);
            }
            6 => self.driver.set_status(&mut self.m, 0),
            _ => self.turn(SimTime::from_secs(6)),
        }
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let role = match input.u8() & 1 {
        0 => VhostUserRole::Client,
        _ => VhostUserRole::Server,
    };
    let steps = input.u8() & 31;
    let steps = input.bytes(steps.into()).to_vec();
    let peer = Peer {
        script: input.rest().to_vec(),
        at: 0,
    };
    let before = open_files();
    let place = Place::new();
    let path = &place.0;
    let (found, back_end) = match role {
        VhostUserRole::Client => {
            let back_end = BackEnd::listens(path, peer);
            let found = VhostUser::new(path, role, 1).map(VhostUser::open);
            (found, back_end)
        }
        VhostUserRole::Server => {
            let looks = VhostUser::new(path, role, 1);
            let back_end = BackEnd::connects(path, peer);
            (looks.map(VhostUser::open), back_end)
        }
    };
    if let Ok(Ok(Ok(vhost))) = found {
        let mut guest = Guest::new(vhost);
        for step in steps {
            guest.step(step);
        }
        // Whatever the back end did, the device is the driver's.
        guest.driver.set_status(&mut guest.m, 0);
        assert_eq!(guest.driver.status(&mut guest.m), 0);
        guest.m.write(Machine::config(SLOT, 4), &6u16.to_le_bytes());
        assert!(guest.driver.negotiate(&mut guest.m, u64::MAX));
        assert_eq!(guest.driver.status(&mut guest.m), 11);
    }
    back_end.end(path);
    assert_eq!(open_files(), before, "descriptors are left open");
}
