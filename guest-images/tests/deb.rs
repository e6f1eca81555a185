//! The .deb reader against packages written by the `ar` and `tar` crates.
// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use guest_images::deb::{Deb, DebEntry, DebError, DebKind, read_deb};

fn tar_of(files: &[(&str, u32, &[u8])], links: &[(&str, &str, tar::EntryType)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
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

fn deb_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    for (name, data) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), data.len() as u64);
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn data_tar() -> Vec<u8> {
    let long = format!("./usr/share/{}/file", "long".repeat(40));
    tar_of(
        &[("./usr/bin/tool", 0o4755, b"program"), (&long, 0o644, b"x")],
        &[
            ("./usr/bin/t", "tool", tar::EntryType::Symlink),
            ("./usr/bin/hard", "./usr/bin/tool", tar::EntryType::Link),
        ],
    )
}

fn control_tar() -> Vec<u8> {
    tar_of(&[("./control", 0o644, b"Package: tool\n")], &[])
}

fn gz(data: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut w = liblzma::write::XzEncoder::new(Vec::new(), 0);
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

fn sample() -> Vec<u8> {
    deb_of(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &gz(&control_tar())),
        ("data.tar.xz", &xz(&data_tar())),
    ])
}

#[test]
fn every_compression() {
    let (control, data) = (control_tar(), data_tar());
    let zst = zstd::encode_all(&data[..], 1).unwrap();
    let (gz, xz) = (gz(&data), xz(&data));
    let members: [(&str, &[u8]); 4] = [
        ("data.tar", &data),
        ("data.tar.gz", &gz),
        ("data.tar.xz", &xz),
        ("data.tar.zst", &zst),
    ];
    for member in members {
        let deb = deb_of(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            member,
        ]);
        let Deb { control, entries } = read_deb(&deb).unwrap();
        assert_eq!(control, "Package: tool\n");
        let want = |path: &str, mode, kind| DebEntry {
            path: path.to_string(),
            mode,
            kind,
        };
        assert_eq!(
            entries[0],
            want("usr/bin/tool", 0o4755, DebKind::File(b"program".to_vec()))
        );
        assert!(entries[1].path.ends_with("long/file"));
        assert_eq!(
            entries[2],
            want("usr/bin/t", 0o777, DebKind::Symlink("tool".into()))
        );
        assert_eq!(
            entries[3],
            want(
                "usr/bin/hard",
                0o777,
                DebKind::Hardlink("usr/bin/tool".into())
            )
        );
    }
}

#[test]
fn clear_errors() {
    let whole = sample();
    assert!(matches!(read_deb(b"PK\x03\x04"), Err(DebError::NotDeb)));
    assert!(matches!(
        read_deb(&whole[..whole.len() - 40]),
        Err(DebError::Truncated { .. })
    ));
    let message = |members: &[(&str, &[u8])]| read_deb(&deb_of(members)).unwrap_err().to_string();
    let control = control_tar();
    let control: (&str, &[u8]) = ("control.tar", &control);
    assert!(message(&[control]).contains("debian-binary"));
    assert!(message(&[("debian-binary", b"3.0\n")]).contains("3.0"));
    assert!(message(&[("debian-binary", b"2.0\n"), control]).contains("data.tar"));
    let lzma = message(&[
        ("debian-binary", b"2.0\n"),
        control,
        ("data.tar.lzma", b"x"),
    ]);
    assert!(lzma.contains("lzma") && lzma.contains("zst"), "{lzma}");
    let bad = message(&[
        ("debian-binary", b"2.0\n"),
        control,
        ("data.tar.xz", b"no xz"),
    ]);
    assert!(bad.contains("data.tar.xz"), "{bad}");
}

#[test]
fn paths_cannot_leave_the_root() {
    // The tar writer refuses such paths, so the name is put in by hand.
    let mut tar = tar_of(&[("aa/bb", 0o644, b"x")], &[]);
    tar[..5].copy_from_slice(b"../bb");
    let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    let control = control_tar();
    let deb = deb_of(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        ("data.tar", &tar),
    ]);
    assert!(matches!(read_deb(&deb), Err(DebError::Path(_))));
}
