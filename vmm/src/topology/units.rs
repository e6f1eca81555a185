//! Values with a unit or a notation of their own, each written as one word.

use bus::SimTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bytes, written like `64K`, `256M` or `2G` (powers of 1024) or as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a size; write a number and K, M or G, such as 256M");
        let trimmed = text
            .strip_suffix("iB")
            .or(text.strip_suffix('B'))
            .unwrap_or(text);
        let (number, shift) = match trimmed.as_bytes().last() {
            Some(b'K' | b'k') => (&trimmed[..trimmed.len() - 1], 10),
            Some(b'M' | b'm') => (&trimmed[..trimmed.len() - 1], 20),
            Some(b'G' | b'g') => (&trimmed[..trimmed.len() - 1], 30),
            Some(b'T' | b't') => (&trimmed[..trimmed.len() - 1], 40),
            _ => (trimmed, 0),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Bits per second, written like `100M` (powers of 1000) or as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a rate; write bits per second, such as 100M");
        let (number, scale) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], 1_000),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 1_000_000),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 1_000_000_000),
            _ => (text, 1),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scale, unit) in [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "K")] {
            if self.0 != 0 && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A length of time, written like `500ns`, `10ms` or `3s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub SimTime);

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|e: bus::SimTimeParseError| e.to_string())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A share of a whole, written in percent: `0%`, `2.5%`. Held as a fraction of 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let value = text
            .strip_suffix('%')
            .and_then(|n| n.trim().parse::<f64>().ok());
        match value {
            Some(n) if (0.0..=100.0).contains(&n) => Ok(Self(n / 100.0)),
            Some(_) => Err(format!("'{text}' is not between 0% and 100%")),
            None => Err(format!(
                "'{text}' is not a percentage; write it like 0% or 2.5%"
            )),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ten digits hide the error of the division by 100 and keep the value.
        let percent = (self.0 * 1e12).round() / 1e10;
        write!(f, "{percent}%")
    }
}

/// Permission bits of a file, written as three or four octal digits: `755`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o644)
    }
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = digits.bytes().all(|b| (b'0'..b'8').contains(&b));
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(format!(
                "'{text}' is not a file mode; write octal digits, such as 755"
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

/// An Ethernet address, written like `52:54:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "'{text}' is not a MAC address; write six hex pairs, such as \"52:54:00:00:00:01\""
            )
        };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        if bytes[0] & 1 != 0 {
            return Err(format!(
                "'{text}' is a multicast address; make the first byte even, such as 52"
            ));
        }
        if bytes == [0; 6] {
            return Err(format!(
                "'{text}' is no address; leave 'mac' out for a default"
            ));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IP address with the length of its network prefix: `10.10.10.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// Address.
    pub ip: IpAddr,
    /// Bits of the network prefix.
    pub prefix: u8,
}

impl Cidr {
    fn bits(self) -> u8 {
        if self.ip.is_ipv4() { 32 } else { 128 }
    }
    fn number(ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(ip) => u32::from(ip).into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
    fn mask(self) -> u128 {
        let all = u128::MAX >> (128 - u32::from(self.bits()));
        all & !(all.checked_shr(self.prefix.into()).unwrap_or(0))
    }
    /// Whether `ip` is in this network.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4()
            && Self::number(self.ip) & self.mask() == Self::number(ip) & self.mask()
    }
    /// The network's own address.
    pub fn network(self) -> IpAddr {
        let number = Self::number(self.ip) & self.mask();
        match self.ip {
            IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        }
    }
    /// Whether the address is one that a host may have in its network.
    pub fn is_host(self) -> bool {
        let free = self.bits() - self.prefix;
        if free < 2 {
            return true;
        }
        let host = Self::number(self.ip) & !self.mask() & (u128::MAX >> (128 - self.bits()));
        host != 0 && (self.ip.is_ipv6() || host != (1 << free) - 1)
    }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "write an address and a prefix length, such as 10.10.10.1/24";
        let bad = || format!("'{text}' is not an address; {hint}");
        let Some((ip, prefix)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(_) => format!("'{text}' has no prefix length; write {text}/24"),
                Err(_) => bad(),
            });
        };
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(format!("'{text}' has a prefix longer than {most}; {hint}"));
        }
        Ok(Self { ip, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

macro_rules! word {
    ($type:ident, $what:literal, $example:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Word;
                impl Visitor<'_> for Word {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($what, " such as ", $example))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Word)
            }
        }
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["string", "integer"],
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        }
    };
}

word!(Size, "a size", "256M", "^[0-9]+([kKmMgGtT](iB|B)?)?$");
word!(Rate, "a rate", "100M", "^[0-9]+[kKmMgG]?$");
word!(Duration, "a duration", "10ms", "^[0-9.]+ ?(ps|ns|us|ms|s)$");
word!(Percent, "a percentage", "0%", "^[0-9.]+ ?%$");
word!(Mode, "a file mode", "755", "^(0o)?[0-7]{3,5}$");
word!(
    Mac,
    "a MAC address",
    "52:54:00:00:00:01",
    "^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$"
);
word!(
    Cidr,
    "an address",
    "10.10.10.1/24",
    "^[0-9a-fA-F.:]+/[0-9]{1,3}$"
);

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(u32),
    /// A list.
    Many(Vec<u32>),
}

impl OneOrMany {
    /// All values, in the order they were written.
    pub fn values(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a list of them")
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<OneOrMany, E> {
                u32::try_from(n)
                    .map(OneOrMany::One)
                    .map_err(|_| E::custom(format!("{n} is too large")))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }
        d.deserialize_any(Values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        fn check<T: FromStr<Err = String> + fmt::Display + PartialEq + fmt::Debug>(
            cases: &[(&str, T, &str)],
        ) {
            for (text, value, shown) in cases {
                let parsed: T = text.parse().unwrap();
                assert_eq!(parsed, *value, "{text}");
                assert_eq!(parsed.to_string(), *shown, "{text}");
                assert_eq!(shown.parse::<T>().unwrap(), *value, "{shown}");
            }
        }
        check(&[
            ("256M", Size(256 << 20), "256M"),
            ("4096MiB", Size(4 << 30), "4G"),
            ("1500", Size(1500), "1500"),
            ("64k", Size(65536), "64K"),
            ("0", Size(0), "0"),
        ]);
        check(&[
            ("100M", Rate(100_000_000), "100M"),
            ("2500k", Rate(2_500_000), "2500K"),
        ]);
        check(&[
            ("0%", Percent(0.0), "0%"),
            ("2.5 %", Percent(0.025), "2.5%"),
            ("100%", Percent(1.0), "100%"),
            ("0.7%", Percent(0.7 / 100.0), "0.7%"),
        ]);
        check(&[
            ("755", Mode(0o755), "755"),
            ("0644", Mode(0o644), "644"),
            ("4755", Mode(0o4755), "4755"),
        ]);
        check(&[(
            "52-54-00-00-00-0A",
            Mac([0x52, 0x54, 0, 0, 0, 10]),
            "52:54:00:00:00:0a",
        )]);
    }

    #[test]
    fn networks() {
        let net = |text: &str| text.parse::<Cidr>().unwrap();
        let a = net("10.10.10.1/24");
        assert!(a.contains("10.10.10.255".parse().unwrap()));
        assert!(!a.contains("10.10.11.1".parse().unwrap()));
        assert!(!a.contains("fd00::1".parse().unwrap()));
        assert_eq!(a.network().to_string(), "10.10.10.0");
        for (text, host) in [
            ("10.0.0.0/24", false),
            ("10.0.0.255/24", false),
            ("10.0.0.255/16", true),
            ("10.0.0.0/31", true),
            ("10.0.0.0/32", true),
            ("0.0.0.0/0", false),
            ("fd00::/64", false),
            ("fd00::ffff:ffff:ffff:ffff/64", true),
        ] {
            assert_eq!(net(text).is_host(), host, "{text}");
        }
        assert!(net("1.2.3.4/0").contains("9.9.9.9".parse().unwrap()));
        assert!(net("fd00::1/128").contains("fd00::1".parse().unwrap()));
    }
}
