//! Debian packages: ar, tar and their compressions. Input: the package.

use super::Target;
use guest_images::deb::{DebKind, read_deb};

pub const TARGET: Target = Target {
    name: "deb",
    about: "Debian packages: ar, tar, gzip, xz, zstd",
    run,
    max_len: 16 << 10,
    rounds: 250_000,
    words: &[
        b"!<arch>\n",
        b"debian-binary   ",
        b"control.tar",
        b"data.tar",
        b".gz",
        b".xz",
        b".zst",
        b"`\n",
        b"ustar\x0000",
        b"ustar  \0",
        b"../",
        b"\x80\0\0\0\0\0\0\x01",
    ],
};

fn run(bytes: &[u8]) {
    let Ok(deb) = read_deb(bytes) else { return };
    for entry in deb.entries {
        let link = match &entry.kind {
            DebKind::Hardlink(to) => to,
            _ => "",
        };
        for path in [entry.path.as_str(), link] {
            assert!(!path.starts_with('/'), "{path:?}");
            assert!(path.split('/').all(|part| part != ".."), "{path:?}");
            assert!(!path.contains('\0'), "{path:?}");
        }
        assert_eq!(entry.mode & !0o7777, 0);
    }
}
