//! Builds an image and prints where it is:
//! `cargo run -p guest-images --example build -- ARCH [PACKAGE...] [--kernel PACKAGE] [--refresh]`

use guest_images::{Bars, Cache, ImageSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let arch = args.next().ok_or("which architecture: arm64 or amd64?")?;
    let mut spec = ImageSpec::new(arch.parse()?);
    let mut refresh = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kernel" => spec.kernel_package = args.next(),
            "--refresh" => refresh = true,
            _ => spec.packages.push(arg),
        }
    }
    let cache = Cache::open_default()?;
    let image = match refresh {
        true => cache.refresh(&spec, &Bars::default()),
        false => cache.ensure(&spec, &Bars::default()),
    }
    .map_err(|e| e.to_string())?;
    println!("kernel:  {}", image.kernel.display());
    println!("vmlinuz: {}", image.vmlinuz.display());
    println!("initrd:  {}", image.initrd.display());
    println!("version: {}", image.version);
    println!("modules: {}", image.modules.join(" "));
    Ok(())
}
