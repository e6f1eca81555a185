//! What a file is, by its first bytes, and whether it is whole.

use std::fmt;

use super::KernelError;
use crate::decompress::Format;
use crate::elf;

/// What a would-be kernel file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// arm64 `Image`: `ARM\x64` at 56.
    Arm64Image,
    /// ELF64, little endian.
    Elf {
        /// `e_machine`.
        machine: u16,
    },
    /// x86 bzImage: `HdrS` at 0x202.
    BzImage {
        /// Boot protocol, major in the high byte.
        protocol: u16,
    },
    /// EFI application with a compressed kernel inside: `zimg` at 4.
    EfiZboot,
    /// A compressed file.
    Compressed(Format),
    /// No kernel; says what it looks like.
    Other(String),
}

impl fmt::Display for KernelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelKind::Arm64Image => f.write_str("an arm64 Image"),
            KernelKind::Elf { machine: 62 } => f.write_str("an ELF for x86-64"),
            KernelKind::Elf { machine: 183 } => f.write_str("an ELF for aarch64"),
            KernelKind::Elf { machine } => write!(f, "an ELF for machine {machine}"),
            KernelKind::BzImage { protocol } => {
                write!(
                    f,
                    "an x86 bzImage (protocol {}.{:02})",
                    protocol >> 8,
                    protocol & 255
                )
            }
            KernelKind::EfiZboot => f.write_str("an EFI zboot image"),
            KernelKind::Compressed(format) => write!(f, "{} data", format.name()),
            KernelKind::Other(text) => f.write_str(text),
        }
    }
}

/// Tells kernels apart by content.
pub fn detect_kernel(bytes: &[u8]) -> KernelKind {
    let at =
        |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|b| b.starts_with(magic));
    if at(0x202, b"HdrS") && at(0x1fe, &[0x55, 0xaa]) {
        let protocol = u16_at(bytes, 0x206).unwrap_or(0);
        KernelKind::BzImage { protocol }
    } else if at(56, b"ARM\x64") {
        KernelKind::Arm64Image
    } else if at(0, b"MZ") && at(4, b"zimg") {
        KernelKind::EfiZboot
    } else if elf::is_elf64_le(bytes) {
        let machine = elf::machine(bytes).unwrap_or(0);
        KernelKind::Elf { machine }
    } else if let Some(format) = Format::detect(bytes) {
        KernelKind::Compressed(format)
    } else {
        KernelKind::Other(describe(bytes))
    }
}

fn describe(bytes: &[u8]) -> String {
    const MAGICS: [(usize, &[u8], &str); 13] = [
        (0, b"\x7fELF\x01", "a 32-bit ELF"),
        (0, b"\x7fELF", "a big-endian ELF"),
        (0, b"MZ", "an EFI or DOS program"),
        (0, b"070701", "a cpio archive (an initrd?)"),
        (0, b"070702", "a cpio archive (an initrd?)"),
        (257, b"ustar", "a tar"),
        (0, b"!<arch>\ndebian", "a Debian package"),
        (0, b"!<arch>", "an ar archive"),
        (0, &[0x27, 0x05, 0x19, 0x56], "a U-Boot uImage"),
        (
            0,
            &[0xd0, 0x0d, 0xfe, 0xed],
            "a device tree blob or FIT image",
        ),
        (0, b"PK\x03\x04", "a zip archive"),
        (0, b"hsqs", "a squashfs file system"),
        (0, b"QFI\xfb", "a qcow2 disk image"),
    ];
    if bytes.is_empty() {
        return "an empty file".to_string();
    }
    let hit = MAGICS
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic)));
    if let Some((_, _, what)) = hit {
        return (*what).to_string();
    }
    if bytes.get(1080..1082) == Some(&[0x53, 0xef]) {
        return "an ext file system".to_string();
    }
    let head = &bytes[..bytes.len().min(512)];
    if head
        .iter()
        .all(|&b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
        && std::str::from_utf8(&head[..head.len().saturating_sub(3)]).is_ok()
    {
        return "text".to_string();
    }
    if head.iter().all(|&b| b == 0) {
        return "zeros".to_string();
    }
    let first: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("of unknown kind (starts with {})", first.join(" "))
}

/// Refuses an arm64 `Image` that lost its end. Its own `image_size` counts
/// .bss, so the sections of its PE header tell the size of the file.
pub(super) fn check_arm64_image(bytes: &[u8]) -> Result<(), KernelError> {
    let have = bytes.len() as u64;
    let truncated = |need| KernelError::Truncated {
        what: "the arm64 Image",
        need,
        have,
    };
    if have < 64 {
        return Err(truncated(64));
    }
    let Some(pe) = u32_at(bytes, 60).filter(|_| bytes.starts_with(b"MZ")) else {
        return Ok(());
    };
    let pe = pe as usize;
    let header = bytes
        .get(pe..pe.saturating_add(24))
        .ok_or_else(|| truncated(pe as u64 + 24))?;
    if !header.starts_with(b"PE\0\0") {
        return Ok(());
    }
    let sections = usize::from(u16_at(header, 6).unwrap_or(0));
    let first = pe + 24 + usize::from(u16_at(header, 20).unwrap_or(0));
    for i in 0..sections {
        let at = first + i * 40;
        let field = |o: usize| u32_at(bytes, at + o).map(u64::from);
        let (Some(size), Some(start)) = (field(16), field(20)) else {
            return Err(truncated(at as u64 + 40));
        };
        if start + size > have {
            return Err(truncated(start + size));
        }
    }
    Ok(())
}

/// Refuses an ELF whose segments reach past the end of the file.
pub(super) fn check_elf(bytes: &[u8]) -> Result<(), KernelError> {
    let have = bytes.len() as u64;
    let truncated = |what, need| KernelError::Truncated { what, need, have };
    let (Some(off), Some(size), Some(count)) =
        (u64_at(bytes, 32), u16_at(bytes, 54), u16_at(bytes, 56))
    else {
        return Err(truncated("the ELF header", 64));
    };
    if count == 0 || size < 56 {
        return Err(KernelError::Header("an ELF without segments"));
    }
    for i in 0..u64::from(count) {
        let at = off.saturating_add(i * u64::from(size));
        let field = |o: u64| u64_at(bytes, usize::try_from(at.checked_add(o)?).ok()?);
        let (Some(start), Some(len)) = (field(8), field(32)) else {
            return Err(truncated("the program headers", at.saturating_add(56)));
        };
        if start.saturating_add(len) > have {
            return Err(truncated("a segment", start.saturating_add(len)));
        }
    }
    Ok(())
}

/// The compressed kernel inside an EFI zboot image (the Linux kernel's
/// drivers/firmware/efi/libstub/zboot-header.S: offset at 8, size at 12,
/// compression name at 24).
pub(super) fn zboot_payload(bytes: &[u8]) -> Result<(Format, &[u8]), KernelError> {
    let have = bytes.len() as u64;
    let (Some(offset), Some(size)) = (u32_at(bytes, 8), u32_at(bytes, 12)) else {
        return Err(KernelError::Header("zboot header cut off"));
    };
    let end = u64::from(offset) + u64::from(size);
    let payload = bytes
        .get(offset as usize..end as usize)
        .ok_or(KernelError::Truncated {
            what: "the zboot payload",
            need: end,
            have,
        })?;
    let format = Format::detect(payload).ok_or_else(|| KernelError::Compression {
        format: String::from_utf8_lossy(bytes.get(24..32).unwrap_or_default())
            .trim_end_matches('\0')
            .to_string(),
    })?;
    // All but gzip carry the unpacked size in four bytes behind the data.
    let cut = if format == Format::Gzip { 0 } else { 4 };
    let len = payload.len().saturating_sub(cut);
    Ok((format, &payload[..len]))
}

pub(super) fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*b.get(at..)?.first_chunk()?))
}
