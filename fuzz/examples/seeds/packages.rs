//! Small Debian packages, right ones and damaged ones.

use super::Seeds;
use std::io::Write;

fn tar_of(files: &[(&str, &[u8])], links: &[(&str, &str, tar::EntryType)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, *data).unwrap();
    }
    for (path, target, kind) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o777);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gz(data: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

pub fn xz(data: &[u8]) -> Vec<u8> {
    let mut w = liblzma::write::XzEncoder::new(Vec::new(), 6);
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

fn deb_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    for (name, data) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), data.len() as u64);
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The header's checksum, after a change by hand.
fn seal(tar: &mut [u8]) {
    let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
}

pub fn deb() -> Seeds {
    use tar::EntryType::{Link, Symlink};
    let control = tar_of(&[("./control", b"Package: tool\nVersion: 1\n")], &[]);
    let plain = tar_of(
        &[
            ("./usr/bin/tool", b"program"),
            ("./etc/tool.conf", &[b'x'; 700]),
        ],
        &[
            ("./usr/bin/t", "tool", Symlink),
            ("./usr/bin/hard", "./usr/bin/tool", Link),
        ],
    );
    let long = format!("./usr/share/{}/file", "long".repeat(40));
    let long = tar_of(&[(&long, b"x")], &[]);
    let small = tar_of(&[("./a", b"b")], &[]);
    let outside = {
        let mut tar = tar_of(&[("aa/bb", b"x")], &[]);
        tar[..5].copy_from_slice(b"../bb");
        seal(&mut tar);
        tar
    };
    let huge = {
        let mut tar = small.clone();
        // A size of 2^63 - 1 in the binary form.
        tar[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
        seal(&mut tar);
        tar
    };
    let sparse = {
        let mut tar = small.clone();
        tar[156] = b'S';
        tar[386..410].copy_from_slice(b"00000000000\x0000000000001\0");
        tar[483..495].copy_from_slice(b"00000001000\0");
        seal(&mut tar);
        tar
    };
    let device = {
        let mut tar = small.clone();
        tar[156] = b'3';
        seal(&mut tar);
        tar
    };
    let bad_sum = {
        let mut tar = small.clone();
        tar[148] ^= 1;
        tar
    };
    let zst = |data: &[u8]| zstd::encode_all(data, 19).unwrap();
    let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let control_gz = gz(&control);
    let make =
        |name: &str, data: &[u8]| deb_of(&[version, ("control.tar.gz", &control_gz), (name, data)]);
    let whole = make("data.tar.xz", &xz(&plain));
    let mut seeds: Vec<(&str, Vec<u8>)> = vec![
        ("xz", whole.clone()),
        ("gz", make("data.tar.gz", &gz(&plain))),
        ("zst", make("data.tar.zst", &zst(&plain))),
        ("plain", make("data.tar", &plain)),
        (
            "all_xz",
            deb_of(&[
                version,
                ("control.tar.xz", &xz(&control)),
                ("data.tar.xz", &xz(&small)),
            ]),
        ),
        (
            "all_zst",
            deb_of(&[
                version,
                ("control.tar.zst", &zst(&control)),
                ("data.tar.zst", &zst(&small)),
            ]),
        ),
        (
            "all_plain",
            deb_of(&[version, ("control.tar", &control), ("data.tar", &small)]),
        ),
        ("long_name", make("data.tar.gz", &gz(&long))),
        ("outside", make("data.tar.gz", &gz(&outside))),
        ("huge_size", make("data.tar.gz", &gz(&huge))),
        ("sparse", make("data.tar.gz", &gz(&sparse))),
        ("sparse_plain", make("data.tar", &sparse)),
        ("device", make("data.tar.gz", &gz(&device))),
        ("bad_checksum", make("data.tar", &bad_sum)),
        ("empty_data", make("data.tar", b"")),
        ("lzma", make("data.tar.lzma", b"x")),
        ("no_xz", make("data.tar.xz", b"no xz")),
        (
            "no_data",
            deb_of(&[version, ("control.tar.gz", &control_gz)]),
        ),
        ("no_control", deb_of(&[version, ("data.tar", &small)])),
        ("no_version", deb_of(&[("data.tar", &small)])),
        ("version_3", deb_of(&[("debian-binary", b"3.0\n")])),
        (
            "extra_member",
            deb_of(&[
                version,
                ("_gpgorigin", b"signature"),
                ("control.tar.gz", &control_gz),
                ("data.tar", &small),
            ]),
        ),
        ("ar_only", b"!<arch>\n".to_vec()),
        (
            "zeroes_1_mib_gz",
            make(
                "data.tar.gz",
                &gz(&tar_of(&[("./z", &vec![0; 1 << 20])], &[])),
            ),
        ),
        ("cut_in_data", whole[..whole.len() - 40].to_vec()),
        ("cut_in_header", whole[..100].to_vec()),
    ];
    let mut size = whole.clone();
    size[8 + 48..8 + 58].copy_from_slice(b"9999999999");
    seeds.push(("ar_size", size));
    seeds
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}
