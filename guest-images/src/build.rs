//! From a spec to the files of an image.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{Apt, Package, closure};
use crate::cache::{Manifest, recipe_hash};
use crate::error::{Error, Result};
use crate::kernel::load_kernel;
use crate::modules;
use crate::progress::Progress;
use crate::spec::ImageSpec;
use crate::tree::{Node, Tree};
use crate::{deb, kernel_package, rootfs};

/// The packages of an image, downloaded.
#[derive(Debug)]
pub(crate) struct Selected {
    kernel: (Package, PathBuf),
    /// Packages whose files all go in.
    whole: Vec<(Package, PathBuf)>,
    /// Packages from which the base takes programs and libraries.
    base: Vec<(Package, PathBuf)>,
}

impl Selected {
    fn all(&self) -> impl Iterator<Item = &Package> {
        let rest = self.whole.iter().chain(&self.base);
        std::iter::once(&self.kernel).chain(rest).map(|(p, _)| p)
    }

    /// Content key of the image.
    pub fn key(&self, recipe: &str) -> String {
        let mut parts = vec![recipe];
        parts.extend(self.all().map(|p| p.sha256.as_str()));
        recipe_hash(&parts)
    }
}

/// The files of an image and what is known of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub files: Vec<(&'static str, Vec<u8>)>,
    pub manifest: Manifest,
}

/// Decides on packages and downloads them.
pub(crate) fn select(
    apt_dir: &Path,
    spec: &ImageSpec,
    fresh: bool,
    progress: &dyn Progress,
) -> Result<Selected> {
    let apt = Apt::open(apt_dir, spec.arch)?;
    let updated = apt.update(fresh, progress)?;
    let result = try_select(&apt, spec, progress);
    // Old lists may not know a package, or name files that are gone.
    let may_be_old = matches!(
        result,
        Err(Error::PackageNotFound { .. }
            | Error::Network { .. }
            | Error::Checksum { .. }
            | Error::Unsolvable { .. })
    );
    if may_be_old && !updated && apt.update(true, progress).is_ok() {
        return try_select(&apt, spec, progress);
    }
    result
}

fn try_select(apt: &Apt, spec: &ImageSpec, progress: &dyn Progress) -> Result<Selected> {
    progress.step("resolving packages");
    let kernel = real_kernel(apt, spec.kernel_package())?;
    let extra = spec.sorted_packages();
    let mut roots = extra.clone();
    roots.extend(rootfs::BASE_PROGRAMS.map(|(package, _)| package.to_string()));
    roots.sort();
    roots.dedup_by(|a, b| a.split('=').next() == b.split('=').next());
    let solution = apt.solve(&roots)?;
    let whole = closure(&extra, &solution);
    let mut base = closure(&roots, &solution);
    base.retain(|package| !whole.iter().any(|w| w.name == package.name));
    let mut all = vec![kernel];
    all.extend(whole.iter().cloned());
    all.extend(base.iter().cloned());
    let files = apt.download(&all, progress)?;
    let mut both = all.into_iter().zip(files);
    let Some(kernel) = both.next() else {
        unreachable!("the list begins with the kernel");
    };
    Ok(Selected {
        kernel,
        whole: both.by_ref().take(whole.len()).collect(),
        base: both.collect(),
    })
}

/// The package that holds the kernel, behind a meta package if need be.
fn real_kernel(apt: &Apt, name: &str) -> Result<Package> {
    let mut asked = name.to_string();
    for _ in 0..4 {
        let bare = asked.split('=').next().unwrap_or(&asked).to_string();
        let mut shown = apt.show(std::slice::from_ref(&asked))?;
        let Some(package) = shown.remove(&bare) else {
            break;
        };
        let next = package
            .depends
            .iter()
            .flatten()
            .find(|d| d.starts_with("linux-image-") && **d != bare);
        match next {
            // A meta package is almost empty; a kernel is megabytes.
            Some(next) if package.size < 1 << 20 => asked = next.clone(),
            _ => return Ok(package),
        }
    }
    Err(Error::Missing {
        package: name.to_string(),
        what: "kernel".to_string(),
        hint: "give a linux-image-* package as kernel_package",
    })
}

/// Unpacks the packages and writes kernel and initrd.
pub(crate) fn assemble(
    spec: &ImageSpec,
    selected: &Selected,
    progress: &dyn Progress,
) -> Result<Built> {
    progress.step("unpacking the kernel");
    let (package, path) = &selected.kernel;
    let bytes = fs::read(path).map_err(Error::io("cannot read", path))?;
    let kernel = kernel_package::read(&bytes, &spec.wanted_modules()).map_err(deb_error(path))?;
    drop(bytes);
    if kernel.vmlinuz.is_empty() {
        return Err(Error::Missing {
            package: package.name.clone(),
            what: "kernel (boot/vmlinuz-*)".to_string(),
            hint: "give a linux-image-* package as kernel_package",
        });
    }
    let plain = load_kernel(&kernel.vmlinuz, spec.arch).map_err(|source| Error::Kernel {
        what: format!("kernel of package {}", package.name),
        source,
    })?;
    progress.step("building the initrd");
    let mut tree = Tree::default();
    rootfs::base_layout(&mut tree)?;
    let mut pool = Tree::default();
    for (package, path) in &selected.whole {
        let keep_gconv = spec.packages.contains(&package.name);
        rootfs::add_package(&mut tree, unpack(path)?, keep_gconv)?;
        rootfs::add_package(&mut pool, unpack(path)?, false)?;
    }
    for (_, path) in &selected.base {
        rootfs::add_package(&mut pool, unpack(path)?, false)?;
    }
    for (package, program) in rootfs::BASE_PROGRAMS {
        let missing = rootfs::add_program(&mut tree, &pool, program, spec.arch)?;
        if let Some(what) = missing.first() {
            return Err(Error::Missing {
                package: package.to_string(),
                what: what.clone(),
                hint: "its layout is not Debian 12's; report this",
            });
        }
    }
    add_modules(&mut tree, &kernel)?;
    rootfs::own_files(&mut tree)?;
    rootfs::add_applets(&mut tree)?;
    let initrd = tree.to_cpio()?;
    let mut packages: Vec<String> = selected
        .all()
        .map(|p| format!("{}={}", p.name, p.version))
        .collect();
    packages.sort();
    let manifest = Manifest {
        spec: spec.clone(),
        version: format!("{} ({})", kernel.release, package.version),
        modules: kernel.order,
        packages,
        files: Vec::new(),
    };
    Ok(Built {
        files: vec![
            ("kernel", plain.bytes),
            ("vmlinuz", kernel.vmlinuz),
            ("initrd", initrd),
        ],
        manifest,
    })
}

fn add_modules(tree: &mut Tree, kernel: &kernel_package::KernelPackage) -> Result<()> {
    let dir = format!("usr/lib/modules/{}", kernel.release);
    let mut add = |name: String, data: Vec<u8>| {
        let node = Node::File { mode: 0o644, data };
        tree.insert(&format!("{dir}/{name}"), node)
    };
    for (name, data) in &kernel.contents {
        add(format!("{name}.ko"), data.clone())?;
    }
    let dep = modules::modules_dep(&kernel.order, &kernel.info);
    let alias = modules::modules_alias(&kernel.order, &kernel.info);
    add("modules.dep".to_string(), dep.into_bytes())?;
    add("modules.alias".to_string(), alias.into_bytes())?;
    Ok(())
}

fn unpack(path: &Path) -> Result<Vec<deb::DebEntry>> {
    let bytes = fs::read(path).map_err(Error::io("cannot read", path))?;
    Ok(deb::read_deb(&bytes).map_err(deb_error(path))?.entries)
}

fn deb_error(path: &Path) -> impl FnOnce(deb::DebError) -> Error {
    let package = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    move |source| Error::Deb { package, source }
}
