//! A time line of bounded size.

use bus::SimTime;
use serde::Serialize;

/// Most points that are kept.
const POINTS: usize = 512;

/// FIFO depth over a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Start of the stretch; it ends where the next point starts.
    pub at: SimTime,
    /// Most frames in the FIFO.
    pub depth: u32,
    /// Times that a sender found it full.
    pub stalls: u32,
}

/// FIFO depth and stalls over the whole run in at most 512 points. When it is
/// full, neighbours are merged and the stretches become twice as long.
#[derive(Clone, Debug)]
pub struct TimeLine {
    points: Vec<Point>,
    step: SimTime,
}

impl Default for TimeLine {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            step: SimTime::from_us(10),
        }
    }
}

impl TimeLine {
    /// Notes that at `now` there were `depth` frames, and whether a sender stalled.
    pub fn note(&mut self, now: SimTime, depth: u32, stalled: bool) {
        let stalls = u32::from(stalled);
        if let Some(last) = self.points.last_mut()
            && now < last.at + self.step
        {
            last.depth = last.depth.max(depth);
            last.stalls += stalls;
            return;
        }
        if self.points.len() == POINTS {
            self.halve();
        }
        self.points.push(Point {
            at: now,
            depth,
            stalls,
        });
    }
    /// The points, by rising time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    fn halve(&mut self) {
        self.step = SimTime(self.step.0.saturating_mul(2));
        let mut merged: Vec<Point> = Vec::with_capacity(POINTS);
        for point in self.points.drain(..) {
            match merged.last_mut() {
                Some(last) if point.at < last.at + self.step => {
                    last.depth = last.depth.max(point.depth);
                    last.stalls += point.stalls;
                }
                _ => merged.push(point),
            }
        }
        // Points far apart do not merge: then keep every second one's maximum.
        if merged.len() > POINTS / 2 {
            merged = merged
                .chunks(2)
                .map(|pair| Point {
                    at: pair[0].at,
                    depth: pair.iter().map(|p| p.depth).max().unwrap_or(0),
                    stalls: pair.iter().map(|p| p.stalls).sum(),
                })
                .collect();
        }
        self.points = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_small_and_keeps_maxima_and_sums() {
        for gap in [1u64, 7_000, 10_000_000, 3_000_000_000] {
            let mut line = TimeLine::default();
            for i in 0..5_000u64 {
                line.note(
                    SimTime(i * gap),
                    if i == 1234 { 77 } else { 3 },
                    i % 10 == 0,
                );
            }
            let points = line.points();
            assert!(points.len() <= POINTS);
            assert!(points.windows(2).all(|w| w[0].at < w[1].at));
            assert_eq!(points.iter().map(|p| p.depth).max(), Some(77));
            assert_eq!(points.iter().map(|p| p.stalls).sum::<u32>(), 500);
        }
    }
}
