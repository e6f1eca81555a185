//! Reader of Debian binary packages: deb(5), an `ar` archive of two tars.

use std::io::{self, Read};

use thiserror::Error;

use crate::decompress::{self, Format};

/// Most bytes of file contents that one package may unpack to in memory.
pub const MAX_UNPACKED: u64 = 512 << 20;
/// Longest control file that is believed.
const MAX_CONTROL: u64 = 4 << 20;

/// Why a package could not be read.
#[derive(Debug, Error)]
pub enum DebError {
    /// The `ar` magic is missing.
    #[error("not a Debian package: no ar archive magic at its start")]
    NotDeb,
    /// The archive ends early.
    #[error("truncated package: {what} ends past the end of the file")]
    Truncated {
        /// The part that was cut.
        what: String,
    },
    /// A malformed ar member header.
    #[error("malformed package: ar header at byte {offset}: {what}")]
    Header {
        /// Offset of the header in the file.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A required member is absent.
    #[error("malformed package: no {0} member")]
    Missing(&'static str),
    /// The package format version is not 2.x.
    #[error("unsupported package format version {0:?} (2.0 is supported)")]
    Version(String),
    /// The compression of a member is unknown.
    #[error("unsupported compression of {0} (none, gz, xz and zst are supported)")]
    Compression(String),
    /// A tar or its compression is damaged.
    #[error("damaged {member}: {source}")]
    Data {
        /// The ar member.
        member: String,
        /// What the decoder said.
        source: io::Error,
    },
    /// The package unpacks to more than the limit.
    #[error("package unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A path that would leave the root.
    #[error("malformed package: path {0:?} leaves the package's root")]
    Path(String),
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebEntry {
    /// Path without a leading `/` or `./`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: DebKind,
}

/// What a package entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebKind {
    /// A regular file and its contents; empty while visiting.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
    /// A hard link to another path of the same package.
    Hardlink(String),
}

/// A package in memory.
#[derive(Clone, Debug, Default)]
pub struct Deb {
    /// The control stanza.
    pub control: String,
    /// Files in the package's order.
    pub entries: Vec<DebEntry>,
}

/// Reads a whole package into memory.
///
/// # Errors
/// [`DebError`]; never panics, whatever the bytes are.
pub fn read_deb(bytes: &[u8]) -> Result<Deb, DebError> {
    let members = members(bytes)?;
    let control = read_control(&members)?;
    let mut entries = Vec::new();
    let mut total = 0u64;
    visit_members(&members, &mut |mut entry, reader| {
        if let DebKind::File(data) = &mut entry.kind {
            *data = take(reader, &mut total)?;
        }
        entries.push(entry);
        Ok(())
    })?;
    Ok(Deb { control, entries })
}

/// Calls `visit` for every file with a reader of its contents, without
/// holding the package's contents in memory.
///
/// # Errors
/// [`DebError`], or what `visit` returns.
pub fn visit_deb(bytes: &[u8], visit: Visitor<'_>) -> Result<(), DebError> {
    visit_members(&members(bytes)?, visit)
}

/// What [`visit_deb`] calls per file.
pub type Visitor<'a> = &'a mut dyn FnMut(DebEntry, &mut dyn Read) -> Result<(), DebError>;

/// Reads a file inside a visit and counts it against [`MAX_UNPACKED`].
///
/// # Errors
/// Damaged data, or too much of it.
pub fn take(reader: &mut dyn Read, total: &mut u64) -> Result<Vec<u8>, DebError> {
    let left = MAX_UNPACKED.saturating_sub(*total);
    let data = decompress::read_limited(reader, left).map_err(|e| data_error("data.tar", e))?;
    *total += data.len() as u64;
    Ok(data)
}

struct Member<'a> {
    name: String,
    data: &'a [u8],
}

/// Splits the ar archive. Header layout: name 16, mtime 12, uid 6, gid 6,
/// mode 8, size 10, end 2 (ar(5), the common variant that deb(5) asks for).
fn members(bytes: &[u8]) -> Result<Vec<Member<'_>>, DebError> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or(DebError::NotDeb)?;
    let mut out: Vec<Member<'_>> = Vec::new();
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let bad = |what| DebError::Header { offset, what };
        let (header, body) = rest
            .split_first_chunk::<60>()
            .ok_or_else(|| DebError::Truncated {
                what: format!("the ar header at byte {offset}"),
            })?;
        if &header[58..60] != b"`\n" {
            return Err(bad("bad end mark"));
        }
        let text = std::str::from_utf8(&header[..58]).map_err(|_| bad("not ASCII"))?;
        let field = |range| {
            text.get(range)
                .map(str::trim)
                .ok_or_else(|| bad("not ASCII"))
        };
        let name = field(0..16)?.trim_end_matches('/').to_string();
        let size: usize = field(48..58)?.parse().map_err(|_| bad("bad size"))?;
        if size > body.len() {
            return Err(DebError::Truncated { what: name });
        }
        let (data, tail) = body.split_at(size);
        if out.len() == 64 {
            return Err(bad("too many members"));
        }
        out.push(Member { name, data });
        rest = match size % 2 {
            1 => tail.get(1..).unwrap_or_default(),
            _ => tail,
        };
    }
    match out.first() {
        Some(m) if m.name == "debian-binary" => {
            let version = String::from_utf8_lossy(&m.data[..m.data.len().min(16)]);
            if !version.starts_with("2.") {
                return Err(DebError::Version(version.trim().to_string()));
            }
            Ok(out)
        }
        _ => Err(DebError::Missing("debian-binary")),
    }
}

fn data_error(member: &str, source: io::Error) -> DebError {
    if source.kind() == io::ErrorKind::FileTooLarge {
        return DebError::TooLarge {
            limit: MAX_UNPACKED,
        };
    }
    DebError::Data {
        member: member.to_string(),
        source,
    }
}

/// The named tar of the package, decompressed by its member's suffix.
fn open_tar<'a>(
    members: &'a [Member<'a>],
    prefix: &'static str,
) -> Result<(&'a str, Box<dyn Read + 'a>), DebError> {
    let member = members
        .iter()
        .find(|m| m.name.starts_with(prefix))
        .ok_or(DebError::Missing(prefix))?;
    let format = match &member.name[prefix.len()..] {
        "" => return Ok((&member.name, Box::new(member.data))),
        ".gz" => Format::Gzip,
        ".xz" => Format::Xz,
        ".zst" => Format::Zstd,
        _ => return Err(DebError::Compression(member.name.clone())),
    };
    let reader =
        decompress::reader(format, member.data).map_err(|e| data_error(&member.name, e))?;
    Ok((&member.name, reader))
}

fn read_control(members: &[Member<'_>]) -> Result<String, DebError> {
    let (name, reader) = open_tar(members, "control.tar")?;
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(|e| data_error(name, e))? {
        let mut entry = entry.map_err(|e| data_error(name, e))?;
        if clean(&entry.path_bytes())? == "control" {
            let text = decompress::read_limited(&mut entry, MAX_CONTROL)
                .map_err(|e| data_error(name, e))?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Err(DebError::Missing("control file"))
}

fn visit_members(members: &[Member<'_>], visit: Visitor<'_>) -> Result<(), DebError> {
    let (name, reader) = open_tar(members, "data.tar")?;
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(|e| data_error(name, e))? {
        let mut entry = entry.map_err(|e| data_error(name, e))?;
        let path = clean(&entry.path_bytes())?;
        let link = || {
            let bytes = entry.link_name_bytes().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                DebKind::File(Vec::new())
            }
            tar::EntryType::Directory => DebKind::Dir,
            tar::EntryType::Symlink => DebKind::Symlink(link()),
            tar::EntryType::Link => DebKind::Hardlink(clean(link().as_bytes())?),
            _ => continue,
        };
        let mode = entry.header().mode().map_err(|e| data_error(name, e))? & 0o7777;
        if path.is_empty() {
            continue;
        }
        visit(DebEntry { path, mode, kind }, &mut entry)?;
    }
    Ok(())
}

/// A path relative to the root, without `.` components; `..` is refused.
fn clean(raw: &[u8]) -> Result<String, DebError> {
    let text = String::from_utf8_lossy(raw);
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(DebError::Path(text.into_owned())),
            part if part.contains('\0') => return Err(DebError::Path(text.into_owned())),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
