//! What tests that need the package servers share.

use guest_images::{Cache, Error, Image, ImageSpec, Silent};

/// The image of `spec`, or `None` after saying what is missing.
pub fn image(cache: &Cache, spec: &ImageSpec) -> Option<Image> {
    match cache.ensure(spec, &Silent) {
        Ok(image) => Some(image),
        Err(e @ (Error::NoApt { .. } | Error::Network { .. })) => {
            println!("SKIP: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}
