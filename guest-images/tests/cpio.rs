//! Our archives, read back by the `cpio` crate.
// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Read};

use guest_images::{GuestNic, GuestSetup, OverlayEntry, OverlayKind, overlay_cpio};

struct Item {
    name: String,
    mode: u32,
    data: Vec<u8>,
}

fn read_back(bytes: &[u8]) -> Vec<Item> {
    let mut rest = Cursor::new(bytes);
    let mut items = Vec::new();
    loop {
        let mut reader = cpio::newc::Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            return items;
        }
        let entry = reader.entry();
        assert_eq!((entry.uid(), entry.gid(), entry.mtime()), (0, 0, 0));
        let (name, mode) = (entry.name().to_string(), entry.mode());
        let mut data = Vec::new();
        reader.read_to_end(&mut data).unwrap();
        items.push(Item { name, mode, data });
        rest = reader.finish().unwrap();
    }
}

#[test]
fn overlay() {
    let link = OverlayEntry {
        path: "/sbin/x".to_string(),
        mode: 0,
        kind: OverlayKind::Symlink("../bin/a".to_string()),
    };
    let entries = [
        OverlayEntry::file("/root/b.bin", 0o755, vec![1, 2, 3]),
        OverlayEntry::file("/bin/a", 0o4711, b"aa".to_vec()),
        link,
        OverlayEntry::file("/tmp/c", 0o600, Vec::new()),
    ];
    let bytes = overlay_cpio(&entries).unwrap();
    assert_eq!(bytes.len() % 512, 0);
    let items = read_back(&bytes);
    let names: Vec<(&str, u32)> = items.iter().map(|i| (i.name.as_str(), i.mode)).collect();
    assert_eq!(
        names,
        [
            ("root", 0o40700),
            ("root/b.bin", 0o100755),
            ("tmp", 0o41777),
            ("tmp/c", 0o100600),
            ("usr", 0o40755),
            ("usr/bin", 0o40755),
            ("usr/bin/a", 0o104711),
            ("usr/sbin", 0o40755),
            ("usr/sbin/x", 0o120777),
        ]
    );
    assert_eq!(items[1].data, [1, 2, 3]);
    assert_eq!(items[8].data, b"../bin/a");
    let mut other = entries.to_vec();
    other.reverse();
    assert_eq!(
        overlay_cpio(&other).unwrap(),
        bytes,
        "order does not matter"
    );
}

#[test]
fn bad_paths() {
    for path in ["", "relative", "/../x", "/a/../../b", "/", "/a\0b"] {
        let entry = OverlayEntry::file(path, 0o644, Vec::new());
        assert!(overlay_cpio(&[entry]).is_err(), "{path:?}");
    }
}

#[test]
fn guest_setup() {
    let setup = GuestSetup {
        hostname: "board".to_string(),
        nics: vec![
            GuestNic {
                mac: [0x52, 0x54, 0, 0, 0xAB, 1],
                name: "eth0".to_string(),
                address: Some("10.10.10.5/24".to_string()),
                mtu: Some(9000),
            },
            GuestNic {
                mac: [2; 6],
                name: "eth1".to_string(),
                ..GuestNic::default()
            },
        ],
        hosts: vec![("10.10.10.1".to_string(), "host".to_string())],
    };
    let bytes = overlay_cpio(&setup.entries()).unwrap();
    let items = read_back(&bytes);
    let text = |name: &str| {
        let item = items.iter().find(|i| i.name == name).unwrap();
        String::from_utf8(item.data.clone()).unwrap()
    };
    assert_eq!(
        text("etc/vmm/nics"),
        "52:54:00:00:ab:01 eth0 10.10.10.5/24 9000\n02:02:02:02:02:02 eth1 - -\n"
    );
    assert_eq!(text("etc/hostname"), "board\n");
    assert!(text("etc/hosts").ends_with("10.10.10.1 host\n"));
}
