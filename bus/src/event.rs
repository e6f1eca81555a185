//! A heap of things to do with a total order: (time, component, sequence).

use crate::SimTime;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: SimTime,
    component: u32,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: Key,
    event: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// Events that leave in the order of time, then component, then insertion: the
/// same events always leave in the same order.
#[derive(Debug)]
pub struct EventHeap<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

impl<T> Default for EventHeap<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<T> EventHeap<T> {
    /// An empty heap.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds an event of `component` at time `at`.
    pub fn push(&mut self, at: SimTime, component: u32, event: T) {
        let key = Key {
            at,
            component,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.heap.push(Reverse(Entry { key, event }));
    }
    /// Time of the next event.
    pub fn next_time(&self) -> Option<SimTime> {
        self.heap.peek().map(|entry| entry.0.key.at)
    }
    /// Takes the next event if it is due at `now`.
    pub fn pop_due(&mut self, now: SimTime) -> Option<(SimTime, u32, T)> {
        if self.next_time()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.key.at, entry.key.component, entry.event))
    }
    /// Number of events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_then_component_then_insertion() {
        let mut heap = EventHeap::new();
        for (at, component, event) in [(5, 1, 'd'), (5, 0, 'b'), (1, 9, 'a'), (5, 0, 'c')] {
            heap.push(SimTime(at), component, event);
        }
        assert_eq!(heap.pop_due(SimTime(0)), None);
        let order: String = std::iter::from_fn(|| heap.pop_due(SimTime(9)))
            .map(|e| e.2)
            .collect();
        assert_eq!(order, "abcd");
    }
}
