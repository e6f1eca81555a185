//! Moves frames between the interface and the rings.

// Waiting for a descriptor is a system call.
#![allow(unsafe_code)]

use crate::interface::Interface;
use crate::signals;
use fpga_sim::ring::{End, EndCounters, Geometry, META_LEN, RingFault, RingMemory};
use std::fmt::Display;
use std::time::Duration;

/// Frames each way in one batch.
const BATCH: usize = 64;
/// Bytes to the interface after which its readers may run. On the only
/// processor they must, before their sockets' buffers are full: Linux's default
/// holds three datagrams of 64 KiB, and ping asks for one.
const TURN: usize = 48 << 10;
/// Idle rounds before it waits at all, and the longest wait. The peer has no
/// way to wake this side: it looks.
const SPINS: u32 = 20;
const SHORTEST_WAIT: Duration = Duration::from_micros(50);
const LONGEST_WAIT: Duration = Duration::from_millis(1);
/// Between two tries to reach the card.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until a signal says stop. Whenever the card does not answer, says why
/// once, and tries again until it does.
pub fn run<M, E>(
    interface: &Interface,
    send: Geometry,
    receive: Geometry,
    mut open: impl FnMut() -> Result<M, E>,
) where
    M: RingMemory + Clone,
    E: Display,
{
    let mut said = String::new();
    let mut say = move |what: String| {
        if what != said {
            eprintln!("vnet-agent: {what}");
            said = what;
        }
    };
    let mut total = Totals::default();
    while !signals::stop() {
        match open() {
            Ok(memory) => match End::attach(memory, send, receive) {
                Ok(end) => {
                    say("attached to the card".into());
                    let Err(fault) = (Relay::new(interface, end)).run(&mut total) else {
                        break;
                    };
                    say(format!("detached: {fault}"));
                }
                Err(fault) => say(format!("cannot attach: {fault}")),
            },
            Err(why) => say(why.to_string()),
        }
        wait(-1, RETRY);
    }
    total.show();
}

/// What was counted over all attachments.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    attached: u64,
    refused: u64,
    ring: EndCounters,
}

impl Totals {
    fn show(&self) {
        let c = &self.ring;
        eprintln!(
            "vnet-agent: sent {} frames ({} bytes), received {} ({} bytes), refused by the \
             interface {}, too long {}, ring full {}, peer restarts {} (frames lost by them {}), nonsense {}, attached {}",
            c.sent,
            c.sent_bytes,
            c.received,
            c.received_bytes,
            self.refused,
            c.dropped_size,
            c.stalls,
            c.restarts,
            c.lost,
            c.corruptions,
            self.attached
        );
    }
}

struct Relay<'a, M> {
    interface: &'a Interface,
    end: End<M>,
    /// A packet that found the ring full.
    kept: Option<usize>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    packet: Vec<u8>,
    refused: u64,
}

impl<'a, M: RingMemory + Clone> Relay<'a, M> {
    fn new(interface: &'a Interface, end: End<M>) -> Self {
        Self {
            interface,
            end,
            kept: None,
            outgoing: vec![0; META_LEN + (1 << 17)],
            incoming: Vec::new(),
            packet: Vec::new(),
            refused: 0,
        }
    }
    fn run(mut self, total: &mut Totals) -> Result<(), RingFault> {
        total.attached += 1;
        let mut idle = 0;
        let ended = loop {
            if signals::stop() {
                break Ok(());
            }
            if signals::show() {
                let mut now = *total;
                now.ring = now.ring + self.end.counters();
                now.refused += self.refused;
                now.show();
            }
            match self.batch() {
                Ok(0) => idle += 1,
                Ok(_) => idle = 0,
                Err(fault) => break Err(fault),
            }
            if idle > SPINS {
                let step = SHORTEST_WAIT * (idle - SPINS).min(100);
                // A packet that waits for room must not end the wait at once.
                let fd = if self.kept.is_some() {
                    -1
                } else {
                    self.interface.fd()
                };
                wait(fd, step.min(LONGEST_WAIT));
            }
        };
        total.ring = total.ring + self.end.counters();
        total.refused += self.refused;
        ended
    }
    /// Moves what there is; the number of frames.
    fn batch(&mut self) -> Result<usize, RingFault> {
        let mut moved = 0;
        while moved < BATCH {
            let len = match self.kept.take() {
                Some(len) => len,
                // An interface that went down gives nothing.
                None => self.interface.read(&mut self.outgoing).unwrap_or(0),
            };
            let Some(frame) = self.outgoing.get(META_LEN..len) else {
                break;
            };
            let meta = self.outgoing.first_chunk().unwrap_or(&[0; META_LEN]);
            if !self.end.send(meta, frame)? {
                self.kept = Some(len);
                break;
            }
            moved += 1;
        }
        let mut written = 0;
        for _ in 0..BATCH {
            let Some(frame) = self.end.peek()? else { break };
            moved += 1;
            if self.end.take(&frame, &mut self.incoming)? {
                self.packet.clear();
                self.packet.extend_from_slice(&frame.meta);
                self.packet.extend_from_slice(&self.incoming);
                self.refused += u64::from(!self.interface.write(&self.packet));
                written += self.packet.len();
                if written >= TURN {
                    written = 0;
                    std::thread::yield_now();
                }
            }
        }
        self.end.flush()?;
        Ok(moved)
    }
}

/// Waits until `fd` (none: -1) is readable, for `time` at most.
fn wait(fd: i32, time: Duration) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let time = libc::timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as _,
    };
    // SAFETY: one valid `pollfd`, a valid time, no signal mask. Whatever ends
    // the wait, the caller looks anew.
    unsafe { libc::ppoll(&mut poll, 1, &time, std::ptr::null()) };
}
