//! Kernels, boot set-ups, topologies and what agents say.

use super::Seeds;
use super::packages::{gz, xz};
use std::path::Path;

fn named(seeds: Vec<(&str, Vec<u8>)>) -> Seeds {
    seeds
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

/// An ELF64 executable: (address, bytes, size in memory) of each segment.
fn elf(machine: u16, entry: u64, segments: &[(u64, &[u8], u64)]) -> Vec<u8> {
    let mut b = vec![0u8; 64 + 56 * segments.len()];
    b[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    b[16] = 2;
    b[18..20].copy_from_slice(&machine.to_le_bytes());
    b[20] = 1;
    b[24..32].copy_from_slice(&entry.to_le_bytes());
    (b[32], b[52], b[54], b[56]) = (64, 64, 56, segments.len() as u8);
    for (n, (at, bytes, memory)) in segments.iter().enumerate() {
        let offset = b.len() as u64;
        let h = 64 + 56 * n;
        (b[h], b[h + 4]) = (1, 7);
        let fields = [offset, *at, *at, bytes.len() as u64, *memory, 0x1000];
        for (i, field) in fields.into_iter().enumerate() {
            b[h + 8 + 8 * i..h + 16 + 8 * i].copy_from_slice(&field.to_le_bytes());
        }
        b.extend_from_slice(bytes);
    }
    b
}

/// An arm64 Image with a PE header, as the EFI stub has it.
fn arm64_image(code: &[u8], text_offset: u64, image_size: u64) -> Vec<u8> {
    let mut b = vec![0u8; 512];
    // "MZ" is `ccmp x18, #0, #0xd, pl`; a branch over the header follows.
    b[..4].copy_from_slice(&[0x4d, 0x5a, 0x40, 0xfa]);
    b[4..8].copy_from_slice(&0x1400_007fu32.to_le_bytes());
    b[8..16].copy_from_slice(&text_offset.to_le_bytes());
    b[16..24].copy_from_slice(&image_size.to_le_bytes());
    b[24] = 0xa;
    b[56..60].copy_from_slice(b"ARM\x64");
    b[60..64].copy_from_slice(&64u32.to_le_bytes());
    b[64..68].copy_from_slice(b"PE\0\0");
    b[70] = 1;
    b[84] = 32;
    let section = 64 + 24 + 32;
    b[section + 16..section + 20].copy_from_slice(&(code.len() as u32).to_le_bytes());
    b[section + 20..section + 24].copy_from_slice(&512u32.to_le_bytes());
    b.extend_from_slice(code);
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

fn zboot(payload: &[u8], name: &[u8]) -> Vec<u8> {
    let mut b = vec![0u8; 64];
    b[..8].copy_from_slice(b"MZ\0\0zimg");
    b[8..12].copy_from_slice(&64u32.to_le_bytes());
    b[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    b[24..24 + name.len()].copy_from_slice(name);
    b.extend_from_slice(payload);
    b
}

/// Legacy LZ4: magic, then blocks of size and data.
fn lz4_legacy(data: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(data);
    let mut b = vec![0x02, 0x21, 0x4c, 0x18];
    b.extend_from_slice(&(block.len() as u32).to_le_bytes());
    b.extend_from_slice(&block);
    b
}

fn zst(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 19).unwrap()
}

/// All but gzip have their unpacked size behind them.
fn sized(mut packed: Vec<u8>, data: &[u8]) -> Vec<u8> {
    packed.extend_from_slice(&(data.len() as u32).to_le_bytes());
    packed
}

/// Says `A` on COM1, reads a clock, sleeps by ACPI.
const X86_CODE: &[u8] =
    b"\xb0\x41\x66\xba\xf8\x03\xee\x0f\x31\x66\xba\x00\x06\xb0\x34\xee\xf4\xeb\xfd";
/// Says `A` on the UART, then powers off by PSCI.
const ARM_CODE: &[u8] = b"\x21\x08\x80\x52\x02\x20\xa1\xd2\x41\x00\x00\xb9\x00\x01\x80\x52\x00\x80\xb0\x72\x02\x00\x00\xd4\x00\x00\x00\x14";

fn vmlinux() -> Vec<u8> {
    elf(
        62,
        0x100_0000,
        &[
            (0x100_0000, X86_CODE, 0x4000),
            (0x100_8000, b"data", 0x1000),
        ],
    )
}

pub fn kernel() -> Seeds {
    let x86 = vmlinux();
    let arm = arm64_image(ARM_CODE, 0, 0x10_0000);
    let arm_elf = elf(183, 0x4008_0000, &[(0x4008_0000, ARM_CODE, 0x1000)]);
    let program = {
        let mut b = elf(
            62,
            0x100_0000,
            &[(0x100_0000, b"/lib64/ld-linux-x86-64.so.2\0", 0x1000)],
        );
        b[64] = 3;
        b
    };
    named(vec![
        ("vmlinux", x86.clone()),
        ("vmlinux_arm64", arm_elf),
        ("image", arm.clone()),
        ("image_gz", gz(&arm)),
        ("image_xz", xz(&arm)),
        ("image_zst", zst(&arm)),
        ("image_lz4", lz4_legacy(&arm)),
        ("image_twice", gz(&xz(&arm))),
        ("image_thrice", gz(&gz(&gz(&arm)))),
        ("zboot_gz", zboot(&gz(&arm), b"gzip")),
        ("zboot_zst", zboot(&sized(zst(&arm), &arm), b"zstd22")),
        ("bzimage_gz", bzimage(&gz(&x86))),
        ("bzimage_xz", bzimage(&sized(xz(&x86), &x86))),
        ("bzimage_zst", bzimage(&sized(zst(&x86), &x86))),
        ("bzimage_lz4", bzimage(&sized(lz4_legacy(&x86), &x86))),
        ("bzimage_bz2", bzimage(b"BZh91AY&SY")),
        ("bzimage_of_arm64", bzimage(&gz(&arm))),
        ("bzimage_cut", bzimage(&gz(&x86))[..1200].to_vec()),
        ("image_cut", arm[..500].to_vec()),
        ("vmlinux_cut", x86[..180].to_vec()),
        ("program", program),
        ("gz_of_text", gz(b"hello\n")),
        ("bomb_gz", gz(&vec![0; 4 << 20])),
        ("script", b"#!/bin/sh\necho hi\n".to_vec()),
        ("cpio", b"070701000000".to_vec()),
        ("empty", Vec::new()),
    ])
}

/// Memory, command line, initrd, kernel.
fn boot(memory: u8, cmdline: &str, initrd: &[u8], kernel: &[u8]) -> Vec<u8> {
    let mut b = vec![memory - 16];
    b.extend((cmdline.len() as u16).to_le_bytes());
    b.extend((initrd.len() as u16).to_le_bytes());
    b.extend(cmdline.bytes());
    b.extend(initrd);
    b.extend(kernel);
    b
}

pub fn boot_pc() -> Seeds {
    let good = vmlinux();
    let line = "console=ttyS0 panic=-1";
    let at = |at: u64, memory: u64| elf(62, at, &[(at, X86_CODE, memory)]);
    let with = |kernel: &[u8]| boot(128, line, b"initrd", kernel);
    named(vec![
        ("good", with(&good)),
        ("bzimage", with(&bzimage(&gz(&good)))),
        ("no_initrd", boot(128, line, b"", &good)),
        ("big_initrd", boot(128, line, &[0x5a; 5000], &good)),
        ("smallest", boot(64, "", b"x", &at(0x10_0000, 0x1000))),
        ("too_small", boot(16, line, b"x", &good)),
        ("largest", boot(255, line, b"x", &good)),
        ("long_cmdline", boot(128, &"x".repeat(2047), b"x", &good)),
        (
            "too_long_cmdline",
            boot(128, &"x".repeat(2048), b"x", &good),
        ),
        ("low_segment", with(&at(0x7000, 0x1000))),
        ("at_one_mib", with(&at(0x10_0000, 0x1000))),
        ("at_the_end_of_memory", with(&at((128 << 20) - 16, 0x1000))),
        ("beyond_memory", with(&at(1 << 40, 0x1000))),
        (
            "at_the_end_of_addresses",
            with(&at(u64::MAX - 0xfff, 0xfff)),
        ),
        ("huge_bss", with(&at(0x100_0000, u64::MAX - 0x100_0000))),
        ("large_bss", with(&at(0x100_0000, 60 << 20))),
        ("no_segment", with(&elf(62, 0, &[]))),
        (
            "many_segments",
            with(&elf(62, 0x100_0000, &[(0x100_0000, X86_CODE, 64); 40])),
        ),
        (
            "entry_outside",
            with(&elf(62, 0x10, &[(0x100_0000, X86_CODE, 64)])),
        ),
        (
            "crashes",
            with(&elf(62, 0x100_0000, &[(0x100_0000, b"\x0f\x0b", 64)])),
        ),
        (
            "spins",
            with(&elf(62, 0x100_0000, &[(0x100_0000, b"\xeb\xfe", 64)])),
        ),
        ("cut", with(&good[..100])),
        ("not_a_kernel", with(b"hello")),
    ])
}

pub fn boot_board() -> Seeds {
    let good = arm64_image(ARM_CODE, 0, 0x10_0000);
    let line = "console=ttyAMA0 panic=-1";
    let with = |kernel: &[u8]| boot(160, line, b"initrd", kernel);
    named(vec![
        ("good", with(&good)),
        ("gz", with(&gz(&good))),
        ("zboot", with(&zboot(&gz(&good), b"gzip"))),
        ("no_initrd", boot(160, line, b"", &good)),
        ("big_initrd", boot(160, line, &[0x5a; 5000], &good)),
        ("too_small", boot(16, line, b"x", &good)),
        ("little", boot(64, line, b"x", &good)),
        ("largest", boot(255, line, b"x", &good)),
        ("long_cmdline", boot(160, &"x".repeat(4000), b"x", &good)),
        ("cmdline_of_nul", boot(160, "a\0b", b"x", &good)),
        (
            "text_offset",
            with(&arm64_image(ARM_CODE, 0x8_0000, 0x10_0000)),
        ),
        (
            "text_offset_unaligned",
            with(&arm64_image(ARM_CODE, 0x1_2343, 0x10_0000)),
        ),
        (
            "text_offset_huge",
            with(&arm64_image(ARM_CODE, u64::MAX, 0x10_0000)),
        ),
        ("size_0", with(&arm64_image(ARM_CODE, 0, 0))),
        ("size_4_gib", with(&arm64_image(ARM_CODE, 0, 1 << 32))),
        ("size_huge", with(&arm64_image(ARM_CODE, 0, u64::MAX))),
        ("size_less_than_file", with(&arm64_image(ARM_CODE, 0, 8))),
        ("crashes", with(&arm64_image(&[0; 16], 0, 0x1000))),
        ("spins", with(&arm64_image(b"\0\0\0\x14", 0, 0x1000))),
        ("waits", with(&arm64_image(b"\x7f\x20\x03\xd5", 0, 0x1000))),
        ("cut", with(&good[..60])),
        ("not_a_kernel", with(b"hello")),
    ])
}

/// The topologies of the repository and of its tests, right and wrong.
pub fn topology() -> Seeds {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let mut seeds: Seeds = ["pair", "host", "board"]
        .map(|name| (name.to_owned(), read(&format!("{name}.yaml")).into_bytes()))
        .into();
    let good = read("vmm/src/topology/tests/good.rs");
    for (n, text) in good.split("r#\"").skip(1).enumerate() {
        let text = text.split("\"#").next().unwrap();
        seeds.push((format!("good_{n}"), text.into()));
    }
    // Lines `name: "text";` of the list of mistakes.
    let wrong = read("vmm/src/topology/tests/wrong.rs");
    for line in wrong.lines() {
        let Some((name, text)) = line.trim().split_once(": \"") else {
            continue;
        };
        let Some(text) = text.strip_suffix("\";") else {
            continue;
        };
        let text = text
            .replace("\\n", "\n")
            .replace("\\\"", "\"")
            .replace("\\t", "\t");
        let text = text.replace("\\\\", "\\");
        seeds.push((format!("wrong_{name}"), text.into()));
    }
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for i in 0..9 {
        let (old, new) = ((b'a' + i) as char, (b'b' + i) as char);
        laughs += &format!("{new}: &{new} [{}]\n", vec![format!("*{old}"); 9].join(","));
    }
    seeds.push(("billion_laughs".into(), laughs.into()));
    seeds.push(("deep".into(), vec![b'['; 3000]));
    seeds
}

pub fn agent() -> Seeds {
    let say = |piece: u8, text: &str| {
        let mut bytes = vec![piece];
        bytes.extend(text.bytes());
        bytes
    };
    named(vec![
        ("ready", say(255, "\n@vmm R 1 3.25\n")),
        ("ready_other_version", say(255, "\n@vmm R 99 3.25\n")),
        (
            "ready_nan",
            say(255, "\n@vmm R 1 NaN\n\n@vmm R 1 -1\n\n@vmm R 1 1e999\n"),
        ),
        ("started", say(255, "\n@vmm S 1\n")),
        ("started_other", say(255, "\n@vmm S 18446744073709551615\n")),
        (
            "output_wrong_token",
            say(255, "\n@vmm S 1\n\n@vmm O 1 0000\nhello\n@vmm E 1 0000 0\n"),
        ),
        (
            "output_no_end",
            say(255, "\n@vmm S 1\n\n@vmm O 1 0000\nhello"),
        ),
        ("end_alone", say(255, "\n@vmm E 1 0000 0\n")),
        (
            "end_bad_code",
            say(255, "\n@vmm O 1 0\n\n@vmm E 1 0 999999999999\n"),
        ),
        ("power_off", say(255, "\n@vmm P\n")),
        (
            "kernel_message",
            say(255, "[    1.0] Oops\n@vm\n@vmm\n@vmm S 1\n"),
        ),
        (
            "byte_by_byte",
            say(0, "\n@vmm R 1 3.25\n\n@vmm S 1\nnoise\n@vmm R 1 4\n"),
        ),
        ("long_line", say(63, &"@vmm ".repeat(500))),
        ("newlines", say(6, &"\n".repeat(500))),
        ("nothing", say(0, "")),
        ("not_utf8", {
            let mut b = say(255, "\n@vmm S ");
            b.extend([0xff, 0xfe, b'\n', 0, b'\n']);
            b
        }),
    ])
}
