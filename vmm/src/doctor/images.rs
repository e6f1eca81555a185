//! Where guest images come from.

use super::{Finding, Health};
use guest_images::{Arch, Cache, ImageSpec};
use std::path::PathBuf;

pub(super) fn packages() -> Finding {
    let missing: Vec<_> = ["apt-get", "dpkg"]
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    if missing.is_empty() {
        return Finding {
            what: "packages",
            health: Health::Good,
            found: "apt is there, with this machine's package sources".to_owned(),
            used: "guest images are built from Debian packages when a run needs them".to_owned(),
            advice: None,
        };
    }
    Finding {
        what: "packages",
        health: Health::Missing,
        found: format!("there is no {}", missing.join(" and no ")),
        used: "images that are in the cache, and kernels of your own".to_owned(),
        advice: Some("install apt, or copy the image cache from a Debian machine".to_owned()),
    }
}

/// A program in the search path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

pub(super) fn cache() -> Finding {
    let what = "images";
    let cache = match Cache::open_default() {
        Ok(cache) => cache,
        Err(error) => {
            return Finding {
                what,
                health: Health::Missing,
                found: error.to_string(),
                used: "none".to_owned(),
                advice: Some("set XDG_CACHE_HOME to a directory that can be written to".to_owned()),
            };
        }
    };
    let listed = cache.list().unwrap_or_default();
    let bytes: u64 = listed.iter().map(|image| image.bytes).sum();
    let defaults = [Arch::X86_64, Arch::Aarch64]
        .map(|arch| (arch, cache.lookup(&ImageSpec::new(arch)).is_some()));
    let names = |there: bool| {
        let of: Vec<_> = defaults
            .iter()
            .filter(|(_, d)| *d == there)
            .map(|(arch, _)| arch.name())
            .collect();
        of.join(" and ")
    };
    let complete = defaults.iter().all(|(_, there)| *there);
    Finding {
        what,
        health: if complete {
            Health::Good
        } else {
            Health::Replaced
        },
        found: format!(
            "{} in {}, {} MiB",
            listed.len(),
            cache.root().display(),
            bytes >> 20
        ),
        used: if complete {
            "the default pair starts at once, without packages or network".to_owned()
        } else {
            format!(
                "the default image for {} is built by the first run that needs it",
                names(false)
            )
        },
        advice: (!complete).then(|| "build them now: vmm images build".to_owned()),
    }
}
