use std::io::Write;

use super::*;

/// An ELF64 with one segment that spans the file.
fn elf(machine: u16) -> Vec<u8> {
    let mut b = vec![0u8; 256];
    b[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    b[16] = 2;
    b[18..20].copy_from_slice(&machine.to_le_bytes());
    b[32] = 64;
    b[52] = 64;
    b[54] = 56;
    b[56] = 1;
    b[64] = 1;
    b[96..104].copy_from_slice(&256u64.to_le_bytes());
    b
}

fn arm64_image() -> Vec<u8> {
    let mut b = vec![0u8; 4096];
    b[..2].copy_from_slice(b"MZ");
    b[56..60].copy_from_slice(b"ARM\x64");
    b[60..64].copy_from_slice(&64u32.to_le_bytes());
    b[64..68].copy_from_slice(b"PE\0\0");
    b[70] = 1;
    b[84] = 32;
    let section = 64 + 24 + 32;
    b[section + 16..section + 20].copy_from_slice(&3000u32.to_le_bytes());
    b[section + 20..section + 24].copy_from_slice(&1000u32.to_le_bytes());
    b
}

/// A bzImage of protocol 2.15 with one setup sector.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0u8; 1024];
    b[0x1f1] = 1;
    b[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    b[0x202..0x206].copy_from_slice(b"HdrS");
    b[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    b[0x248..0x24c].copy_from_slice(&64u32.to_le_bytes());
    b[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    b.extend_from_slice(&[0; 64]);
    b.extend_from_slice(payload);
    b.extend_from_slice(&[0; 100]);
    b
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut w = liblzma::write::XzEncoder::new(Vec::new(), 1);
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

/// Legacy LZ4: magic, then blocks of size and data.
fn lz4_legacy(data: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(data);
    let mut b = vec![0x02, 0x21, 0x4c, 0x18];
    b.extend_from_slice(&(block.len() as u32).to_le_bytes());
    b.extend_from_slice(&block);
    b
}

fn sized(mut packed: Vec<u8>, data: &[u8]) -> Vec<u8> {
    packed.extend_from_slice(&(data.len() as u32).to_le_bytes());
    packed
}

#[test]
fn bzimage_of_every_compression() {
    let vmlinux = elf(62);
    let payloads = [
        gzip(&vmlinux),
        sized(xz(&vmlinux), &vmlinux),
        sized(zstd::encode_all(&vmlinux[..], 1).unwrap(), &vmlinux),
        sized(lz4_legacy(&vmlinux), &vmlinux),
    ];
    for payload in payloads {
        let image = bzimage(&payload);
        assert_eq!(
            detect_kernel(&image),
            KernelKind::BzImage { protocol: 0x20f }
        );
        assert_eq!(unpack_bzimage(&image).unwrap(), vmlinux);
        let kernel = load_kernel(&image, Arch::X86_64).unwrap();
        assert_eq!(kernel.form, KernelForm::Elf);
        let cut = &image[..1024 + 64 + payload.len() - 1];
        let error = unpack_bzimage(cut).unwrap_err();
        assert!(matches!(error, KernelError::Truncated { .. }), "{error}");
    }
    for (magic, name) in [
        (&b"BZh91AY"[..], "bzip2"),
        (b"\x5d\0\0\0\0", "lzma"),
        (b"\x89LZO", "lzo"),
    ] {
        let error = unpack_bzimage(&bzimage(magic)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("zstd"), "{error}");
    }
}

#[test]
fn arm64_forms() {
    let image = arm64_image();
    let zboot = {
        let payload = sized(zstd::encode_all(&image[..], 1).unwrap(), &image);
        let mut b = vec![0u8; 64];
        b[..8].copy_from_slice(b"MZ\0\0zimg");
        b[8..12].copy_from_slice(&64u32.to_le_bytes());
        b[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        b.extend_from_slice(&payload);
        b
    };
    for packed in [image.clone(), gzip(&image), xz(&image), zboot] {
        let kernel = load_kernel(&packed, Arch::Aarch64).unwrap();
        assert_eq!(kernel.form, KernelForm::Arm64Image);
        assert_eq!(kernel.bytes, image);
    }
    let error = load_kernel(&image[..3999], Arch::Aarch64).unwrap_err();
    assert!(
        matches!(
            error,
            KernelError::Truncated {
                need: 4000,
                have: 3999,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn says_what_was_found() {
    let mut tar = vec![0u8; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: [(&[u8], Arch, &str); 9] = [
        (b"", Arch::X86_64, "an empty file"),
        (b"#!/bin/sh\necho hi\n", Arch::X86_64, "text"),
        (&gzip(&tar), Arch::Aarch64, "gzip of a tar"),
        (b"070701000000", Arch::Aarch64, "cpio archive"),
        (&elf(62), Arch::Aarch64, "an ELF for x86-64"),
        (&elf(183), Arch::X86_64, "an ELF for aarch64"),
        (&arm64_image(), Arch::X86_64, "an arm64 Image"),
        (&bzimage(&gzip(&elf(62))), Arch::Aarch64, "x86 bzImage"),
        (&[1, 2, 3, 0xff], Arch::Aarch64, "starts with 01 02 03 ff"),
    ];
    for (bytes, arch, words) in cases {
        let error = load_kernel(bytes, arch).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = load_kernel(&elf(62)[..200], Arch::X86_64).unwrap_err();
    assert!(matches!(error, KernelError::Truncated { .. }), "{error}");
    let error = load_kernel(&gzip(&elf(62))[..30], Arch::X86_64).unwrap_err();
    assert!(matches!(error, KernelError::Damaged { .. }), "{error}");
}
