//! A Linux TAP interface.

use super::tap_file::{TapError, TapFile};
use super::{
    FrameRef, FrameSink, Header, MAX_FRAME, NetBackend, Offloads, ReadBytes, RxStatus, TxStatus,
    deliver,
};
use bus::SimTime;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// One queue, and a frame that was read and not delivered yet.
#[derive(Debug)]
struct Queue {
    file: TapFile,
    /// Header and bytes.
    held: Vec<u8>,
    held_len: usize,
    attached: bool,
}

/// A TAP interface as a back end, with offloads, of one or more queues.
#[derive(Debug)]
pub struct Tap {
    queues: Vec<Queue>,
    /// The queue to read next.
    next: usize,
    errors: u64,
}

impl Tap {
    /// Attaches to interface `name`, which is created when it does not exist
    /// (then it goes away with this), with a queue for each of the device's
    /// `pairs`.
    pub fn open(name: &str, pairs: u16) -> Result<Self, TapError> {
        let queues = TapFile::open(name, pairs)?.into_iter().map(|file| Queue {
            file,
            held: vec![0; Header::LEN + MAX_FRAME as usize],
            held_len: 0,
            attached: true,
        });
        let mut tap = Self {
            queues: queues.collect(),
            next: 0,
            errors: 0,
        };
        // The driver starts with one.
        tap.set_pairs(1);
        Ok(tap)
    }
    /// The interface's name.
    pub fn name(&self) -> &str {
        self.queues.first().map_or("", |queue| queue.file.name())
    }
}

impl Queue {
    fn receive(&mut self, sink: &mut dyn FrameSink, errors: &mut u64) -> RxStatus {
        // The sink bounds the work of one call.
        loop {
            if self.held_len == 0 {
                if !self.attached {
                    return RxStatus::Idle;
                }
                match self.file.file().read(&mut self.held) {
                    Ok(n) => self.held_len = n,
                    Err(error) => {
                        *errors += u64::from(error.kind() != ErrorKind::WouldBlock);
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
}

impl NetBackend for Tap {
    fn transmit(&mut self, _now: SimTime, frame: FrameRef<'_>) -> TxStatus {
        // The kernel learns from it where answers go. What the driver sends on
        // a pair that is off goes too.
        let index = usize::from(frame.queue);
        let queue = self.queues.get(index).filter(|queue| queue.attached);
        let Some(queue) = queue.or(self.queues.first()) else {
            return TxStatus::Sent;
        };
        match queue.file.write(&frame) {
            // The interface is readable again, or its queue drains, when the
            // descriptor becomes writable.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return TxStatus::Full,
            Err(_) => self.errors += 1,
            Ok(()) => {}
        }
        TxStatus::Sent
    }
    fn receive(&mut self, _now: SimTime, sink: &mut dyn FrameSink) -> RxStatus {
        let count = self.queues.len();
        let many = count > 1;
        for _ in 0..count {
            let index = self.next % count;
            if let Some(queue) = self.queues.get_mut(index) {
                // The kernel has chosen where the flow goes.
                sink.steer(many.then_some(index as u16));
                if queue.receive(sink, &mut self.errors) == RxStatus::Blocked {
                    return RxStatus::Blocked;
                }
            }
            self.next = (index + 1) % count;
        }
        RxStatus::Idle
    }
    fn offloads(&self) -> Offloads {
        let first = self.queues.first();
        first.map_or(Offloads::ALL, |queue| queue.file.offloads())
    }
    fn set_offloads(&mut self, offloads: Offloads) {
        // The first queue is always on, and stands for the interface.
        if let Some(queue) = self.queues.first() {
            self.errors += u64::from(queue.file.set_offloads(offloads).is_err());
        }
    }
    fn set_pairs(&mut self, pairs: u16) {
        for (index, queue) in self.queues.iter_mut().enumerate().skip(1) {
            let on = index < usize::from(pairs);
            if queue.attached != on {
                match queue.file.attach(on) {
                    Ok(()) => queue.attached = on,
                    Err(_) => self.errors += 1,
                }
            }
        }
    }
    fn host_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.queues
            .iter()
            .map(|queue| queue.file.file().as_fd())
            .collect()
    }
    fn reset(&mut self) {
        self.set_pairs(1);
        for queue in &mut self.queues {
            queue.held_len = 0;
        }
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("tap_errors", self.errors)]
    }
}
