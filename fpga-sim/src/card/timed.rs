//! What is under way: frames and credits that exist and cannot be seen yet.

use crate::timing::{LinkClock, Transfer, Way};
use bus::SimTime;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Batch {
    transfer: Transfer,
    frames: u32,
    bytes: u64,
}

/// Tail and credits words on their way to the producer.
#[derive(Clone, Copy, Debug)]
struct Credit {
    at: SimTime,
    words: (u64, u64),
}

/// The delays of one direction.
///
/// The host's side owns the link's clock: it alone turns batches into
/// transfers, both those that it sends and those that the board has left for
/// it. So the two machines may run a quantum at the same time and the result
/// does not depend on which one is quicker.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// On the link or done: visible when `ready`.
    transfers: VecDeque<Batch>,
    /// Left by the board for the host's engine, which sees them at `start`.
    waiting: VecDeque<Batch>,
    credits: VecDeque<Credit>,
}

impl UnderWay {
    /// The host hands a batch to its engine at `now`; it is there a `latency`
    /// after its transfer.
    pub fn send(&mut self, link: &mut LinkClock, now: SimTime, frames: u32, bytes: u64) {
        transfer(&mut self.transfers, link, Way::H2c, now, frames, bytes);
    }
    /// The board leaves a batch that the host's engine sees at `at`.
    pub fn leave(&mut self, at: SimTime, frames: u32, bytes: u64) {
        self.waiting.push_back(Batch {
            transfer: Transfer {
                start: at,
                ready: at,
            },
            frames,
            bytes,
        });
    }
    /// The host's engine fetches what the board has left until `now`.
    pub fn fetch(&mut self, link: &mut LinkClock, now: SimTime) {
        while let Some(batch) = self.waiting.front().copied() {
            if batch.transfer.start > now {
                return;
            }
            self.waiting.pop_front();
            let at = batch.transfer.start;
            transfer(
                &mut self.transfers,
                link,
                Way::C2h,
                at,
                batch.frames,
                batch.bytes,
            );
        }
    }
    /// Whether a frame is there at `now`.
    pub fn due(&self, now: SimTime) -> bool {
        self.transfers
            .front()
            .is_some_and(|batch| batch.transfer.ready <= now)
    }
    /// A frame was taken.
    pub fn taken(&mut self) {
        if let Some(batch) = self.transfers.front_mut() {
            batch.frames = batch.frames.saturating_sub(1);
            if batch.frames == 0 {
                self.transfers.pop_front();
            }
        } else if let Some(batch) = self.waiting.front_mut() {
            batch.frames = batch.frames.saturating_sub(1);
            if batch.frames == 0 {
                self.waiting.pop_front();
            }
        }
    }
    /// When the next frame is there, or when the engine must fetch.
    pub fn next_frame(&self) -> Option<SimTime> {
        let ready = self.transfers.front().map(|batch| batch.transfer.ready);
        let fetch = self.waiting.front().map(|batch| batch.transfer.start);
        ready.into_iter().chain(fetch).min()
    }
    /// The consumer gives room back; the producer sees it at `at`.
    pub fn give_back(&mut self, at: SimTime, words: (u64, u64)) {
        self.credits.push_back(Credit { at, words });
    }
    /// The newest words that the producer may see at `now`.
    pub fn credits(&mut self, now: SimTime) -> Option<(u64, u64)> {
        let mut newest = None;
        while let Some(credit) = self.credits.front().filter(|credit| credit.at <= now) {
            newest = Some(credit.words);
            self.credits.pop_front();
        }
        newest
    }
    /// When the producer sees the next credits.
    pub fn next_credit(&self) -> Option<SimTime> {
        self.credits.front().map(|credit| credit.at)
    }
    /// A new epoch: nothing is under way.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Adds a batch to the transfer that has not started yet, or starts one.
fn transfer(
    transfers: &mut VecDeque<Batch>,
    link: &mut LinkClock,
    way: Way,
    at: SimTime,
    frames: u32,
    bytes: u64,
) {
    if let Some(last) = transfers.back_mut()
        && last.transfer.start > at
    {
        link.extend(way, &mut last.transfer, frames, bytes);
        last.frames += frames;
        last.bytes += bytes;
        return;
    }
    let transfer = link.begin(way, at, frames, bytes);
    transfers.push_back(Batch {
        transfer,
        frames,
        bytes,
    });
}
