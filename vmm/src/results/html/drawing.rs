//! The topology as a drawing: guests at the sides, what joins them in the middle.

use super::Report;
use crate::results::accounts::{self, Direction};
use crate::results::svg::{Anchor, Drawing, color, fit, grouped};
use crate::topology::{CardBackend, CardSpec, GuestSpec, NicBackend, NicSpec};

const WIDTH: f64 = 1040.0;
const GUEST: f64 = 280.0;
const NIC: f64 = 190.0;
const MIDDLE: f64 = 300.0;
const GAP: f64 = 28.0;

/// A thing in the middle.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Card(String),
    /// A name, and what it is. Interfaces with an equal node share it.
    Other(String, &'static str),
}

impl Node {
    fn of(guest: &str, nic: &NicSpec) -> Self {
        match nic.backend() {
            NicBackend::Card(name) => Self::Card(name.to_owned()),
            NicBackend::Link(name) => Self::Other(name.to_owned(), "switch"),
            NicBackend::Tap(name) => Self::Other(name.to_owned(), "tap of this machine"),
            NicBackend::VhostNet(name) => Self::Other(name.to_owned(), "tap by vhost-net"),
            NicBackend::VhostUser(place) => {
                Self::Other(place.socket().display().to_string(), "vhost-user")
            }
            NicBackend::Loopback => Self::Other(format!("{guest}.{}", nic.name()), "loopback"),
        }
    }
    fn height(&self) -> f64 {
        match self {
            Self::Card(_) => 202.0,
            Self::Other(..) => 58.0,
        }
    }
}

fn guest_height(guest: &GuestSpec) -> f64 {
    66.0 + 60.0 * guest.nics.len() as f64
}

/// Tops of boxes of these heights, stacked round the middle of `total`.
fn stack(heights: &[f64], total: f64) -> Vec<f64> {
    let sum = heights.iter().sum::<f64>() + GAP * heights.len().saturating_sub(1) as f64;
    let mut top = (total - sum) / 2.0;
    let mut tops = Vec::new();
    for height in heights {
        tops.push(top);
        top += height + GAP;
    }
    tops
}

pub(super) fn topology(report: &Report<'_>) -> String {
    let spec = report.topology;
    let is = |name: &str, side: fn(&CardSpec) -> Option<&str>| {
        spec.cards.values().any(|c| side(c) == Some(name))
    };
    // Hosts to the left, boards to the right, others where there is room.
    let mut columns: [Vec<(&String, &GuestSpec)>; 2] = Default::default();
    for (name, guest) in &spec.guests {
        let right = if is(name, |c| c.host.as_deref()) {
            false
        } else {
            is(name, |c| c.board.as_deref()) || columns[0].len() > columns[1].len()
        };
        columns[usize::from(right)].push((name, guest));
    }
    let mut nodes: Vec<Node> = spec.cards.keys().cloned().map(Node::Card).collect();
    for (name, guest) in &spec.guests {
        for nic in &guest.nics {
            let node = Node::of(name, nic);
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
    }
    let heights: Vec<f64> = nodes.iter().map(Node::height).collect();
    let sides = [0, 1].map(|side| {
        columns[side]
            .iter()
            .map(|(_, g)| guest_height(g))
            .collect::<Vec<_>>()
    });
    let tall = |heights: &[f64]| heights.iter().map(|h| h + GAP).sum::<f64>();
    let total = tall(&heights).max(tall(&sides[0])).max(tall(&sides[1])) + 8.0;
    let mut d = Drawing::new(WIDTH, total);
    let tops = stack(&heights, total);
    let left = (WIDTH - MIDDLE) / 2.0;
    for side in 0..2 {
        let x = if side == 0 { 4.0 } else { WIDTH - GUEST - 4.0 };
        for ((name, guest), top) in columns[side].iter().zip(stack(&sides[side], total)) {
            // Lines first: boxes cover their ends.
            for (n, nic) in guest.nics.iter().enumerate() {
                let y = top + 60.0 + 60.0 * n as f64 + 23.0;
                let node = Node::of(name, nic);
                let Some(at) = nodes.iter().position(|other| *other == node) else {
                    continue;
                };
                let middle = tops[at] + heights[at] / 2.0;
                let (from, to) = if side == 0 {
                    (x + GUEST - 20.0, left)
                } else {
                    (x + 20.0, left + MIDDLE)
                };
                d.line((from, y), (to, middle), "wire");
            }
            draw_guest(&mut d, report, (x, top), name, guest, side);
        }
    }
    for (node, top) in nodes.iter().zip(&tops) {
        d.rect((left, *top), (MIDDLE, node.height()), "box");
        match node {
            Node::Card(name) => {
                let host = spec.cards.get(name).and_then(|c| c.host.as_deref());
                let flipped = columns[1]
                    .iter()
                    .any(|(guest, _)| Some(guest.as_str()) == host);
                draw_card(&mut d, report, (left, *top), name, flipped);
            }
            Node::Other(name, what) => {
                let x = left + MIDDLE / 2.0;
                d.text(
                    (x, top + 25.0),
                    Anchor::Middle,
                    "b",
                    &fit(name, MIDDLE - 20.0),
                );
                d.text((x, top + 44.0), Anchor::Middle, "m", what);
            }
        }
    }
    format!(
        "<div class=\"wide\">{}</div>\n",
        d.inline("Guests, network interfaces and cards")
    )
}

fn draw_guest(
    d: &mut Drawing,
    report: &Report<'_>,
    (x, y): (f64, f64),
    name: &str,
    guest: &GuestSpec,
    side: usize,
) {
    d.rect((x, y), (GUEST, guest_height(guest)), "box");
    d.text(
        (x + 14.0, y + 25.0),
        Anchor::Start,
        "b",
        &fit(name, GUEST - 28.0),
    );
    let ran = report.result.guests.get(name);
    let accel = ran.map_or("", |g| match g.accel {
        crate::results::UsedAccel::Kvm => ", KVM",
        crate::results::UsedAccel::Emulated => ", emulated",
    });
    let cpus = if guest.vcpus == 1 {
        String::new()
    } else {
        format!(", {} vCPUs", guest.vcpus)
    };
    let memory = super::memory(guest.memory);
    let what = format!("{}{accel}{cpus}, {memory}", guest.arch().name());
    d.text(
        (x + 14.0, y + 45.0),
        Anchor::Start,
        "m",
        &fit(&what, GUEST - 28.0),
    );
    for (n, nic) in guest.nics.iter().enumerate() {
        let top = y + 60.0 + 60.0 * n as f64;
        let left = if side == 0 { x + GUEST - NIC } else { x };
        d.rect((left, top), (NIC, 46.0), "in");
        let counters = report.nics.get(&format!("{name}.{}", nic.name()));
        let address = nic.address.map_or(String::new(), |a| format!(" {a}"));
        let title = fit(&format!("{}{address}", nic.name()), NIC - 16.0);
        d.text((left + 10.0, top + 19.0), Anchor::Start, "", &title);
        if let Some(counters) = counters {
            let frames = |side| grouped(accounts::queues(counters, side, "frames"));
            let text = format!("out {}, in {}", frames("tx"), frames("rx"));
            d.text(
                (left + 10.0, top + 37.0),
                Anchor::Start,
                "m sm",
                &fit(&text, NIC - 10.0),
            );
        }
    }
}

fn draw_card(d: &mut Drawing, report: &Report<'_>, (x, y): (f64, f64), name: &str, flipped: bool) {
    let Some(spec) = report.topology.cards.get(name) else {
        return;
    };
    let what = match &spec.backend {
        CardBackend::Sim => "simulated card".to_owned(),
        CardBackend::Xdma(xdma) => xdma.device.display().to_string(),
    };
    d.text((x + 14.0, y + 25.0), Anchor::Start, "b", &fit(name, 130.0));
    d.text(
        (x + MIDDLE - 14.0, y + 25.0),
        Anchor::End,
        "m",
        &fit(&what, 150.0),
    );
    let link = &spec.link;
    let profile = serde_json::to_value(spec.dma.profile).ok();
    let profile = profile.as_ref().and_then(|p| p.as_str()).unwrap_or("");
    let text = format!(
        "PCIe Gen{} x{}, {}, {profile}",
        link.generation, link.lanes, link.latency
    );
    d.text(
        (x + 14.0, y + 45.0),
        Anchor::Start,
        "m",
        &fit(&text, MIDDLE - 24.0),
    );
    for (n, direction) in accounts::directions(report.result, name).iter().enumerate() {
        let to_right = (direction.name == "h2c") != flipped;
        draw_fifo(
            d,
            (x + 14.0, y + 60.0 + 68.0 * n as f64),
            direction,
            spec.fifo.slots,
            to_right,
            n,
        );
    }
}

fn draw_fifo(
    d: &mut Drawing,
    (x, y): (f64, f64),
    counters: &Direction,
    slots: u32,
    to_right: bool,
    n: usize,
) {
    let width = MIDDLE - 28.0;
    let label = if counters.name == "h2c" {
        "H2C FIFO"
    } else {
        "C2H FIFO"
    };
    // The box is a funnel of slots; the tip shows the way.
    let (body, tip) = (width - 16.0, 16.0);
    let left = if to_right { x } else { x + tip };
    d.rect((left, y), (body, 26.0), "in");
    let share = counters.depth_max as f64 / f64::from(slots.max(1));
    let fill = (body * share.min(1.0)).max(if counters.depth_max > 0 { 2.0 } else { 0.0 });
    let from = if to_right { left + body - fill } else { left };
    d.bar((from, y), (fill, 26.0), &color(n), 0.35);
    let (a, b) = if to_right {
        (x + body, x + width)
    } else {
        (x + tip, x)
    };
    d.raw(&format!(
        "<polygon points=\"{a:.1},{:.1} {b:.1},{:.1} {a:.1},{:.1}\" style=\"fill:{}\"/>",
        y - 3.0,
        y + 13.0,
        y + 29.0,
        color(n)
    ));
    let text = format!(
        "{label}, deepest {} of {}",
        grouped(counters.depth_max),
        grouped(slots.into())
    );
    d.text((left + 8.0, y + 18.0), Anchor::Start, "", &text);
    let mut text = format!("{} delivered", grouped(counters.delivered));
    if counters.stalls > 0 {
        text += &format!(", {} waits", grouped(counters.stalls));
    }
    d.text((x, y + 47.0), Anchor::Start, "m", &text);
    let dropped = counters.dropped_total();
    let (class, text) = match dropped {
        0 => ("m", "0 dropped".to_owned()),
        n => ("badt", format!("{} dropped", grouped(n))),
    };
    d.text((x + width, y + 47.0), Anchor::End, class, &text);
}
