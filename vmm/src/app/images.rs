//! Guest images: what a guest of a topology boots.

use super::report::say;
use crate::topology::{self, GuestSpec};
use anyhow::{Context, Result};
use guest_images::{Arch, Bars, Cache, ImageSpec};
use std::path::Path;

/// Kernel and initial RAM file system of a guest, without its overlay.
#[derive(Debug)]
pub(super) struct Boot {
    pub kernel: Vec<u8>,
    pub initrd: Vec<u8>,
    pub cmdline: String,
}

/// The image crate's name of an architecture.
pub(super) fn arch(arch: topology::Arch) -> Arch {
    match arch {
        topology::Arch::X86_64 => Arch::X86_64,
        topology::Arch::Aarch64 => Arch::Aarch64,
    }
}

fn spec(guest: &GuestSpec) -> ImageSpec {
    let mut spec = ImageSpec::new(arch(guest.arch()));
    spec.packages = guest.packages.clone();
    if let topology::ImageSpec::Files(files) = &guest.image {
        spec.kernel_package = files.package.clone();
    }
    spec
}

/// Reads or builds what `guest` boots.
pub(super) fn boot(name: &str, guest: &GuestSpec) -> Result<Boot> {
    let read = |path: &Path| {
        std::fs::read(path)
            .with_context(|| format!("guest '{name}': cannot read {}", path.display()))
    };
    let files = match &guest.image {
        topology::ImageSpec::Debian => topology::ImageFiles::default(),
        topology::ImageSpec::Files(files) => files.clone(),
    };
    let debian = if files.kernel.is_none() || files.initrd.is_none() {
        Some(Cache::open_default()?.ensure(&spec(guest), &Bars::default())?)
    } else {
        None
    };
    let kernel = match (&files.kernel, &debian) {
        (Some(path), _) => {
            let kernel = guest_images::load_kernel(&read(path)?, arch(guest.arch()));
            kernel
                .with_context(|| format!("guest '{name}': {}", path.display()))?
                .bytes
        }
        (None, Some(image)) => read(&image.kernel)?,
        (None, None) => Vec::new(),
    };
    let initrd = match (&files.initrd, &debian) {
        (Some(path), _) => read(path)?,
        (None, Some(image)) => read(&image.initrd)?,
        (None, None) => Vec::new(),
    };
    Ok(Boot {
        kernel,
        initrd,
        cmdline: files.cmdline,
    })
}

/// `vmm images build`: the default images, or those of a topology.
pub fn build(guests: &[&GuestSpec]) -> Result<()> {
    let cache = Cache::open_default()?;
    let mut specs: Vec<ImageSpec> = guests.iter().map(|guest| spec(guest)).collect();
    if specs.is_empty() {
        specs = vec![ImageSpec::new(Arch::X86_64), ImageSpec::new(Arch::Aarch64)];
    }
    for spec in specs {
        let image = cache.ensure(&spec, &Bars::default())?;
        say(&format!(
            "{}: Linux {}, initrd {}\n",
            spec.arch.name(),
            image.version,
            image.initrd.display()
        ));
    }
    Ok(())
}

/// `vmm images list`.
pub fn list() -> Result<()> {
    let cache = Cache::open_default()?;
    let listed = cache.list()?;
    if listed.is_empty() {
        say(&format!(
            "no images in {}; 'vmm images build' makes them\n",
            cache.root().display()
        ));
    }
    for image in listed {
        let what = image.manifest.map_or_else(
            || "damaged; it is built again when a run needs it".to_owned(),
            |manifest| format!("{} {}", manifest.spec.arch.name(), manifest.version),
        );
        say(&format!(
            "{:>6} MiB  {what}  {}\n",
            image.bytes >> 20,
            image.dir.display()
        ));
    }
    Ok(())
}

/// `vmm images clean`.
pub fn clean() -> Result<()> {
    let cache = Cache::open_default()?;
    let freed = cache.clean()?;
    say(&format!(
        "{} MiB freed in {}\n",
        freed >> 20,
        cache.root().display()
    ));
    Ok(())
}
