//! Reads the spec types from a located tree. It says what it found in the
//! user's words and where, which a general YAML reader cannot after `--set`.

use super::error::{Origin, Problem, suggest};
use super::tree::{Entry, Kind, Node, is_null};
use serde::de::{self, DeserializeSeed, Expected, Unexpected, Visitor};
use std::fmt;

/// Reads a `T` from the document `root`.
pub(super) fn read<T: de::DeserializeOwned>(root: &Node) -> Result<T, Problem> {
    T::deserialize(De {
        node: root,
        key: "",
    })
    .map_err(|e| Problem {
        origin: e.origin.unwrap_or_else(|| root.origin.clone()),
        what: e.what,
        hint: e.hint,
    })
}

#[derive(Debug)]
pub(super) struct Error {
    origin: Option<Origin>,
    what: String,
    hint: Option<String>,
}

impl Error {
    fn new(what: String, hint: String) -> Self {
        Self {
            origin: None,
            what,
            hint: (!hint.is_empty()).then_some(hint),
        }
    }
    /// Gives the innermost place and key to an error that has none yet.
    fn at(mut self, origin: &Origin, key: &str) -> Self {
        if self.origin.is_none() {
            self.origin = Some(origin.clone());
            if !key.is_empty() {
                self.what = format!("{key}: {}", self.what);
            }
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    /// `what; hint`.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once("; ") {
            Some((what, hint)) => Self::new(what.to_owned(), hint.to_owned()),
            None => Self::new(message, String::new()),
        }
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest(field, expected, "the keys here are");
        Self::new(format!("unknown key '{field}'"), hint)
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest(variant, expected, "use one of");
        Self::new(format!("'{variant}' is not known here"), hint)
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(
            format!("key '{field}' is missing"),
            format!("add '{field}: ...'"),
        )
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(
            format!("expected {expected}, found {}", name(found)),
            String::new(),
        )
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

fn name(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(b) => b.to_string(),
        Unexpected::Unsigned(n) => n.to_string(),
        Unexpected::Signed(n) => n.to_string(),
        Unexpected::Float(n) => n.to_string(),
        Unexpected::Str(s) => format!("'{s}'"),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
    /// The key that the node is the value of, for messages.
    key: &'a str,
}

impl<'a> De<'a> {
    fn found(&self) -> String {
        match &self.node.kind {
            _ if self.node.is_null() => "nothing".into(),
            Kind::Scalar { text, .. } => format!("'{text}'"),
            Kind::Seq(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }
    fn expected(&self, what: &dyn fmt::Display) -> Error {
        let hint = if self.node.is_null() && !self.key.is_empty() {
            format!("write one, or remove '{}'", self.key)
        } else {
            String::new()
        };
        Error::new(format!("expected {what}, found {}", self.found()), hint)
            .at(&self.node.origin, self.key)
    }
    fn text(&self, what: &dyn fmt::Display) -> Result<&'a str, Error> {
        match &self.node.kind {
            Kind::Scalar { text, .. } if !self.node.is_null() => Ok(text),
            _ => Err(self.expected(what)),
        }
    }
    fn whole(&self, most: u64) -> Result<u64, Error> {
        let text = self.text(&"a whole number")?;
        let place = |e: Error| e.at(&self.node.origin, self.key);
        match parse_whole(text) {
            Some(n) if n <= most => Ok(n),
            Some(n) => Err(place(Error::new(
                format!("{n} is too large"),
                format!("the most is {most}"),
            ))),
            None => Err(place(Error::new(
                format!("'{text}' is not a whole number"),
                "write 0 or more in digits".into(),
            ))),
        }
    }
}

fn parse_whole(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

macro_rules! whole_numbers {
    ($($name:ident $visit:ident $type:ty,)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let n = self.whole(<$type>::MAX as u64)?;
            visitor.$visit(n as $type).map_err(|e: Error| e.at(&self.node.origin, self.key))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for De<'de> {
    type Error = Error;

    whole_numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.kind {
            Kind::Seq(items) => return self.items(items, visitor),
            Kind::Map(entries) => return self.entries(entries, visitor),
            Kind::Scalar { text, plain: true } => {
                if is_null(text) {
                    visitor.visit_unit()
                } else if let Some(n) = parse_whole(text) {
                    visitor.visit_u64(n)
                } else if let "true" | "false" = text.as_str() {
                    visitor.visit_bool(text == "true")
                } else {
                    visitor.visit_str(text)
                }
            }
            Kind::Scalar { text, .. } => visitor.visit_str(text),
        };
        result.map_err(|e: Error| e.at(&self.node.origin, self.key))
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text(&"true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.expected(&"true or false")),
        }
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text(&(&visitor as &dyn Expected))?;
        visitor
            .visit_str(text)
            .map_err(|e: Error| e.at(&self.node.origin, self.key))
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Seq(items) => self.items(items, visitor),
            _ if self.node.is_null() => self.items(&[], visitor),
            _ => Err(self.expected(&"a list")),
        }
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Map(entries) => self.entries(entries, visitor),
            _ if self.node.is_null() => self.entries(&[], visitor),
            _ => Err(self.expected(&"a map (lines of 'key: value')")),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let list = format!("one of {}", variants.join(", "));
        let access = match &self.node.kind {
            Kind::Scalar { text, .. } if !self.node.is_null() => Variant {
                key: self.key,
                name: text,
                origin: &self.node.origin,
                value: None,
            },
            Kind::Map(entries) => match entries.as_slice() {
                [entry] => Variant {
                    key: self.key,
                    name: &entry.key,
                    origin: &entry.origin,
                    value: Some(&entry.value),
                },
                _ => return Err(self.expected(&list)),
            },
            _ => return Err(self.expected(&list)),
        };
        let (origin, key) = (access.origin, access.key);
        visitor
            .visit_enum(access)
            .map_err(|e: Error| e.at(origin, key))
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
    serde::forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

impl<'a> De<'a> {
    fn items<V: Visitor<'a>>(self, items: &'a [Node], visitor: V) -> Result<V::Value, Error> {
        let access = Items {
            items: items.iter(),
            key: self.key,
        };
        visitor
            .visit_seq(access)
            .map_err(|e: Error| e.at(&self.node.origin, self.key))
    }
    fn entries<V: Visitor<'a>>(self, entries: &'a [Entry], visitor: V) -> Result<V::Value, Error> {
        let access = Entries {
            entries: entries.iter(),
            value: None,
        };
        visitor
            .visit_map(access)
            .map_err(|e: Error| e.at(&self.node.origin, self.key))
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    key: &'a str,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let key = self.key;
        self.items
            .next()
            .map(|node| seed.deserialize(De { node, key }))
            .transpose()
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<De<'a>>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(De {
            node: &entry.value,
            key: &entry.key,
        });
        let key = de::value::StrDeserializer::<Error>::new(&entry.key);
        seed.deserialize(key)
            .map(Some)
            .map_err(|e| e.at(&entry.origin, ""))
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(Error::new("a value is missing".into(), String::new())),
        }
    }
}

struct Variant<'a> {
    key: &'a str,
    name: &'a str,
    origin: &'a Origin,
    value: Option<&'a Node>,
}

impl<'a> Variant<'a> {
    fn content(&self) -> Result<De<'a>, Error> {
        let key = self.name;
        self.value.map(|node| De { node, key }).ok_or_else(|| {
            let hint = format!("write '{key}: {{ ... }}'");
            Error::new(format!("'{key}' needs keys of its own"), hint)
        })
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = de::value::StrDeserializer::<Error>::new(self.name);
        let value = seed
            .deserialize(name)
            .map_err(|e| e.at(self.origin, self.key))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            None => Ok(()),
            Some(node) if node.is_null() => Ok(()),
            Some(_) => Err(Error::new(
                format!("'{}' has no keys of its own", self.name),
                format!("write just '{}'", self.name),
            )),
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content()?)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_seq(self.content()?, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_map(self.content()?, visitor)
    }
}
