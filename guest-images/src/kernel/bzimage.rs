//! The ELF inside an x86 bzImage (Documentation/x86/boot.rst).

use super::detect::{check_elf, u16_at, u32_at};
use super::{KernelError, KernelKind, detect_kernel, expand};
use crate::Arch;
use crate::decompress::Format;

/// `setup_sects`: 512-byte sectors of real-mode code after the first.
const SETUP_SECTS: usize = 0x1f1;
/// `version`: boot protocol.
const VERSION: usize = 0x206;
/// `payload_offset`, from the start of the protected-mode code; 2.08 and up.
const PAYLOAD_OFFSET: usize = 0x248;
/// `payload_length` in bytes.
const PAYLOAD_LENGTH: usize = 0x24c;

/// Unpacks the `vmlinux` ELF from a bzImage.
///
/// # Errors
/// See [`KernelError`].
pub fn unpack_bzimage(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    let KernelKind::BzImage { .. } = detect_kernel(bytes) else {
        return Err(KernelError::Header("no bzImage"));
    };
    let payload = payload(bytes)?;
    let format = Format::detect(payload).ok_or_else(|| KernelError::Compression {
        format: format!(
            "unknown (starts with {:02x?})",
            &payload[..payload.len().min(4)]
        ),
    })?;
    // The build appends the unpacked size, four bytes, to all but gzip.
    let cut = if format == Format::Gzip { 0 } else { 4 };
    let len = payload.len().saturating_sub(cut);
    let vmlinux = expand(format, &payload[..len])?;
    match detect_kernel(&vmlinux) {
        KernelKind::Elf { machine } if machine == Arch::X86_64.elf_machine() => {
            check_elf(&vmlinux)?;
            Ok(vmlinux)
        }
        other => Err(KernelError::NotAKernel {
            found: format!("a bzImage with {other} inside"),
            expected: "A 64-bit x86 kernel is needed",
        }),
    }
}

fn payload(bytes: &[u8]) -> Result<&[u8], KernelError> {
    let have = bytes.len() as u64;
    let version = u16_at(bytes, VERSION).ok_or(KernelError::Header("setup header cut off"))?;
    if version < 0x208 {
        return Err(KernelError::Header(
            "boot protocol older than 2.08 (Linux 2.6.26): it does not say where its payload is",
        ));
    }
    let (Some(offset), Some(length)) =
        (u32_at(bytes, PAYLOAD_OFFSET), u32_at(bytes, PAYLOAD_LENGTH))
    else {
        return Err(KernelError::Header("setup header cut off"));
    };
    let sectors = match bytes.get(SETUP_SECTS) {
        None | Some(0) => 4,
        Some(&n) => u64::from(n),
    };
    let start = (sectors + 1) * 512 + u64::from(offset);
    let end = start + u64::from(length);
    bytes
        .get(start as usize..end as usize)
        .ok_or(KernelError::Truncated {
            what: "the bzImage payload",
            need: end,
            have,
        })
}
