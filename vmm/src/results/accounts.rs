//! Where frames went: every frame that a counter knows, and every one lost, by
//! cause.

use super::RunResult;
use std::collections::BTreeMap;

/// Counters of the network interfaces by `GUEST.NIC`, each by name.
pub type NicCounters = BTreeMap<String, BTreeMap<String, u64>>;

/// Frames that one counter says did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Where: `CARD h2c`, `CARD c2h` or `GUEST.NIC`.
    pub place: String,
    /// The counter, such as `full_new` or `rx0.oversize`.
    pub cause: String,
    /// How many.
    pub frames: u64,
}

/// One direction of a card. Always
/// `sent = delivered + dropped + in flight`, or frames are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Direction {
    /// `h2c` or `c2h`.
    pub name: &'static str,
    /// Frames that the sender handed over.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that the receiver took.
    pub delivered: u64,
    /// Frames dropped, by cause; zeros are left out.
    pub dropped: Vec<(String, u64)>,
    /// Frames that were still in the FIFO.
    pub in_flight: u64,
    /// Most frames that were in the FIFO at once.
    pub depth_max: u64,
    /// Times that a sender found it full.
    pub stalls: u64,
}

impl Direction {
    /// All drops.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, n)| n).sum()
    }
    /// Frames that no counter explains; negative when some were seen twice.
    pub fn missing(&self) -> i128 {
        i128::from(self.sent)
            - i128::from(self.delivered)
            - i128::from(self.dropped_total())
            - i128::from(self.in_flight)
    }
}

/// Causes of a network interface; its other counters count frames that moved,
/// bytes or events. What a back end dropped is named `backend.dropped_...`.
const NIC_CAUSES: [&str; 6] = [
    "malformed",
    "oversize",
    "bad_header",
    "filtered",
    "link_down",
    "unwanted_offload",
];

/// Whether `counter` of a network interface counts frames that did not arrive.
pub fn is_nic_drop(counter: &str) -> bool {
    match counter.rsplit_once('.') {
        Some(("backend", name)) => name.starts_with("dropped"),
        Some((_, name)) => NIC_CAUSES.contains(&name),
        None => false,
    }
}

/// Whether a drop is part of normal traffic: a receive filter keeps out
/// multicast frames that its guest did not ask for.
pub fn is_expected(cause: &str) -> bool {
    cause.ends_with(".filtered")
}

/// What a cause means, for a reader of the report.
pub fn meaning(cause: &str) -> &'static str {
    match cause.rsplit('.').next().unwrap_or(cause) {
        "full_new" | "dropped_full" => "it was full, and the new frame was dropped",
        "full_oldest" => "it was full, and the oldest frame was dropped",
        "size" => "too short, too long, or larger than the FIFO",
        "dma" => "the sender's buffers could not be read",
        "restart" => "in the FIFO when a side restarted",
        "corrupt" => "in the FIFO when it was found corrupt",
        "malformed" => "the guest's descriptor chain was malformed",
        "oversize" => "too long for the interface or for the guest's buffers",
        "bad_header" => "a header that was not negotiated or makes no sense",
        "filtered" => "kept out by the guest's own receive filter",
        "link_down" => "the link was down",
        "unwanted_offload" => "not segmented, which the guest did not ask for",
        _ => "",
    }
}

/// The two directions of card `name`.
pub fn directions(result: &RunResult, name: &str) -> Vec<Direction> {
    let Some(card) = result.cards.get(name) else {
        return Vec::new();
    };
    ["h2c", "c2h"]
        .into_iter()
        .filter_map(|way| {
            let counters = card.get(way)?;
            let number = |key: &str| counters.get(key).and_then(|v| v.as_u64()).unwrap_or(0);
            let dropped = counters.get("dropped").and_then(|d| d.as_object());
            let dropped = dropped.into_iter().flatten();
            Some(Direction {
                name: way,
                sent: number("sent"),
                sent_bytes: number("sent_bytes"),
                delivered: number("delivered"),
                dropped: dropped
                    .filter_map(|(cause, n)| Some((cause.clone(), n.as_u64().filter(|n| *n > 0)?)))
                    .collect(),
                in_flight: number("in_flight"),
                depth_max: number("depth_max"),
                stalls: number("stalls"),
            })
        })
        .collect()
}

/// All frames that did not arrive, by place and cause. What the receive filters
/// kept out is not among them (see [`is_expected`]).
pub fn dropped(result: &RunResult, nics: &NicCounters) -> Vec<Dropped> {
    let mut all = Vec::new();
    for card in result.cards.keys() {
        for direction in directions(result, card) {
            let place = format!("{card} {}", direction.name);
            all.extend(
                direction
                    .dropped
                    .into_iter()
                    .map(|(cause, frames)| Dropped {
                        place: place.clone(),
                        cause,
                        frames,
                    }),
            );
        }
    }
    for (nic, counters) in nics {
        let lost = counters
            .iter()
            .filter(|(name, n)| **n > 0 && is_nic_drop(name) && !is_expected(name));
        all.extend(lost.map(|(name, n)| Dropped {
            place: nic.clone(),
            cause: name.clone(),
            frames: *n,
        }));
    }
    all
}

/// Sum of the counters of one interface's `rx` or `tx` queues that end in `name`.
pub fn queues(counters: &BTreeMap<String, u64>, side: &str, name: &str) -> u64 {
    counters
        .iter()
        .filter(|(key, _)| {
            key.split_once('.').is_some_and(|(queue, rest)| {
                let index = queue.strip_prefix(side);
                rest == name && index.is_some_and(|i| i.bytes().all(|b| b.is_ascii_digit()))
            })
        })
        .map(|(_, n)| n)
        .sum()
}
