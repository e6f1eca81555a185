//! Kernels of any packing, told apart by content: what a file is, and the
//! plain image that a machine can load.

mod bzimage;
mod detect;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::Arch;
use crate::decompress::{self, Format};
use crate::elf;

pub use bzimage::unpack_bzimage;
pub use detect::{KernelKind, detect_kernel};

/// Most bytes that a compressed kernel may unpack to.
const MAX_KERNEL: u64 = 512 << 20;

/// Why a file cannot be used as a kernel.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The file is something else.
    #[error("not a kernel: it is {found}. {expected}")]
    NotAKernel {
        /// What the bytes look like.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// A kernel for the other architecture.
    #[error("a kernel for another architecture: it is {found}, the guest is {wanted}")]
    WrongArch {
        /// What the file is.
        found: String,
        /// The guest's architecture.
        wanted: Arch,
    },
    /// The file ends early.
    #[error("truncated kernel: {what} needs {need} bytes, the file has {have}")]
    Truncated {
        /// The part that does not fit.
        what: &'static str,
        /// Bytes that it needs.
        need: u64,
        /// Bytes of the file.
        have: u64,
    },
    /// A compression that is not read here.
    #[error("its {format} compression is not supported; gzip, xz, zstd and lz4 are")]
    Compression {
        /// Name of the format, or its first bytes.
        format: String,
    },
    /// The compressed data is damaged.
    #[error("damaged {format} data in the kernel: {source}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What the decoder said.
        source: std::io::Error,
    },
    /// A header that makes no sense.
    #[error("bad kernel header: {0}")]
    Header(&'static str),
}

/// Form of a loadable kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelForm {
    /// arm64 `Image` (Documentation/arm64/booting.rst).
    Arm64Image,
    /// ELF64 `vmlinux`.
    Elf,
}

/// A plain kernel, ready to be placed in guest memory.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// What `bytes` are.
    pub form: KernelForm,
    /// The uncompressed image.
    pub bytes: Vec<u8>,
}

const EXPECTED: &str = "An arm64 Image (plain, compressed or EFI zboot), an ELF64 vmlinux or an \
                        x86 bzImage is needed";

/// Unpacks a kernel for `arch` from whatever form it comes in: an arm64
/// `Image` for aarch64, an ELF64 `vmlinux` for either.
///
/// # Errors
/// See [`KernelError`]; each names what was found.
pub fn load_kernel(bytes: &[u8], arch: Arch) -> Result<KernelImage, KernelError> {
    load(bytes, arch, &mut Vec::new())
}

fn load(
    bytes: &[u8],
    arch: Arch,
    wrappers: &mut Vec<&'static str>,
) -> Result<KernelImage, KernelError> {
    let wrong = |found: String| KernelError::WrongArch {
        found,
        wanted: arch,
    };
    match detect_kernel(bytes) {
        KernelKind::Arm64Image => {
            detect::check_arm64_image(bytes)?;
            match arch {
                Arch::Aarch64 => Ok(KernelImage {
                    form: KernelForm::Arm64Image,
                    bytes: bytes.to_vec(),
                }),
                Arch::X86_64 => Err(wrong("an arm64 Image".to_string())),
            }
        }
        kind @ KernelKind::Elf { machine } => {
            if machine != arch.elf_machine() {
                return Err(wrong(kind.to_string()));
            }
            detect::check_elf(bytes)?;
            if elf::needed(bytes).iter().any(|n| n.starts_with('/')) {
                return Err(KernelError::NotAKernel {
                    found: "an ELF program that wants a dynamic loader".to_string(),
                    expected: EXPECTED,
                });
            }
            Ok(KernelImage {
                form: KernelForm::Elf,
                bytes: bytes.to_vec(),
            })
        }
        KernelKind::BzImage { .. } => match arch {
            Arch::X86_64 => Ok(KernelImage {
                form: KernelForm::Elf,
                bytes: unpack_bzimage(bytes)?,
            }),
            Arch::Aarch64 => Err(wrong("an x86 bzImage".to_string())),
        },
        KernelKind::EfiZboot => {
            let (format, payload) = detect::zboot_payload(bytes)?;
            unwrap(format, payload, "an EFI zboot image", arch, wrappers)
        }
        KernelKind::Compressed(format) => unwrap(format, bytes, format.name(), arch, wrappers),
        KernelKind::Other(found) => {
            let mut text = String::new();
            for wrapper in wrappers.iter() {
                text.push_str(&format!("{wrapper} of "));
            }
            Err(KernelError::NotAKernel {
                found: text + &found,
                expected: EXPECTED,
            })
        }
    }
}

fn unwrap(
    format: Format,
    data: &[u8],
    name: &'static str,
    arch: Arch,
    wrappers: &mut Vec<&'static str>,
) -> Result<KernelImage, KernelError> {
    if wrappers.len() >= 2 {
        return Err(KernelError::Header("compressed more than twice"));
    }
    let inner = expand(format, data)?;
    wrappers.push(name);
    load(&inner, arch, wrappers)
}

fn expand(format: Format, data: &[u8]) -> Result<Vec<u8>, KernelError> {
    if !format.is_supported() {
        return Err(KernelError::Compression {
            format: format.name().to_string(),
        });
    }
    decompress::decompress(format, data, MAX_KERNEL).map_err(|source| KernelError::Damaged {
        format: format.name(),
        source,
    })
}
