//! Explains an image with one method:
//!
//! ```text
//! cargo run -p sib-explain --example explain_image -- CHECKPOINT IMAGE METHOD OUTPUT.png
//! ```

use std::path::Path;

use sib_core::checkpoint::Preprocessing;
use sib_core::data::Transform;
use sib_core::data::transform::load_image;
use sib_explain::render::{Heatmap, Style, overlay};
use sib_explain::{Method, MethodOptions, Target, target_scores};
use sib_models::Model;
use tch::Device;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, image, method, output] = &arguments[..] else {
        return Err("usage: explain_image CHECKPOINT IMAGE METHOD OUTPUT.png".into());
    };
    // The checkpoint says what it is, and how images become its input.
    let (model, meta) = Model::from_checkpoint(Path::new(checkpoint), Device::Cpu)?;
    let Preprocessing { resize_px, crop_px, mean, std } = meta.preprocessing;
    let transform = Transform::evaluation(resize_px as u32, crop_px as u32, mean, std)?;
    let image = load_image(Path::new(image), &transform)?;
    let images = image.input.unsqueeze(0); // [1,3,H,W]

    // Explain the predicted class.
    let predicted = target_scores(model.backbone(), &images, None, 1)?;
    let explainer = method.parse::<Method>()?.build(&MethodOptions::default())?;
    let heatmaps =
        explainer.explain(model.backbone(), &images, &Target::class(&predicted.targets))?; // [1,H,W]

    let heatmap = Heatmap::new(&heatmaps.get(0))?;
    let seen = image.plan.source_rect();
    overlay(&image.original, &heatmap, &seen, &Style::default()).save(output)?;
    println!("{method} of class {}: {output}", predicted.targets.int64_value(&[0]));
    Ok(())
}
