//! Draws a contact sheet: each image by every method that the paper compares, for the class that the
//! network predicts.
//!
//! ```text
//! cargo run -p sib-explain --example contact_sheet -- CHECKPOINT OUTPUT.png IMAGE...
//! ```

use std::path::{Path, PathBuf};

use sib_core::checkpoint::Preprocessing;
use sib_core::data::Transform;
use sib_core::data::transform::load_image;
use sib_explain::render::{Heatmap, Legend, Sheet, SheetRow, Style, overlay, seen_part};
use sib_explain::{Method, MethodOptions, Target, target_scores};
use sib_models::Model;
use tch::Device;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [checkpoint, output, images @ ..] = &arguments[..] else {
        return Err("usage: contact_sheet CHECKPOINT OUTPUT.png IMAGE...".into());
    };
    let (model, meta) = Model::from_checkpoint(Path::new(checkpoint), Device::Cpu)?;
    let Preprocessing { resize_px, crop_px, mean, std } = meta.preprocessing;
    let transform = Transform::evaluation(resize_px as u32, crop_px as u32, mean, std)?;
    let style = Style::default();

    let mut rows = Vec::new();
    for path in images {
        let image = load_image(path, &transform)?;
        let input = image.input.unsqueeze(0); // [1,3,H,W]
        let predicted = target_scores(model.backbone(), &input, None, 1)?;
        let class = predicted.targets.int64_value(&[0]) as usize;
        let name = meta.classes.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
        let probability = predicted.probabilities.double_value(&[0]);

        let seen = image.plan.source_rect();
        let mut cells = vec![Some(seen_part(&image.original, &seen))];
        for method in Method::PAPER {
            let explainer = method.build(&MethodOptions::default())?;
            let heatmaps =
                explainer.explain(model.backbone(), &input, &Target::class(&predicted.targets))?;
            let heatmap = Heatmap::new(&heatmaps.get(0))?;
            let drawn = overlay(&image.original, &heatmap, &seen, &style);
            cells.push(Some(seen_part(&drawn, &seen)));
        }
        let label = vec![name.replace('_', " "), format!("{:.1} %", 100.0 * probability)];
        rows.push(SheetRow { label, cells, starts_group: false });
    }

    let columns = std::iter::once("Image").chain(Method::PAPER.map(Method::title));
    let sheet = Sheet {
        columns: columns.map(str::to_owned).collect(),
        rows,
        legends: vec![Legend {
            shading: style.shading,
            ends: ["least relevant".to_owned(), "most relevant".to_owned()],
        }],
        cell_px: 220,
    };
    sheet.render().save(output)?;
    println!("{}", output.display());
    Ok(())
}
