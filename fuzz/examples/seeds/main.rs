//! Writes the committed corpus: `cargo run -p fuzz --example seeds`.
//!
//! It needs GNU as and objcopy for both architectures (Debian: binutils,
//! binutils-aarch64-linux-gnu). Files that it does not know stay.

#![allow(clippy::unwrap_used)] // A seed that cannot be made stops it.

mod code;
mod commands;
mod files;
mod packages;
mod steps;
mod vhost_user;

use fuzz::Target;

/// Named inputs of one target.
type Seeds = Vec<(String, Vec<u8>)>;

fn main() {
    let sets: [(&str, Seeds); 15] = [
        ("aarch64", code::aarch64()),
        ("x86_64", code::x86_64()),
        ("devices", commands::devices()),
        ("pci", commands::pci()),
        ("virtqueue", steps::virtqueue()),
        ("virtio_control", steps::virtio_control()),
        ("vhost_user", vhost_user::vhost_user()),
        ("frame_ring", steps::frame_ring()),
        ("dma_engine", steps::dma_engine()),
        ("topology", files::topology()),
        ("deb", packages::deb()),
        ("kernel", files::kernel()),
        ("boot_pc", files::boot_pc()),
        ("boot_board", files::boot_board()),
        ("agent", files::agent()),
    ];
    for (name, seeds) in sets {
        let target = Target::find(name).unwrap();
        let dir = target.corpus_dir();
        std::fs::create_dir_all(&dir).unwrap();
        println!("{name}: {} seeds", seeds.len());
        for (seed, bytes) in seeds {
            assert!(bytes.len() <= target.max_len, "{name}/{seed} is too long");
            std::fs::write(dir.join(seed), bytes).unwrap();
        }
    }
}
