//! Built images on disk, by content.
//!
//! ```text
//! images/KEY/{kernel,vmlinuz,initrd,manifest.json}   complete or absent
//! recipes/RECIPE                                     KEY of the last build of a recipe
//! apt/ARCH/                                          private apt roots
//! locks/                                             flock: a killed process leaves nothing held
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Arch;
use crate::build;
use crate::error::{Error, Result};
use crate::hash::{crc32, sha256_hex};
use crate::progress::{Progress, Silent};
use crate::spec::{Image, ImageSpec};

/// What is known of a built image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it was built from.
    pub spec: ImageSpec,
    /// `uname -r` of the kernel and the version of its package.
    pub version: String,
    /// Modules in load order.
    pub modules: Vec<String>,
    /// `name=version` of every package, sorted.
    pub packages: Vec<String>,
    /// Name, size in bytes and CRC-32 of each file.
    pub files: Vec<(String, u64, u32)>,
}

/// An entry of [`Cache::list`].
#[derive(Clone, Debug)]
pub struct Listed {
    /// Directory of the image.
    pub dir: PathBuf,
    /// Its manifest; `None` if it is damaged (it is rebuilt when asked for).
    pub manifest: Option<Manifest>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// A directory of built images. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `vmm` under `$XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// # Errors
    /// Neither variable is set, or the directory cannot be made.
    pub fn open_default() -> Result<Cache> {
        let dir = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let base = dir("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| dir("HOME").map(|home| home.join(".cache")))
            .ok_or(Error::NoCacheDir)?;
        Cache::open(&base.join("vmm"))
    }

    /// A cache in a directory of the caller's, made if need be.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path) -> Result<Cache> {
        for sub in ["images", "recipes", "apt", "locks"] {
            let path = root.join(sub);
            fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        }
        let root = fs::canonicalize(root).map_err(Error::io("cannot open", root))?;
        Ok(Cache { root })
    }

    /// Directory of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image of `spec`: from the cache without any call of apt if it was
    /// built before, else built.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn ensure(&self, spec: &ImageSpec, progress: &dyn Progress) -> Result<Image> {
        let result = self.ensure_with(spec, progress, false);
        progress.done();
        result
    }

    /// The image of `spec` from today's packages; built again if any changed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn refresh(&self, spec: &ImageSpec, progress: &dyn Progress) -> Result<Image> {
        let result = self.ensure_with(spec, progress, true);
        progress.done();
        result
    }

    /// The image of `spec` if it is in the cache and whole.
    pub fn lookup(&self, spec: &ImageSpec) -> Option<Image> {
        let key = fs::read_to_string(self.root.join("recipes").join(spec.recipe())).ok()?;
        self.open_image(key.trim())
    }

    fn ensure_with(&self, spec: &ImageSpec, progress: &dyn Progress, fresh: bool) -> Result<Image> {
        if let Some(image) = self.lookup(spec).filter(|_| !fresh) {
            return Ok(image);
        }
        let recipe = spec.recipe();
        let _lock = self.lock(&recipe, progress)?;
        // Another process may have built it while this one waited.
        if let Some(image) = self.lookup(spec).filter(|_| !fresh) {
            return Ok(image);
        }
        let _apt_lock = self.lock(&apt_lock(spec.arch), progress)?;
        let apt_dir = self.root.join("apt").join(spec.arch.debian());
        fs::create_dir_all(&apt_dir).map_err(Error::io("cannot create", &apt_dir))?;
        let selected = build::select(&apt_dir, spec, fresh, progress)?;
        let key = selected.key(&recipe);
        let image = match self.open_image(&key) {
            Some(image) => image,
            None => {
                let built = build::assemble(spec, &selected, progress)?;
                progress.step("writing the image");
                if let Err(error) = self.store(&key, built) {
                    // Half an image must not keep a full disk full.
                    let _ = remove_dir(&self.fresh_dir(&key));
                    return Err(error);
                }
                self.open_image(&key).ok_or_else(|| Error::Checksum {
                    what: format!("image {key} as just written"),
                    expected: "its manifest".to_string(),
                    found: "other contents".to_string(),
                })?
            }
        };
        self.write_atomic(&self.root.join("recipes").join(&recipe), key.as_bytes())?;
        Ok(image)
    }

    /// All images, damaged ones too.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let dir = self.root.join("images");
        let mut out = Vec::new();
        for entry in fs::read_dir(&dir).map_err(Error::io("cannot read", &dir))? {
            let path = entry.map_err(Error::io("cannot read", &dir))?.path();
            let key = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if key.starts_with('.') {
                continue;
            }
            let manifest = self.open_image(key).map(|image| image.manifest);
            let bytes = dir_size(&path);
            out.push(Listed {
                dir: path,
                manifest,
                bytes,
            });
        }
        out.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(out)
    }

    /// Removes all images, downloaded packages and package lists; returns
    /// the bytes set free. Waits for builds in other processes.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clean(&self) -> Result<u64> {
        let mut freed = 0;
        // Builders hold these; the lock files stay, others may wait on them.
        let _arm = self.lock(&apt_lock(Arch::Aarch64), &Silent)?;
        let _x86 = self.lock(&apt_lock(Arch::X86_64), &Silent)?;
        for sub in ["recipes", "images", "apt"] {
            let dir = self.root.join(sub);
            freed += dir_size(&dir);
            fs::remove_dir_all(&dir).map_err(Error::io("cannot remove", &dir))?;
            fs::create_dir_all(&dir).map_err(Error::io("cannot create", &dir))?;
        }
        Ok(freed)
    }

    fn open_image(&self, key: &str) -> Option<Image> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let dir = self.root.join("images").join(key);
        let text = fs::read(dir.join("manifest.json")).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        for (name, size, crc) in &manifest.files {
            let path = dir.join(name);
            let whole = fs::metadata(&path).is_ok_and(|m| m.len() == *size)
                && fs::read(&path).is_ok_and(|bytes| crc32(&bytes) == *crc);
            if !whole {
                tracing::warn!("image {key} in the cache is damaged ({name}): building it again");
                return None;
            }
        }
        Some(Image {
            kernel: dir.join("kernel"),
            vmlinuz: dir.join("vmlinuz"),
            initrd: dir.join("initrd"),
            version: manifest.version.clone(),
            modules: manifest.modules.clone(),
            manifest,
        })
    }

    /// Writes an image beside its place and renames it: it is there whole or
    /// not at all. The caller holds the recipe's lock.
    fn store(&self, key: &str, built: build::Built) -> Result<()> {
        let images = self.root.join("images");
        let target = images.join(key);
        let fresh = self.fresh_dir(key);
        remove_dir(&fresh)?;
        fs::create_dir_all(&fresh).map_err(Error::io("cannot create", &fresh))?;
        let mut files = Vec::new();
        for (name, bytes) in &built.files {
            let path = fresh.join(name);
            fs::write(&path, bytes).map_err(Error::io("cannot write", &path))?;
            files.push(((*name).to_string(), bytes.len() as u64, crc32(bytes)));
        }
        let manifest = Manifest {
            files,
            ..built.manifest
        };
        let path = fresh.join("manifest.json");
        let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
        let old = images.join(format!(".old-{key}"));
        remove_dir(&old)?;
        if target.exists() {
            fs::rename(&target, &old).map_err(Error::io("cannot replace", &target))?;
        }
        fs::rename(&fresh, &target).map_err(Error::io("cannot write", &target))?;
        remove_dir(&old)
    }

    fn fresh_dir(&self, key: &str) -> PathBuf {
        self.root.join("images").join(format!(".new-{key}"))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let fresh = path.with_extension("new");
        fs::write(&fresh, bytes).map_err(Error::io("cannot write", &fresh))?;
        fs::rename(&fresh, path).map_err(Error::io("cannot write", path))
    }

    /// Holds a lock until the returned file is dropped; the system lets go of
    /// it when a process dies.
    fn lock(&self, name: &str, progress: &dyn Progress) -> Result<File> {
        let path = self.root.join("locks").join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("cannot open", &path))?;
        if file.try_lock().is_err() {
            progress.step("waiting for another process that builds an image");
            file.lock().map_err(Error::io("cannot lock", &path))?;
        }
        Ok(file)
    }
}

fn apt_lock(arch: Arch) -> String {
    format!("apt-{}", arch.debian())
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", path)(e))
        }
        _ => Ok(()),
    }
}

fn dir_size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => dir_size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Hash of everything that decides what a recipe builds, but the packages'
/// versions.
pub(crate) fn recipe_hash(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("{}:{part}\n", part.len()));
    }
    sha256_hex(text.as_bytes())[..32].to_string()
}
