//! A short run of every target: its corpus, then mutations from a fixed seed.

#![allow(clippy::unwrap_used)] // A test may fail.

use fuzz::{Campaign, Limit, TARGETS, Target};

/// Runs `name` for its number of iterations; a tenth of them outside CI.
fn run(name: &str) {
    let target = Target::find(name).unwrap();
    let ci = std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == "ci");
    let campaign = Campaign {
        target,
        seed: 1,
        limit: Limit::Iterations(if ci {
            target.rounds
        } else {
            target.rounds / 10
        }),
        crashes: std::env::temp_dir(),
        keep: None,
    };
    let report = campaign.run().unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.seeds >= 10, "{} seeds are too few", report.seeds);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*
        #[test]
        fn every_target_is_here() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    aarch64
    x86_64
    devices
    pci
    virtqueue
    virtio_control
    vhost_user
    frame_ring
    dma_engine
    topology
    deb
    kernel
    boot_pc
    boot_board
    agent
}
