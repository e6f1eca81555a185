//! Guest images: what a guest of a topology boots.

use super::report::say;
use crate::topology::{self, GuestSpec};
use anyhow::{Context, Result};
use guest_images::{Arch, Bars, Cache, ImageSpec};
use std::path::{Path, PathBuf};

/// Where kernel and initial RAM file system of a guest are, without its overlay.
#[derive(Debug)]
pub(super) struct Sources {
    kernel: Kernel,
    initrd: Option<PathBuf>,
    /// Words for the kernel.
    pub cmdline: String,
}

#[derive(Debug)]
enum Kernel {
    /// Ready to be loaded.
    Plain(PathBuf),
    /// In whatever format the user has it.
    Packed(PathBuf, Arch),
}

impl Sources {
    /// Reads kernel and initial RAM file system of guest `name`.
    pub fn read(&self, name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let read = |path: &Path| {
            std::fs::read(path)
                .with_context(|| format!("guest '{name}': cannot read {}", path.display()))
        };
        let kernel = match &self.kernel {
            Kernel::Plain(path) => read(path)?,
            Kernel::Packed(path, arch) => {
                guest_images::load_kernel(&read(path)?, *arch)
                    .with_context(|| format!("guest '{name}': {}", path.display()))?
                    .bytes
            }
        };
        let initrd = self.initrd.as_deref().map_or(Ok(Vec::new()), read)?;
        Ok((kernel, initrd))
    }
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

/// Finds or builds what `guest` boots.
pub(super) fn find(guest: &GuestSpec) -> Result<Sources> {
    let files = match &guest.image {
        topology::ImageSpec::Debian => topology::ImageFiles::default(),
        topology::ImageSpec::Files(files) => files.clone(),
    };
    let debian = if files.kernel.is_none() || files.initrd.is_none() {
        Some(Cache::open_default()?.ensure(&spec(guest), &Bars::default())?)
    } else {
        None
    };
    let (built, initrd) = debian.map(|image| (image.kernel, image.initrd)).unzip();
    let kernel = match files.kernel {
        Some(path) => Kernel::Packed(path, arch(guest.arch())),
        None => Kernel::Plain(built.unwrap_or_default()),
    };
    Ok(Sources {
        kernel,
        initrd: files.initrd.or(initrd),
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
