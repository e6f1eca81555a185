//! Kernels of every packing. Input: the file.

use super::Target;
use guest_images::{Arch, load_kernel};

pub const TARGET: Target = Target {
    name: "kernel",
    about: "kernel files: Image, ELF, bzImage, EFI zboot, compressions",
    run,
    max_len: 16 << 10,
    rounds: 100_000,
    words: &[
        b"ARM\x64",
        b"MZ\0\0zimg",
        b"HdrS",
        b"\x7fELF\x02\x01\x01",
        b"\x55\xaa",
        b"PE\0\0",
        b"\x1f\x8b\x08",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"\x02\x21\x4c\x18",
    ],
};

fn run(bytes: &[u8]) {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        match load_kernel(bytes, arch) {
            Ok(kernel) => {
                let again = load_kernel(&kernel.bytes, arch).expect("a plain kernel");
                assert_eq!(again.form, kernel.form);
                assert_eq!(again.bytes, kernel.bytes);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
