//! Drawing with SVG: text, scales, axes. Colours are CSS variables of the page,
//! so that one drawing serves light and dark.

use std::fmt::Write;

/// Colours of the page and of drawings, for light and dark. A drawing by itself
/// carries this style; on a page it comes once.
pub const PALETTE: &str = "\
:root{--bg:#ffffff;--panel:#f5f6f8;--ink:#1d2127;--muted:#5b6470;--line:#d5d9df;--good:#1a7f45;\
--bad:#c0271d;--s0:#2565ae;--s1:#bf5a12;--s2:#1f7a56;--s3:#8145ad;--s4:#ab2f62;--s5:#5d6470}\
@media(prefers-color-scheme:dark){:root{--bg:#14171c;--panel:#1d2128;--ink:#e6e9ee;\
--muted:#a3acb8;--line:#363c46;--good:#5cc98a;--bad:#ff7a6e;--s0:#78b0f0;--s1:#f0a264;--s2:#62c79b;\
--s3:#c79bea;--s4:#f088b0;--s5:#aab2bd}}";

/// Rules for drawings.
pub const DRAWING: &str = "\
svg text{font:13px system-ui,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:var(--ink)}\
svg .m{fill:var(--muted)}svg .b{font-weight:600}svg .g{stroke:var(--line);fill:none}\
svg .ax{stroke:var(--muted);fill:none}svg .box{fill:var(--panel);stroke:var(--muted)}\
svg .in{fill:var(--bg);stroke:var(--muted)}svg .wire{stroke:var(--muted);stroke-width:2;fill:none}\
svg .sm{font-size:12px}svg .badt{fill:var(--bad);font-weight:600}";

/// Number of series colours.
const COLORS: usize = 6;

/// The CSS colour of series `n`.
pub fn color(n: usize) -> String {
    format!("var(--s{})", n % COLORS)
}

/// Text as XML content or attribute value. Characters that XML 1.0 cannot hold
/// become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The first characters of `text`, so that it fits about `width` pixels.
pub fn fit(text: &str, width: f64) -> String {
    let most = (width / 7.4).max(2.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('\u{2026}');
    cut
}

/// Where text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It starts there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A drawing in progress.
#[derive(Debug)]
pub struct Drawing {
    out: String,
    width: f64,
    height: f64,
}

impl Drawing {
    /// An empty drawing of so many pixels.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            out: String::new(),
            width,
            height,
        }
    }
    /// Adds markup as it is.
    pub fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
        self.out.push('\n');
    }
    /// A rectangle of a class.
    pub fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), class: &str) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" class=\"{class}\"/>"
        );
    }
    /// A filled rectangle; `fill` is a CSS colour.
    pub fn bar(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str, opacity: f64) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.2}\" height=\"{h:.2}\" \
             style=\"fill:{fill};opacity:{opacity:.2}\"/>"
        );
    }
    /// A line of a class.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }
    /// A line of a CSS colour.
    pub fn stroke(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), color: &str, width: f64) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             style=\"stroke:{color};stroke-width:{width}\"/>"
        );
    }
    /// A polyline of a CSS colour; `dash` is an SVG dash pattern or empty.
    pub fn path(&mut self, points: &[(f64, f64)], color: &str, dash: &str) {
        let mut text = String::new();
        for (x, y) in points {
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        let dash = if dash.is_empty() {
            String::new()
        } else {
            format!(";stroke-dasharray:{dash}")
        };
        let _ = writeln!(
            self.out,
            "<polyline points=\"{}\" style=\"fill:none;stroke-width:2;stroke:{color}{dash}\"/>",
            text.trim_end()
        );
    }
    /// A mark for a point of series `n`: circle, square or triangle.
    pub fn mark(&mut self, (x, y): (f64, f64), n: usize) {
        let fill = color(n);
        let shape = match n % 3 {
            0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\""),
            1 => format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8.4\" height=\"8.4\"",
                x - 4.2,
                y - 4.2
            ),
            _ => format!(
                "<polygon points=\"{x:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"",
                y - 5.5,
                x + 5.0,
                y + 4.0,
                x - 5.0,
                y + 4.0
            ),
        };
        let _ = writeln!(self.out, "{shape} style=\"fill:{fill}\"/>");
    }
    /// Text, which is escaped here.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }
    /// The element, for a page; `label` is read to those who do not see it.
    pub fn inline(self, label: &str) -> String {
        self.element(label, "")
    }
    /// A file of its own.
    pub fn file(self, label: &str) -> String {
        let style = format!("<style>{PALETTE}svg{{background:var(--bg)}}{DRAWING}</style>\n");
        let body = self.element(label, &style);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")
    }
    fn element(self, label: &str, style: &str) -> String {
        let (w, h) = (self.width, self.height);
        let label = escape(label);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" \
             width=\"{w:.0}\" height=\"{h:.0}\" role=\"img\" aria-label=\"{label}\">\n{style}{}</svg>\n",
            self.out
        )
    }
}

/// From values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// Equal steps for equal differences.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            from,
            to,
            log: false,
        }
    }
    /// Equal steps for equal ratios; values must be above 0.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = low.max(1e-9);
        let high = if high > low * 1.01 { high } else { low * 2.0 };
        Self {
            low,
            high,
            from,
            to,
            log: true,
        }
    }
    /// Pixel of `value`; values outside are drawn at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }
    /// Round values for about `most` labels.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        if self.log {
            let all = |steps: &[f64]| -> Vec<f64> {
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                (first..=last)
                    .flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)))
                    .filter(|v| *v >= self.low * 0.999 && *v <= self.high * 1.001)
                    .collect()
            };
            let fine = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
            for steps in [&fine[..], &[1.0, 2.0, 5.0][..], &[1.0, 3.0][..]] {
                let ticks = all(steps);
                if ticks.len() <= most {
                    return ticks;
                }
            }
            return all(&[1.0]);
        }
        let rough = (self.high - self.low) / most.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|s| *s >= rough * 0.999)
            .unwrap_or(power * 10.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step * 1.000_001).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// A number with as many digits as its size needs.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// `1234567` as `1,234,567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
