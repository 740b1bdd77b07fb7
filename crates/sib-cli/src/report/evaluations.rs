//! One evaluation as the page shows it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use sib_core::checkpoint::read_meta;
use sib_explain::Method;

use super::classes::{self, ClassesView};
use super::curves::{self, ChartView};
use super::format::{count, dash};
use super::galleries::{self, GalleryView, Located};
use super::pictures::Photographs;
use super::suites::{self, SuiteView};
use crate::csv_rows;
use crate::evaluation::description::Description;
use crate::evaluation::files::CURVES;
use crate::evaluation::image_row::ImageRow;
use crate::evaluation::suites::localization;
use crate::results::titles::{arch_label, dataset_label};
use crate::results::{Called, Evaluation};

/// An evaluation as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct EvaluationView {
    pub(super) id: String,
    pub(super) name: String,
    /// Id and name of the run in whose folder it is.
    run: Option<(String, String)>,
    facts: Vec<(&'static str, String)>,
    suites: Vec<SuiteView>,
    curves: Vec<ChartView>,
    classes: Option<ClassesView>,
    galleries: Vec<GalleryView>,
    /// Why there are no photographs.
    no_photographs: Option<String>,
}

impl EvaluationView {
    /// The evaluation number `number` of the page, called `name`, in the folder of `run`.
    ///
    /// # Errors
    /// When a file of it cannot be read or is damaged.
    pub(super) fn new(
        number: usize,
        evaluation: &Evaluation,
        name: String,
        run: Option<(String, String)>,
        photographs: &mut Photographs,
    ) -> Result<Self> {
        let Evaluation { path, called, description, summary } = evaluation;
        let records = evaluation.images()?;
        let rows: Vec<ImageRow> = records.rows()?;
        let of = |method: &str| rows.iter().filter(|row| row.method == method).collect::<Vec<_>>();
        // Every method repeats what is known of the image itself.
        let images = rows.first().map(|row| of(&row.method)).unwrap_or_default();
        let opened = photographs.of(&description.settings);
        let class_names = ClassNames::new(description, &images, |id| opened.class_of(id));
        let class_name = |class| class_names.of(class);

        let mut galleries = galleries::of_predictions(&images, class_name, &opened);
        let found: Vec<localization::Row> = records.rows()?;
        let located: Vec<Located<'_>> = rows.iter().zip(&found).collect();
        if let Some(method) = shown_method(&located) {
            let of_method: Vec<_> =
                located.into_iter().filter(|(row, _)| row.method == method).collect();
            galleries.extend(galleries::of_heatmaps(&method, &of_method, &opened));
        }
        let curves_file = path.join(CURVES);
        Ok(Self {
            id: format!("evaluation-{number}"),
            name,
            run,
            facts: facts(called, description),
            suites: suites::views(summary),
            curves: match curves_file.is_file() {
                true => curves::of_evaluation(&csv_rows::read(&curves_file)?)?,
                false => Vec::new(),
            },
            classes: classes::view(&images, class_name),
            galleries,
            no_photographs: opened.problem().map(str::to_owned),
        })
    }
}

/// The method whose heatmaps are shown best and worst: the S-IB map where it was scored, otherwise
/// the first.
fn shown_method(rows: &[Located<'_>]) -> Option<String> {
    let scored = rows.iter().filter(|(_, found)| found.confusion().is_some());
    let mut scored = scored.map(|(row, _)| &row.method);
    let first = scored.next()?;
    let s_ib = Method::SIbMap.name();
    Some(if first == s_ib || scored.any(|name| name == s_ib) {
        s_ib.to_owned()
    } else {
        first.clone()
    })
}

fn facts(called: &Called, description: &Description) -> Vec<(&'static str, String)> {
    let Description { settings, network, dataset, .. } = description;
    let images = match dataset.images == dataset.images_in_split {
        true => count(dataset.images, "image", "images"),
        false => format!("{} of {} images", dataset.images, dataset.images_in_split),
    };
    let mut facts = vec![
        ("Dataset", format!("{}, {} split", dataset_label(dataset.name.as_str()).1, dataset.split)),
        ("Images", format!("{images}, {}", count(dataset.classes, "class", "classes"))),
        ("Network", format!("{}, {}", arch_label(&network.arch).1, called.title)),
        ("Training seed", network.train_seed.map_or_else(dash, |seed| seed.to_string())),
        ("Checkpoint", network.checkpoint.display().to_string()),
        ("Saved after", network.steps.map_or_else(dash, |steps| format!("{steps} steps"))),
    ];
    if settings.suites.iter().any(|suite| suite.needs_heatmaps()) {
        facts.push(("Threshold of heatmaps", settings.localization.threshold.to_string()));
    }
    facts
}

/// What the classes of an evaluation are called: as its checkpoint says where that is still there,
/// otherwise as the dataset does.
struct ClassNames(BTreeMap<i64, String>);

impl ClassNames {
    fn new<'d>(
        description: &Description,
        images: &[&ImageRow],
        class_of: impl Fn(&str) -> Option<&'d str>,
    ) -> Self {
        let in_checkpoint = classes_of(&description.network.checkpoint, description);
        if !in_checkpoint.is_empty() {
            return Self((0..).zip(in_checkpoint).collect());
        }
        let named = |row: &&ImageRow| Some((row.label as i64, class_of(&row.image)?.to_owned()));
        Self(images.iter().filter_map(named).collect())
    }

    fn of(&self, class: i64) -> String {
        self.0.get(&class).cloned().unwrap_or_else(|| format!("class {class}"))
    }
}

/// The classes that the checkpoint at `path` names; none where it is gone or another by now.
fn classes_of(path: &Path, description: &Description) -> Vec<String> {
    let Ok(meta) = read_meta(path) else { return Vec::new() };
    let steps = meta.extra.get("steps").and_then(|steps| steps.parse().ok());
    let is_same = meta.arch == description.network.arch
        && steps == description.network.steps
        && meta.classes.len() == description.dataset.classes;
    if is_same { meta.classes } else { Vec::new() }
}
