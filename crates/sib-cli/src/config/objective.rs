//! The objective as a network takes it.

use sib_core::objective::{At, Measure, SibConfig};
use sib_core::{Error, Result};
use sib_models::Arch;

/// `sib`, checked, for networks of `arch` and images of a side of `image_px`: a stage by the name of its feature map.
///
/// # Errors
/// [`Error::Invalid`] naming the key that is out of range or does not fit the network.
pub fn objective_of(sib: &SibConfig, arch: Arch, image_px: i64) -> Result<SibConfig> {
    sib.validate()?;
    let side_px = sib.scaled_px(image_px);
    arch.check_image_size(side_px, side_px).map_err(|error| {
        if side_px == image_px {
            return error;
        }
        let expected = format!("a scale that fits {image_px} px: {error}");
        Error::invalid("scale", sib.scale, expected)
    })?;
    let mut resolved = sib.clone();
    if let At::Layer(name) = &sib.vjp.at {
        let Some(tap) = arch.tap(name) else {
            let maps = arch.taps().join(", ");
            let expected = format!("image, layer1 to layer4, or a feature map of {arch}: {maps}");
            return Err(Error::invalid("vjp.at", name, expected));
        };
        if arch.averaged_tap() == Some(tap) && sib.vjp.measure == Measure::Gradient {
            let expected = format!(
                "an earlier feature map, or vjp.measure = \"contribution\": {arch} averages {tap} over its places, \
                 and R is the same at each"
            );
            return Err(Error::invalid("vjp.at", name, expected));
        }
        resolved.vjp.at = At::Layer(tap.to_owned());
    }
    Ok(resolved)
}
