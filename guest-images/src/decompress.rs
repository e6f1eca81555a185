//! Stream decompression, chosen by the caller or by the first bytes.

use std::io::{self, Read};

/// A compression format that this crate can read or at least name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// gzip (RFC 1952).
    Gzip,
    /// xz container.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// LZ4 legacy frame, as Linux uses for its own image.
    Lz4Legacy,
    /// LZ4 frame.
    Lz4,
    /// bzip2; named only.
    Bzip2,
    /// LZMA alone; named only.
    Lzma,
    /// lzop; named only.
    Lzo,
}

impl Format {
    /// Recognises a format by its magic number.
    pub fn detect(bytes: &[u8]) -> Option<Format> {
        const MAGICS: [(&[u8], Format); 8] = [
            (&[0x1f, 0x8b], Format::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Format::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
            (&[0x02, 0x21, 0x4c, 0x18], Format::Lz4Legacy),
            (&[0x04, 0x22, 0x4d, 0x18], Format::Lz4),
            (b"BZh", Format::Bzip2),
            (&[0x5d, 0, 0], Format::Lzma),
            (&[0x89, b'L', b'Z', b'O'], Format::Lzo),
        ];
        MAGICS
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, format)| *format)
    }

    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Zstd => "zstd",
            Format::Lz4Legacy => "lz4 (legacy)",
            Format::Lz4 => "lz4",
            Format::Bzip2 => "bzip2",
            Format::Lzma => "lzma",
            Format::Lzo => "lzo",
        }
    }

    /// Whether [`reader`] can read it.
    pub fn is_supported(self) -> bool {
        !matches!(self, Format::Bzip2 | Format::Lzma | Format::Lzo)
    }
}

/// A reader of the decompressed bytes of `input`.
///
/// # Errors
/// `Unsupported` for a format that is only named.
pub fn reader<'a>(format: Format, input: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Format::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(input)),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Format::Lz4Legacy | Format::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
        Format::Bzip2 | Format::Lzma | Format::Lzo => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "{} compression is not supported (gzip, xz, zstd and lz4 are)",
                    format.name()
                ),
            ));
        }
    })
}

/// Decompresses all of `input`, at most `limit` bytes of output.
///
/// # Errors
/// What the decoder says, or `FileTooLarge` past the limit.
pub fn decompress(format: Format, input: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    read_limited(&mut *reader(format, input)?, limit)
}

/// Reads to the end, growing as data comes, at most `limit` bytes.
///
/// # Errors
/// As the reader, or `FileTooLarge` past the limit.
pub fn read_limited(reader: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("unpacks to more than {limit} bytes"),
        ));
    }
    Ok(out)
}
