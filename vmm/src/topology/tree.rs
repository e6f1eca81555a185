//! A YAML document as a tree of located nodes, so that every later message can
//! say where its value was written.

use super::error::{Origin, Problem};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// A topology is a page or two; aliases must not make it a million nodes.
const MOST_NODES: usize = 100_000;
const MOST_DEPTH: usize = 64;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text as written; `plain` without quotes, so it may be a number or null.
    Scalar {
        text: String,
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) value: Node,
}

impl Node {
    /// Parses one document. `origin` places a position in it.
    pub(super) fn parse(
        text: &str,
        origin: &dyn Fn(usize, usize) -> Origin,
    ) -> Result<Self, Problem> {
        let mut builder = Builder {
            parser: Parser::new_from_str(text),
            origin,
            anchors: HashMap::new(),
            nodes: 0,
        };
        builder.document()
    }
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if is_null(text))
    }
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }
    /// The place of `path`, or of the last part of it that was written.
    pub(super) fn place(&self, path: &str) -> Origin {
        let mut node = self;
        let mut place = self.origin.clone();
        for part in path.split('.').filter(|p| !p.is_empty()) {
            let next = match &node.kind {
                Kind::Map(_) => node.get(part).map(|e| {
                    let scalar = matches!(e.value.kind, Kind::Scalar { .. });
                    let at = if scalar && !e.value.is_null() {
                        &e.value.origin
                    } else {
                        &e.origin
                    };
                    (&e.value, at)
                }),
                Kind::Seq(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|n| (n, &n.origin)),
                Kind::Scalar { .. } => None,
            };
            let Some((child, at)) = next else {
                break;
            };
            node = child;
            place = at.clone();
        }
        place
    }
}

/// Null of the YAML 1.2 core schema.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

struct Builder<'a, P> {
    parser: P,
    origin: &'a dyn Fn(usize, usize) -> Origin,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

type Parsed<'t> = Result<(Event<'t>, Span), serde_saphyr::granit_parser::ScanError>;

impl<'t, P: Iterator<Item = Parsed<'t>>> Builder<'_, P> {
    fn at(&self, span: &Span) -> Origin {
        (self.origin)(span.start.line(), span.start.col() + 1)
    }
    fn next(&mut self) -> Result<(Event<'t>, Origin), Problem> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Anchor(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, self.at(&span))),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let origin = (self.origin)(mark.line(), mark.col() + 1);
                    let what = format!("this is not YAML: {}", error.info());
                    let hint = if what.contains("tab") {
                        "indent with spaces"
                    } else {
                        "check indentation, quotes and brackets"
                    };
                    return Err(Problem::new(origin, what, hint));
                }
                None => return Ok((Event::StreamEnd, (self.origin)(0, 0))),
            }
        }
    }
    fn document(&mut self) -> Result<Node, Problem> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => {
                    let origin = (self.origin)(1, 1);
                    break Node {
                        origin,
                        kind: Kind::Scalar {
                            text: String::new(),
                            plain: true,
                        },
                    };
                }
                (event, origin) => break self.node(event, origin, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentEnd, _) => {}
                (_, origin) => {
                    let what = "a second document starts here";
                    return Err(Problem::new(origin, what, "write one topology in one file"));
                }
            }
        }
    }
    fn node(&mut self, event: Event<'t>, origin: Origin, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > MOST_DEPTH {
            let what = "the topology is too large or too deeply nested";
            return Err(Problem::new(origin, what, "write less"));
        }
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, _) => (
                anchor,
                Kind::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                },
            ),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, origin) => items.push(self.node(event, origin, depth + 1)?),
                    }
                }
                (anchor, Kind::Seq(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).cloned() else {
                    let what = "this alias refers to the value that it is in";
                    return Err(Problem::new(origin, what, "write the value out"));
                };
                self.nodes += count(&target);
                return Ok(target);
            }
            _ => {
                let what = "this is not a value";
                return Err(Problem::new(origin, what, "check indentation and quotes"));
            }
        };
        let node = Node { origin, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
    fn map(&mut self, depth: usize) -> Result<Kind, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, origin) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Kind::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    let what = "a key must be a word";
                    return Err(Problem::new(origin, what, "write 'key: value'"));
                }
            };
            if entries.iter().any(|e| e.key == key) {
                let what = format!("key '{key}' is here twice");
                return Err(Problem::new(origin, what, "remove one of them"));
            }
            let (event, place) = self.next()?;
            let value = self.node(event, place, depth + 1)?;
            entries.push(Entry { key, origin, value });
        }
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::Seq(items) => items.iter().map(count).sum(),
        Kind::Map(entries) => entries.iter().map(|e| count(&e.value)).sum(),
    }
}
