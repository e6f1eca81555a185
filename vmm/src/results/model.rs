//! `vmm model`: what a card's link and DMA engine should reach, as a table and
//! a plot.

use super::svg::{Anchor, Drawing, Scale, color, number};
use fpga_sim::card::{DmaSpec, LinkSpec};
use fpga_sim::timing::{LinkError, PcieLink, Prediction, Profile, SIZES, curves};
use std::fmt::Write;

/// A card's predicted curves.
#[derive(Clone, Debug)]
pub struct CardModel {
    /// The card's name in the topology.
    pub name: String,
    /// Its link.
    pub link: LinkSpec,
    /// Its DMA engine.
    pub dma: DmaSpec,
}

/// Sizes of a smooth curve, in bytes: every 8 bytes while a step of a TLP shows.
fn dense() -> Vec<u64> {
    let mut sizes: Vec<u64> = (8..=512).map(|n| n * 8).collect();
    // A payload's end and its neighbour make the edge of a saw's tooth sharp.
    sizes.extend((1..=16).map(|n| n * 256 + 1));
    sizes.extend((1..=32).map(|n| n * 128 + 1));
    sizes.extend((9..=128).map(|n| n * 512));
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

impl CardModel {
    /// One line about the card.
    pub fn title(&self) -> String {
        let link = &self.link;
        format!(
            "{}: PCIe Gen{} x{}, max payload {} bytes, max read request {} bytes, latency {}, profile {}",
            self.name,
            link.generation,
            link.lanes,
            link.max_payload,
            link.max_read_request,
            link.latency,
            self.dma.profile
        )
    }

    /// The table: sizes against bandwidths and times.
    pub fn table(&self) -> Result<String, LinkError> {
        let pcie = PcieLink::new(&self.link)?;
        let mut out = format!("{}\n", self.title());
        let _ = writeln!(
            out,
            "the link carries {:.2} Gb/s, {:.2} Gb/s of them for TLPs",
            pcie.raw(),
            pcie.tlp()
        );
        if self.dma.profile == Profile::Ideal {
            out.push_str(
                "profile ideal: Gb/s are the link's own limits, which a run does not enforce\n",
            );
        }
        let _ = writeln!(
            out,
            "{:>6}  {:>12}  {:>12}  {:>12}  {:>12}  {:>12}",
            "", "card->host", "host->card", "both, each", "card->host", "host->card"
        );
        let _ = writeln!(
            out,
            "{:>6}  {:>12}  {:>12}  {:>12}  {:>12}  {:>12}",
            "bytes", "write Gb/s", "read Gb/s", "Gb/s", "us", "us"
        );
        for p in curves(&self.link, &self.dma, &SIZES)? {
            let _ = writeln!(
                out,
                "{:>6}  {:>12.2}  {:>12.2}  {:>12.2}  {:>12.3}  {:>12.3}",
                p.size, p.gbps_write, p.gbps_read, p.gbps_both, p.us_write, p.us_read
            );
        }
        Ok(out)
    }
}

/// A value of a prediction.
type Value = fn(&Prediction) -> f64;
/// A plot's title and its lines: name, dash pattern, value.
type Panel<'a> = (&'a str, &'a [(&'a str, &'a str, Value)]);

const BANDWIDTH: [(&str, &str, Value); 3] = [
    ("card to host (write)", "", |p| p.gbps_write),
    ("host to card (read)", "7 3", |p| p.gbps_read),
    ("both at once, each way", "2 3", |p| p.gbps_both),
];
const TIME: [(&str, &str, Value); 2] = [
    ("card to host", "", |p| p.us_write),
    ("host to card", "7 3", |p| p.us_read),
];

const WIDTH: f64 = 980.0;
const PLOT: f64 = 300.0;
const CARD: f64 = PLOT + 90.0;

/// The plot of all cards as an SVG file: a bandwidth and a time plot for each.
pub fn plot(cards: &[CardModel]) -> Result<String, LinkError> {
    let sizes = dense();
    let mut drawing = Drawing::new(WIDTH, CARD * cards.len().max(1) as f64);
    for (n, card) in cards.iter().enumerate() {
        let points = curves(&card.link, &card.dma, &sizes)?;
        let top = n as f64 * CARD;
        drawing.text((20.0, top + 24.0), Anchor::Start, "b", &card.title());
        let half = WIDTH / 2.0;
        let gbps: Panel<'_> = ("Gb/s", &BANDWIDTH);
        panel(&mut drawing, (0.0, top + 40.0), half, gbps, &points, false);
        let us: Panel<'_> = ("time of one frame, us", &TIME);
        panel(&mut drawing, (half, top + 40.0), half, us, &points, true);
    }
    Ok(drawing.file("Predicted bandwidth and time against size"))
}

fn panel(
    drawing: &mut Drawing,
    (left, top): (f64, f64),
    width: f64,
    (title, lines): Panel<'_>,
    points: &[Prediction],
    log: bool,
) {
    let (x0, x1) = (left + 62.0, left + width - 20.0);
    let (y0, y1) = (top + PLOT - 20.0, top + 30.0);
    let values = || {
        points
            .iter()
            .flat_map(|p| lines.iter().map(move |l| l.2(p)))
    };
    let (low, high) = values().fold((f64::MAX, 0f64), |(l, h), v| (l.min(v), h.max(v)));
    let y = if log {
        Scale::log(low * 0.8, high * 1.3, y0, y1)
    } else {
        Scale::linear(0.0, high * 1.05, y0, y1)
    };
    let x = Scale::log(64.0, 65_536.0, x0, x1);
    drawing.text((left + 20.0, top + 14.0), Anchor::Start, "m", title);
    for tick in y.ticks(7) {
        drawing.line((x0, y.at(tick)), (x1, y.at(tick)), "g");
        drawing.text(
            (x0 - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            "m sm",
            &number(tick),
        );
    }
    for (size, label) in [
        (64, "64"),
        (256, "256"),
        (1024, "1K"),
        (4096, "4K"),
        (16_384, "16K"),
        (65_536, "64K"),
    ] {
        let at = x.at(f64::from(size));
        drawing.line((at, y0), (at, y1), "g");
        drawing.text((at, y0 + 18.0), Anchor::Middle, "m sm", label);
    }
    drawing.line((x0, y0), (x1, y0), "ax");
    drawing.text(
        ((x0 + x1) / 2.0, y0 + 36.0),
        Anchor::Middle,
        "m sm",
        "bytes of a frame",
    );
    for (n, (name, dash, value)) in lines.iter().enumerate() {
        let path: Vec<_> = points
            .iter()
            .map(|p| (x.at(p.size as f64), y.at(value(p))))
            .collect();
        drawing.path(&path, &color(n), dash);
        // Bandwidth curves leave the lower right free, times the upper left.
        let (lx, ly) = if log {
            (x0 + 14.0, y1 + 16.0 + 18.0 * n as f64)
        } else {
            (x1 - 190.0, y0 - 16.0 - 18.0 * (lines.len() - 1 - n) as f64)
        };
        drawing.path(&[(lx, ly - 4.0), (lx + 26.0, ly - 4.0)], &color(n), dash);
        drawing.text((lx + 34.0, ly), Anchor::Start, "sm", name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::SimTime;

    fn card(profile: Profile) -> CardModel {
        let link = LinkSpec {
            generation: 3,
            lanes: 8,
            max_payload: 256,
            max_read_request: 512,
            latency: SimTime::from_ns(500),
        };
        CardModel {
            name: "fpga0".into(),
            link,
            dma: DmaSpec {
                channels: 4,
                profile,
            },
        }
    }

    fn row(table: &str, size: u64) -> Vec<f64> {
        let fields = |line: &str| {
            line.split_whitespace()
                .map(|f| f.parse::<f64>().ok())
                .collect::<Option<Vec<_>>>()
        };
        let rows = table.lines().filter_map(fields);
        rows.into_iter()
            .find(|row| row.first() == Some(&(size as f64)))
            .unwrap()
    }

    /// pcie-bench's formulas for Gen3 x8, max payload 256, 64-bit addresses, max
    /// read request 512: write, read and both, as published to two digits.
    #[test]
    fn table_of_a_gen3_x8_link() {
        let table = card(Profile::Ideal).table().unwrap();
        assert!(table.contains("63.02 Gb/s, 57.88 Gb/s"), "{table}");
        for (size, want) in [
            (64, [42.10, 44.10, 33.08]),
            (256, [52.92, 53.69, 48.75]),
            (257, [48.78, 50.09, 45.22]),
            (512, [52.92, 53.69, 50.75]),
            (1500, [52.81, 53.60, 50.60]),
            (4096, [52.92, 53.69, 50.75]),
        ] {
            let row = row(&table, size);
            for (got, want) in row[1..4].iter().zip(want) {
                assert!((got - want).abs() < 0.0051 + want * 1e-3, "{size}: {row:?}");
            }
            // Nothing but the link's latency, once.
            assert_eq!(row[4..6], [0.5, 0.5], "{size}");
        }
    }

    /// 10 us for each transfer of 1500 bytes give about 1.17 Gb/s; 5 us 2.30.
    #[test]
    fn table_of_xdma() {
        for (profile, gbps, us) in [
            (Profile::XdmaGen3x8Irq, 1.17, 10.0),
            (Profile::XdmaGen3x8Poll, 2.30, 5.0),
        ] {
            let row = row(&card(profile).table().unwrap(), 1500);
            assert!((row[1] - gbps).abs() < 0.011, "{row:?}");
            // The fixed cost, 0.5 us of latency, and the bytes on the link.
            assert!(
                (row[4] - us - 0.5 - 1500.0 * 8e-3 / 52.81).abs() < 0.01,
                "{row:?}"
            );
        }
    }

    #[test]
    fn the_plot_is_a_drawing_with_all_curves() {
        let cards = [card(Profile::Nfp6000Gen3x8), card(Profile::XdmaGen3x8Irq)];
        let text = plot(&cards).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let lines = document
            .descendants()
            .filter(|n| n.tag_name().name() == "polyline");
        let curves = lines.filter(|n| {
            n.attribute("points")
                .is_some_and(|p| p.split(' ').count() > 100)
        });
        assert_eq!(curves.count(), 10);
        assert!(
            text.contains("profile nfp6000-gen3x8") && text.contains("profile xdma-gen3x8-irq")
        );
    }
}
