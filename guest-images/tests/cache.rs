//! The cache with real packages: skipped where no package server answers.
// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::thread;

use guest_images::{Arch, Cache, Error, ImageSpec, Silent, apt};

use common::image;

/// A small "kernel package" recipe would be no kernel, so tests of building
/// share the default arm64 image, built once in the user's cache.
fn built() -> Option<(Cache, ImageSpec)> {
    let cache = Cache::open_default().unwrap();
    let spec = ImageSpec::new(Arch::Aarch64);
    image(&cache, &spec).map(|_| (cache, spec))
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A private copy of the packages and lists, without any image.
fn copy_of_apt(cache: &Cache) -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(
        &cache.root().join("apt/arm64"),
        &dir.path().join("apt/arm64"),
    );
    let copy = Cache::open(dir.path()).unwrap();
    (dir, copy)
}

#[test]
fn two_builders_at_once_and_same_bytes() {
    let Some((cache, spec)) = built() else { return };
    let (_dir, copy) = copy_of_apt(&cache);
    let images: Vec<_> = thread::scope(|scope| {
        let jobs: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| copy.ensure(&spec, &Silent)))
            .collect();
        jobs.into_iter()
            .map(|job| job.join().unwrap().unwrap())
            .collect()
    });
    assert_eq!(images[0].initrd, images[1].initrd);
    assert_eq!(copy.list().unwrap().len(), 1);
    let original = cache.lookup(&spec).unwrap();
    if original.manifest.packages == images[0].manifest.packages {
        assert!(fs::read(&original.initrd).unwrap() == fs::read(&images[0].initrd).unwrap());
    }
}

#[test]
fn damaged_image_is_built_again() {
    let Some((cache, spec)) = built() else { return };
    let (_dir, copy) = copy_of_apt(&cache);
    let image = copy.ensure(&spec, &Silent).unwrap();
    let good = fs::read(&image.initrd).unwrap();
    let mut bad = good.clone();
    bad[5000] ^= 1;
    fs::write(&image.initrd, &bad).unwrap();
    assert!(copy.lookup(&spec).is_none());
    assert!(copy.list().unwrap()[0].manifest.is_none());
    // A killed process leaves such a directory and a held lock that is no more.
    let stale = image.initrd.parent().unwrap().with_file_name(".new-0123");
    fs::create_dir_all(stale).unwrap();
    let again = copy.ensure(&spec, &Silent).unwrap();
    assert!(fs::read(&again.initrd).unwrap() == good);
    assert!(copy.clean().unwrap() > good.len() as u64);
    assert!(copy.list().unwrap().is_empty());
}

#[test]
fn damaged_package_is_found_and_fetched_again() {
    let Some((cache, spec)) = built() else { return };
    let (dir, copy) = copy_of_apt(&cache);
    let debs = dir.path().join("apt/arm64/debs");
    let ping = fs::read_dir(&debs)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_string_lossy().contains("iputils-ping"))
        .unwrap();
    let mut bytes = fs::read(&ping).unwrap();
    bytes[9000] ^= 1;
    fs::write(&ping, bytes).unwrap();
    match copy.ensure(&spec, &Silent) {
        Ok(_) => {}
        Err(Error::Network { detail, .. }) => println!("SKIP: {detail}"),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn unknown_packages() {
    let Some((cache, _)) = built() else { return };
    let ask = |name: &str| {
        let mut spec = ImageSpec::new(Arch::Aarch64);
        spec.packages.push(name.to_string());
        cache.ensure(&spec, &Silent).unwrap_err()
    };
    match ask("iprf3") {
        Error::PackageNotFound { near, .. } => assert_eq!(near[0], "iperf3"),
        Error::Network { detail, .. } => return println!("SKIP: {detail}"),
        e => panic!("{e}"),
    }
    assert!(matches!(ask("-o"), Error::BadPackageName { .. }));
    assert!(matches!(ask("a b"), Error::BadPackageName { .. }));
    match ask("libc6=9.9") {
        Error::PackageNotFound { near, .. } => assert!(near[0].starts_with("libc6=2")),
        e => panic!("{e}"),
    }
}

#[test]
fn no_package_server() {
    // A root without lists and a proxy that nobody listens on.
    let dir = tempfile::tempdir().unwrap();
    let apt = match apt::Apt::open(dir.path(), Arch::Aarch64) {
        Ok(apt) => apt,
        Err(e) => panic!("{e}"),
    };
    let conf = dir.path().join("apt.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let dead = "Acquire::http::Proxy \"http://127.0.0.1:9\";\n\
                Acquire::https::Proxy \"http://127.0.0.1:9\";\nAcquire::Retries \"0\";\n";
    fs::write(&conf, text + dead).unwrap();
    match apt.update(true, &Silent) {
        Err(Error::Network { detail, .. }) => assert!(!detail.is_empty()),
        Err(e @ Error::NoApt { .. }) => println!("SKIP: {e}"),
        other => panic!("{other:?}"),
    }
}
